"""Disagreement of two depth maps of one moving person, over matched points of the body.

Video has no true depth, but body parts are nearly rigid: the points of a part keep their distances from frame to frame.
These metrics measure how far a model violates that. They do not show that the depth is right, since a flat plane is
rigid, too: read them beside those of the baselines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hdnet.errors import DataError, ModelError
from hdnet.geometry import Camera, fit_rigid

# Median depth of a person in the data; the distance to which depth maps are scaled.
DISTANCE_M = 4.0

WARP_RESIDUAL = "warp_residual_mm"
# Of neighbouring frames only.
STABILITY_TITLES = {
    "depth_change_mm": "depth change, parts moved (mm)",
    "depth_change_shift_mm": "depth change, picture shifted (mm)",
    "median_change_mm": "change of the median (mm)",
}
STABILITY_METRICS = tuple(STABILITY_TITLES)
SEQUENCE_METRICS = (WARP_RESIDUAL, *STABILITY_METRICS)


@dataclass(frozen=True, eq=False)
class DepthView:
    """Depth of one frame by a model or baseline.

    Attributes:
        depth_m: (H, W) z in metres.
        mask: (H, W) bool, True on the person.
        camera: Camera of the frame.
    """

    depth_m: np.ndarray
    mask: np.ndarray
    camera: Camera


def inside_both(rows: np.ndarray, mask_i: np.ndarray, mask_j: np.ndarray) -> np.ndarray:
    """The matches (N, 5) with both ends on the person; depth elsewhere is unsupervised (docs/parity.md, 32)."""
    r1, c1, r2, c2 = (rows[:, 1:].astype(np.int64) - 1).T
    kept: np.ndarray = rows[mask_i[r1, c1] & mask_j[r2, c2]]
    return kept


def pair_metrics(view_i: DepthView, view_j: DepthView, rows: np.ndarray) -> dict[str, float]:
    """Disagreement of two frames, in millimetres at a distance of 4 m, means over the matches in float64.

    Depth from one picture has no scale, and a map near 0 m would agree with anything: both maps are first scaled by one
    factor, to a mean of their two medians over the masks of 4 m. A rigid body stays rigid.

    Args:
        view_i: Frame i.
        view_j: Frame j.
        rows: (N, 5) matches with both ends inside the masks: part, row and column in i, row and column in j, 1-based.

    Returns:
        ``warp_residual_mm``: distance between a point of j and its match of i after the best rigid motion (rotation and
        translation by least squares, one for each body part) of i onto j, as in the warp loss.
        ``depth_change_mm``: the component of that residual along z. 0 for a perfect estimate of rigid parts.
        ``depth_change_shift_mm``: |z_j - z_i| after the whole of i was shifted to the median over the mask of j. It
        contains the true motion of the limbs, so that no estimate reaches 0; it needs no rigid parts.
        ``median_change_mm``: that shift, the change of the picture as a whole.

    Raises:
        DataError: There is no match, or a mask is empty.
        ModelError: A depth is not finite, or the median depth is not above 0.
    """
    if len(rows) == 0:
        raise DataError("the two frames have no match inside both masks")
    median_i, median_j = _median(view_i), _median(view_j)
    scale = 2 * DISTANCE_M / (median_i + median_j)
    places = rows[:, 1:].astype(np.int64) - 1
    points_i = scale * _points(view_i, places[:, 0], places[:, 1])
    points_j = scale * _points(view_j, places[:, 2], places[:, 3])
    residual = part_residuals(points_i, points_j, rows[:, 0])
    shift = scale * (median_j - median_i)
    metres = {
        WARP_RESIDUAL: np.linalg.norm(residual, axis=1).mean(),
        "depth_change_mm": np.abs(residual[:, 2]).mean(),
        "depth_change_shift_mm": np.abs(points_j[:, 2] - points_i[:, 2] - shift).mean(),
        "median_change_mm": abs(shift),
    }
    return {name: float(value * 1000) for name, value in metres.items()}


def part_residuals(points_i: np.ndarray, points_j: np.ndarray, part: np.ndarray) -> np.ndarray:
    """(N, 3) residual between points i, moved by the best rigid motion of their part, and points j.

    Args:
        points_i: (N, 3) in metres.
        points_j: (N, 3) the same points of the body in frame j.
        part: (N,) body part of each.
    """
    numbers, place = np.unique(part, return_inverse=True)
    # All parts in one fit: every part has all points, those of the others with weight 0.
    is_of_part = torch.from_numpy(place == np.arange(len(numbers))[:, None]).double()
    moved, target = (torch.from_numpy(points).expand(len(numbers), -1, -1) for points in (points_i, points_j))
    rotations, translations = (motion.numpy()[place] for motion in fit_rigid(moved, target, is_of_part))
    residual: np.ndarray = (rotations @ points_i[..., None])[..., 0] + translations - points_j
    return residual


def _median(view: DepthView) -> float:
    if not view.mask.any():
        raise DataError("mask is empty, there is nothing to measure")
    depth_m = view.depth_m[view.mask]
    if not np.isfinite(depth_m).all():
        raise ModelError(f"predicted depth not finite at {int((~np.isfinite(depth_m)).sum())} pixels of the mask")
    median = float(np.median(depth_m))
    if median <= 0:
        raise ModelError(f"median depth is {median:.3g} m; expected one above 0")
    return median


def _points(view: DepthView, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """(N, 3) float64 camera-frame points of some pixels."""
    fx, fy, cx, cy = view.camera.pixel_intrinsics()
    z = view.depth_m[row, column].astype(np.float64)
    return np.stack([z * (column - cx) / fx, z * (row - cy) / fy, z], axis=1)
