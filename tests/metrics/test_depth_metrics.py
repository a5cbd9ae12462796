"""Tang's protocol, relief and distance, by hand and a second way."""

import numpy as np
import pytest
from metric_oracles import best_offset_mae_mm

from hdnet.errors import DataError, ModelError
from hdnet.geometry import Camera
from hdnet.metrics.depth import depth_metrics, distance_metrics, relief_metrics

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


def test_relief_by_hand():
    """The lower half 1 % too far, upright in the middle of a lens of 500 px: 5 px of relief, half of it each way."""
    camera = Camera(500.0, 500.0, 31.5, 63.5)
    mask = np.zeros((128, 64), bool)
    mask[14:114, 22:42] = True
    true = np.full((128, 64), 3.0)
    pred = true * np.where(np.arange(128) < 64, 1, 1.01)[:, None]

    found = relief_metrics(pred, true, mask, camera)

    # The median of two halves of equal size is their middle; 100 pixels tall.
    assert found["relief_mae_permille"] == pytest.approx(500 * np.log(1.01) / 2 / 100 * 1000, rel=1e-6)
    # A distance that is wrong changes nothing, nor does another lens at a distance in proportion.
    assert relief_metrics(2 * pred, true, mask, camera) == pytest.approx(found)
    # Lying, the person is as long.
    lying = relief_metrics(pred.T, true.T, mask.T, Camera(500.0, 500.0, 63.5, 31.5))
    assert lying == pytest.approx(found)


def test_relief_at_the_edge_of_the_picture_agrees_with_the_solid_angle():
    chance = np.random.default_rng(3)
    camera = Camera(180.0, 220.0, 100.0, 20.0, 4.0, 6.0, 1.25)
    mask = np.zeros((200, 160), bool)
    mask[120:190, 5:30] = chance.random((70, 25)) > 0.2
    mask[120, 5] = mask[189, 29] = True
    true, pred = (chance.uniform(2, 3, mask.shape) for _ in range(2))

    def ray(column, row):
        ray = np.array([(1.25 * column + 4 - 100) / 180, (1.25 * row + 6 - 20) / 220, 1])
        return ray / np.linalg.norm(ray)

    middle, step = (17.0, 154.5), 1e-3
    across = (ray(middle[0] + step, middle[1]) - ray(middle[0] - step, middle[1])) / (2 * step)
    down = (ray(middle[0], middle[1] + step) - ray(middle[0], middle[1] - step)) / (2 * step)
    focal_px = np.linalg.norm(np.cross(across, down)) ** -0.5
    difference = focal_px * (np.log(pred) - np.log(true))[mask]
    expected = np.abs(difference - np.median(difference)).mean() / 70 * 1000
    assert relief_metrics(pred, true, mask, camera)["relief_mae_permille"] == pytest.approx(expected, rel=1e-6)


def test_distance_by_hand():
    true, pred = np.array([[2.0, 3.0, 4.0, 9.0, 9.0]]), np.array([[2.0, 2.4, 2.4, 2.5, 2.5]])
    assert distance_metrics(pred, true, ROW)["distance_error_pct"] == pytest.approx(40)
    assert distance_metrics(2 * true, true, ROW)["distance_error_pct"] == pytest.approx(100)


def test_depths_that_cannot_be_measured_are_refused():
    true, camera = np.full((1, 5), 4.0), Camera.centred(60, 8)
    with pytest.raises(ModelError, match="not above 0 at 5 of the mask's 5 pixels"):
        relief_metrics(-true, true, ROW, camera)
    for measure in (lambda p, t, m: relief_metrics(p, t, m, camera), distance_metrics):
        with pytest.raises(DataError, match="true depth"):
            measure(true, 0 * true, ROW)
        with pytest.raises(DataError, match="empty"):
            measure(true, true, ~ROW)
        with pytest.raises(ModelError, match="not finite"):
            measure(np.nan * true, true, ROW)
