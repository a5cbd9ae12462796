"""Tang's protocol by hand and against a search over offsets."""

import numpy as np
import pytest
from metric_oracles import best_offset_mae_mm

from hdnet.metrics.depth import depth_metrics

ROW = np.ones((1, 5), bool)


def test_tangs_offset_by_hand():
    true = np.full((1, 5), 4.0)
    pred = np.array([[4.0, 4.0, 4.0, 4.05, 4.3]])

    found = depth_metrics(pred, true, ROW)

    # Residuals 0 0 0 5 30 cm: their median is 0 already, so that no offset is better.
    assert found["depth_mae_mm"] == pytest.approx(70)
    assert found["depth_mae_tang_mm"] == pytest.approx(70)


def test_an_offset_that_the_median_of_the_maps_misses_is_found():
    true = np.array([[3.0, 4.0, 5.0, 6.0, 7.0]])
    residual = np.array([[0.06, 0.06, 0.0, 0.06, -0.1]])  # the medians of the maps agree, that of the residual is 6 cm

    found = depth_metrics(true + residual, true, ROW)

    assert found["depth_mae_mm"] == pytest.approx(1000 * (3 * 0.06 + 0.1) / 5)
    assert found["depth_mae_tang_mm"] == pytest.approx(1000 * (0.06 + 0.16) / 5)


def test_no_offset_beyond_ten_centimetres():
    true = np.array([[3.0, 4.0, 5.0, 6.0, 7.0]])
    residual = np.array([[0.5, 0.5, 0.0, 0.5, 0.5]])

    found = depth_metrics(true + residual, true, ROW)

    assert found["depth_mae_tang_mm"] == pytest.approx(1000 * (4 * 0.4 + 0.1) / 5)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_offset_is_that_of_a_search(seed):
    chance = np.random.default_rng(seed)
    true = chance.uniform(3, 5, (9, 11))
    pred = true + chance.exponential(0.08, true.shape)

    found = depth_metrics(pred, true, np.ones_like(true))

    assert found["depth_mae_tang_mm"] == pytest.approx(best_offset_mae_mm(pred, true), abs=1e-3)
    assert found["depth_mae_tang_mm"] <= found["depth_mae_mm"]
