from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hdnet import losses
from hdnet.data.store.pairs import PackedPairs
from hdnet.geometry import Camera
from hdnet.params import HDNetStageParams
from hdnet.training.pair_weights import mean_weight, pair_weights, warp_terms

CAMERA = Camera.centred(40.0, 24)
GAPS = torch.tensor([0.0, 10.0, -20.0, 60.0])
TURNS = torch.tensor([0.0, -30.0, float("nan"), 90.0])


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        ("equal", [1, 1, 1, 1]),
        ("gap", [1, 2 / 3, 1 / 2, 1 / 4]),
        ("turn", [1, 1 / 2, 1 / 2, 1 / 4]),  # the third by its gap
    ],
)
def test_weights_by_rule(weighting, expected):
    found = pair_weights(GAPS, TURNS, HDNetStageParams(pair_weighting=weighting))
    assert found.tolist() == pytest.approx(expected)


@pytest.fixture
def matches():
    return SimpleMatches(["0000003", "0000010", "0000031"], [[0, 1], [1, 2], [2, 0]], [10.0, np.nan, -50.0])


class SimpleMatches(SimpleNamespace):
    def __init__(self, names, pairs, turn_deg):
        super().__init__(names=names, pairs=np.array(pairs, np.int32), turn_deg=np.array(turn_deg, np.float32))

    gap_frames = PackedPairs.gap_frames

    def __len__(self):
        return len(self.pairs)


def test_the_mean_weight_is_that_of_all_pairs(matches):
    assert matches.gap_frames.tolist() == [7, 21, -28]
    expected = np.mean([1 / (1 + 10 / 30), 1 / (1 + 21 / 20), 1 / (1 + 50 / 30)])
    assert mean_weight(matches, HDNetStageParams(pair_weighting="turn")) == pytest.approx(expected, rel=1e-6)
    assert mean_weight(matches, HDNetStageParams()) == 1
    assert mean_weight(SimpleMatches([], np.zeros((0, 2)), []), HDNetStageParams(pair_weighting="turn")) == 1


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(2)
    rows = torch.randint(1, 25, (300, 6), generator=generator)
    rows[:, 0] = rows[:, 0] % 3  # item 3 has no matches
    side = {"camera": CAMERA.as_tensor()[None].repeat(4, 1)}
    depths = [3.5 + torch.rand(4, 1, 24, 24, generator=generator, dtype=torch.float64) for _ in range(2)]
    return depths, {"i": side, "j": side, "rows": rows, "gap_frames": GAPS, "turn_deg": TURNS}


def test_defaults_are_the_original(pairs):
    depths, batch = pairs
    found = warp_terms(*depths, batch, HDNetStageParams())
    assert (found.warp_m, found.warp_px) == losses.warp(*depths, batch["rows"], CAMERA)
    assert found.pairs == 3


def test_means_of_single_pairs_add_up_to_that_of_all(pairs):
    """By ``pairs``, as several processes' do; and a single pair has its weight, too."""
    depths, batch = pairs
    settings = HDNetStageParams(pair_weighting="turn", warp_loss="huber", huber_m=0.05)
    together = warp_terms(*depths, batch, settings, mean=0.8)
    total, total_px, count, oracle = 0.0, 0.0, 0.0, []
    for b in range(4):
        rows = batch["rows"][batch["rows"][:, 0] == b].clone()
        rows[:, 0] = 0
        side = {"camera": CAMERA.as_tensor()[None]}
        one = {"i": side, "j": side, "rows": rows, "gap_frames": GAPS[b : b + 1], "turn_deg": TURNS[b : b + 1]}
        alone = warp_terms(*(depth[b : b + 1] for depth in depths), one, settings, mean=0.8)
        total += alone.pairs * alone.warp_m
        total_px += alone.pairs * alone.warp_px
        count += alone.pairs
        plain = losses.warp(*(depth[b : b + 1] for depth in depths), rows, CAMERA, robust_m=0.05)[0]
        oracle.append(plain.item() * [1, 0.5, 0.5, 0.25][b] / 0.8)
    assert together.pairs == count == 3
    assert together.warp_m.item() == pytest.approx((total / count).item(), rel=1e-9)
    assert together.warp_px.item() == pytest.approx((total_px / count).item(), rel=1e-9)
    assert together.warp_m.item() == pytest.approx(sum(oracle[:3]) / 3, rel=1e-6)


def test_no_matches_at_all(pairs):
    depths, batch = pairs
    depths = [depth.requires_grad_() for depth in depths]
    found = warp_terms(*depths, {**batch, "rows": batch["rows"][:0]}, HDNetStageParams(pair_weighting="gap"))
    (found.warp_m + found.warp_px).backward()
    assert found.warp_m == found.pairs == 0
    assert depths[0].grad.abs().max() == 0


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"pair_weighting": "near"}, "'equal', 'gap' or 'turn'"),
        ({"half_turn_deg": 0.0}, "half_turn_deg\n.*greater than 0"),
        ({"half_gap_frames": 0.0}, "half_gap_frames\n.*greater than 0"),
        ({"huber_m": -1.0}, "huber_m\n.*greater than 0"),
    ],
)
def test_bad_values_are_refused_by_name(values, named):
    with pytest.raises(ValueError, match=named):
        HDNetStageParams(**values)
