from __future__ import annotations

import numpy as np

from hdnet.geometry import Camera
from hdnet.synthetic.rendering.rays import Scene, pixel_directions, project_points

WALL = np.array([[-9, -9, 3.0], [9, -9, 3.0], [0, 18, 3.0]])
FACES = np.array([[0, 1, 2]])


def test_rays_hit_where_the_camera_projects() -> None:
    """The stored camera maps ray-cast points back onto the pixels they were cast from."""
    for camera in (Camera.centred(320.0), Camera.reference()):
        x, y = np.array([30.0, 128.0, 200.0]), np.array([20.0, 100.0, 250.0])
        wall = np.array([[-90, -90, 3.0], [90, -90, 3.0], [0, 180, 5.0]])
        hits = Scene(wall, FACES).cast(pixel_directions(camera, x, y))
        assert list(hits.ray) == [0, 1, 2]
        assert np.allclose(project_points(camera, hits.points()), np.stack([x, y], axis=1), atol=1e-2)
        # The wall's plane in closed form.
        expected = 3 + 2 * (hits.points()[:, 1] + 90) / 270
        assert np.allclose(hits.depth_m, expected, atol=1e-4)


def test_interpolated_normals_face_the_camera() -> None:
    hits = Scene(WALL, FACES).cast(pixel_directions(Camera.centred(), np.array([128.0]), np.array([99.0])))
    away = np.tile([0.0, 0.6, 0.8], (3, 1))
    assert np.allclose(hits.shading_normals(away), [[0, -0.6, -0.8]], atol=1e-6)
    assert np.allclose(hits.facing_face_normals(), [[0, 0, -1]], atol=1e-6)


def test_occlusion_reaches_as_far_as_told() -> None:
    scene = Scene(WALL, FACES)
    origins, ahead = np.zeros((1, 3)), np.array([[0.0, 0.0, 1.0]])
    assert scene.occluded(origins, ahead, 3.5).all()
    assert not scene.occluded(origins, ahead, 2.5).any()
    assert not scene.occluded(origins, -ahead, 9).any()


def test_hits_are_chosen_joined_and_renumbered() -> None:
    camera = Camera.centred()
    hits = Scene(WALL, FACES).cast(pixel_directions(camera, np.array([1.0, 2.0, 3.0]), np.array([5.0, 5.0, 5.0])))
    again = hits.chosen(np.array([2, 0])).joined(hits.chosen(np.array([1]))).renumbered(np.array([10, 20, 30]))
    assert list(again.ray) == [30, 10, 20]
    assert np.allclose(again.directions, hits.directions[[2, 0, 1]])


def test_pixels_are_farther_apart_on_slopes() -> None:
    slope = np.array([[-9, -9, 0.5], [9, -9, 0.5], [0, 18, 30.0]])
    ray = pixel_directions(Camera.centred(100.0), np.array([127.5]), np.array([127.5]))
    frontal, inclined = (Scene(wall, FACES).cast(ray) for wall in (WALL, slope))
    assert np.allclose(frontal.pixel_m(Camera.centred(100.0)), 0.03)
    assert inclined.pixel_m(Camera.centred(100.0))[0] > inclined.depth_m[0] / 100 * 1.1
