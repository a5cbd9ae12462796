"""Errors of a depth map, of which one picture determines neither distance nor size."""

from __future__ import annotations

import numpy as np
import torch

from hdnet.errors import DataError, ModelError
from hdnet.geometry import Camera, view_of
from hdnet.metrics.samples import ArrayLike, check_prediction, inside_of, values_in

# Tang et al. search the best offset this far around the median (ICCV 2019, and the HDNet paper's table).
TANG_OFFSET_M = 0.1


def depth_metrics(pred_m: ArrayLike, true_m: ArrayLike, mask: ArrayLike) -> dict[str, float]:
    """Errors of one depth map.

    Args:
        pred_m: (H, W) predicted depth.
        true_m: (H, W) true depth, above 0 inside the mask.
        mask: (H, W), True where it counts.

    Returns:
        ``depth_mae_mm``: mean absolute error after the prediction was shifted to the true median.
        ``depth_mae_tang_mm``: the same after the best further shift within 10 cm: Tang's protocol.
        ``depth_rmse_mm``: root mean square error after the best scale and shift by least squares.
        ``depth_abs_rel``: mean of |error| / true depth, after the same scale and shift.

    Raises:
        DataError: If the mask is empty or the true depth is not finite and positive in it.
        ModelError: If the prediction is not finite in the mask.
    """
    pred, true = _depths(pred_m, true_m, inside_of(mask))
    residual_m = shifted_to_median(pred, true) - true
    aligned = _least_squares(pred, true)
    return {
        "depth_mae_mm": float(np.abs(residual_m).mean() * 1000),
        "depth_mae_tang_mm": float(np.abs(residual_m - _best_offset(residual_m)).mean() * 1000),
        "depth_rmse_mm": float(np.sqrt(np.square(aligned - true).mean()) * 1000),
        "depth_abs_rel": float((np.abs(aligned - true) / true).mean()),
    }


def relief_metrics(pred_m: ArrayLike, true_m: ArrayLike, mask: ArrayLike, camera: Camera) -> dict[str, float]:
    """Error of the relief, which depends neither on the distance nor, to first order, on the focal length.

    Two reliefs of one picture differ by focal (ln predicted - ln true depth) pixels, with the focal length in pixels a
    radian about the middle of the person's box (:mod:`hdnet.geometry.relief`).

    Args:
        pred_m: (H, W) predicted depth.
        true_m: (H, W) true depth, above 0 inside the mask.
        mask: (H, W), True where it counts.
        camera: Of the picture.

    Returns:
        ``relief_mae_permille``: mean absolute difference after its median was taken off, in thousandths of the person's
        height in the picture: the longer side of the mask's box.

    Raises:
        DataError: If the mask is empty or the true depth is not finite and positive in it.
        ModelError: If the prediction is not finite and positive in the mask.
    """
    inside = inside_of(mask)
    pred, true = _depths(pred_m, true_m, inside)
    if not (pred > 0).all():
        raise ModelError(f"predicted depth is not above 0 at {int((pred <= 0).sum())} of the mask's {len(pred)} pixels")
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    size = (int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1))
    box = camera.crop(float(columns[0]), float(rows[0]), 1.0).as_tensor(torch.float64)
    difference_px = float(view_of(box[None], size).focal_b) * np.log(pred / true)
    error_px = np.abs(difference_px - np.median(difference_px)).mean()
    return {"relief_mae_permille": float(error_px / max(size) * 1000)}


def distance_metrics(pred_m: ArrayLike, true_m: ArrayLike, mask: ArrayLike) -> dict[str, float]:
    """Error of the person's distance, for predictions and truths in true metres.

    Args:
        pred_m: (H, W) predicted depth, not shifted.
        true_m: (H, W) true depth, not shifted, above 0 inside the mask.
        mask: (H, W), True where it counts.

    Returns:
        ``distance_error_pct``: difference of the median depths, in percent of the true one.

    Raises:
        DataError: If the mask is empty or the true depth is not finite and positive in it.
        ModelError: If the prediction is not finite in the mask.
    """
    pred, true = _depths(pred_m, true_m, inside_of(mask))
    return {"distance_error_pct": float(abs(np.median(pred) / np.median(true) - 1) * 100)}


def _depths(pred_m: ArrayLike, true_m: ArrayLike, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) predicted and true depth in the mask, checked."""
    pred, true = values_in(pred_m, inside), values_in(true_m, inside)
    if not (np.isfinite(true).all() and (true > 0).all()):
        raise DataError("true depth is not finite and above 0 everywhere in the mask")
    check_prediction(pred, "depth")
    return pred, true


def shifted_to_median(pred_m: np.ndarray, true_m: np.ndarray) -> np.ndarray:
    """(N,) predicted depth of a mask's pixels, shifted so that its median is the true one."""
    shifted: np.ndarray = pred_m + (np.median(true_m) - np.median(pred_m))
    return shifted


def shifted_map(pred_m: np.ndarray, true_m: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W) predicted depth, shifted to the median of the true depth in the mask; 0 outside."""
    shifted = np.zeros(mask.shape)
    shifted[mask] = shifted_to_median(pred_m[mask], true_m[mask])
    return shifted


def _best_offset(residual_m: np.ndarray) -> float:
    # The mean of |r - o| is convex in o and smallest at the median of r: no search over a grid is needed.
    return float(np.clip(np.median(residual_m), -TANG_OFFSET_M, TANG_OFFSET_M))


def _least_squares(pred: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Scale * pred + shift nearest to true; a constant prediction has no scale and becomes the true mean."""
    centred = pred - pred.mean()
    variance = float(np.square(centred).mean())
    # Rounding leaves a constant map a spread of about 1e-16 of its value.
    constant = variance <= (1e-12 * max(1.0, float(np.abs(pred).max()))) ** 2
    scale = 0.0 if constant else float((centred * (true - true.mean())).mean()) / variance
    aligned: np.ndarray = scale * centred + true.mean()
    return aligned
