import numpy as np
import pytest
from turning_torso import torso

from hdnet.data.correspondence.body_turn import torso_turn_deg
from hdnet.data.correspondence.frames import reason_to_drop
from hdnet.data.correspondence.matching import FrameIndex, match_indexed
from hdnet.data.layout.correspondences import Correspondences
from hdnet.data.store.pairs import Pair
from hdnet.params import CorrespondParams

FIVE_PARTS = Correspondences.from_rows(np.array([[part, 1, 1, 1, 1] for part in (1, 2, 8, 9, 24)]))


@pytest.mark.parametrize(
    ("rule", "overlap", "turn_deg", "reason"),
    [
        (CorrespondParams(), 0.01, 170.0, None),
        (CorrespondParams(), 0.01, float("nan"), None),
        (CorrespondParams(min_parts=6), 1.0, 0.0, "few_parts"),
        (CorrespondParams(min_overlap=0.5), 0.49, 0.0, "low_overlap"),
        (CorrespondParams(min_overlap=0.5), 0.5, 0.0, None),
        (CorrespondParams(max_turn_deg=30), 1.0, 31.0, "turned"),
        (CorrespondParams(max_turn_deg=30), 1.0, -31.0, "turned"),
        (CorrespondParams(max_turn_deg=30), 1.0, -29.0, None),
        (CorrespondParams(max_turn_deg=30), 1.0, float("nan"), "turn_unknown"),
        (CorrespondParams(min_overlap=0.5, max_turn_deg=30), 0.1, 90.0, "low_overlap"),
    ],
)
def test_why_a_pair_is_left_out(rule, overlap, turn_deg, reason):
    assert reason_to_drop(rule, Pair("1", "2", FIVE_PARTS, overlap, turn_deg)) == reason


def test_pairs_are_kept_up_to_the_turn():
    rule = CorrespondParams(max_turn_deg=30, min_parts=1)
    frames = [FrameIndex(torso(yaw)[0]) for yaw in range(0, 90, 10)]
    kept = []
    for frame in frames:
        matches = match_indexed(frames[0], frame, rule)
        turn_deg = torso_turn_deg(frames[0].torso, frame.torso, matches.rows)
        kept.append(reason_to_drop(rule, Pair("0", "1", matches, 1.0, turn_deg)) is None)
    assert kept[:3] == [True] * 3
    assert not any(kept[4:])


def test_the_options_reach_the_matching():
    here, there = FrameIndex(torso(0)[0]), FrameIndex(torso(40)[0])
    counts = [
        len(match_indexed(here, there, CorrespondParams(**options)).rows)
        for options in ({}, {"mutual": True}, {"max_residual_px": 2.0}, {"max_distance": 3.0})
    ]
    assert all(count < counts[0] for count in counts[1:])
    assert len(match_indexed(here, there, CorrespondParams(min_matches=counts[0] + 1)).rows) == 0
