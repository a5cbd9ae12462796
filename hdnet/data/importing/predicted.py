"""Masks and body maps of frames for which none were given, found by a network for photographs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hdnet.data.importing.frame_files import FrameFiles, as_data_error, read_given_mask
from hdnet.data.layout.meta import PredictedMaps
from hdnet.data.layout.png import write_png
from hdnet.errors import DataError, InputError
from hdnet.files import read_json_object, write_json
from hdnet.pictures.reading import iuv_to_png_rgb, read_image

_EVERY = 20
_INDEX = "predicted.json"


@dataclass(frozen=True, eq=False)
class FoundPerson:
    """Person found in a picture.

    Attributes:
        mask: (H, W) bool.
        iuv: (H, W, 3) uint8 I, U, V, 0 outside the mask.
        confidence: Mean confidence over the mask, 0 to 1.
    """

    mask: np.ndarray
    iuv: np.ndarray
    confidence: float


@dataclass(frozen=True)
class Finder:
    """Network that finds people.

    Attributes:
        name: Model, for reports and metadata.
        find: Takes a picture (H, W, 3) uint8 RGB and, where it is known, the mask of the person meant.
    """

    name: str
    find: Callable[[np.ndarray, np.ndarray | None], FoundPerson]


def add_predicted(
    frames: Sequence[FrameFiles], finder: Finder, masks: bool, maps: bool, folder: Path, progress: bool
) -> list[FrameFiles]:
    """Return frames with predicted masks and maps in place of those that were not given.

    A picture's own transparency is a mask. Frames that an interrupted run has done are not computed again.

    Args:
        frames: The frames.
        finder: The network.
        masks: Whether masks are wanted.
        maps: Whether body maps are wanted.
        folder: Place of the files.
        progress: Show a progress bar on stderr.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / _INDEX
    done = read_json_object(index) if index.is_file() else {}
    result = []
    for count, files in enumerate(tqdm(frames, desc="find people", disable=not progress)):
        if files.problem or not files.image:
            result.append(files)
            continue
        key = f"{count:07d}"
        if key not in done:
            done[key] = _predict(files, finder, masks, maps, folder / key)
            if len(done) % _EVERY == 0:
                write_json(index, done)
        result.append(_with_predicted(files, done[key], folder / key))
    write_json(index, done)
    return result


def _predict(
    files: FrameFiles, finder: Finder, masks: bool, maps: bool, stem: Path
) -> dict[str, str | float | list[str]]:
    """Write what is missing of a frame; return its kinds and confidence, or its problem."""
    image_file = str(files.image)
    try:
        image = as_data_error(lambda: read_image(image_file), image_file)
        given = read_given_mask(files, image.shape[:2])
        kinds = ["mask"] * (masks and given is None) + ["densepose"] * maps
        if not kinds:
            return {}
        found = finder.find(image, given)
    except (DataError, InputError) as error:
        line = str(error)
        return {"problem": line if line.startswith(image_file) else f"{image_file}: {line}"}
    if "mask" in kinds:
        write_png(stem.with_suffix(".mask.png"), np.where(found.mask, np.uint8(255), np.uint8(0)))
    if "densepose" in kinds:
        write_png(stem.with_suffix(".densepose.png"), iuv_to_png_rgb(found.iuv))
    return {"kinds": kinds, "confidence": round(found.confidence, 4)}


def _with_predicted(files: FrameFiles, done: dict[str, str | float | list[str]], stem: Path) -> FrameFiles:
    if "problem" in done:
        return replace(files, problem=str(done["problem"]))
    if not done:
        return files
    kinds, confidence = done["kinds"], done["confidence"]
    assert isinstance(kinds, list)
    assert isinstance(confidence, float)
    paths = {kind: str(stem.with_suffix(f".{kind}.png")) for kind in kinds}
    return replace(
        files,
        mask=paths.get("mask", files.mask),
        densepose=paths.get("densepose", files.densepose),
        predicted=PredictedMaps(tuple(kinds), confidence),
    )
