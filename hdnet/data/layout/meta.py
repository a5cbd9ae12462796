"""``hdnet.json`` of a data folder: cameras and sequences, which the reference's layout lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hdnet.errors import DataError
from hdnet.files import read_json_object, write_json
from hdnet.geometry import Camera

META_FILE = "hdnet.json"
# The one sequence of a folder that names none.
DEFAULT_SEQUENCE = "all"


@dataclass(frozen=True, slots=True)
class PredictedMaps:
    """Maps of a frame that a network made where none were given.

    Attributes:
        kinds: "mask", "densepose" or both.
        confidence: Mean confidence over the person, 0 to 1.
    """

    kinds: tuple[str, ...]
    confidence: float


@dataclass(frozen=True)
class FolderMeta:
    """Cameras and sequences of a Tang or TikTok folder.

    Attributes:
        file: The ``hdnet.json`` they belong to, for error messages.
        camera: Camera of every frame without its own; None where the file gives cameras by frame only.
        cameras: Cameras by frame name.
        sequences: Frame names in order, by sequence; empty where none are given.
        predicted: Maps that a network made, by frame name; empty where all were given.
    """

    file: Path
    camera: Camera | None
    cameras: dict[str, Camera] = field(default_factory=dict)
    sequences: dict[str, list[str]] = field(default_factory=dict)
    predicted: dict[str, PredictedMaps] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> FolderMeta:
        """Read ``folder/hdnet.json``; without one, everything was taken by the original's camera.

        Raises:
            DataError: The file is damaged or holds unknown keys.
        """
        file = folder / META_FILE
        if not file.exists():
            return cls(file, Camera.reference())
        content = read_json_object(file)
        unknown = set(content) - {"camera", "cameras", "sequences", "predicted"}
        if unknown:
            raise DataError(
                f"{file}: unknown key {sorted(unknown)[0]!r}; expected camera, cameras, sequences, predicted"
            )
        camera, cameras, sequences = (content.get(key) for key in ("camera", "cameras", "sequences"))
        if cameras is not None and not isinstance(cameras, dict):
            raise DataError(f"{file}: cameras must be an object of frame name: camera")
        default = None if cameras else Camera.reference()
        return cls(
            file,
            default if camera is None else _camera(file, camera),
            {name: _camera(file, values) for name, values in (cameras or {}).items()},
            _sequences(file, sequences),
            _predicted(file, content.get("predicted")),
        )

    def camera_of(self, name: str) -> Camera:
        """Camera of one frame.

        Raises:
            DataError: The file gives cameras by frame, but none for this one.
        """
        camera = self.cameras.get(name, self.camera)
        if camera is None:
            raise DataError(f"{self.file}: no camera for frame {name}; add it to cameras, or a camera for all")
        return camera

    @cached_property
    def sequence_of(self) -> dict[str, str]:
        """Sequence by frame name."""
        return {name: sequence for sequence, names in self.sequences.items() for name in names}


def write_meta(
    folder: Path,
    cameras: dict[str, Camera],
    sequences: dict[str, list[str]] | None = None,
    predicted: Mapping[str, PredictedMaps] | None = None,
) -> FolderMeta:
    """Write ``folder/hdnet.json``; a camera that all frames share is written once."""
    distinct = set(cameras.values())
    content: dict[str, Any] = {}
    if len(distinct) == 1:
        content["camera"] = distinct.pop().to_dict()
    else:
        content["cameras"] = {name: camera.to_dict() for name, camera in cameras.items()}
    if sequences is not None:
        content["sequences"] = sequences
    if predicted:
        content["predicted"] = {name: asdict(maps) for name, maps in predicted.items()}
    write_json(folder / META_FILE, content)
    return FolderMeta.read(folder)


def _predicted(file: Path, values: Any) -> dict[str, PredictedMaps]:
    try:
        items = {} if values is None else {name: PredictedMaps(**maps) for name, maps in values.items()}
        return {name: PredictedMaps(tuple(maps.kinds), float(maps.confidence)) for name, maps in items.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f"{file}: predicted must be an object of frame name: kinds (mask, densepose) and confidence"
        ) from error


def _camera(file: Path, values: Any) -> Camera:
    if not isinstance(values, dict):
        raise DataError(f"{file}: found camera {values!r}; expected an object with fx, fy, cx, cy")
    try:
        return Camera.from_dict(values)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def _sequences(file: Path, sequences: Any) -> dict[str, list[str]]:
    if sequences is None:
        return {}
    if not isinstance(sequences, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in sequences.values()
    ):
        raise DataError(f"{file}: sequences must be an object of sequence name: list of frame names")
    counts = Counter(name for names in sequences.values() for name in names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise DataError(f"{file}: frame {twice[0]} is listed {counts[twice[0]]} times in sequences; expected once")
    return sequences
