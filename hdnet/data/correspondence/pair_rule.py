"""Which frames are matched with which, how, and which pairs are worth keeping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.data.correspondence.matching import FrameIndex, match_indexed, usable
from hdnet.data.layout.correspondences import Correspondences
from hdnet.data.store.pairs import Pair

# Why pairs are left out, in the order in which it is asked.
REASONS = ("few_parts", "low_overlap", "turned", "turn_unknown")


@dataclass(frozen=True)
class PairRule:
    """Which frames are matched with which, how, and which pairs are kept. The defaults are the author's rule.

    Frames that are near in time are preferred, for the warp loss has a floor that grows with the turn of the body:
    DensePose names the skin below the clothes, and from another side another point of the clothes hides the same skin.
    With perfect depth and DensePose, the loss is 11 mm below 10 degrees of turn, 18 mm at 20 to 30 and 30 mm at 60 to
    90 on synthetic dancers (``benchmarks/correspondences.py``), and 8, 15 and 34 mm at 10, 30 and 90 degrees on scans
    of dressed people: beyond about 30 degrees a pair teaches mostly that noise.

    Attributes:
        partners: Wanted partners of a frame, nearest in time; see
        :func:`hdnet.data.correspondence.matching.choose_pairs`.
        max_gap_frames: Largest difference of the frame numbers of a pair; None for any.
        max_distance: See :func:`hdnet.data.correspondence.matching.match`.
        min_matches: See there.
        mutual: See there.
        max_residual_px: See there.
        min_parts: Pairs with fewer common body parts are left out.
        min_overlap: Pairs that match a smaller share of the body pixels of frame i are left out. That share says
            little about the turn: it is 0.86 [0.82, 0.90] (median [5 %, 95 %]) below 10 degrees, 0.80 [0.65, 0.85]
            at 20 to 30 and 0.72 [0.56, 0.80] at 30 to 45. It tells what is hidden or out of the picture.
        max_turn_deg: Pairs between which the body turned farther about the upright axis are left out, and those of
            which it cannot be told; None keeps all. See :func:`hdnet.data.correspondence.body_turn.torso_turn_deg`.
    """

    partners: int = 4
    max_gap_frames: int | None = None
    max_distance: float = 7.0
    min_matches: int = 50
    mutual: bool = False
    max_residual_px: float | None = None
    min_parts: int = 5
    min_overlap: float = 0.0
    max_turn_deg: float | None = None

    def match(self, frame_i: FrameIndex, frame_j: FrameIndex) -> Correspondences:
        """Matches of two frames."""
        options = (self.max_distance, self.min_matches, self.mutual, self.max_residual_px)
        return match_indexed(frame_i, frame_j, *options)

    def why_not(self, pair: Pair) -> str | None:
        """Why a pair is left out: "few_parts", "low_overlap", "turned" or "turn_unknown"; None for one to keep."""
        if not usable(pair.matches, self.min_parts):
            return "few_parts"
        if pair.overlap < self.min_overlap:
            return "low_overlap"
        if self.max_turn_deg is None or abs(pair.turn_deg) <= self.max_turn_deg:
            return None
        return "turn_unknown" if np.isnan(pair.turn_deg) else "turned"
