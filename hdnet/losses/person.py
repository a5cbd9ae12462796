"""Losses of the network for photographs: normals, confidence, relief, body parts, mask, scale.

Pure, masked, differentiable everywhere; 0 with a zero gradient where nothing counts. Means are over *all pixels of the
batch together* that count, so that a pixel of a small person weighs no more than one of a large person; the Dice loss
alone is per picture. Every docstring says what counts, so that means of several processes can be weighted. Formulas
are computed in the type that comes in: the heads give float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hdnet.geometry import RELIEF_UNIT_PX, masked_median

UNKNOWN = -100
"""Label of a pixel of the person without a body part."""

RELIEF_STRIDES = (1, 2, 4, 8)
# A step of the residual of this many pixels of relief a pixel counts half of its size.
_SATURATION = 3.0
# Squared length below which a predicted normal has no direction: its length counts as 1e-4.
_MIN_SQUARED = 1e-8
# Softens the slope of the angle at 0 and 180 degrees; moves a perfect prediction to 1e-3 rad, 0.06 degrees.
_MIN_SINE = 1e-3
# Pixels added to both areas of the Dice loss, against jumps for small people.
_DICE_PIXELS = 50.0


def select_pixels(mask_b1hw: Tensor, *maps_bchw: Tensor) -> tuple[Tensor, ...]:
    """Return the mask and the maps with the mask's pixels alone in a row, (1, C, 1, N), for the normal losses.

    They then cost the person's share of the picture. On a GPU, which selecting would wait for, all come back as given.
    """
    mask_b1hw = mask_b1hw.bool()
    if mask_b1hw.device.type != "cpu":
        return mask_b1hw, *maps_bchw
    place_n = mask_b1hw.flatten().nonzero()[:, 0]
    rows_cn = (map_bchw.transpose(0, 1).flatten(1).index_select(1, place_n) for map_bchw in (mask_b1hw, *maps_bchw))
    return tuple(row_cn[None, :, None] for row_cn in rows_cn)


def known_normals(target_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Find the pixels of the mask that have a true normal, (B, 1, H, W) bool: those of the three normal losses."""
    return mask_b1hw.bool() & (target_b3hw != 0).any(1, keepdim=True)


def normal_cosine(pred_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """1 - cosine of the angle between predicted and true normals.

    Args:
        pred_b3hw: Predicted normals of any length; a zero vector has the cosine 0.
        target_b3hw: True unit normals, 0 where unknown.
        mask_b1hw: True on the person.

    Returns:
        Scalar, mean over the :func:`known_normals`.
    """
    return _masked_mean(1 - _cosine(pred_b3hw, target_b3hw), known_normals(target_b3hw, mask_b1hw))


def normal_l1(pred_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Absolute difference of the components of predicted (normalised here) and true normals.

    Args:
        pred_b3hw: Predicted normals of any length.
        target_b3hw: True unit normals, 0 where unknown.
        mask_b1hw: True on the person.

    Returns:
        Scalar, mean over the :func:`known_normals` and the three components.
    """
    difference_b1hw = (_direction(pred_b3hw) - target_b3hw).abs().mean(1, keepdim=True)
    return _masked_mean(difference_b1hw, known_normals(target_b3hw, mask_b1hw))


def normal_nll(pred_b3hw: Tensor, log_kappa_b1hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Negative log-likelihood of the angle error under the predicted confidence.

    Angular von Mises-Fisher distribution (Bae, Budvytis and Cipolla, "Estimating and Exploiting the Aleatoric
    Uncertainty in Surface Normal Estimation", ICCV 2021): its density falls as exp(-kappa angle), so that

        -ln p = -ln(kappa^2 + 1) + ln(1 + exp(-kappa pi)) + kappa angle,

    without the constant ln(2 pi).

    Args:
        pred_b3hw: Predicted normals of any length.
        log_kappa_b1hw: Logarithm of the concentration kappa.
        target_b3hw: True unit normals, 0 where unknown.
        mask_b1hw: True on the person.

    Returns:
        Scalar, mean over the :func:`known_normals`; may be negative. Normals learn from it, too, unless detached.
    """
    kappa_b1hw = log_kappa_b1hw.exp()
    # ln(kappa^2 + 1) without the square, which overflows first.
    normaliser_b1hw = F.softplus(2 * log_kappa_b1hw) - F.softplus(-math.pi * kappa_b1hw)
    nll_b1hw = kappa_b1hw * _angle(_cosine(pred_b3hw, target_b3hw)) - normaliser_b1hw
    return _masked_mean(nll_b1hw, known_normals(target_b3hw, mask_b1hw))


def relief_l1(pred_b1hw: Tensor, target_b1hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Absolute difference of the relief from its median over each person: the offset is the camera's business.

    Args:
        pred_b1hw: Predicted relief, in units of 32 pixels.
        target_b1hw: True relief.
        mask_b1hw: True on the person.

    Returns:
        Scalar, mean over the mask. The median has no gradient: it moves all pixels alike, and half of them each way.
    """
    return _masked_mean(_centred(pred_b1hw, target_b1hw, mask_b1hw).abs(), mask_b1hw)


def relief_gradient(pred_b1hw: Tensor, target_b1hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Saturating difference of the relief's gradients at strides 1, 2, 4 and 8.

    Gradient matching over scales (Li and Snavely, "MegaDepth", CVPR 2018) of the residual r = predicted - true relief,
    every 2nd, 4th, 8th pixel. A step a of r, in pixels a pixel, counts a / (1 + a / 3): edges between limbs, where a
    step may be ten pixels, do not outweigh folds.

    Args:
        pred_b1hw: Predicted relief, in units of 32 pixels.
        target_b1hw: True relief.
        mask_b1hw: True on the person; a step counts where both of its pixels are.

    Returns:
        Scalar, mean over the mask, the two directions and the four strides: a step at stride s stands for s^2 pixels.
    """
    mask_b1hw = mask_b1hw.bool()
    residual_b1hw = torch.where(mask_b1hw, pred_b1hw - target_b1hw, 0)
    total = residual_b1hw.new_zeros(())
    for stride in RELIEF_STRIDES:
        residual, inside = residual_b1hw[:, :, ::stride, ::stride], mask_b1hw[:, :, ::stride, ::stride]
        for dim in (2, 3):
            both = inside.narrow(dim, 1, inside.shape[dim] - 1) & inside.narrow(dim, 0, inside.shape[dim] - 1)
            step = residual.diff(dim=dim).abs() * (RELIEF_UNIT_PX / stride)
            total = total + stride**2 * torch.where(both, step / (1 + step / _SATURATION), 0).sum()
    return total / (mask_b1hw.sum().clamp(min=1) * (2 * len(RELIEF_STRIDES)))


def part_labels(vui_b3hw: Tensor, mask_b1hw: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the parts as a body map of this size has them: 0 outside the mask, :data:`UNKNOWN` inside without a part.

    Args:
        vui_b3hw: V, U and I, 0..255, 0..255 and 0..24, at the picture's size; pixels at equal steps are taken.
        mask_b1hw: True on the person, as large.
        size: Height and width of the body map.

    Returns:
        (B, height, width) int64.

    Raises:
        ValueError: The labels are not a whole number of times as large.
    """
    part_bhw = _at_size(vui_b3hw[:, 2:], size)[:, 0].round().long()
    inside_bhw = _at_size(mask_b1hw, size)[:, 0].bool()
    return torch.where(inside_bhw, torch.where(part_bhw > 0, part_bhw, UNKNOWN), 0)


def parts_cross_entropy(logits_b25hw: Tensor, vui_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Cross entropy of the body parts.

    Outside the mask class 0 is right; inside, a pixel without a part (DensePose misses clothes and hair) is unknown.

    Args:
        logits_b25hw: Scores of no person and the 24 parts, at a quarter of the picture's size.
        vui_b3hw: V, U and I, 0..255, 0..255 and 0..24, at the picture's size.
        mask_b1hw: True on the person, at the picture's size.

    Returns:
        Scalar, mean over the pixels of which the :func:`part_labels` are not :data:`UNKNOWN`.
    """
    label_bhw = part_labels(vui_b3hw, mask_b1hw, (logits_b25hw.shape[2], logits_b25hw.shape[3]))
    total = F.cross_entropy(logits_b25hw, label_bhw, ignore_index=UNKNOWN, reduction="sum")
    return total / (label_bhw != UNKNOWN).sum().clamp(min=1)


def uv_l1(uv_b2hw: Tensor, vui_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Absolute difference of U and V.

    Args:
        uv_b2hw: Predicted U and V, 0..1, at a quarter of the picture's size.
        vui_b3hw: V, U and I, 0..255, 0..255 and 0..24, at the picture's size.
        mask_b1hw: True on the person, at the picture's size.

    Returns:
        Scalar, mean over the pixels of which the :func:`part_labels` are above 0, and over U and V.
    """
    size = (uv_b2hw.shape[2], uv_b2hw.shape[3])
    target_b2hw = _at_size(vui_b3hw, size)[:, :2].flip(1) / 255
    return _masked_mean((uv_b2hw - target_b2hw).abs().mean(1), part_labels(vui_b3hw, mask_b1hw, size) > 0)


def mask_bce(logit_b1hw: Tensor, mask_b1hw: Tensor, within_b1hw: Tensor) -> Tensor:
    """Binary cross entropy of the mask.

    Args:
        logit_b1hw: Predicted log-odds of the person.
        mask_b1hw: True on the person.
        within_b1hw: True inside the picture; beyond its edge nothing is known.

    Returns:
        Scalar, mean over the pixels within.
    """
    target_b1hw = mask_b1hw.to(logit_b1hw.dtype)
    entropy_b1hw = F.binary_cross_entropy_with_logits(logit_b1hw, target_b1hw, reduction="none")
    return _masked_mean(entropy_b1hw, within_b1hw)


def mask_dice(logit_b1hw: Tensor, mask_b1hw: Tensor, within_b1hw: Tensor) -> Tensor:
    """Dice loss of the mask: 1 - (2 |P M| + 50) / (|P| + |M| + 50), areas in pixels, P the predicted probability.

    Milletari, Navab and Ahmadi, "V-Net", 3DV 2016, with plain instead of squared areas.

    Args:
        logit_b1hw: Predicted log-odds of the person.
        mask_b1hw: True on the person.
        within_b1hw: True inside the picture.

    Returns:
        Scalar, mean over the pictures. A picture without a person counts: its loss falls with the predicted area.
    """
    within_b1hw = within_b1hw.bool()
    probability_b1hw = torch.where(within_b1hw, logit_b1hw.sigmoid(), 0)
    target_b1hw = (mask_b1hw.bool() & within_b1hw).to(logit_b1hw.dtype)
    common_b = (probability_b1hw * target_b1hw).sum((1, 2, 3))
    areas_b = probability_b1hw.sum((1, 2, 3)) + target_b1hw.sum((1, 2, 3))
    return (1 - (2 * common_b + _DICE_PIXELS) / (areas_b + _DICE_PIXELS)).mean()


def scale_l1(log_scale_b1: Tensor, target_b: Tensor) -> Tensor:
    """Absolute difference of the logarithms of pixels per metre.

    Args:
        log_scale_b1: Predicted.
        target_b: True; nan where the person's size is unknown.

    Returns:
        Scalar, mean over the pictures of known size.
    """
    known_b = target_b.isfinite()
    difference_b = log_scale_b1[:, 0] - torch.where(known_b, target_b, 0)
    return _masked_mean(difference_b.abs(), known_b)


def _direction(normals_b3hw: Tensor) -> Tensor:
    """Normalise; vectors shorter than 1e-4 grow 10^4 times, so that the gradient is finite at 0."""
    return normals_b3hw * normals_b3hw.square().sum(1, keepdim=True).clamp(min=_MIN_SQUARED).rsqrt()


def _cosine(pred_b3hw: Tensor, target_b3hw: Tensor) -> Tensor:
    return (_direction(pred_b3hw) * target_b3hw).sum(1, keepdim=True)


def _angle(cosine: Tensor) -> Tensor:
    """Angle in radians, with a finite gradient at 0 and 180 degrees, where that of acos is infinite."""
    sine = ((1 - cosine.square()).clamp(min=0) + _MIN_SINE**2).sqrt()
    return torch.atan2(sine, cosine)


def _centred(pred_b1hw: Tensor, target_b1hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    residual_b1hw = pred_b1hw - target_b1hw
    return residual_b1hw - masked_median(residual_b1hw, mask_b1hw)[:, None, None, None]


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask of the same shape is true; 0 with a zero gradient of an empty mask."""
    mask = mask.bool()
    if mask.shape != values.shape:
        raise ValueError(f"mask has shape {tuple(mask.shape)}, values {tuple(values.shape)}")
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def _at_size(map_bchw: Tensor, size: tuple[int, int]) -> Tensor:
    """Every k-th pixel of a map that is k times as large."""
    stride = map_bchw.shape[-1] // size[-1]
    taken_bchw = map_bchw[:, :, ::stride, ::stride] if stride else map_bchw
    if taken_bchw.shape[-2:] != size or map_bchw.shape[-1] != stride * size[-1]:
        found = tuple(map_bchw.shape[-2:])
        raise ValueError(f"labels are {found}, the body map is {size}; expected a whole number of times its size")
    return taken_bchw
