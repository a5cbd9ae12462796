"""Errors of a depth map, of which one picture determines neither distance nor size."""

from __future__ import annotations

import numpy as np

from hdnet.errors import DataError
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
    inside = inside_of(mask)
    pred, true = values_in(pred_m, inside), values_in(true_m, inside)
    if not (np.isfinite(true).all() and (true > 0).all()):
        raise DataError("true depth is not finite and above 0 everywhere in the mask")
    check_prediction(pred, "depth")
    residual_m = shifted_to_median(pred, true) - true
    aligned = _least_squares(pred, true)
    return {
        "depth_mae_mm": float(np.abs(residual_m).mean() * 1000),
        "depth_mae_tang_mm": float(np.abs(residual_m - _best_offset(residual_m)).mean() * 1000),
        "depth_rmse_mm": float(np.sqrt(np.square(aligned - true).mean()) * 1000),
        "depth_abs_rel": float((np.abs(aligned - true) / true).mean()),
    }


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
