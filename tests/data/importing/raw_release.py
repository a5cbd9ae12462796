"""A made-up raw release: a sphere before a tilted board, seen by a colour camera and, lower, by a depth sensor."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from hdnet.geometry import Camera

COLOR_SIZE, DEPTH_SIZE = (360, 640), (212, 256)
COLOR_CAMERA = Camera(355.3, 356.3, 314.7, 173.0)
DEPTH_CAMERA = Camera(182.6, 182.6, 128.7, 102.8)

_ANGLE = np.radians(1.5)
MOTION = np.array(
    [
        [np.cos(_ANGLE), 0, np.sin(_ANGLE), 0.052],
        [0, 1, 0, 0.001],
        [-np.sin(_ANGLE), 0, np.cos(_ANGLE), -0.003],
        [0, 0, 0, 1],
    ]
)
BOARD_NORMAL = np.array([0.3, -0.4, -1.0]) / np.linalg.norm([0.3, -0.4, -1.0])
_BOARD_POINT, _BOARD_HALF_M = np.array([0.0, 0.1, 2.6]), (0.32, 0.45)
_SPHERE_RADIUS_M = 0.22


def cast(camera: Camera, size: tuple[int, int], motion: np.ndarray, shift_m: float = 0.0):
    """What a camera sees, exactly.

    Args:
        camera: The camera.
        size: (H, W).
        motion: (4, 4) from the sensor's frame, in which the scene is given, to the camera's.
        shift_m: The scene is so much further right.

    Returns:
        (H, W) z in metres, 0 for nothing; (H, W) bool: the sphere; (H, W, 3) normals in the camera's frame.
    """
    rotation, translation = motion[:3, :3], motion[:3, 3]
    fx, fy, cx, cy = camera.pixel_intrinsics()
    y, x = np.mgrid[: size[0], : size[1]]
    rays = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones(size)], axis=-1) @ rotation
    eye = -rotation.T @ translation - [shift_m, 0, 0]
    board_z = ((_BOARD_POINT - eye) @ BOARD_NORMAL) / (rays @ BOARD_NORMAL)
    hit = eye + rays * board_z[..., None] - _BOARD_POINT
    board_z = np.where(
        (np.abs(hit[..., 0]) < _BOARD_HALF_M[0]) & (np.abs(hit[..., 1]) < _BOARD_HALF_M[1]), board_z, np.inf
    )
    centre = np.array([0.02, -0.05, 2.1])
    a, b, c = (rays**2).sum(-1), rays @ (eye - centre), (eye - centre) @ (eye - centre) - _SPHERE_RADIUS_M**2
    inside = b**2 - a * c
    sphere_z = np.where(inside > 0, (-b - np.sqrt(np.where(inside > 0, inside, 0))) / a, np.inf)
    z = np.minimum(board_z, sphere_z)
    seen, is_sphere = np.isfinite(z), sphere_z < board_z
    outward = (eye + rays * np.where(seen, z, 0)[..., None] - centre) / _SPHERE_RADIUS_M
    normals = np.where(is_sphere[..., None], outward, BOARD_NORMAL) @ rotation.T
    return np.where(seen, z, 0), is_sphere, np.where(seen[..., None], normals, 0)


def registration(**changes):
    """Content of ``registration.json``; a change of None drops the key."""
    content = {
        "depth_unit_m": 0.001,
        "color_camera": sized(COLOR_CAMERA, COLOR_SIZE),
        "depth_camera": sized(DEPTH_CAMERA, DEPTH_SIZE),
        "depth_to_color": MOTION[:3].tolist(),
    } | changes
    return {key: value for key, value in content.items() if value is not ...}


def sized(camera: Camera, size: tuple[int, int]) -> dict[str, float]:
    values = camera.to_dict()
    return {"width": size[1], "height": size[0]} | {key: values[key] for key in ("fx", "fy", "cx", "cy")}


def write_release(root: Path, frames=("1/0001", "1/0002", "2/0001"), motion=MOTION, **changes) -> Path:
    """Colour, depth, masks, DensePose and ``registration.json``; the scene of every frame is a little further right."""
    for number, frame in enumerate(frames):
        shift_m = 0.03 * number
        z, is_sphere, _ = cast(COLOR_CAMERA, COLOR_SIZE, motion, shift_m)
        depth_m, _, _ = cast(DEPTH_CAMERA, DEPTH_SIZE, np.eye(4), shift_m)
        y, x = np.mgrid[: COLOR_SIZE[0], : COLOR_SIZE[1]]
        mask = z > 0
        image = np.stack([x % 256, y % 256, np.where(mask, 200, 60)], axis=-1).astype(np.uint8)
        vui = np.stack([y % 256, x % 256, np.where(is_sphere, 23, 2)], axis=-1).astype(np.uint8)
        for name, pixels in (
            (f"{frame}_rgb.png", image),
            (f"{frame}_depth.png", np.round(depth_m * 1000).astype(np.uint16)),
            (f"mask/{frame}.png", mask.astype(np.uint8) * 255),
            (f"densepose/{frame}.png", np.where(mask[..., None], vui, 0).astype(np.uint8)),
        ):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / name)
    (root / "registration.json").write_text(json.dumps(registration(**changes)))
    return root
