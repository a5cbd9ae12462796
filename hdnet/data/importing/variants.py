"""Readers of pictures and tables of the Tang and TikTok form in all equivalent variants, with notes for the report.

What the original refuses or silently misreads is either harmless, and converted here, or ambiguous, and refused with
advice (docs/parity.md, 35 to 39 and 62).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hdnet.data.importing.densepose import densepose_order
from hdnet.data.layout.folders import MAX_DEPTH_M, MIN_DEPTH_M
from hdnet.data.layout.png import open_png, read_iuv_rgb, read_mask
from hdnet.data.layout.text import read_text
from hdnet.errors import DataError
from hdnet.pictures.reading import MASK_THRESHOLD, iuv_from_png_rgb

Notes = tuple[str, ...]

# The text has five decimals; the original's losses break at lengths of 1.0001 (docs/parity.md, 17).
_UNIT_TOLERANCE = 2e-4
_MAX_LENGTH_ERROR = 0.1
_UNITS = {0.001: "millimetres", 0.01: "centimetres"}


def read_person_mask(path: Path) -> tuple[np.ndarray, Notes]:
    """Read a mask; see :func:`hdnet.data.layout.png.read_mask` for what else is refused.

    Returns:
        (H, W) bool, not empty, and notes.

    Raises:
        DataError: It is damaged or empty, or has values but none above 100 (docs/parity.md, 36).
    """
    mask = read_mask(path)
    picture = open_png(path)
    if not mask.any():
        largest = int(np.asarray(picture.convert("RGB")).max())
        if largest == 0:
            raise DataError(f"{path}: the mask is empty; expected 255 on the person")
        hint = "multiply it by 255" if largest == 1 else "scale it to 0 and 255"
        raise DataError(
            f"{path}: the largest value of the mask is {largest}, which counts as empty; expected 255 on the person "
            f"(above {MASK_THRESHOLD}); {hint}"
        )
    return mask, () if picture.mode in ("L", "1") else (f"mask: {picture.mode} picture read as grey",)


def read_colour(path: Path, mask: np.ndarray) -> tuple[np.ndarray, Notes]:
    """Read a colour picture.

    Args:
        path: A PNG, RGB, palette, grey, or with an alpha channel that is opaque on the person.
        mask: (H, W) bool, the person.

    Returns:
        (H, W, 3) uint8 RGB, and notes.

    Raises:
        DataError: It is damaged, has 16 bits, another size, or is transparent on the person.
    """
    picture = open_png(path)
    _check_size(path, picture.size, mask)
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return np.array(picture), ()
    if not picture.has_transparency_data:
        return np.array(picture.convert("RGB")), (f"{path.parent.name}: {_mode(picture)} picture converted to RGB",)
    rgba = np.asarray(picture.convert("RGBA"))
    if (rgba[..., 3][mask] != 255).any():
        raise DataError(
            f"{path}: is transparent on the person; expected an opaque picture (put it on a background, drop the alpha)"
        )
    return np.ascontiguousarray(rgba[..., :3]), (f"{path.parent.name}: alpha channel dropped",)


def has_transparent_pixels(path: Path) -> bool:
    """Return whether a picture has transparent pixels."""
    picture = open_png(path)
    return picture.has_transparency_data and bool((np.asarray(picture.convert("RGBA"))[..., 3] != 255).any())


def read_densepose(path: Path, mask: np.ndarray) -> tuple[np.ndarray, Notes]:
    """Read a DensePose picture.

    Returns:
        (H, W, 3) uint8 in the order I, U, V, and notes.

    Raises:
        DataError: It is damaged, grey, transparent, of another size, no IUV data, or in the order I, U, V, which
            the original reads without complaint and as nonsense.
    """
    rgb = read_iuv_rgb(path)
    _check_size(path, (rgb.shape[1], rgb.shape[0]), mask)
    if densepose_order(rgb, path) == "iuv":
        raise DataError(
            f"{path}: part numbers are in the first channel (I, U, V); expected V, U, I, as in the original's data; "
            "swap the first and last channel"
        )
    mode = open_png(path).mode
    return iuv_from_png_rgb(rgb), () if mode == "RGB" else (f"densepose: {mode} picture converted to RGB",)


def read_depth(path: Path, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, Notes]:
    """Read a depth table.

    Args:
        path: Numbers separated by commas or blanks.
        mask: (H, W) bool, the person.

    Returns:
        (H, W) float32 in metres, 0 where there is none; (H, W) bool, the mask less the pixels whose depth is not in
        1..8 m (docs/parity.md, 36); notes.

    Raises:
        DataError: It is no table of the mask's size, has NaN on the person, or is in another unit.
    """
    depth_m, notes = _finite(path, read_table(path, mask.shape), mask)
    valid = mask & (depth_m >= MIN_DEPTH_M) & (depth_m <= MAX_DEPTH_M)
    if not valid.any():
        raise DataError(f"{path}: {_unit_hint(depth_m[mask])}")
    if valid.sum() < mask.sum() / 2:
        notes += ("less than half of the mask has a depth in 1..8 m",)
    return depth_m, valid, notes


def read_normals(paths: list[Path], mask: np.ndarray) -> tuple[np.ndarray, Notes]:
    """Read the three tables of a normal map; lengths a little off 1 are corrected, pixels without a normal stay 0.

    Returns:
        (H, W, 3) float32, 0 outside the mask, and notes.

    Raises:
        DataError: A table is missing, of another size or not finite on the person, or the vectors are no unit vectors.
    """
    tables = [_finite(path, read_table(path, mask.shape), mask)[0] for path in paths]
    normals = np.where(mask[..., None], np.stack(tables, axis=-1), np.float32(0))
    length = np.linalg.norm(normals, axis=-1)
    has_normal = mask & (length > 0)
    if not has_normal.any():
        raise DataError(f"{paths[0]}: all normals on the person are 0; expected unit vectors")
    shortest, longest = float(length[has_normal].min()), float(length[has_normal].max())
    if shortest < 1 - _MAX_LENGTH_ERROR or longest > 1 + _MAX_LENGTH_ERROR:
        raise DataError(
            f"{paths[0]}: normals have lengths from {shortest:.3g} to {longest:.3g}; expected unit vectors "
            "(-1..1, not the colours of a picture)"
        )
    if max(1 - shortest, longest - 1) <= _UNIT_TOLERANCE:
        return normals, ()
    return normals / np.where(has_normal, length, 1)[..., None], ("normals brought to unit length",)


def read_table(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read a table of numbers, separated by commas or blanks; NaN and a separator at the end of rows are let through.

    The original reads blanks as one column of NaN (docs/parity.md, 35).

    Returns:
        (H, W) float32.

    Raises:
        DataError: The file is missing, no text, no table, or of another size.
    """
    lines = [line.strip().rstrip(",") for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path}: the file is empty; expected {shape[0]} x {shape[1]} numbers")
    try:
        table = np.loadtxt(lines, dtype=np.float32, delimiter="," if "," in lines[0] else None, comments=None, ndmin=2)
    except ValueError as error:
        reason = str(error).split(";")[0].rstrip(".")
        raise DataError(f"{path}: {reason} (counted from 0); expected rows of numbers of equal length") from error
    if table.shape != shape:
        raise DataError(
            f"{path}: found {table.shape[0]} rows x {table.shape[1]} columns of numbers, expected "
            f"{shape[0]} x {shape[1]} as in the mask"
        )
    return table


def _finite(path: Path, table: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, Notes]:
    bad = ~np.isfinite(table)
    if not bad.any():
        return table, ()
    if (bad & mask).any():
        row, column = (int(k) for k in np.argwhere(bad & mask)[0])
        raise DataError(
            f"{path}: row {row + 1}, column {column + 1} on the person is {table[row, column]} (and "
            f"{int((bad & mask).sum()) - 1} more); expected numbers; take such pixels out of the mask"
        )
    return np.where(bad, np.float32(0), table), ("NaN outside the mask set to 0",)


def _unit_hint(values: np.ndarray) -> str:
    positive = values[values > 0]
    if not positive.size:
        return "no pixel of the person has a positive depth; expected metres, 1 to 8"
    median = float(np.median(positive))
    for factor, unit in _UNITS.items():
        if MIN_DEPTH_M <= median * factor <= MAX_DEPTH_M:
            return f"the median depth of the person is {median:g}; expected metres, 1 to 8; it seems to be {unit}: " + (
                f"multiply by {factor:g}"
            )
    return f"the median depth of the person is {median:g}; expected metres, 1 to 8"


def _check_size(path: Path, size: tuple[int, int], mask: np.ndarray) -> None:
    if size != (mask.shape[1], mask.shape[0]):
        raise DataError(
            f"{path}: found {size[0]} x {size[1]} pixels, expected {mask.shape[1]} x {mask.shape[0]} as in the mask"
        )


def _mode(picture: Image.Image) -> str:
    return {"P": "palette", "L": "grey", "1": "1-bit"}.get(picture.mode, picture.mode)
