"""Sparsification and reliability: by hand, against loops, and on pixels drawn from the distribution itself."""

import math

import numpy as np
import pytest
import torch

from hdnet.errors import DataError, ModelError
from hdnet.geometry import expected_angle_deg
from hdnet.metrics.confidence import BIN_EDGES_DEG, Reliability, measure_confidence, sparsification_error


def tilted(angle_deg):
    """(..., 3) normals at these angles to the axis."""
    a = np.radians(angle_deg)
    return np.stack([np.sin(a), np.zeros_like(a), -np.cos(a)], axis=-1)


def test_sparsification_by_hand():
    """Errors 1, 2, 6 in the order of confidence 1, 6, 2: means 1, 3.5, 3 against 1, 1.5, 3."""
    assert sparsification_error(np.array([0.1, 0.3, 0.2]), np.array([1.0, 2.0, 6.0])) == pytest.approx(2 / 3)
    assert sparsification_error(np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 6.0])) == 0


def test_sparsification_agrees_with_taking_pixels_away():
    rng = np.random.default_rng(0)
    error, uncertainty = rng.gamma(2.0, 10.0, 60), rng.random(60)

    def curve(order):
        kept = list(order)  # the worst last
        means = []
        while kept:
            means.append(error[kept].mean())
            kept.pop()
        return np.array(means)

    expected = (curve(np.argsort(uncertainty)) - curve(np.argsort(error))).mean()
    assert sparsification_error(uncertainty, error) == pytest.approx(expected)
    assert sparsification_error(np.log(uncertainty), error) == pytest.approx(expected)  # only the order counts


def test_equal_confidence_counts_as_random_order():
    rng = np.random.default_rng(1)
    error, level = rng.gamma(2.0, 10.0, 50), rng.integers(0, 3, 50)
    shuffled = [sparsification_error(level + 1e-6 * rng.random(50), error) for _ in range(4000)]
    assert sparsification_error(level, error) == pytest.approx(np.mean(shuffled), rel=0.01)


def test_reliability_by_hand_and_the_sum_of_two_pictures():
    angle = np.array([[2.0, 6.0, 40.0, 90.0]])
    expected = np.array([[4.0, 4.5, 22.0, 22.0]])
    true, mask = tilted(np.zeros((1, 4))), np.ones((1, 4), bool)
    true[0, 3] = 0  # unknown

    found, _ = measure_confidence(tilted(angle), expected, true, mask)

    assert found.count.tolist() == [2, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert found.expected_deg[[0, 4]] == pytest.approx([4.25, 22])
    assert found.angle_deg[[0, 4]] == pytest.approx([4, 40])
    assert np.isnan(found.angle_deg[1])
    assert found.share[[0, 1, 4]] == pytest.approx([2 / 3, 0, 1 / 3])
    assert found.calibration_deg == pytest.approx((2 * 0.25 + 18) / 3)
    both = found + found
    assert both.count.sum() == 6
    assert both.calibration_deg == pytest.approx(found.calibration_deg)
    assert both.to_csv() == "expected_deg,angle_deg,share_pct\n4.25,4,66.6667\n22,40,33.3333\n"
    _, metrics = measure_confidence(tilted(angle), expected, true, mask)
    assert metrics == {"confidence_ause_deg": 0.0, "confidence_calibration_deg": pytest.approx(18.5 / 3)}


def test_every_angle_has_its_bin():
    edges = np.array(BIN_EDGES_DEG)
    expected = np.array([*(edges[:-1] + 0.01), 90.0, 180.0, 200.0])[None]
    found, _ = measure_confidence(
        tilted(np.zeros_like(expected)), expected, tilted(np.zeros_like(expected)), expected > 0
    )
    assert found.count.tolist() == [1] * 9 + [4]


def test_angles_drawn_from_the_distribution_are_calibrated():
    """Angles of density exp(-kappa angle) sin(angle): the bins' means are the expected ones, and the order helps."""
    rng = np.random.default_rng(2)
    kappa = np.broadcast_to(np.exp(np.linspace(0, 4, 10))[:, None], (10, 4000))
    grid, angle = np.linspace(0, math.pi, 4001), []
    for one in kappa[:, 0]:  # by inverting the cumulative distribution
        cumulative = (np.exp(-one * grid) * np.sin(grid)).cumsum()
        angle.append(np.interp(rng.random(4000), cumulative / cumulative[-1], grid))
    expected = expected_angle_deg(torch.tensor(kappa)).numpy()
    pred, true = tilted(np.degrees(angle)), tilted(np.zeros_like(kappa))

    found, _ = measure_confidence(pred, expected, true, np.ones_like(kappa, bool))

    many = found.count > 2000
    assert many.sum() >= 5
    np.testing.assert_allclose(found.angle_deg[many], found.expected_deg[many], rtol=0.05)
    assert found.calibration_deg < 0.6
    _, right = measure_confidence(pred, expected, true, expected > 0)
    _, wrong = measure_confidence(pred, 90 - expected, true, expected > 0)
    _, none = measure_confidence(pred, np.full_like(expected, expected.mean()), true, expected > 0)
    assert right["confidence_ause_deg"] < none["confidence_ause_deg"] < wrong["confidence_ause_deg"]
    assert none["confidence_calibration_deg"] < 1  # right on average, which is all that it says
    assert wrong["confidence_calibration_deg"] > 20


def test_unusable_input_is_refused():
    pred, mask = tilted(np.zeros((2, 2))), np.ones((2, 2), bool)
    expected = np.full((2, 2), 20.0)
    with pytest.raises(DataError, match="only zero vectors"):
        measure_confidence(pred, expected, 0 * pred, mask)
    with pytest.raises(DataError, match="empty"):
        measure_confidence(pred, expected, pred, ~mask)
    with pytest.raises(ModelError, match="confidence not finite at 4"):
        measure_confidence(pred, np.full((2, 2), np.nan), pred, mask)
    with pytest.raises(ModelError, match="normals not finite"):
        measure_confidence(pred + np.inf, expected, pred, mask)


def test_no_pixels_at_all():
    none = Reliability(*(np.zeros(len(BIN_EDGES_DEG) - 1) for _ in range(3)))
    assert none.calibration_deg == 0
    assert none.to_csv() == "expected_deg,angle_deg,share_pct\n"
