"""Normals of a depth map against true ones: analytic balls, loops over pixels, other resolutions."""

import numpy as np
import pytest
from metric_oracles import angle_deg, normals_by_differences, normals_of_sphere

from hdnet.errors import DataError, ModelError
from hdnet.geometry import Camera
from hdnet.metrics.normals import detail_metrics

FACING = [0.0, 0.0, -1.0]


def test_mean_and_edges_against_loops_over_pixels():
    chance = np.random.default_rng(0)
    depth, true = 4 + chance.normal(0, 0.05, (2, 12, 12))
    true_normals = chance.normal(size=(12, 12, 3))
    # Only pixels with a right and an upper neighbour have a true normal, so that one rule holds for all that count.
    true_normals[0], true_normals[:, -1] = 0, 0

    found = detail_metrics(depth, true, true_normals, np.ones((12, 12)), Camera.centred(20, 12))

    ours = normals_by_differences(depth + np.median(true) - np.median(depth), 20)
    counted = [(r, c) for r in range(1, 12) for c in range(11)]
    angles = {place: angle_deg(ours[place], true_normals[place]) for place in counted}
    turns = {
        (r, c): max(
            angle_deg(true_normals[r, c], true_normals[near])
            for near in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1))
            if near in angles
        )
        for r, c in counted
    }
    limit = np.quantile(list(turns.values()), 0.75)
    assert found["detail_mean_deg"] == pytest.approx(np.mean(list(angles.values())), rel=1e-9)
    edges = [angles[place] for place in counted if turns[place] >= limit]
    assert 30 <= len(edges) <= 32
    assert found["detail_edge_deg"] == pytest.approx(np.mean(edges), rel=1e-9)


def test_a_tilted_plane_by_hand():
    # z = 4 + x: its normal is (1, 0, -1), 45 degrees off a wall that faces the camera.
    camera = Camera.centred(50, 20)
    column = np.broadcast_to(np.arange(20.0), (20, 20))
    depth = 4 / (1 - (column - 9.5) / 50)
    facing = np.broadcast_to(FACING, (20, 20, 3))

    shifted = detail_metrics(depth + 0.3, depth, facing, np.ones((20, 20)), camera)

    assert shifted["detail_mean_deg"] == pytest.approx(45, abs=1e-6)
    assert shifted["detail_edge_deg"] == pytest.approx(45, abs=1e-6)


def ball(size):
    focal_px = 1.5 * size
    return (*normals_of_sphere(size, focal_px, np.array([0.1, -0.2, 4.0]), 1.0), Camera.centred(focal_px, size))


def test_a_ball_has_its_own_normals_and_a_flat_plane_has_not():
    depth, normals, mask, camera = ball(96)

    own = detail_metrics(depth, depth, normals, mask, camera)
    flat = detail_metrics(np.full_like(depth, 4.0), depth, normals, mask, camera)

    assert own["detail_mean_deg"] < 3
    facing = [angle_deg(np.array(FACING), normals[r, c]) for r, c in np.argwhere(mask)]
    assert flat["detail_mean_deg"] == pytest.approx(np.mean(facing), abs=0.2)
    assert flat["detail_edge_deg"] > flat["detail_mean_deg"] + 10


def test_three_times_the_pixels_change_nothing():
    chance = np.random.default_rng(1)
    size = 256
    row, column = np.mgrid[:size, :size] / size
    depth = 4 + 0.2 * np.sin(9 * row) * np.cos(7 * column)
    true, normals = depth + chance.normal(0, 0.001, depth.shape), chance.normal(size=(size, size, 3))
    mask = np.hypot(row - 0.5, column - 0.5) < 0.3
    camera = Camera.centred(300, size)

    def fine(picture):
        return picture.repeat(3, axis=0).repeat(3, axis=1)

    # Pixel (1, 1) of the fine picture is pixel (0, 0) of the coarse one.
    fine_camera = Camera(900, 900, 3 * camera.cx + 1, 3 * camera.cy + 1)
    coarse = detail_metrics(depth, true, normals, mask, camera)
    assert detail_metrics(fine(depth), fine(true), fine(normals), fine(mask), fine_camera) == pytest.approx(coarse)


def test_what_has_no_normal_does_not_count():
    depth, normals = np.full((8, 8), 4.0), np.broadcast_to(FACING, (8, 8, 3)).copy()
    mask = np.zeros((8, 8), bool)
    mask[2:5, 2:5], mask[7, 7] = True, True  # the last one has no neighbour
    normals[2, 2] = 0
    normals[7, 7] = [1.0, 0, 0]

    found = detail_metrics(depth, depth, normals, mask, Camera.centred(50, 8))

    assert found["detail_mean_deg"] == pytest.approx(0, abs=1e-9)
    with pytest.raises(DataError, match="no pixel of the mask has two neighbours"):
        detail_metrics(depth, depth, normals, np.eye(8), Camera.centred(50, 8))
    with pytest.raises(ModelError, match="predicted depth not finite at 10"):
        detail_metrics(depth * np.nan, depth, normals, mask, Camera.centred(50, 8))
