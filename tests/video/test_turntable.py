"""Turning views against points whose places are known."""

from __future__ import annotations

import numpy as np
import pytest

from hdnet.video.turntable import Turntable

SIZE = 64
TABLE = Turntable(size=200, reach_m=1.0)


def plate(z_m: np.ndarray | float = 0.0):
    """A square of 0.8 m that faces the camera: points, normals, colours, inside."""
    at = np.linspace(-0.4, 0.4, SIZE)
    points = np.stack([*np.meshgrid(at, at), np.broadcast_to(z_m, (SIZE, SIZE))], axis=-1)
    normals = np.zeros((SIZE, SIZE, 3))
    normals[..., 2] = -1
    return points, normals, np.full((SIZE, SIZE, 3), (200, 40, 40), np.uint8), np.ones((SIZE, SIZE), bool)


def drawn(picture: np.ndarray) -> np.ndarray:
    """Columns and rows of the first view that are not white, as (first row, last row, first column, last column)."""
    there = (picture[:, :200] < 250).any(axis=2)
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    return np.array([rows[0], rows[-1], columns[0], columns[-1]])


def test_a_plate_is_drawn_to_scale_without_holes() -> None:
    picture = TABLE.picture(*plate(), yaw_deg=0.0, max_jump_m=0.07)
    assert picture.shape == (200, 400, 3)
    np.testing.assert_allclose(drawn(picture), [60, 140, 60, 140], atol=2)
    assert (picture[70:130, 70:130] < 250).any(axis=2).all()
    red, clay = picture[100, 100].astype(int), picture[100, 300].astype(int)
    assert red[0] > 3 * red[1]
    assert clay.min() > 0.8 * clay.max()


def test_a_turned_plate_is_narrower_and_as_high() -> None:
    picture = TABLE.picture(*plate(), yaw_deg=40.0, max_jump_m=0.07)
    first, last = 100 - 40 * np.cos(np.deg2rad(40)), 100 + 40 * np.cos(np.deg2rad(40))
    np.testing.assert_allclose(drawn(picture), [60, 140, first, last], atol=2)


def test_the_nearer_surface_hides_the_farther_one() -> None:
    points, normals, colours, inside = plate()
    points[:, SIZE // 2 :, 2] += 1.0
    colours[:, SIZE // 2 :] = (20, 20, 220)
    points[:, SIZE // 2 :, 0] -= 0.4  # the farther half, moved behind the nearer one
    picture = TABLE.picture(points, normals, colours, inside, yaw_deg=0.0, max_jump_m=0.07)
    assert picture[100, 80, 0] > picture[100, 80, 2]


def test_a_step_is_not_bridged() -> None:
    z = np.where(np.arange(SIZE) < SIZE // 2, -0.3, 0.3)
    picture = TABLE.picture(*plate(z), yaw_deg=40.0, max_jump_m=0.07)
    assert (picture[100, :200] >= 250).all(axis=1)[drawn(picture)[2] : drawn(picture)[3]].any()


def test_the_view_swings_to_both_sides() -> None:
    yaws = [TABLE.yaw_deg(t) for t in np.linspace(0, TABLE.period_s, 9)]
    assert yaws[0] == 0
    assert max(yaws) == pytest.approx(40)
    assert min(yaws) == pytest.approx(-40)


def test_of_somebody_near_a_smaller_step_ends_the_surface() -> None:
    z = np.where(np.arange(SIZE) < SIZE // 2, -0.02, 0.02)
    gaps = [
        (picture[100, :200] >= 250).all(axis=1)[drawn(picture)[2] : drawn(picture)[3]].any()
        for picture in (TABLE.picture(*plate(z), yaw_deg=40.0, max_jump_m=limit_m) for limit_m in (0.07, 0.03))
    ]
    assert gaps == [False, True]
