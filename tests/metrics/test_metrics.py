"""Metrics against cases worked out by hand and against plain float64 formulas written another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hdnet.errors import DataError, ModelError
from hdnet.metrics.depth import depth_metrics
from hdnet.metrics.normals import normal_metrics

MASK = np.ones((1, 4), bool)


def turned(angle_deg: float) -> list[float]:
    """A unit vector that far from (0, 0, -1)."""
    return [float(np.sin(np.radians(angle_deg))), 0.0, -float(np.cos(np.radians(angle_deg)))]


def test_depth_mae_by_hand() -> None:
    true = np.array([[4.0, 4.1, 4.2, 4.4]])  # median 4.15
    pred = np.array([[1.0, 1.2, 1.2, 1.5]])  # median 1.2, shifted by 2.95: 3.95 4.15 4.15 4.45

    found = depth_metrics(pred, true, MASK)

    assert found["depth_mae_mm"] == pytest.approx(50.0)


def test_scale_and_shift_are_forgiven_by_rmse_and_abs_rel() -> None:
    true = np.array([[3.0, 4.0, 4.5, 5.0]])

    found = depth_metrics(0.25 * true + 7, true, MASK)

    assert found["depth_rmse_mm"] == pytest.approx(0, abs=1e-9)
    assert found["depth_abs_rel"] == pytest.approx(0, abs=1e-12)
    assert found["depth_mae_mm"] == pytest.approx(np.abs(0.75 * (true - 4.25)).mean() * 1000)


def test_depth_metrics_agree_with_a_least_squares_solver() -> None:
    chance = np.random.default_rng(0)
    mask = chance.uniform(size=(40, 30)) < 0.6
    true = chance.uniform(3, 5, mask.shape)
    pred = np.where(mask, 0.6 * true + chance.normal(0, 0.1, mask.shape), np.nan)

    found = depth_metrics(torch.tensor(pred), torch.tensor(true), torch.tensor(mask))

    p, t = pred[mask], true[mask]
    solution, *_ = np.linalg.lstsq(np.stack([p, np.ones_like(p)], axis=1), t, rcond=None)
    aligned = solution[0] * p + solution[1]
    assert found["depth_rmse_mm"] == pytest.approx(1000 * ((aligned - t) ** 2).mean() ** 0.5, rel=1e-9)
    assert found["depth_abs_rel"] == pytest.approx((abs(aligned - t) / t).mean(), rel=1e-9)
    assert found["depth_mae_mm"] == pytest.approx(
        1000 * sum(abs(a - np.median(p) - (b - np.median(t))) for a, b in zip(p, t, strict=True)) / len(p),
        rel=1e-9,
    )


def test_constant_prediction_is_as_good_as_the_mean() -> None:
    true = np.array([[3.0, 4.0, 4.5, 5.0]])

    found = depth_metrics(np.full((1, 4), 0.1), true, MASK)

    assert found["depth_rmse_mm"] == pytest.approx(1000 * true.std())


def test_normal_metrics_by_hand() -> None:
    true = np.broadcast_to([0.0, 0, -1], (1, 4, 3))
    pred = np.array([[turned(0), turned(10), turned(20), turned(50)]]) * [[[3], [1], [0.5], [1]]]

    found = normal_metrics(pred, true, MASK)

    assert found == pytest.approx(
        {
            "normal_mean_deg": 20,
            "normal_median_deg": 15,
            "normal_below_11_25_pct": 50,
            "normal_below_22_5_pct": 75,
            "normal_below_30_pct": 75,
        }
    )


def test_normal_angles_agree_with_the_arc_cosine() -> None:
    chance = np.random.default_rng(1)
    true, pred = chance.normal(size=(2, 20, 25, 3))
    mask = chance.uniform(size=(20, 25)) < 0.5

    found = normal_metrics(pred, true, mask)

    a = pred[mask] / np.linalg.norm(pred[mask], axis=1, keepdims=True)
    b = true[mask] / np.linalg.norm(true[mask], axis=1, keepdims=True)
    angles = np.degrees(np.arccos((a * b).sum(1)))
    assert found["normal_mean_deg"] == pytest.approx(angles.mean(), rel=1e-9)
    assert found["normal_median_deg"] == pytest.approx(np.median(angles), rel=1e-9)
    assert found["normal_below_30_pct"] == pytest.approx((angles < 30).mean() * 100)


def test_zero_normals() -> None:
    true = np.array([[turned(0), [0, 0, 0], turned(0), turned(0)]])
    pred = np.array([[turned(30), turned(80), [0, 0, 0], turned(0)]])

    assert normal_metrics(pred, true, MASK)["normal_mean_deg"] == pytest.approx((30 + 90 + 0) / 3)


def test_metrics_do_not_depend_on_the_resolution() -> None:
    chance = np.random.default_rng(2)
    mask = chance.uniform(size=(16, 16)) < 0.7
    pred, true = chance.uniform(3, 5, (2, 16, 16))
    normals, true_normals = chance.normal(size=(2, 16, 16, 3))

    def fine(picture: np.ndarray) -> np.ndarray:
        return picture.repeat(3, axis=0).repeat(3, axis=1)

    assert depth_metrics(fine(pred), fine(true), fine(mask)) == pytest.approx(depth_metrics(pred, true, mask))
    assert normal_metrics(fine(normals), fine(true_normals), fine(mask)) == pytest.approx(
        normal_metrics(normals, true_normals, mask)
    )


def test_unusable_numbers_are_named() -> None:
    depth, normals = np.full((1, 4), 4.0), np.broadcast_to([0.0, 0, -1], (1, 4, 3)).copy()
    bad, bad_normals = depth.copy(), normals.copy()
    bad[0, 2], bad_normals[0, 1, 1] = np.nan, np.inf

    with pytest.raises(ModelError, match="predicted depth not finite at 1 of the mask's 4 pixels"):
        depth_metrics(bad, depth, MASK)
    with pytest.raises(ModelError, match="predicted normals not finite at 1 of"):
        normal_metrics(bad_normals, normals, MASK)
    with pytest.raises(DataError, match="true depth is not finite"):
        depth_metrics(depth, bad, MASK)
    with pytest.raises(DataError, match="true depth is not finite and above 0"):
        depth_metrics(depth, depth * 0, MASK)
    with pytest.raises(DataError, match="true normals are not finite"):
        normal_metrics(normals, bad_normals, MASK)
    with pytest.raises(DataError, match="no pixel of the mask has a true normal"):
        normal_metrics(normals, normals * 0, MASK)
    with pytest.raises(DataError, match="mask is empty"):
        depth_metrics(depth, depth, ~MASK)
    with pytest.raises(ValueError, match=r"picture has shape \(3, 1, 4\), mask \(1, 4\)"):
        normal_metrics(np.zeros((3, 1, 4)), normals, MASK)
