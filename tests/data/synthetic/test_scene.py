from __future__ import annotations

import numpy as np

from hdnet.data.synthetic.generate import SyntheticSpec, _Stage
from hdnet.data.synthetic.motion import draw_still
from hdnet.data.synthetic.person import pose_person
from hdnet.data.synthetic.render import Scene, pixel_directions, project_points
from hdnet.data.synthetic.scene import draw_view
from hdnet.geometry import Camera


def test_rays_hit_where_the_camera_projects() -> None:
    """The stored camera maps ray-cast points back onto the pixels they were cast from."""
    for camera in (Camera.centred(320.0), Camera.reference()):
        x, y = np.array([30.0, 128.0, 200.0]), np.array([20.0, 100.0, 250.0])
        wall = np.array([[-90, -90, 3.0], [90, -90, 3.0], [0, 180, 5.0]])
        hits = Scene(wall, np.array([[0, 1, 2]])).cast(pixel_directions(camera, x, y))
        assert list(hits.ray) == [0, 1, 2]
        assert np.allclose(project_points(camera, hits.points()), np.stack([x, y], axis=1), atol=1e-2)
        # The wall's plane in closed form.
        expected = 3 + 2 * (hits.points()[:, 1] + 90) / 270
        assert np.allclose(hits.depth_m, expected, atol=1e-4)


def test_interpolated_normals_face_the_camera() -> None:
    wall = np.array([[-9, -9, 3.0], [9, -9, 3.0], [0, 18, 3.0]])
    hits = Scene(wall, np.array([[0, 1, 2]])).cast(
        pixel_directions(Camera.centred(), np.array([128.0]), np.array([99.0]))
    )
    away = np.tile([0.0, 0.6, 0.8], (3, 1))
    assert np.allclose(hits.shading_normals(away), [[0, -0.6, -0.8]], atol=1e-6)
    assert np.allclose(hits.facing_face_normals(), [[0, 0, -1]], atol=1e-6)


def test_occlusion_reaches_as_far_as_told() -> None:
    wall = np.array([[-9, -9, 3.0], [9, -9, 3.0], [0, 18, 3.0]])
    scene = Scene(wall, np.array([[0, 1, 2]]))
    origins, ahead = np.zeros((1, 3)), np.array([[0.0, 0.0, 1.0]])
    assert scene.occluded(origins, ahead, 3.5).all()
    assert not scene.occluded(origins, ahead, 2.5).any()
    assert not scene.occluded(origins, -ahead, 9).any()


def test_people_are_placed_inside_the_picture_in_every_frame() -> None:
    for name in ("centred", "reference"):
        stage = _Stage(SyntheticSpec(1, 0, 0, 21, camera=name), "still", 0)  # type: ignore[arg-type]
        poses = [draw_still(stage.rng["pose"]) for _ in range(3)]
        people = [(pose_person(stage.person, pose), pose.yaw_deg) for pose in poses]
        view = draw_view(stage.rng["camera"], stage.camera, people)
        for posed, yaw in people:
            pixels = project_points(stage.camera, view.points(posed, yaw)[0])
            assert pixels.min() > 0
            assert pixels.max() < 255
            assert posed.vertices[:, 2].min() == 0
