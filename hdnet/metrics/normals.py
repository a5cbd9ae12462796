"""Angles to the true normals: of predicted normals, and of the normals of a predicted depth map."""

from __future__ import annotations

import numpy as np
import torch

from hdnet.errors import DataError
from hdnet.geometry import Camera, depth_to_normals
from hdnet.metrics.depth import shifted_map
from hdnet.metrics.samples import ArrayLike, check_prediction, float64, inside_of, values_in

# Differences are taken over this share of the picture's longer side, one pixel of a 256 x 256 picture.
_GRID = 256
# The share of the person at which the true normal turns most counts as edges.
_EDGE_SHARE = 0.25


def normal_metrics(pred: ArrayLike, true: ArrayLike, mask: ArrayLike) -> dict[str, float]:
    """Angles between predicted and true normals of one picture.

    Both are normalised first. Pixels without a true normal (a zero vector) do not count; a predicted zero
    vector counts as 90 degrees.

    Args:
        pred: (H, W, 3) predicted normals.
        true: (H, W, 3) true normals.
        mask: (H, W), True where it counts.

    Returns:
        Mean and median angle in degrees, and the share of pixels below 11.25, 22.5 and 30 degrees in percent.

    Raises:
        DataError: If no pixel of the mask has a true normal, or one is not finite.
        ModelError: If the prediction is not finite in the mask.
    """
    inside = inside_of(mask)
    pred_n3, true_n3 = values_in(pred, inside), values_in(true, inside)
    if pred_n3.ndim != 2 or pred_n3.shape[1] != 3 or pred_n3.shape != true_n3.shape:
        raise ValueError(f"expected two (H, W, 3), found {tuple(pred.shape)} and {tuple(true.shape)}")
    if not np.isfinite(true_n3).all():
        raise DataError("true normals are not finite everywhere in the mask")
    check_prediction(pred_n3, "normals")
    known = has_normal(true_n3)
    if not known.any():
        raise DataError("no pixel of the mask has a true normal, only zero vectors")
    found_deg = angles_deg(pred_n3[known], true_n3[known])
    return {
        "normal_mean_deg": float(found_deg.mean()),
        "normal_median_deg": float(np.median(found_deg)),
        "normal_below_11_25_pct": float((found_deg < 11.25).mean() * 100),
        "normal_below_22_5_pct": float((found_deg < 22.5).mean() * 100),
        "normal_below_30_pct": float((found_deg < 30).mean() * 100),
    }


def detail_metrics(
    pred_m: ArrayLike, true_m: ArrayLike, true_normals: ArrayLike, mask: ArrayLike, camera: Camera
) -> dict[str, float]:
    """Angles between the normals of a predicted depth map and the true normals: the shape of folds and faces.

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
    shifted = shifted_map(pred, true, inside)
    step = max(1, round(max(inside.shape) / _GRID))
    every = (slice(step // 2, None, step), slice(step // 2, None, step))
    inside, normals = inside[every], normals[every]
    found = normals_of_depth(shifted[every], inside, camera.crop(step // 2, step // 2, step))
    # The mask alone decides which pixels have a normal: no model can choose what it is measured on.
    usable = inside & has_normal(found) & has_normal(normals)
    if not usable.any():
        raise DataError("no pixel of the mask has two neighbours in it and a true normal")
    angle_deg, turn_deg = angles_deg(found, normals)[usable], _turn_deg(normals, usable)[usable]
    edges = turn_deg >= np.quantile(turn_deg, 1 - _EDGE_SHARE)
    return {"detail_mean_deg": float(angle_deg.mean()), "detail_edge_deg": float(angle_deg[edges].mean())}


def normals_of_depth(depth_m: np.ndarray, mask: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W, 3) normals of a depth map (H, W), 0 where there is none."""
    depth_11hw, mask_11hw = (torch.from_numpy(np.ascontiguousarray(map_hw))[None, None] for map_hw in (depth_m, mask))
    normals: np.ndarray = depth_to_normals(depth_11hw, mask_11hw, camera)[0].permute(1, 2, 0).numpy()
    return normals


def has_normal(normals: np.ndarray) -> np.ndarray:
    """(...) bool of (..., 3) vectors: whether the vector is not zero."""
    known: np.ndarray = np.linalg.norm(normals, axis=-1) > 0
    return known


def angles_deg(pred: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Angles (...) in degrees between (..., 3) vectors of any length; 90 where one of them is zero."""
    # atan2 is exact for small angles, where acos of a rounded product is not.
    sine = np.linalg.norm(np.cross(pred, true), axis=-1)
    cosine = (pred * true).sum(axis=-1)
    angle: np.ndarray = np.degrees(np.arctan2(sine, cosine))
    return np.where(has_normal(pred) & has_normal(true), angle, 90.0)


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
