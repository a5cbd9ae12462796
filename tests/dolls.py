"""People of a few capsules, 256 x 256, with all that a labelled sample has: what a correct folder looks like."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from hdnet.data.layout.samples import LabelledSample, UnlabelledFrame
from hdnet.geometry import Camera

SIZE = 256
CAMERA = Camera.centred()
# Part: (start, end, radius in pixels, turning sense of V about U in DensePose's charts, x right and y down).
# The doll faces the camera, so that its right side (even numbers of the arms) is on the left of the picture.
CAPSULES = {
    9: ((112, 150), (104, 190), 12, 1),
    10: ((142, 150), (152, 190), 12, -1),
    13: ((104, 192), (100, 234), 9, 1),
    14: ((152, 192), (166, 234), 9, -1),
    2: ((127, 88), (127, 142), 24, 1),
    16: ((104, 84), (78, 112), 9, 1),
    20: ((76, 114), (64, 148), 7, 1),
    15: ((150, 84), (184, 72), 9, -1),
    19: ((187, 70), (206, 40), 7, -1),
    23: ((120, 44), (120, 54), 10, -1),
    24: ((134, 44), (134, 54), 10, -1),
}
_METRES_A_PIXEL = 4 / 314.09


def _surface(x: np.ndarray, y: np.ndarray, bump: float) -> tuple[np.ndarray, np.ndarray]:
    """(depth, part) at pixel positions; infinite depth and part 0 beside the doll."""
    nearest, part = np.full(x.shape, np.inf), np.zeros(x.shape, dtype=np.uint8)
    for number, (start, end, radius, _) in CAPSULES.items():
        along, distance = _place(x, y, start, end)
        inside = distance < radius
        height = np.sqrt(np.where(inside, radius**2 - distance**2, 0)) * _METRES_A_PIXEL
        depth = 4.1 - height + 0.15 * along * (number in (19, 15)) + bump * np.sin(x / 9) * np.cos(y / 11)
        front = inside & (depth < nearest)
        nearest, part = np.where(front, depth, nearest), np.where(front, np.uint8(number), part)
    return nearest, part


def _place(x, y, start, end):
    """(how far along a capsule, how far from its axis in pixels)."""
    (x0, y0), (x1, y1) = start, end
    length = np.hypot(x1 - x0, y1 - y0)
    along = (((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length**2).clip(0, 1)
    return along, np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))


def _points(x, y, bump):
    depth, part = _surface(x, y, bump)
    fx, fy, cx, cy = CAMERA.pixel_intrinsics()
    return np.stack([depth * (x - cx) / fx, depth * (y - cy) / fy, depth], axis=-1), part


def _normals(x, y, bump):
    """Of the surface itself, by differences far below a pixel, so that those of the depth map differ by degrees."""
    with np.errstate(invalid="ignore"):
        step = 0.02
        to_right = _points(x + step, y, bump)[0] - _points(x - step, y, bump)[0]
        to_up = _points(x, y - step, bump)[0] - _points(x, y + step, bump)[0]
        normals = np.cross(to_right, to_up)
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals


def _coordinates(x, y, part):
    """U along and V across every capsule, 0..255."""
    uv = np.zeros((*x.shape, 2))
    for number, (start, end, radius, sense) in CAPSULES.items():
        (x0, y0), (x1, y1) = start, end
        length = np.hypot(x1 - x0, y1 - y0)
        reach = length + 2 * radius
        along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length + radius
        across = sense * (-(x - x0) * (y1 - y0) + (y - y0) * (x1 - x0)) / length + radius
        here = part == number
        uv[here] = np.stack([along / reach, across / (2 * radius)], axis=-1)[here]
    return (uv * 255).clip(0, 255)


@lru_cache
def doll(name: str = "0000000", seed: int = 0) -> LabelledSample:
    """A labelled sample; the seed gives colours and folds."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    bump = 0.006 + 0.001 * (seed % 5)
    points, part = _points(x, y, bump)
    normals = _normals(x, y, bump)
    mask = (part > 0) & np.isfinite(normals).all(axis=-1)
    # DensePose ends a little inside the outline.
    iuv = np.concatenate([part[..., None], _coordinates(x, y, part)], axis=-1).astype(np.uint8)
    iuv[~ndimage.binary_erosion(mask)] = 0
    iuv[iuv[..., 0] == 0] = 0
    image = ndimage.gaussian_filter(rng.uniform(0, 255, (SIZE, SIZE, 3)), (4, 4, 0))
    image = ((image - 127) * 6 + 110).clip(10, 220).astype(np.uint8)
    return LabelledSample(
        name,
        image,
        np.where(mask[..., None], image, np.uint8(255)),
        iuv,
        mask,
        np.where(mask, points[..., 2], 0).astype(np.float32),
        np.where(mask[..., None], normals, 0).astype(np.float32),
        CAMERA,
    )


def doll_frame(name: str, sequence: str, seed: int) -> UnlabelledFrame:
    person = doll(name, seed)
    return UnlabelledFrame(name, sequence, person.image, person.white_image, person.iuv, person.mask, CAMERA)
