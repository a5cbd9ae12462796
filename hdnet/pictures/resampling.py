"""Resampling of pictures and maps by separable filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from scipy import ndimage, sparse

Kernel = Callable[[np.ndarray, float], np.ndarray]


def triangle(distance: np.ndarray, width: float) -> np.ndarray:
    """Bilinear interpolation, widened where the picture shrinks so that every source pixel counts."""
    weight: np.ndarray = 1 - np.abs(distance) / max(width, 1.0)
    return weight.clip(0)


def box(distance: np.ndarray, width: float) -> np.ndarray:
    """Share of a source pixel that lies under a target pixel of the given width."""
    overlap: np.ndarray = (width + 1) / 2 - np.abs(distance)
    return overlap.clip(0, min(width, 1.0))


def resize_matrix(positions: np.ndarray, source_size: int, spacing: float, kernel: Kernel) -> sparse.csr_array:
    """(targets, source_size) weights of a row of pixels for targets at ``positions``, ``spacing`` apart.

    Source pixels beyond the end count as 0.
    """
    source, weights = _neighbours(positions, spacing, kernel)
    target = np.broadcast_to(np.arange(len(positions))[:, None], source.shape)
    kept = (source >= 0) & (source < source_size) & (weights > 0)
    shape = (len(positions), source_size)
    return sparse.csr_array((weights[kept].astype(np.float32), (target[kept], source[kept])), shape=shape)


def resize(picture_hwc: np.ndarray, by_y: sparse.csr_array, by_x: sparse.csr_array) -> np.ndarray:
    """Resize a picture of any type by the matrices of :func:`resize_matrix`.

    Returns:
        (C, targets of by_y, targets of by_x) float32.
    """
    height, width, channels = picture_hwc.shape
    rows = by_y @ picture_hwc.reshape(height, -1).astype(np.float32)
    columns = by_x @ rows.reshape(-1, width, channels).transpose(1, 0, 2).reshape(width, -1)
    resized: np.ndarray = columns.reshape(-1, len(rows), channels).transpose(2, 1, 0)
    return resized


class Taps:
    """Bilinear interpolation of a row of pixels, whose ends are repeated.

    Args:
        positions: (T,) targets in source pixels.
        source_size: Pixels of the row.
        spacing: Distance of the targets.

    Attributes:
        places: (K, T) source pixels of each target, K = 2 where the picture grows.
        weights: (K, T) float32; they sum to 1 for each target.
    """

    def __init__(self, positions: np.ndarray, source_size: int, spacing: float) -> None:
        source, weights = _neighbours(positions, spacing, triangle)
        is_used = weights > 0
        first, count = is_used.argmax(axis=1), int(is_used.sum(axis=1).max())
        used = (first[:, None] + np.arange(count)).clip(max=source.shape[1] - 1)
        self.places = np.take_along_axis(source, used, axis=1).clip(0, source_size - 1).T
        self.weights = np.take_along_axis(weights, used, axis=1).T.astype(np.float32)

    def columns(self, planes_chw: np.ndarray) -> np.ndarray:
        """(C, H, T): the planes at the targets, which lie along x."""
        return _mixed(planes_chw, self.places, self.weights, axis=2)

    def rows(self, planes_chw: np.ndarray, strip: slice) -> np.ndarray:
        """(C, len(strip), W): the planes at a part of the targets, which lie along y."""
        return _mixed(planes_chw, self.places[:, strip], self.weights[:, strip, None], axis=1)


def nearest(picture_hwc: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The pixels of a picture nearest to columns x and rows y, 0 beyond the picture."""
    column, row = np.floor(x + 0.5).astype(np.int64), np.floor(y + 0.5).astype(np.int64)
    height, width = picture_hwc.shape[:2]
    within = ((row >= 0) & (row < height))[:, None] & ((column >= 0) & (column < width))
    found = picture_hwc[row.clip(0, height - 1)[:, None], column.clip(0, width - 1)]
    return np.where(within[..., None], found, np.zeros((), picture_hwc.dtype))


def extended(planes: Iterable[np.ndarray], valid: np.ndarray) -> np.ndarray:
    """(C, H, W) float32: the (H, W) planes, with the nearest valid value wherever there is none."""
    row, column = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return np.stack([plane[row, column] for plane in planes]).astype(np.float32, copy=False)


def dilated(mask: np.ndarray, steps: int) -> np.ndarray:
    """Return where a mask (H, W) bool is reached in some steps to neighbouring pixels, left, right, up or down.

    SciPy's ``binary_dilation`` takes ten times as long for pictures of the network's size.
    """
    for _ in range(steps):
        grown = mask.copy()
        grown[1:] |= mask[:-1]
        grown[:-1] |= mask[1:]
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        mask = grown
    return mask


def _neighbours(positions: np.ndarray, spacing: float, kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """(targets, K) source pixels around each target, some beyond the ends, and their weights, which sum to 1."""
    reach = int(np.ceil(max(spacing, 1.0))) + 1
    source = np.floor(positions).astype(np.int64)[:, None] + np.arange(-reach, reach + 2)
    weights = kernel(source - positions[:, None], spacing)
    weights /= weights.sum(axis=1, keepdims=True)
    return source, weights


def _mixed(planes_chw: np.ndarray, places: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """The weighted sum over the taps, in memory as its shape says."""
    mixed: np.ndarray = planes_chw.take(places[0], axis)
    mixed *= weights[0]
    for place, weight in zip(places[1:], weights[1:], strict=True):
        part = planes_chw.take(place, axis)
        part *= weight
        mixed += part
    return mixed
