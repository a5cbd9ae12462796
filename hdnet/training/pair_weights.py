"""Warp terms of pairs of frames: every pair alike as in the original, or weighted by distance, robust if so set."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hdnet import losses
from hdnet.data.store.pairs import PackedPairs
from hdnet.params import HDNetStageParams


class WarpTerms(NamedTuple):
    """Warp terms of a batch of pairs.

    Attributes:
        warp_m: Scalar, metres: weighted mean over the pairs that have matches, to be minimised.
        warp_px: Scalar, pixels: the same after projection.
        pairs: Scalar without gradient: number of those pairs, 0 if there are none. By it the means of several processes
            add up to the mean of all.
    """

    warp_m: Tensor
    warp_px: Tensor
    pairs: Tensor


def pair_weights(gap_frames_b: Tensor, turn_deg_b: Tensor, settings: HDNetStageParams) -> Tensor:
    """Return weights of pairs by the distance of their frames, 1 for none, (B,).

    "gap": 1 / (1 + gap / half_gap_frames). "turn": 1 / (1 + |turn| / half_turn_deg), or as "gap" where the turn is not
    known. The loss has a floor that even perfect depth leaves, because DensePose names the skin below the clothes: 8,
    15 and 34 mm at 10, 30 and 90 degrees of turn on scans of dressed people, which is about 6 mm x (1 + turn / 20
    degrees). A mean of distances is best when each is weighed by one over its spread, hence the form; the default of
    30 degrees, rather than 20, leaves more to the far pairs, whose other view of the body says more about its shape.

    Args:
        gap_frames_b: Difference of the frame numbers, of either sign.
        turn_deg_b: Turn of the body, of either sign, nan where unknown.
        settings: Stage `train_hdnet`.
    """
    by_gap_b = 1 / (1 + gap_frames_b.abs() / settings.half_gap_frames)
    if settings.pair_weighting == "equal":
        return torch.ones_like(by_gap_b)
    if settings.pair_weighting == "gap":
        return by_gap_b
    is_known_b = ~turn_deg_b.isnan()
    by_turn_b = 1 / (1 + torch.where(is_known_b, turn_deg_b, 0).abs() / settings.half_turn_deg)
    return torch.where(is_known_b, by_turn_b, by_gap_b)


def mean_weight(matches: PackedPairs, settings: HDNetStageParams) -> float:
    """Return the mean weight of all pairs of a folder; 1 if there are none."""
    if len(matches) == 0:
        return 1.0
    gaps, turns = (torch.from_numpy(np.array(one)).double() for one in (matches.gap_frames, matches.turn_deg))
    return float(pair_weights(gaps, turns, settings).mean())


def warp_terms(
    depth_i_b1hw: Tensor,
    depth_j_b1hw: Tensor,
    pairs: dict[str, Any],
    settings: HDNetStageParams,
    mean: float = 1.0,
) -> WarpTerms:
    """Return the warp terms of a batch of pairs.

    Weights are divided by their mean over the data set, and the mean over a step's pairs divides by the *number* of
    pairs: divided by their own sum, a single pair would count the same whatever its weight. Over many steps that is the
    weighted mean over the data set, for every number of pairs a step and of processes.

    Args:
        depth_i_b1hw: Depth of frames i, metres.
        depth_j_b1hw: Depth of frames j, metres.
        pairs: "rows" (M, 6), cameras in ``pairs["i"]["camera"]`` and ``pairs["j"]["camera"]``; for weights
            "turn_deg" (B,) float32, nan where unknown, and "gap_frames" (B,) float32.
        settings: Stage `train_hdnet`; ``rule: original`` lets fits reflect.
        mean: Mean weight over the data set, :func:`mean_weight`.
    """
    rows_n6, batch = pairs["rows"], len(depth_i_b1hw)
    weights_b = None
    if settings.pair_weighting != "equal":
        weights_b = pair_weights(pairs["gap_frames"], pairs["turn_deg"], settings).to(depth_i_b1hw) / mean
    warp_m, warp_px = losses.warp(
        depth_i_b1hw,
        depth_j_b1hw,
        rows_n6,
        pairs["i"]["camera"],
        settings.rule == "original",
        pairs["j"]["camera"],
        settings.huber_m if settings.warp_loss == "huber" else None,
        weights_b,
    )
    has_matches_b = losses.pairs_with_matches(rows_n6, batch)
    count = has_matches_b.sum().to(warp_m)
    if weights_b is None:
        return WarpTerms(warp_m, warp_px, count)
    factor = torch.where(has_matches_b, weights_b, 0).sum() / count.clamp(min=1)
    return WarpTerms(warp_m * factor, warp_px * factor, count)
