import numpy as np
import pytest

from hdnet.data.importing.sequences import plan_windows


def boxes_of(centre_x: np.ndarray, centre_y: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    edges = [centre_y - height / 2, centre_y + height / 2, centre_x - width / 2, centre_x + width / 2]
    return np.stack(edges, axis=1).round()


def dancer(count: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of a person of 300 x 800 pixels that walks 200 pixels, with flickering edges; frame numbers."""
    rng = np.random.default_rng(seed)
    t = np.arange(count)
    x = 300 + 200 * t / count + rng.normal(0, 6, count)
    return boxes_of(x, 500 + rng.normal(0, 4, count), 300 + rng.normal(0, 15, count), 800 + rng.normal(0, 8, count)), t


def path(windows: list) -> np.ndarray:
    """(N, 2) place of the windows' middles in the picture."""
    return np.array([(w.left + w.zoom * 127.5, w.top + w.zoom * 127.5) for w in windows])


def test_windows_of_a_shot_have_one_size_and_hold_the_person():
    boxes, numbers = dancer()
    windows = plan_windows(boxes, numbers, 0.1)
    assert len({window.zoom for window in windows}) == 1
    side = windows[0].zoom * 256
    assert side == pytest.approx(1.2 * np.quantile(boxes[:, 1] - boxes[:, 0], 0.95), rel=1e-4)
    for window, (top, bottom, left, right) in zip(windows, boxes, strict=True):
        x, y = window.places(np.array([left - 0.5, right - 0.5]), np.array([top - 0.5, bottom - 0.5]))
        assert min(x.min(), y.min()) >= -0.51
        assert max(x.max(), y.max()) <= 255.51


def test_windows_follow_without_jitter():
    boxes, numbers = dancer()
    middle = np.stack([boxes[:, 2:].mean(axis=1), boxes[:, :2].mean(axis=1)], axis=1)
    windows = path(plan_windows(boxes, numbers, 0.1))

    def jitter(places: np.ndarray) -> float:
        return float(np.abs(np.diff(places, n=2, axis=0)).mean())

    assert jitter(windows) < 0.02 * jitter(middle)
    assert np.abs(windows - middle + 0.5).max() < 40  # and stays with the walking person


def test_one_wrong_box_does_not_shrink_all_others():
    boxes, numbers = dancer()
    before = plan_windows(boxes, numbers, 0.1)[0].zoom
    boxes[50] = (0, 1080, 0, 4000)
    assert plan_windows(boxes, numbers, 0.1)[0].zoom < 1.3 * before


def test_a_raised_arm_still_fits():
    boxes, numbers = dancer()
    boxes[60:63, 0] -= 200
    windows = plan_windows(boxes, numbers, 0.1)
    for i in (60, 61, 62):
        assert windows[i].places(boxes[i, 2:], boxes[i, :2] - 0.5)[1][0] >= -0.51


def test_missing_numbers_are_time_too():
    boxes, numbers = dancer()
    kept = np.r_[0:50, 60:120]
    all_places = path(plan_windows(boxes, numbers, 0.1))[kept]
    some_places = path(plan_windows(boxes[kept], numbers[kept], 0.1))
    assert np.abs(all_places - some_places).max() < 4


def test_a_single_frame():
    (window,) = plan_windows(np.array([[100, 300, 50, 150]]), np.array([7]), 0.1)
    assert window.zoom * 256 == pytest.approx(240, abs=1e-3)
    assert path([window])[0] == pytest.approx([99.5, 199.5], abs=1e-3)
