"""Pairs of frames compared otherwise than the original does: by weight, robustly. All of it is an option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hdnet import losses
from hdnet.data.store.pairs import PackedPairs
from hdnet.training.hooks import WarpTerms

Batch = dict[str, Any]
PairRule = Literal["equal", "gap", "turn"]
RULES: tuple[PairRule, ...] = ("equal", "gap", "turn")


@dataclass(frozen=True)
class PairExtras:
    """How the warp loss treats pairs and residuals; the defaults are the original's.

    Attributes:
        weighting: "equal"; "gap", by the frames that lie between; or "turn", by the turn of the body where it is known
            and by the frames elsewhere. See :func:`pair_weights`.
        half_gap_frames: Difference of the frame numbers at which a pair counts half.
        half_turn_deg: Turn of the body at which a pair counts half.
        robust_m: See :func:`hdnet.losses.warp`; None is off.
    """

    weighting: PairRule = "equal"
    half_gap_frames: float = 20.0
    half_turn_deg: float = 30.0
    robust_m: float | None = None

    def __post_init__(self) -> None:
        if self.weighting not in RULES:
            raise ValueError(f"weighting is {self.weighting!r}; expected one of {', '.join(RULES)}")
        for name in ("half_gap_frames", "half_turn_deg", "robust_m"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; expected a number above 0")

    @property
    def is_off(self) -> bool:
        """Whether pairs are compared as in the original."""
        return self.weighting == "equal" and self.robust_m is None


def pair_weights(gap_frames_b: Tensor, turn_deg_b: Tensor, extras: PairExtras) -> Tensor:
    """Weights of pairs by how far apart their frames are, 1 for none, (B,).

    "gap": 1 / (1 + gap / half_gap_frames). "turn": 1 / (1 + |turn| / half_turn_deg), or as "gap" where the turn is not
    known. The loss has a floor that even perfect depth leaves, because DensePose names the skin below the clothes: 8,
    15 and 34 mm at 10, 30 and 90 degrees of turn on scans of dressed people
    (:class:`hdnet.params.CorrespondParams`),
    which is about 6 mm x (1 + turn / 20 degrees). A mean of distances is best when each is weighed by one over its
    spread, hence the form; the default of 30 degrees, rather than 20, leaves more to the far pairs, whose other view
    of the body says more about its shape.

    Args:
        gap_frames_b: Difference of the frame numbers, of either sign.
        turn_deg_b: Turn of the body, of either sign, nan where unknown.
        extras: The rule.
    """
    by_gap_b = 1 / (1 + gap_frames_b.abs() / extras.half_gap_frames)
    if extras.weighting == "equal":
        return torch.ones_like(by_gap_b)
    if extras.weighting == "gap":
        return by_gap_b
    is_known_b = ~turn_deg_b.isnan()
    by_turn_b = 1 / (1 + torch.where(is_known_b, turn_deg_b, 0).abs() / extras.half_turn_deg)
    return torch.where(is_known_b, by_turn_b, by_gap_b)


def gap_frames(matches: PackedPairs) -> np.ndarray:
    """Difference of the frame numbers, j - i, of every pair, (N,) float32: what a data set puts beside the rows."""
    numbers = np.array([int(name) for name in matches.names], dtype=np.int64)
    places = np.asarray(matches.pairs)
    return np.asarray((numbers[places[:, 1]] - numbers[places[:, 0]]).astype(np.float32))


def mean_weight(matches: PackedPairs, extras: PairExtras) -> float:
    """Mean weight of all pairs of a folder; 1 if there are none."""
    if len(matches) == 0:
        return 1.0
    gaps, turns = (torch.from_numpy(np.array(one)).double() for one in (gap_frames(matches), matches.turn_deg))
    return float(pair_weights(gaps, turns, extras).mean())


class PairLoss:
    """Warp terms of weighted pairs; see :class:`hdnet.training.hooks.PairComparison`.

    Weights are divided by their mean over the data set, and the mean over a step's pairs divides by the *number* of
    pairs: divided by their own sum, a single pair would count the same whatever its weight. Over many steps that is the
    weighted mean over the data set, for every number of pairs a step and of processes.

    Args:
        extras: The rule.
        mean: Mean weight over the data set, :func:`mean_weight`.
    """

    def __init__(self, extras: PairExtras, mean: float = 1.0) -> None:
        self.extras = extras
        self.mean = mean

    def __call__(self, depth_i_b1hw: Tensor, depth_j_b1hw: Tensor, pairs: Batch, allow_reflection: bool) -> WarpTerms:
        """Terms of a batch of pairs; ``weight`` is the number of pairs that have matches."""
        rows_n6, batch = pairs["rows"], len(depth_i_b1hw)
        weights_b = None
        if self.extras.weighting != "equal":
            weights_b = pair_weights(pairs["gap_frames"], pairs["turn_deg"], self.extras).to(depth_i_b1hw) / self.mean
        warp_m, warp_px = losses.warp(
            depth_i_b1hw,
            depth_j_b1hw,
            rows_n6,
            pairs["i"]["camera"],
            allow_reflection,
            pairs["j"]["camera"],
            self.extras.robust_m,
            weights_b,
        )
        has_matches_b = losses.pairs_with_matches(rows_n6, batch)
        count = has_matches_b.sum().to(warp_m)
        if weights_b is None:
            return WarpTerms(warp_m, warp_px, count)
        factor = torch.where(has_matches_b, weights_b, 0).sum() / count.clamp(min=1)
        return WarpTerms(warp_m * factor, warp_px * factor, count)
