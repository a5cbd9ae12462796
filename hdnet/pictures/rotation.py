"""Rotation of depth and normals from the camera that a network was trained in to the caller's camera."""

from __future__ import annotations

import numpy as np

from hdnet.geometry import Camera
from hdnet.pictures.crop import NETWORK_SIZE, Crop


def default_camera(model_camera: Camera, square: Crop) -> Camera:
    """Camera of the whole picture that looks at the square's centre, with the model's focal length there."""
    fx, fy, _, _ = model_camera.pixel_intrinsics()
    middle = square.zoom * (NETWORK_SIZE - 1) / 2
    return Camera(fx * square.zoom, fy * square.zoom, square.left + middle, square.top + middle)


def rotation_between(model_camera: Camera, camera: Camera, size: int = NETWORK_SIZE) -> np.ndarray:
    """The smallest rotation that takes the model camera's ray through a square's centre onto the caller's.

    Args:
        model_camera: Camera that the network was trained in.
        camera: The caller's camera of the same square.
        size: Pixels of the square along a side.

    Returns:
        (3, 3) float64; exactly the identity for equal cameras.
    """
    middle = np.array([(size - 1) / 2])
    start, end = (np.append(np.concatenate(_rays(c, middle, middle)), 1) for c in (model_camera, camera))
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    # Rodrigues' formula; both rays look forward, so they are never opposite.
    x, y, z = np.cross(start, end)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: np.ndarray = np.eye(3) + cross + cross @ cross / (1 + start @ end)
    return rotation


def rotate_maps(
    depth_m: np.ndarray, normals: np.ndarray, x: np.ndarray, y: np.ndarray, model_camera: Camera, rotation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Express depth and normals of the model's camera in the caller's: P = R (z ray), depth = P.z, normals = R n.

    Args:
        depth_m: (H, W) z in the model's camera.
        normals: (H, W, 3) in the model's camera.
        x: (W,) columns in pixels of the model camera's picture.
        y: (H,) rows likewise.
        model_camera: Camera of the network.
        rotation: (3, 3) of :func:`rotation_between`.

    Returns:
        (H, W) and (H, W, 3) in the caller's camera, float32; the same arrays where the cameras are equal.
    """
    if np.array_equal(rotation, np.eye(3)):  # the common case
        return depth_m.astype(np.float32, copy=False), normals.astype(np.float32, copy=False)
    ray_x, ray_y = _rays(model_camera, x, y)
    along = np.add.outer(rotation[2, 1] * ray_y, rotation[2, 0] * ray_x + rotation[2, 2])
    # Planes of `map_back` stay planes. A product in float64 takes three times as long as one in float32.
    planes_3n = normals.transpose(2, 0, 1).reshape(3, -1)
    turned = (rotation.astype(normals.dtype) @ planes_3n).reshape(3, *depth_m.shape).transpose(1, 2, 0)
    return (depth_m * along).astype(np.float32), turned.astype(np.float32, copy=False)


def _rays(camera: Camera, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """X and y of the rays K^-1 (x, y, 1) of columns and rows."""
    fx, fy, cx, cy = camera.pixel_intrinsics()
    return (x - cx) / fx, (y - cy) / fy
