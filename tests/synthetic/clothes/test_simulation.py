from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hdnet.synthetic.clothes.simulation import FRAME_S, Collider, Fabric, Sheet, drape, links
from hdnet.synthetic.surface import Surface

FLOOR = np.array([[-2.0, -2, 0], [2, -2, 0], [2, 2, 0], [-2, 2, 0]])
FLOOR_FACES = np.array([[0, 1, 2], [0, 2, 3]])


def _grid(count: int = 7, size_m: float = 0.3) -> tuple[np.ndarray, Surface]:
    x, y = np.meshgrid(*[np.linspace(-size_m / 2, size_m / 2, count)] * 2)
    points = np.stack([x.ravel(), y.ravel(), np.zeros(count * count)], axis=1)
    a = (np.arange(count - 1)[:, None] * count + np.arange(count - 1)).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + count], 1), np.stack([a + 1, a + count + 1, a + count], 1)])
    return points, Surface(faces, count * count)


def _sheet(points: np.ndarray, surface: Surface, free: np.ndarray, reach_m: float = 9.0, **fabric: float) -> Sheet:
    count = len(points)
    return Sheet(surface, points, np.ones(count), free, np.full(count, reach_m), Fabric(**fabric))


def _still(frames: int, points: np.ndarray) -> np.ndarray:
    return np.repeat(points[None], frames, axis=0)


def _floor(frames: int, height_m: float = 0.0) -> Collider:
    return Collider(_still(frames, FLOOR + np.array([0, 0, height_m])).astype(np.float32), FLOOR_FACES)


def test_links_of_two_triangles() -> None:
    edges, across = links(Surface(np.array([[0, 1, 2], [2, 1, 3]]), 4))
    assert {tuple(edge) for edge in edges} == {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)}
    assert [set(pair) for pair in across] == [{0, 3}]


def test_free_fall_without_damping_is_free_fall() -> None:
    points, surface = _grid()
    start = points + np.array([0, 0, 2.0])
    frames = 7
    moved = drape(
        _sheet(points, surface, np.ones(len(points)), damping=1.0), start, _still(frames, start), _floor(frames)
    )
    seconds = (frames - 1) * FRAME_S
    # The integrator is first order: it is one step of 1/450 s ahead.
    assert np.allclose(2 - moved[-1, :, 2], 0.5 * 9.81 * seconds**2, rtol=0.03)
    assert np.allclose(moved[-1, :, :2], points[:, :2], atol=1e-3)


def test_cloth_comes_to_rest_on_what_lies_below_at_its_thickness() -> None:
    points, surface = _grid()
    start = points + np.array([0, 0, 0.05])
    moved = drape(_sheet(points, surface, np.ones(len(points)), thickness_m=0.01), start, _still(30, start), _floor(30))
    assert np.allclose(moved[-1, :, 2], 0.01, atol=2e-3)


def test_cloth_keeps_its_size_and_hangs_from_where_it_is_pinned() -> None:
    points, surface = _grid()
    free = np.ones(len(points))
    free[:7] = 0
    start = points + np.array([0, 0, 1.0])
    moved = drape(_sheet(points, surface, free), start, _still(40, start), _floor(40))
    assert np.allclose(moved[:, :7], start[:7], atol=1e-6)
    edges, _ = links(surface)
    length = np.linalg.norm(moved[-1][edges[:, 0]] - moved[-1][edges[:, 1]], axis=1)
    rest = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    assert np.median(length / rest) == pytest.approx(1, abs=0.02)
    assert moved[-1, :, 2].min() < 1.0 - 0.25


def test_pinned_cloth_goes_with_the_body_and_carries_the_rest() -> None:
    points, surface = _grid()
    free = np.ones(len(points))
    free[:7] = 0
    targets = _still(11, points + np.array([0, 0, 1.0])) + np.linspace(0, 0.5, 11)[:, None, None] * [1.0, 0, 0]
    moved = drape(_sheet(points, surface, free), targets[0], targets, _floor(11))
    assert np.allclose(moved[-1, :7], targets[-1, :7], atol=1e-6)
    assert abs(moved[-1, :, 0].mean() - 0.5) < 0.1


def test_nothing_gets_further_astray_than_its_reach() -> None:
    points, surface = _grid()
    start = points + np.array([0, 0, 5.0])
    moved = drape(_sheet(points, surface, np.ones(len(points)), reach_m=0.1), start, _still(20, start), _floor(20))
    assert np.linalg.norm(moved[-1] - start, axis=1).max() < 0.1 + 1e-3
    assert 5 - moved[-1, :, 2].mean() == pytest.approx(0.1, abs=0.01)


def test_more_cloth_than_room_makes_folds() -> None:
    points, surface = _grid(13)
    x, y = np.abs(points[:, 0]), np.abs(points[:, 1])
    free = np.where((x > 0.149) | (y > 0.149), 0.0, 1.0)
    start = points + np.array([0, 0, 0.5])

    def height(slack: float) -> float:
        sheet = Sheet(surface, points, np.full(len(points), slack), free, np.full(len(points), 9.0), Fabric(bend=0.001))
        shaken = start + np.random.default_rng(0).normal(0, 1e-4, start.shape) * free[:, None]
        return float(drape(sheet, shaken, _still(25, start), _floor(25))[-1, :, 2].std())

    # A sheet that fits sags a little under its own weight.
    assert height(1.1) > 2 * height(1.0)


def test_the_same_input_gives_the_same_bytes() -> None:
    points, surface = _grid()
    start = points + np.array([0, 0, 0.02])
    sheet = _sheet(points, surface, np.ones(len(points)))
    first, second = (drape(sheet, start, _still(5, start), _floor(5)).tobytes() for _ in range(2))
    assert first == second


def test_a_home_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, not a folder")
    (tmp_path / "temporary").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "WARP_CACHE_PATH"}
    environment |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "home" / "cache")}
    program = "from hdnet.synthetic.clothes.kernels import array; print(array([3], int).numpy()[0])"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")
    assert not list((tmp_path / "temporary").iterdir())
