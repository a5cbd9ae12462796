"""Residuals of matches against the motion of their body part."""

from __future__ import annotations

import numpy as np

# Rounds of reweighting: ten bring the median residual of a part within a hundredth of a pixel of its end.
_ROUNDS = 10
_SMALLEST_PX = 0.25


def affine_residuals_px(rows: np.ndarray) -> np.ndarray:
    """Return the distance of every match from its place by the affine motion of its body part.

    The motion of a part is the 2-D affine map from pixels of frame i to pixels of frame j with the smallest sum of
    distances, not of their squares (iteratively reweighted least squares), so that false matches, as long as they are
    the minority, do not bend it.

    Args:
        rows: (N, 5) matches grouped by part: part, row and column in i, row and column in j.

    Returns:
        (N,) float64, pixels of frame j.
    """
    if not len(rows):
        return np.zeros(0)
    first = np.flatnonzero(np.diff(rows[:, 0], prepend=-1))
    counts = np.diff(first, append=len(rows))

    def mean(values: np.ndarray) -> np.ndarray:
        """By part and back to the matches."""
        return np.repeat(np.add.reduceat(values, first) / counts[:, None], counts, axis=0)

    points = rows[:, 1:].astype(np.float64)
    points -= mean(points)
    source = np.column_stack([points[:, :2], np.ones(len(rows))])
    target = points[:, 2:]
    products = (source[:, :, None] * np.column_stack([source, target])[:, None, :]).reshape(len(rows), 15)
    weights = np.ones(len(rows))
    residuals = np.zeros(len(rows))
    for _ in range(_ROUNDS):
        sums = np.add.reduceat(products * weights[:, None], first).reshape(-1, 3, 5)
        # A part of one row of pixels leaves a direction open: the pseudo-inverse does not move it.
        maps = np.linalg.pinv(sums[..., :3], hermitian=True) @ sums[..., 3:]
        predicted = (source[:, None, :] @ np.repeat(maps, counts, axis=0))[:, 0]
        residuals = np.linalg.norm(predicted - target, axis=1)
        weights = 1 / np.maximum(residuals, _SMALLEST_PX)
    return residuals
