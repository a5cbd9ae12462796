"""Errors of a predicted mask and of a predicted body map."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hdnet.metrics.samples import ArrayLike, float64, inside_of, values_in

# Contours count as met within this share of the picture's diagonal: DAVIS' benchmark of masks (Perazzi et al., CVPR
# 2016), there rounded up to whole pixels.
CONTOUR_TOLERANCE = 0.008


def mask_metrics(pred: ArrayLike, true: ArrayLike) -> dict[str, float]:
    """Agreement of two masks.

    Args:
        pred: (H, W), True on the predicted person.
        true: (H, W), True on the person.

    Returns:
        ``mask_iou_pct``: common area over the area of both together, in percent.
        ``mask_boundary_f_pct``: harmonic mean of the share of the predicted contour that lies near the true one, and
        of the true contour near the predicted one, in percent. Near is within 0.8 % of the picture's diagonal, rounded
        up: 3 pixels of a 256 x 256 picture. A contour consists of the mask's pixels with one of their four neighbours
        outside; the picture's edge is none. Two masks without a contour agree, one of them agrees with nothing.

    Raises:
        DataError: The true mask is empty.
        ValueError: The masks have different shapes.
    """
    true_hw = inside_of(true)
    pred_hw = float64(pred) > 0
    if pred_hw.shape != true_hw.shape:
        raise ValueError(f"masks have shapes {pred_hw.shape} and {true_hw.shape}, expected the same")
    iou = (pred_hw & true_hw).sum() / (pred_hw | true_hw).sum()
    return {"mask_iou_pct": float(100 * iou), "mask_boundary_f_pct": 100 * _boundary_f(pred_hw, true_hw)}


def body_metrics(pred_iuv: ArrayLike, true_iuv: ArrayLike, mask: ArrayLike) -> dict[str, float]:
    """Errors of a body map, over the pixels of the mask that have a true part.

    Args:
        pred_iuv: (H, W, 3) predicted part 0..24, U and V 0..255.
        true_iuv: (H, W, 3) the same of the truth; part 0 is unknown.
        mask: (H, W), True where it counts.

    Returns:
        ``part_accuracy_pct``: share of those pixels with the right part.
        ``uv_mae_pct``: mean absolute difference of U and V where the part is right, in percent of their range: another
        part's coordinates cannot be compared. Absent where no part is right; nothing at all where no part is known.

    Raises:
        DataError: The mask is empty.
    """
    inside = inside_of(mask)
    pred_n3, true_n3 = values_in(pred_iuv, inside), values_in(true_iuv, inside)
    if pred_n3.shape != true_n3.shape or pred_n3.shape[1:] != (3,):
        raise ValueError(f"expected two body maps (H, W, 3), found {tuple(pred_iuv.shape)} and {tuple(true_iuv.shape)}")
    known = true_n3[:, 0] > 0
    if not known.any():
        return {}
    right = known & (pred_n3[:, 0] == true_n3[:, 0])
    found = {"part_accuracy_pct": float(100 * right.sum() / known.sum())}
    if right.any():
        found["uv_mae_pct"] = float(100 / 255 * np.abs(pred_n3 - true_n3)[right, 1:].mean())
    return found


def _boundary_f(pred: np.ndarray, true: np.ndarray) -> float:
    ours, theirs = _contour(pred), _contour(true)
    if not (ours.any() and theirs.any()):
        return float(ours.any() == theirs.any())
    tolerance_px = np.ceil(CONTOUR_TOLERANCE * np.hypot(*true.shape))
    precision = (ndimage.distance_transform_edt(~theirs)[ours] <= tolerance_px).mean()
    recall = (ndimage.distance_transform_edt(~ours)[theirs] <= tolerance_px).mean()
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def _contour(mask: np.ndarray) -> np.ndarray:
    contour: np.ndarray = mask & ~ndimage.binary_erosion(mask, border_value=1)
    return contour
