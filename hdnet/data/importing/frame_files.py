"""Files of a full frame: picture, mask and DensePose map, read and brought to one size."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from scipy import ndimage

from hdnet.data.importing.densepose import check_sharp, read_densepose
from hdnet.data.layout.meta import PredictedMaps
from hdnet.errors import DataError, InputError
from hdnet.pictures.crop import bounds
from hdnet.pictures.densepose import check_iuv
from hdnet.pictures.reading import IuvOrder, decode_mask, mask_from_grey, read_alpha, read_image

# A second silhouette of this size beside the largest may be a second person.
_LARGE_PART = 0.2
# Pieces of a person lie within the box of the rest, or this much of its longer side away from it.
_NEAR_PART = 0.03
_SLIVER = 0.06

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)  # 100,000 of them are in memory
class FrameFiles:
    """Files of one full frame.

    Attributes:
        source: Name for the user, for example "00012/images/0034.png".
        number: Frame number in its video.
        image: Picture with background.
        mask: Person mask; None takes the picture's alpha channel.
        densepose: DensePose map.
        problem: Reason why the frame cannot be used, if known without reading it.
        predicted: What of mask and map a network made.
    """

    source: str
    number: int
    image: str | None = None
    mask: str | None = None
    densepose: str | None = None
    problem: str | None = None
    predicted: PredictedMaps | None = None


def read_given_mask(files: FrameFiles, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the mask of a frame's file or transparency at the size of its picture; None where it has neither.

    Raises:
        DataError: The file is damaged, or of another shape.
    """
    image_file, mask_file = str(files.image), files.mask or str(files.image)
    given = as_data_error(lambda: _read_mask(Path(mask_file)) if files.mask else read_alpha(image_file), mask_file)
    return None if given is None else fit_to(given, shape, mask_file)[0]


def read_person(files: FrameFiles, keep_largest: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read picture and mask.

    Returns:
        (H, W, 3) uint8 RGB, the (H, W) bool mask of one person, not empty, and notes for the report.

    Raises:
        DataError: A file is missing or damaged, sizes do not agree, the mask is empty, a sliver, or of several people.
    """
    image_file, mask_file = str(files.image), files.mask or str(files.image)
    image = as_data_error(lambda: read_image(image_file), image_file)
    given = as_data_error(lambda: _read_mask(Path(mask_file)) if files.mask else read_alpha(image_file), mask_file)
    if given is None:
        raise DataError(f"{image_file}: has no transparent pixel; expected a mask file or an alpha channel as mask")
    mask, resized = fit_to(given, image.shape[:2], mask_file)
    if not mask.any():
        raise DataError(f"{mask_file}: the mask is empty; expected 255 on the person")
    mask, dropped = largest_person(mask, keep_largest, mask_file)
    (top, bottom), (left, right) = bounds(mask)
    height, width = bottom - top, right - left
    if min(height, width) < _SLIVER * max(height, width):
        raise DataError(
            f"{mask_file}: the person is cut to a sliver of {width} x {height} pixels; expected more of the person"
        )
    return image, mask, ["mask resized to the picture"] * resized + [dropped] * bool(dropped)


def largest_person(mask: np.ndarray, keep_largest: bool, file: str) -> tuple[np.ndarray, str]:
    """Return the silhouette of one person and a note of what was left out ("" for nothing).

    Separate pieces within the box of the largest (an arm behind a pole) stay; small ones elsewhere are left out.

    Args:
        mask: (H, W) bool, not empty.
        keep_largest: Also leave out large pieces.
        file: Its name in error messages.

    Raises:
        DataError: Another piece has more than a fifth of the largest one's pixels, and not ``keep_largest``.
    """
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count == 1:
        return mask, ""
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[0] = 0
    largest = int(areas.argmax())
    shares = areas / areas[largest]
    large = np.flatnonzero((shares > _LARGE_PART) & (np.arange(count + 1) != largest))
    if large.size and not keep_largest:
        raise DataError(
            f"{file}: the mask has {1 + large.size} large separate parts (the second has {shares[large].max():.0%} of "
            "the first one's pixels); expected one person; --keep-largest takes the largest part alone"
        )
    boxes = ndimage.find_objects(labels)
    rows, columns = boxes[largest - 1]
    near = _NEAR_PART * max(rows.stop - rows.start, columns.stop - columns.start)
    kept = np.zeros(count + 1, dtype=bool)
    for label, (row, column) in enumerate(boxes, start=1):
        kept[label] = (
            row.start < rows.stop + near
            and row.stop > rows.start - near
            and column.start < columns.stop + near
            and column.stop > columns.start - near
        )
    kept[large] = False
    if kept[1:].all():
        return mask, ""
    note = "another large part of the mask left out" if large.size else "small parts apart from the person left out"
    return kept[labels], note


def fit_to(picture: np.ndarray, shape: tuple[int, ...], file: str) -> tuple[np.ndarray, bool]:
    """Return a mask or DensePose map at the size of its picture, by nearest neighbour, and whether that changed it.

    Raises:
        DataError: Its shape differs, so that it cannot be a scaled copy.
    """
    (height, width), (wanted_height, wanted_width) = picture.shape[:2], shape[:2]
    if (height, width) == (wanted_height, wanted_width):
        return picture, False
    scale = wanted_height / height
    if abs(width * scale - wanted_width) > max(scale, 1.0):
        hint = "crop and scale picture, mask and DensePose alike; DensePose of the person's box must be put back"
        if abs(height * (wanted_height / width) - wanted_width) <= 1 and height != width:
            hint = "it seems turned by 90 degrees"
        raise DataError(
            f"{file}: found {width} x {height} pixels; expected {wanted_width} x {wanted_height} as in the picture, "
            f"or the same shape in another size; {hint}"
        )
    rows = ((np.arange(wanted_height) + 0.5) * (height / wanted_height)).astype(np.int64).clip(0, height - 1)
    columns = ((np.arange(wanted_width) + 0.5) * (width / wanted_width)).astype(np.int64).clip(0, width - 1)
    return picture[rows[:, None], columns], True


def _read_mask(file: Path) -> np.ndarray:
    """Read a mask, (H, W) bool; 8-bit grey, the usual form, several times faster than by the general reader."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error}); expected a mask") from error
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:26] == b"\x08\x00" and b"tRNS" not in data[:4096]:
        try:
            with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
                return mask_from_grey(np.asarray(picture), str(file))
        except (OSError, SyntaxError, ValueError):
            pass  # reported by the general reader
    return decode_mask(data, str(file))


def read_iuv(file: Path, order: IuvOrder, shape: tuple[int, ...]) -> tuple[np.ndarray, list[str]]:
    """Read a DensePose map at the size ``shape`` of its picture.

    Returns:
        (H, W, 3) uint8 I, U, V, and notes for the report.

    Raises:
        DataError: The file is missing or damaged, no DensePose data, of another order or shape, or blurred.
    """
    advice = "as stated or as in most frames of the sequence; --iuv-order {found} reads it so"
    iuv = read_densepose(file, order, advice)
    sharp = check_sharp(iuv[..., 0], file)
    as_data_error(lambda: check_iuv(iuv, str(file), blurred=True), str(file))  # few blurred ones do no harm in training
    iuv, resized = fit_to(iuv, shape, str(file))
    notes = ["DensePose resized to the picture"] * resized
    return iuv, notes + ["part numbers look blurred at the edges of parts"] * (not sharp)


def as_data_error(read: Callable[[], Value], *names: str | None) -> Value:
    """Return the result of ``read``; an error of a user's picture becomes one of the data.

    Args:
        read: The function.
        names: Names of the files that it reads; an error message that begins with none of them gets the first.
    """
    try:
        return read()
    except InputError as error:
        line = str(error)
        known = tuple(filter(None, names))
        raise DataError(line if line.startswith(known) else f"{known[0]}: {line}") from error
