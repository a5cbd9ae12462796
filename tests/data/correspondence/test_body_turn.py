import numpy as np
import pytest
from turning_torso import torso

from hdnet.data.correspondence.body_turn import torso_turn_deg
from hdnet.data.correspondence.matching import FrameIndex, match_indexed


def turn(iuv_i: np.ndarray, iuv_j: np.ndarray) -> float:
    frame_i, frame_j = FrameIndex(iuv_i), FrameIndex(iuv_j)
    return torso_turn_deg(frame_i.torso, frame_j.torso, match_indexed(frame_i, frame_j).rows)


@pytest.mark.parametrize("start_deg", [-170, -100, -60, 0, 20, 80, 135, 180])
@pytest.mark.parametrize("turn_deg", [-70, -30, -10, 0, 15, 45])
def test_the_turn_of_an_elliptic_torso_is_found_from_any_side(start_deg, turn_deg):
    found = turn(torso(start_deg)[0], torso(start_deg + turn_deg)[0])
    assert found == pytest.approx(turn_deg, abs=5)


def test_thinner_and_stouter_people_are_told_apart_from_turned_ones():
    for ratio in (1.3, 1.8):
        assert turn(torso(0, ratio=ratio)[0], torso(20, ratio=ratio)[0]) == pytest.approx(20, abs=5)
        assert turn(torso(0, ratio=ratio)[0], torso(0, ratio=ratio)[0]) == pytest.approx(0, abs=0.5)


def test_moving_and_growing_is_no_turn():
    here, there = torso(25)[0], np.roll(torso(25, half_width=36.0)[0], (7, -8), axis=(0, 1))
    assert turn(here, there) == pytest.approx(0, abs=2)


@pytest.mark.parametrize(
    "chart", [lambda a: np.sin(a) / 2 + 0.5, lambda a: 0.5 - a / np.pi, lambda a: (a / np.pi + 0.5) ** 2]
)
def test_how_v_runs_over_the_torso_does_not_matter(chart):
    assert turn(torso(10, chart=chart)[0], torso(40, chart=chart)[0]) == pytest.approx(30, abs=5)


def test_half_of_the_matches_may_be_wrong_in_both_directions():
    rng = np.random.default_rng(0)
    frame_i, frame_j = FrameIndex(torso(0)[0]), FrameIndex(torso(30)[0])
    rows = match_indexed(frame_i, frame_j).rows
    bad = rng.random(len(rows)) < 0.3
    rows[bad, 3:] = rng.permutation(rows[bad, 3:])
    assert torso_turn_deg(frame_i.torso, frame_j.torso, rows) == pytest.approx(30, abs=8)


def test_it_is_unknown_without_a_torso_in_both_frames():
    front, back = FrameIndex(torso(0)[0]), FrameIndex(torso(180)[0])
    assert np.isnan(torso_turn_deg(front.torso, back.torso, match_indexed(front, back).rows))
    arm = torso(0)[0].copy()
    arm[..., 0][arm[..., 0] > 0] = 15
    limb = FrameIndex(arm)
    assert np.isnan(torso_turn_deg(limb.torso, limb.torso, match_indexed(limb, limb).rows))
    rows = match_indexed(front, front).rows
    assert np.isnan(torso_turn_deg(front.torso, front.torso, rows[:49]))
    assert torso_turn_deg(front.torso, front.torso, rows[:50]) == 0
