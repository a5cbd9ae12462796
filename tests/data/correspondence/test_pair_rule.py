import numpy as np
import pytest
from turning_torso import torso

from hdnet.data.correspondence.body_turn import torso_turn_deg
from hdnet.data.correspondence.matching import FrameIndex
from hdnet.data.correspondence.pair_rule import PairRule
from hdnet.data.layout.correspondences import Correspondences
from hdnet.data.store.pairs import Pair

FIVE_PARTS = Correspondences.from_rows(np.array([[part, 1, 1, 1, 1] for part in (1, 2, 8, 9, 24)]))


@pytest.mark.parametrize(
    ("rule", "overlap", "turn_deg", "reason"),
    [
        (PairRule(), 0.01, 170.0, None),
        (PairRule(), 0.01, float("nan"), None),
        (PairRule(min_parts=6), 1.0, 0.0, "few_parts"),
        (PairRule(min_overlap=0.5), 0.49, 0.0, "low_overlap"),
        (PairRule(min_overlap=0.5), 0.5, 0.0, None),
        (PairRule(max_turn_deg=30), 1.0, 31.0, "turned"),
        (PairRule(max_turn_deg=30), 1.0, -31.0, "turned"),
        (PairRule(max_turn_deg=30), 1.0, -29.0, None),
        (PairRule(max_turn_deg=30), 1.0, float("nan"), "turn_unknown"),
        (PairRule(min_overlap=0.5, max_turn_deg=30), 0.1, 90.0, "low_overlap"),
    ],
)
def test_why_a_pair_is_left_out(rule, overlap, turn_deg, reason):
    assert rule.why_not(Pair("1", "2", FIVE_PARTS, overlap, turn_deg)) == reason


def test_pairs_are_kept_up_to_the_turn():
    rule, frames = PairRule(max_turn_deg=30, min_parts=1), [FrameIndex(torso(yaw)[0]) for yaw in range(0, 90, 10)]
    kept = []
    for frame in frames:
        matches = rule.match(frames[0], frame)
        turn_deg = torso_turn_deg(frames[0].torso, frame.torso, matches.rows)
        kept.append(rule.why_not(Pair("0", "1", matches, 1.0, turn_deg)) is None)
    assert kept[:3] == [True] * 3
    assert not any(kept[4:])


def test_the_options_reach_the_matching():
    here, there = FrameIndex(torso(0)[0]), FrameIndex(torso(40)[0])
    counts = [
        len(PairRule(**options).match(here, there).rows)
        for options in ({}, {"mutual": True}, {"max_residual_px": 2.0}, {"max_distance": 3.0})
    ]
    assert all(count < counts[0] for count in counts[1:])
    assert len(PairRule(min_matches=counts[0] + 1).match(here, there).rows) == 0
