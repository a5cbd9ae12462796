"""Rendering of meshes."""

from __future__ import annotations

import numpy as np
import pytest

from hdnet.geometry import Camera
from hdnet.predict.mesh import Mesh, depth_to_mesh
from hdnet.predict.mesh_picture import mesh_picture


@pytest.fixture(scope="module")
def ball() -> Mesh:
    y, x = np.mgrid[:64, :64] - 31.5
    inside = 1 - (x**2 + y**2) / 28**2
    depth = 4 - 0.35 * np.sqrt(inside.clip(0))
    colours = np.zeros((64, 64, 3), np.uint8)
    colours[:, 32:, 0] = colours[:, :32, 2] = 250
    return depth_to_mesh(depth, inside > 0, Camera.centred(314.0, 64), colours, max_jump_m=1.0)


def test_mesh_picture_has_the_silhouette_without_holes(ball: Mesh) -> None:
    picture = mesh_picture(ball, 128)

    shown = (picture < 255).any(axis=2)
    y, x = np.mgrid[:128, :128] - 63.5
    radius = np.hypot(x, y)
    assert picture.shape == (128, 128, 3)
    assert shown[radius < 50].all()
    assert not shown[radius > 62].any()
    assert picture[32:96, 32:96].std() > 5  # shaded, not flat


def test_mesh_picture_shows_the_near_side_and_turns(ball: Mesh) -> None:
    front, right = (mesh_picture(ball, 96, yaw, textured=True).astype(int) for yaw in (0, 70))

    def is_red(picture: np.ndarray) -> np.ndarray:
        return (picture[..., 0] > picture[..., 2] + 50) & (picture[..., 1] < 200)

    assert is_red(front)[:, 50:].any()
    assert not is_red(front)[:, :46].any()
    blue_right = (right[..., 2] > right[..., 0] + 50).sum()
    assert is_red(right).sum() > 3 * max(1, blue_right)


def test_nearer_triangle_hides_the_farther_one() -> None:
    near = np.array([[-1, -1, 3], [-1, 1, 3], [1, -1, 3]], np.float32)
    vertices = np.concatenate([near, near + np.float32([0, 0, 1])])
    colours = np.array([[200, 0, 0]] * 3 + [[0, 0, 200]] * 3, np.uint8)

    for faces in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]):
        picture = mesh_picture(Mesh(vertices, np.array(faces, np.int32), colours), 64, textured=True)
        assert picture[20, 20, 0] > 100
        assert picture[20, 20, 2] == 0
