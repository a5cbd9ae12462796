"""Antialiasing: one ray a pixel, four at edges, and their mean."""

from __future__ import annotations

import numpy as np

from hdnet.synthetic.rendering.view import PICTURE_SIZE
from hdnet.synthetic.surface import BoolArray, FloatArray, IntArray

_SUBPIXELS = np.array(((-0.125, -0.375), (0.375, -0.125), (-0.375, 0.125), (0.125, 0.375)))


def scatter(pixels: IntArray, values: FloatArray, elsewhere: float = 0) -> FloatArray:
    """Write values (N, ...) at flat pixel numbers into a picture (H, W, ...) of the same dtype."""
    picture = np.full((PICTURE_SIZE**2, *values.shape[1:]), elsewhere, dtype=values.dtype)
    picture[pixels] = values
    return picture.reshape(PICTURE_SIZE, PICTURE_SIZE, *values.shape[1:])


def edges(label: IntArray, depth: FloatArray, step: float) -> BoolArray:
    """Find the pixels (H, W) next to another label or a step in depth, which need more than one ray."""
    edge = np.zeros(label.shape, dtype=bool)
    for axis in (0, 1):
        differs = (np.diff(label, axis=axis) != 0) | (np.abs(np.diff(depth, axis=axis)) > step)
        before: tuple[slice, ...] = tuple(slice(0, -1) if a == axis else slice(None) for a in (0, 1))
        after: tuple[slice, ...] = tuple(slice(1, None) if a == axis else slice(None) for a in (0, 1))
        edge[before] |= differs
        edge[after] |= differs
    return edge


def subpixels(edge: BoolArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return x, y and flat pixel number (4 K,) of four places in each of K chosen pixels of (H * W,)."""
    chosen = np.flatnonzero(edge)
    y, x = np.divmod(chosen, PICTURE_SIZE)
    places = np.stack([x, y], axis=1)[:, None] + _SUBPIXELS
    return places[..., 0].ravel(), places[..., 1].ravel(), np.repeat(chosen, len(_SUBPIXELS))


def averaged(edge: BoolArray, pixels: IntArray, colours: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Average samples to pixels.

    Args:
        edge: (H * W,) pixels with four samples; others have one.
        pixels: (N,) flat pixel number of each sample that hit something.
        colours: (N, C) its colour, or other values.

    Returns:
        (H * W, C) colours, 0 where samples hit nothing, and (H * W,) the share of samples that hit something.
    """
    weight = np.where(edge[pixels], 1 / len(_SUBPIXELS), 1.0)
    count = PICTURE_SIZE**2
    covered = np.bincount(pixels, weight, count)
    total = [np.bincount(pixels, weight * colours[:, channel], count) for channel in range(colours.shape[1])]
    return np.stack(total, axis=1).astype(np.float32), covered.astype(np.float32)
