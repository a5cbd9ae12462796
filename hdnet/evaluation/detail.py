"""Whether a depth map holds the shape of folds and faces: its own normals against the true ones."""

from __future__ import annotations

import numpy as np
import torch

from hdnet.errors import DataError
from hdnet.evaluation.depth import shifted_to_median
from hdnet.evaluation.metrics import DETAIL_METRICS
from hdnet.evaluation.normals import angles_deg, has_normal
from hdnet.evaluation.pixels import ArrayLike, check_prediction, float64, inside_of
from hdnet.geometry import Camera, depth_to_normals

# Differences are taken over this share of the picture's longer side, one pixel of a 256 x 256 picture.
_GRID = 256
# The share of the person at which the true normal turns most counts as edges.
_EDGE_SHARE = 0.25


def detail_metrics(
    pred_m: ArrayLike, true_m: ArrayLike, true_normals: ArrayLike, mask: ArrayLike, camera: Camera
) -> dict[str, float]:
    """Angles between the normals of a predicted depth map and the true normals.

    The prediction is shifted to the true median first, since a normal depends on the distance. Neighbours are one
    256th of the picture apart, whatever its size. Pixels without a true normal, or without a neighbour in the mask
    along either axis, do not count: there is no normal to compare.

    Args:
        pred_m: (H, W) predicted depth.
        true_m: (H, W) true depth.
        true_normals: (H, W, 3).
        mask: (H, W), True where it counts.
        camera: Of the picture.

    Returns:
        ``detail_mean_deg``: mean angle in degrees.
        ``detail_edge_deg``: mean over the quarter of those pixels at which the true normal turns most towards a
        neighbour: folds, faces, and where one limb lies before another.

    Raises:
        DataError: If the mask is empty or no pixel has a normal to compare.
        ModelError: If the prediction is not finite in the mask.
    """
    inside = inside_of(mask)
    pred, true, normals = float64(pred_m), float64(true_m), float64(true_normals)
    check_prediction(pred[inside], "depth")
    shifted = np.zeros(inside.shape)
    shifted[inside] = shifted_to_median(pred[inside], true[inside])
    step = max(1, round(max(inside.shape) / _GRID))
    every = (slice(step // 2, None, step), slice(step // 2, None, step))
    inside, normals = inside[every], normals[every]
    found = _normals_of(shifted[every], inside, camera.crop(step // 2, step // 2, step))
    # Which pixels have a normal follows from the mask alone: no model can choose what it is measured on.
    usable = inside & has_normal(found) & has_normal(normals)
    if not usable.any():
        raise DataError("no pixel of the mask has two neighbours in it and a true normal")
    angle_deg, turn_deg = angles_deg(found, normals)[usable], _turn_deg(normals, usable)[usable]
    edges = turn_deg >= np.quantile(turn_deg, 1 - _EDGE_SHARE)
    values = float(angle_deg.mean()), float(angle_deg[edges].mean())
    return dict(zip(DETAIL_METRICS, values, strict=True))


def _normals_of(depth_m: np.ndarray, inside: np.ndarray, camera: Camera) -> np.ndarray:
    depth_11hw, mask_11hw = (torch.from_numpy(np.ascontiguousarray(map_hw))[None, None] for map_hw in (depth_m, inside))
    normals: np.ndarray = depth_to_normals(depth_11hw, mask_11hw, camera)[0].permute(1, 2, 0).numpy()
    return normals


def _turn_deg(normals: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """(H, W) largest angle in degrees between a pixel's normal and one of its four neighbours', 0 without any."""
    turn = np.zeros(usable.shape)
    for axis in (0, 1):
        ahead, behind = np.moveaxis(normals, axis, 0)[1:], np.moveaxis(normals, axis, 0)[:-1]
        both = np.moveaxis(usable, axis, 0)[1:] & np.moveaxis(usable, axis, 0)[:-1]
        angle = np.where(both, angles_deg(ahead, behind), 0.0)
        turned = np.moveaxis(turn, axis, 0)
        turned[1:] = np.maximum(turned[1:], angle)
        turned[:-1] = np.maximum(turned[:-1], angle)
    return turn
