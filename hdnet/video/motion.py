"""Motion of the body's parts from one frame to the next: an affine map of the picture for each part.

A body map's coordinates are known to a few pixels, which is more than a dancer moves between two frames. They say which
pixels belong to one part, and about how far it moved; how far exactly, the brightness of the part's pixels tells
together (Lucas and Kanade, IJCAI 1981, with iteratively reweighted least squares).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

PARTS = 25
# Blurred brightness (S, S) and its gradients along x and y.
Level = tuple[np.ndarray, np.ndarray, np.ndarray]
# Blur of the brightness, in pixels, and steps of the search at each.
_LEVELS = ((2.0, 3), (1.0, 3), (0.5, 2))
# Brightness differences below this are noise, larger ones count less and less.
_NOISE_LEVELS, _OUTLIER_LEVELS = 4.0, 30.0
# Pixels from the part's middle at which the linear part of a map is told in pixels.
_UNIT_PX = 10.0
# Weight of no motion, and of no deformation, against a gradient of a level a pixel.
_REST, _RIGID = 0.1, 4.0
_LONGEST_STEP_PX = 3.0
# Cells of U and V along a side, and the fewest common ones that tell where a part moved.
_CELLS, _LEAST_CELLS = 16, 4


@dataclass(frozen=True, eq=False)
class MotionPicture:
    """What the motion of a frame is measured by.

    Attributes:
        parts: (S, S) uint8 body part of each pixel, 0 outside the person.
        levels: Blurred brightness with its gradients along x and y, from coarse to fine.
        places: (25 x cells, 2) mean x, y of the body map's cells, nan where one is not seen.
    """

    parts: np.ndarray
    levels: Sequence[Level]
    places: np.ndarray

    @classmethod
    def of(cls, grey: np.ndarray, parts: np.ndarray, uv: np.ndarray) -> MotionPicture:
        """Prepare a frame.

        Args:
            grey: (S, S) uint8 brightness.
            parts: (S, S) uint8, 0 outside the person.
            uv: (2, S, S) uint8.
        """
        levels = []
        for blur, _ in _LEVELS:
            picture = gaussian_filter(grey.astype(np.float32), blur)
            down, right = np.gradient(picture)
            levels.append((picture, right, down))
        row, column = np.nonzero(parts)
        u, v = (uv[axis, row, column].astype(np.int64) * _CELLS // 256 for axis in (0, 1))
        cell = (parts[row, column].astype(np.int64) * _CELLS + u) * _CELLS + v
        size = PARTS * _CELLS**2
        with np.errstate(invalid="ignore"):
            count = np.bincount(cell, minlength=size)
            places = np.stack([np.bincount(cell, at, minlength=size) / count for at in (column, row)], axis=1)
        return cls(parts, levels, places)


def part_motions(first: MotionPicture, second: MotionPicture, still: np.ndarray) -> np.ndarray:
    """Measure the motion of every part.

    Args:
        first: Frame with the parts.
        second: The other frame.
        still: (2, 3) map of pixels (x, y, 1) of the first to the second of what does not move.

    Returns:
        (25, 2, 3) float64 maps from pixels of the first frame to pixels of the second.
    """
    search = _Search(first, still)
    search.start(first.levels[0][0], second.levels[0], _mean_shift(first.places, second.places, still))
    for level_1, level_2, (_, steps) in zip(first.levels, second.levels, _LEVELS, strict=True):
        for _ in range(steps):
            search.step(level_1[0], level_2)
    return search.maps()


def inverted(maps: np.ndarray) -> np.ndarray:
    """Return the inverse of (N, 2, 3) maps."""
    linear = np.linalg.inv(maps[:, :, :2])
    return np.concatenate([linear, -linear @ maps[:, :, 2:]], axis=2)


def joined(then: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return (N, 2, 3) maps followed by others."""
    linear = then[:, :, :2]
    return np.concatenate([linear @ maps[:, :, :2], linear @ maps[:, :, 2:] + then[:, :, 2:]], axis=2)


def _mean_shift(first: np.ndarray, second: np.ndarray, still: np.ndarray) -> np.ndarray:
    """(25, 2) shift of every part against what does not move, by the body map; 0 where it tells none."""
    shift = second - (first @ still[:, :2].T + still[:, 2])
    common = np.isfinite(shift).all(axis=1).reshape(PARTS, -1)
    total = np.where(common[..., None], shift.reshape(PARTS, -1, 2), 0).sum(axis=1)
    count = common.sum(axis=1)
    mean: np.ndarray = np.where(count[:, None] >= _LEAST_CELLS, total / np.maximum(count, 1)[:, None], 0)
    return mean


class _Search:
    """Search for the six numbers of every part's map: shift, and linear deformation about its middle."""

    def __init__(self, first: MotionPicture, still: np.ndarray) -> None:
        row, column = np.nonzero(first.parts)
        part = first.parts[row, column].astype(np.int64)
        by_part = np.argsort(part, kind="stable")
        self._row, self._column, self._part = row[by_part], column[by_part], part[by_part]
        self._present, self._starts = np.unique(self._part, return_index=True)
        row, column = self._row, self._column
        self._count = self._sums(np.ones(len(row))) + 1e-6
        self._middle = np.stack([self._sums(column), self._sums(row)], axis=1) / self._count[:, None]
        self._x = (column - self._middle[self._part, 0]) / _UNIT_PX
        self._y = (row - self._middle[self._part, 1]) / _UNIT_PX
        self._base = np.stack([column, row], axis=1) @ still[:, :2].T + still[:, 2]
        self._still, self._moves = still, np.zeros((PARTS, 6))

    def start(self, first: np.ndarray, second: Level, shift: np.ndarray) -> None:
        """Begin with a shift for the parts whose brightness fits better there than without."""
        level = first[self._row, self._column]
        at_rest = self._sums(np.abs(self._difference(level, second)[0]).clip(max=_OUTLIER_LEVELS))
        self._moves[:, :2] = shift
        shifted = self._sums(np.abs(self._difference(level, second)[0]).clip(max=_OUTLIER_LEVELS))
        self._moves[shifted >= at_rest, :2] = 0

    def step(self, first: np.ndarray, second: Level) -> None:
        """Improve all maps once."""
        level = first[self._row, self._column]
        difference, right, down = self._difference(level, second)
        weight = 1 / np.maximum(np.abs(difference), _NOISE_LEVELS)
        slopes = np.stack([right, down, right * self._x, right * self._y, down * self._x, down * self._y])
        weighted = slopes * weight
        target = self._sums(weighted * difference).T.copy()
        i, j = np.triu_indices(6)
        normal = np.empty((PARTS, 6, 6))
        normal[:, i, j] = normal[:, j, i] = self._sums(weighted[i] * slopes[j]).T
        # Weights are about 1 / noise: so is the prior's.
        prior = np.array([_REST] * 2 + [_RIGID] * 4) / _NOISE_LEVELS * self._count[:, None]
        target[:, 2:] -= prior[:, 2:] * self._moves[:, 2:]
        normal[:, np.arange(6), np.arange(6)] += prior
        change = np.linalg.solve(normal, target[..., None])[..., 0]
        self._moves += change.clip(-_LONGEST_STEP_PX, _LONGEST_STEP_PX)

    def maps(self) -> np.ndarray:
        """(25, 2, 3) maps."""
        linear = np.broadcast_to(self._still[:, :2], (PARTS, 2, 2)) + self._moves[:, 2:].reshape(PARTS, 2, 2) / _UNIT_PX
        shift = self._still[:, 2] + self._moves[:, :2]
        shift = shift - np.einsum("pij,pj->pi", self._moves[:, 2:].reshape(PARTS, 2, 2) / _UNIT_PX, self._middle)
        return np.concatenate([linear, shift[..., None]], axis=2)

    def _difference(self, level: np.ndarray, second: Level) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Brightness still to be explained, and the gradients at the present places."""
        picture, right, down = second
        moves = self._moves[self._part]
        x = self._base[:, 0] + moves[:, 0] + moves[:, 2] * self._x + moves[:, 3] * self._y
        y = self._base[:, 1] + moves[:, 1] + moves[:, 4] * self._x + moves[:, 5] * self._y
        column = np.rint(x).astype(np.int64).clip(0, picture.shape[1] - 1)
        row = np.rint(y).astype(np.int64).clip(0, picture.shape[0] - 1)
        right, down = right[row, column], down[row, column]
        return level - (picture[row, column] + right * (x - column) + down * (y - row)), right, down

    def _sums(self, values: np.ndarray) -> np.ndarray:
        """Sums (..., 25) by part of values (..., N) of the pixels, which are sorted by part."""
        sums = np.zeros((*values.shape[:-1], PARTS))
        if len(self._present):
            sums[..., self._present] = np.add.reduceat(values, self._starts, axis=-1)
        return sums
