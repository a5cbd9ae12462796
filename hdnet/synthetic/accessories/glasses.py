"""Glasses: two rims, a bridge and temples of thin tube; dark lenses for sunglasses."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hdnet.synthetic.accessories.meshes import Mesh, disc, joined, surface_of, tube
from hdnet.synthetic.accessories.skull import Skull
from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.components import Component, Rigid, Shape
from hdnet.synthetic.materials import Plain, draw_colour
from hdnet.synthetic.surface import FloatArray, IntArray

_POINTS = 22


def draw_glasses(rng: np.random.Generator, shape: Shape, skull: Skull, dark: bool) -> list[Component]:
    """Draw glasses, or sunglasses if ``dark``."""
    left, right = (shape.rest[eye].mean(0).astype(np.float64) for eye in _eyes())
    middle = (left + right) / 2
    skin = shape.rest[_front()].astype(np.float64)
    bridge_y = float(_front_of(skin, middle[0], middle[2] + 0.004, 0.008)[0])
    width, height = rng.uniform(0.022, 0.028), rng.uniform(0.015, 0.024) + 0.003 * dark
    power = rng.choice([2.0, 2.6, 4.0], p=[0.3, 0.4, 0.3])
    turn = 2 * np.pi * np.arange(_POINTS) / _POINTS
    ring_x = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / power) * width
    ring_z = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / power) * height
    thin = rng.uniform(0.0008, 0.0016) if rng.random() < 0.5 else rng.uniform(0.0016, 0.0028)
    spread = max(abs(left[0] - middle[0]), width + 0.007)
    drop = 0.002 + 0.1 * height
    meshes: list[Mesh] = []
    lenses: list[Mesh] = []
    depth = bridge_y - 0.004
    for sign in (1.0, -1.0):
        x = middle[0] + sign * (spread + ring_x)
        z = middle[2] - drop + ring_z
        # The frame bends round the face.
        y = depth + 1.6 * (x - middle[0]) ** 2
        # A rim stays before the skin behind it.
        room = _front_of(skin, x, z, 0.006) - 0.003
        outline = np.stack([x, y + min(0.0, float((room - y)[np.abs(ring_x) < 0.9 * width].min(initial=0.0))), z], 1)
        meshes.append(tube(outline, thin, 5, closed=True))
        lenses.append(disc(outline))
        meshes.append(tube(_side(skull, outline, sign, middle), thin * 0.9, 5))
    inner = [mesh[0].reshape(_POINTS, 5, 3).mean(1) for mesh in (meshes[0], meshes[2])]
    ends = [points[np.abs(points[:, 0] - middle[0]).argmin()] + [0, 0, 0.25 * height] for points in inner]
    arch = np.linspace(ends[0], ends[1], 6)
    arch[:, 2] += 0.003 * np.sin(np.linspace(0, np.pi, 6))
    meshes.append(tube(arch, thin, 5))
    frame = Plain(draw_colour(rng, 0.15) * (0.3 if rng.random() < 0.6 else 1.0), float(rng.uniform(0.3, 0.8)))
    components = [_component(joined(meshes), frame)]
    if dark:
        tint = np.array([0.012, 0.012, 0.013]) * rng.uniform(0.6, 2.5) + 0.02 * rng.random(3) * (rng.random() < 0.3)
        components.append(_component(joined(lenses), Plain(tint, 0.9)))
    return components


def _component(mesh: Mesh, material: Plain) -> Component:
    vertices, faces = mesh
    return Component("glasses", surface_of(faces, len(vertices)), Rigid(vertices, "head"), vertices, material)


def _side(skull: Skull, outline: FloatArray, sign: float, middle: FloatArray) -> FloatArray:
    """Return the path of a temple, from the outer edge of a rim to behind the ear."""
    hinge = outline[np.abs(outline[:, 0] - middle[0]).argmax()] + [0, 0, 0.006]
    column = 24 if sign > 0 else 72
    # Above the ear, which lies under the equator of the skull.
    over, _ = skull.at(np.full((1, 96), np.radians(84)))
    reach = np.abs(over[0, column - 12 : column + 12, 0]).max() + 0.004
    ear_y, ear_z = skull.centre[1] + 0.004, hinge[2] + 0.004
    return np.array(
        [
            hinge,
            [sign * max(abs(hinge[0]) + 0.004, reach * 0.97), hinge[1] + 0.012, hinge[2]],
            [sign * (reach + 0.001), (hinge[1] + ear_y) / 2, (hinge[2] + ear_z) / 2],
            [sign * reach, ear_y, ear_z],
            [sign * (reach - 0.003), ear_y + 0.018, ear_z - 0.012],
        ]
    )


def _front_of(skin: FloatArray, x: FloatArray | float, z: FloatArray | float, radius_m: float) -> FloatArray:
    """Return y of the foremost skin near places (x, z) of the face."""
    x, z = np.atleast_1d(x), np.atleast_1d(z)
    near = np.hypot(skin[:, 0] - x[:, None], skin[:, 2] - z[:, None]) < radius_m
    return np.asarray(np.where(near, skin[:, 1], 0.0).min(1))


@lru_cache(maxsize=1)
def _eyes() -> tuple[IntArray, IntArray]:
    body = canonical_body()
    used = np.unique(body_model().triangles["eyes"])
    return used[body.vertices[used, 0] > 0], used[body.vertices[used, 0] < 0]


@lru_cache(maxsize=1)
def _front() -> IntArray:
    """Return the vertices of the face."""
    body = canonical_body()
    points = body.vertices[:SKIN_VERTICES]
    head = body.joints["head"]
    return np.flatnonzero((points[:, 1] < head[1] - 0.03) & (points[:, 2] > head[2] - 0.02) & (abs(points[:, 0]) < 0.1))
