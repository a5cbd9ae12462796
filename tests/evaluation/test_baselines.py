"""The blown-up silhouette against solutions on paper and a dense solver."""

import numpy as np
import pytest

from hdnet.evaluation.baselines import camera_facing_normals, flat_plane_m, inflated_silhouette, inflated_silhouette_m
from hdnet.geometry import Camera


def inflated_m(mask: np.ndarray, step_m: float) -> np.ndarray:
    """Square root of the solution of Laplace u = -2 by a dense system of equations."""
    places = [tuple(place) for place in np.argwhere(mask)]
    matrix = np.zeros((len(places), len(places)))
    for k, (row, column) in enumerate(places):
        matrix[k, k] = 4
        for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            if near in places:
                matrix[k, places.index(near)] = -1
    height = np.zeros(mask.shape)
    height[mask] = np.sqrt(np.linalg.solve(matrix, np.full(len(places), 2 * step_m**2)))
    return height


def test_it_is_what_a_dense_solver_gives():
    mask = np.random.default_rng(0).uniform(size=(9, 12)) < 0.7

    found = inflated_silhouette_m(mask, Camera.centred(40, 12), distance_m=4.0)

    assert found == pytest.approx(4 - inflated_m(mask, 4 / 40), abs=1e-12)


def test_the_middle_of_a_long_limb_is_half_a_round_cylinder():
    mask = np.zeros((200, 24), bool)
    mask[:, 2:21] = True  # 19 pixels, 0 at the 20 steps' ends: radius 10 pixels

    height_px = (4 - inflated_silhouette_m(mask, Camera.centred(100, 24))[100]) / (4 / 100)

    offset = np.arange(2, 21) - 11
    assert height_px[2:21] == pytest.approx(np.sqrt(10**2 - offset**2), rel=1e-4)
    assert (height_px[[0, 1, 21, 22, 23]] == 0).all()


def test_a_disc_is_an_ellipsoid():
    row, column = np.mgrid[:101, :101]
    mask = np.hypot(row - 50, column - 50) < 40

    height_px = (4 - inflated_silhouette_m(mask, Camera.centred(100, 101))) / (4 / 100)

    # u = (R^2 - r^2) / 2, so that the height in the middle is R / sqrt(2).
    assert height_px[50, 50] == pytest.approx(40 / np.sqrt(2), rel=0.02)


def test_pixels_need_not_be_square():
    """A limb of the same width in metres is as deep upright, where a pixel is 5 cm wide, as lying, 2.5 cm high."""
    camera = Camera(80.0, 160.0, 50.0, 50.0)
    upright, lying = np.zeros((101, 101), bool), np.zeros((101, 101), bool)
    upright[:, 46:55] = True  # 9 pixels, 0 at the 10 steps' ends: radius 5 x 5 cm
    lying[41:60] = True

    for mask in (upright, lying):
        assert 4 - inflated_silhouette_m(mask, camera)[50, 50] == pytest.approx(0.25, rel=1e-3)


def test_it_does_not_depend_on_the_resolution():
    def middle_m(size):
        row, column = (np.mgrid[:size, :size] + 0.5) / size - 0.5
        mask = (np.abs(row) < 0.4) & (np.abs(column) < 0.1)
        return 4 - inflated_silhouette_m(mask, Camera.centred(1.2 * size, size)).min()

    assert middle_m(160) == pytest.approx(middle_m(40), rel=0.2)
    assert middle_m(320) == pytest.approx(middle_m(160), rel=0.05)


def test_its_normals_look_at_the_camera_in_the_middle_and_away_at_the_sides():
    mask = np.zeros((64, 64), bool)
    mask[4:60, 22:42] = True

    depth, normals = inflated_silhouette(mask, Camera.centred(100, 64))

    assert depth.min() < 4 - 0.3
    assert normals[32, 31] == pytest.approx([0, 0, -1], abs=0.08)
    assert normals[32, 23, 0] < -0.5 < 0.5 < normals[32, 40, 0]
    assert (normals[~mask] == 0).all()


def test_plane_and_camera_facing():
    mask = np.ones((2, 3), bool)

    assert (flat_plane_m(mask, 3.5) == np.full((2, 3), 3.5)).all()
    assert (camera_facing_normals(mask) == np.broadcast_to([0, 0, -1], (2, 3, 3))).all()
