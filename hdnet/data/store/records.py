"""Kinds of packed records of one size, and their sources.

A new kind needs its fields in :data:`FIELDS_OF_KIND`, a :class:`Source`, and a reader in
:mod:`hdnet.data.store.packed`.

=========== ============ ======== ==================================================== ========================
field       shape        type     content                                              in records of kind
=========== ============ ======== ==================================================== ========================
depth_m     (1, H, W)    float32  z shifted to a median of 4 m over the mask, 0        labelled
                                  outside
normals     (3, H, W)    int16    direction of the normal times 32767, 0 outside the   labelled, pseudo_normals
                                  mask
white_image (3, H, W)    uint8    RGB, 255 outside the mask                            labelled, frames
vui         (3, H, W)    uint8    DensePose in the networks' order V, U, I             labelled, frames
mask        (1, H, W)    bool                                                          labelled, frames
scene       (3, H, W)    uint8    RGB with its background; optional                    labelled, frames
shift_m     (1,)         float32  metres that were added to the depth; optional        labelled
=========== ============ ======== ==================================================== ========================

Optional fields are packed where the raw folder has ``color/NAME.png`` for every record, and then lie behind the others:
who does not ask for them does not read them. ``index.json`` lists them as "optional_fields". Without the shift, sizes
across and along the line of sight do not belong together.

Channels lie in front, as in the networks' batches: whole planes are converted several times faster than every third
value.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from hdnet.data.layout.folders import TangFolder, TikTokFolder, shift_to_median
from hdnet.data.layout.png import read_mask
from hdnet.data.layout.samples import LabelledSample, UnlabelledFrame
from hdnet.data.store.shards import Field, Record, Shard
from hdnet.errors import DataError
from hdnet.geometry import MEDIAN_DEPTH_M

# A component of a unit vector in 16 bits: exact to 1.5e-5, where the texts hold five decimals and float16 2.4e-4.
NORMAL_SCALE = 32767

Layout = TypeVar("Layout", TangFolder, TikTokFolder)

_FIELDS: dict[str, Field] = {
    "depth_m": ((1, "h", "w"), "float32"),
    "normals": ((3, "h", "w"), "int16"),
    "white_image": ((3, "h", "w"), "uint8"),
    "vui": ((3, "h", "w"), "uint8"),
    "mask": ((1, "h", "w"), "bool"),
}
FIELDS_OF_KIND: dict[str, dict[str, Field]] = {
    "labelled": _FIELDS,
    "frames": {name: _FIELDS[name] for name in ("white_image", "vui", "mask")},
    "pseudo_normals": {"normals": _FIELDS["normals"]},
}
OPTIONAL_FIELDS_OF_KIND: dict[str, dict[str, Field]] = {
    "labelled": {"scene": ((3, "h", "w"), "uint8"), "shift_m": ((1,), "float32")},
    "frames": {"scene": ((3, "h", "w"), "uint8")},
    "pseudo_normals": {},
}

_log = logging.getLogger(__name__)


class Source(Protocol):
    """Source of records. Instances are sent to other processes, so they hold names of files, not content."""

    @property
    def kind(self) -> str:
        """Kind of the records."""
        ...

    @property
    def origin(self) -> str:
        """Folder or other origin, for error messages."""
        ...

    def names(self) -> list[str]:
        """Return the names of all records in order."""
        ...

    def size(self) -> tuple[int, int]:
        """Return the (H, W) of all pictures."""
        ...

    def optional_fields(self, names: Sequence[str], /) -> dict[str, Field]:
        """Return the optional fields that every record has."""
        ...

    def about(self, names: Sequence[str], /) -> tuple[np.ndarray | None, dict[str, Any]]:
        """Return cameras (N, 7), if there are any, and further content of the index."""
        ...

    def state(self, shard: Shard, /) -> list[Any] | None:
        """Return the state of all inputs of a shard, JSON-able; None always makes the records again."""
        ...

    def records(self, shard: Shard) -> Iterable[Record]:
        """Yield the records of a shard; fields that are not packed are passed over."""
        ...


@dataclass(frozen=True)
class _FolderRecords(Generic[Layout]):
    """Common part of both layouts.

    Args:
        folder: The ``Tang_data`` or ``tiktok_data`` folder itself.
    """

    folder: Path
    kind: ClassVar[str]

    @property
    def origin(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def source(self) -> Layout:
        """The folder, opened."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """Return the names of all frames in order."""
        return self.source.names()

    def size(self) -> tuple[int, int]:
        """Return (H, W) of the first mask."""
        height, width = read_mask(self.source.png("mask", self.names()[0])).shape
        return height, width

    def optional_fields(self, names: Sequence[str]) -> dict[str, Field]:
        """Return the picture with its background, and what belongs to it, where the folder has all such pictures."""
        source = self.source
        found = sum(source.png("color", name).is_file() for name in names)
        if 0 < found < len(names):
            _log.warning(
                "%s: color/ has %d of %d pictures; packed without background, which model.network: lite needs",
                self.folder,
                found,
                len(names),
            )
        return OPTIONAL_FIELDS_OF_KIND[self.kind] if found == len(names) else {}

    def about(self, names: Sequence[str]) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the cameras."""
        source = self.source
        return np.array([astuple(source.camera(name)) for name in names], dtype=np.float64), {}

    def state(self, shard: Shard) -> list[Any]:
        """Return size and time of the last change of every file that is read."""
        source = self.source
        return [[_file_state(file) for file in self.files(source, name)] for name in shard.names]

    def files(self, source: Layout, name: str) -> list[Path]:
        """Return the files that a record is made from."""
        return [source.png(kind, name) for kind in ("color", "color_WO_bg", "densepose", "mask")]


@dataclass(frozen=True)
class LabelledRecords(_FolderRecords[TangFolder]):
    """Samples of a Tang folder.

    Args:
        folder: The ``Tang_data`` folder itself.
        median_m: The median over the mask to which each depth map is shifted, in metres (docs/parity.md, 38).
        without: See :meth:`hdnet.data.layout.folders.TangFolder.read`; such records are for evaluation, not for
        packing.
    """

    median_m: float = MEDIAN_DEPTH_M
    without: tuple[str, ...] = ()
    kind: ClassVar[str] = "labelled"

    @property
    def source(self) -> TangFolder:
        """The folder, opened."""
        return TangFolder(self.folder)

    def state(self, shard: Shard) -> list[Any]:
        """Return the state of the files, and the median."""
        return [self.median_m, *super().state(shard)]

    def files(self, source: TangFolder, name: str) -> list[Path]:
        """Return pictures and texts."""
        return [*super().files(source, name), source.depth_file(name), *source.normal_files(name)]

    def records(self, shard: Shard) -> Iterator[Record]:
        """Yield the records of a shard, read one by one."""
        source = self.source
        for name in shard.names:
            sample = source.read(name, self.without)
            try:
                depth_m = shift_to_median(sample.depth_m, sample.mask, self.median_m)
            except DataError as error:
                raise DataError(f"{source.png('mask', name)}: with the depth range of 1..8 m {error}") from error
            shift_m = self.median_m - np.median(sample.depth_m[sample.mask])
            yield {
                **_pictures(sample),
                "depth_m": depth_m[None],
                "normals": to_fixed_point(sample.normals),
                "shift_m": np.array([shift_m], np.float32),
            }


@dataclass(frozen=True)
class FrameRecords(_FolderRecords[TikTokFolder]):
    """Pictures of a TikTok folder.

    Stored normals and correspondences are not packed: normals are predicted, correspondences have a format of their
    own.

    Args:
        folder: The ``tiktok_data`` folder itself.
    """

    kind: ClassVar[str] = "frames"

    @property
    def source(self) -> TikTokFolder:
        """The folder, opened."""
        return TikTokFolder(self.folder)

    def about(self, names: Sequence[str]) -> tuple[np.ndarray, dict[str, Any]]:
        """Return cameras and sequences."""
        cameras, more = super().about(names)
        return cameras, {**more, "sequences": self.source.sequences()}

    def records(self, shard: Shard) -> Iterator[Record]:
        """Yield the records of a shard, read one by one."""
        source = self.source
        for name in shard.names:
            frame = source.read(name)
            if not frame.mask.any():
                raise DataError(
                    f"{source.png('mask', name)}: the mask is empty; expected 0 outside and 255 on the person"
                )
            yield _pictures(frame)


@dataclass(frozen=True, eq=False)
class NormalRecords:
    """Normals that are predicted from packed pictures.

    Args:
        picture_names: Names of the pictures in order.
        picture_size: Their (H, W).
        predict: The normals of a range of pictures, in order: (H, W, 3) unit vectors, 0 where there is none.
        made_from: Identifies model and pictures: an interrupted packing of the same is resumed; None starts over.
    """

    picture_names: list[str]
    picture_size: tuple[int, int]
    predict: Callable[[range], Iterable[np.ndarray]]
    made_from: str | None
    kind: ClassVar[str] = "pseudo_normals"
    origin: ClassVar[str] = "predicted normals"

    def names(self) -> list[str]:
        """Return those of the pictures."""
        return self.picture_names

    def size(self) -> tuple[int, int]:
        """Return that of the pictures."""
        return self.picture_size

    def optional_fields(self, _: Sequence[str]) -> dict[str, Field]:
        """Return none."""
        return {}

    def about(self, _: Sequence[str]) -> tuple[None, dict[str, Any]]:
        """Return nothing: the pictures have the cameras."""
        return None, {}

    def state(self, _: Shard) -> list[Any] | None:
        """Return what the normals are predicted from."""
        return None if self.made_from is None else [self.made_from]

    def records(self, shard: Shard) -> Iterator[Record]:
        """Yield the normals of a shard, predicted at once."""
        for k, normals in enumerate(self.predict(range(shard.first, shard.first + len(shard.names)))):
            try:
                yield {"normals": to_fixed_point(normals)}
            except DataError as error:
                raise DataError(f"{self.origin}, frame {shard.names[k % len(shard.names)]}: {error}") from error


def spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` evenly spaced numbers below ``count``, the first and the last included."""
    return [int(k) for k in np.linspace(0, count - 1, min(count, most)).round()]


def to_fixed_point(normals: np.ndarray) -> np.ndarray:
    """Return directions of (H, W, 3) vectors as (3, H, W) int16, times 32767; a vector of length 0 stays 0.

    Raises:
        DataError: A value is not finite.
    """
    if not np.isfinite(normals).all():
        raise DataError("normals hold values that are not finite; expected unit vectors, or 0")
    length = np.sqrt(np.square(normals, dtype=np.float64).sum(-1, keepdims=True))
    fixed_point = np.rint(normals * (NORMAL_SCALE / np.where(length > 0, length, 1))).astype(np.int16)
    return fixed_point.transpose(2, 0, 1)


def _pictures(frame: LabelledSample | UnlabelledFrame) -> Record:
    return {
        "white_image": frame.white_image.transpose(2, 0, 1),
        "vui": frame.iuv[..., ::-1].transpose(2, 0, 1),
        "mask": frame.mask[None],
        "scene": frame.image.transpose(2, 0, 1),
    }


def _file_state(file: Path) -> list[int] | None:
    try:
        status = file.stat()
    except OSError:  # reported by its reader
        return None
    return [status.st_size, status.st_mtime_ns]
