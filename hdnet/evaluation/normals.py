"""Angles between predicted and true normals."""

from __future__ import annotations

import numpy as np

from hdnet.errors import DataError
from hdnet.evaluation.metrics import NORMAL_METRICS
from hdnet.evaluation.pixels import ArrayLike, check_prediction, inside_of, values_in

_THRESHOLDS_DEG = (11.25, 22.5, 30.0)


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
    shares = [float((found_deg < limit).mean() * 100) for limit in _THRESHOLDS_DEG]
    return dict(zip(NORMAL_METRICS, [float(found_deg.mean()), float(np.median(found_deg)), *shares], strict=True))


def has_normal(normals: np.ndarray) -> np.ndarray:
    """(...) bool of (..., 3) vectors: whether there is one, not zero."""
    known: np.ndarray = np.linalg.norm(normals, axis=-1) > 0
    return known


def angles_deg(pred: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Angles (...) in degrees between (..., 3) vectors of any length; 90 where one of them is zero."""
    # atan2 is exact for small angles, where acos of a rounded product is not.
    sine = np.linalg.norm(np.cross(pred, true), axis=-1)
    cosine = (pred * true).sum(axis=-1)
    angle: np.ndarray = np.degrees(np.arctan2(sine, cosine))
    return np.where(has_normal(pred) & has_normal(true), angle, 90.0)
