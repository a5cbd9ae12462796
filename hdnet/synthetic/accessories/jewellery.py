"""Jewellery: earrings, chains, bracelets and watches."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from hdnet.synthetic.accessories.meshes import Mesh, ball, grid_faces, joined, surface_of, tube
from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.components import Component, Rigid, Shape, Skinned
from hdnet.synthetic.materials import Plain, draw_colour
from hdnet.synthetic.surface import IntArray, normalized

_METALS = np.array([[0.75, 0.55, 0.22], [0.62, 0.62, 0.64], [0.70, 0.42, 0.32]])
# Clothes lie between the chest and a chain worn over them.
_CHAIN_ROOM_M = 0.006


def draw_jewellery(rng: np.random.Generator, shape: Shape) -> tuple[Component, ...]:
    """Draw jewellery: earrings for a third of women and few men, some chains, a wrist piece for one in four."""
    woman = shape.phenotype.gender > 0.5
    components: list[Component] = []
    if rng.random() < (0.35 if woman else 0.04):
        components += _earrings(
            rng, shape, str(rng.choice(["stud", "hoop", "drop"], p=[0.4, 0.4, 0.2]) if woman else "stud")
        )
    if rng.random() < (0.16 if woman else 0.07):
        components.append(_chain(rng, shape))
    if rng.random() < 0.25:
        components += _on_wrist(rng, shape, str(rng.choice(["L", "R"], p=[0.75, 0.25])))
    return tuple(components)


def _metal(rng: np.random.Generator) -> Plain:
    return Plain(_METALS[rng.choice(3, p=[0.5, 0.4, 0.1])] * rng.uniform(0.8, 1.1), float(rng.uniform(0.7, 1.0)))


def _component(name: str, mesh: Mesh, bone: str, material: Plain) -> Component:
    vertices, faces = mesh
    return Component(name, surface_of(faces, len(vertices)), Rigid(vertices, bone), vertices, material)


def _earrings(rng: np.random.Generator, shape: Shape, kind: str) -> list[Component]:
    size = float(rng.uniform(0.006, 0.024))
    metal = _metal(rng)
    components = []
    for lobe, sign in zip(_lobes(), (1.0, -1.0), strict=True):
        at = shape.rest[lobe].mean(0).astype(np.float64) + np.array([sign * 0.003, 0, -0.001])
        turn = np.linspace(0, 2 * np.pi, 18, endpoint=False)
        if kind == "stud":
            mesh = ball(at, 0.0032, 6, 8)
        elif kind == "hoop":
            ring = np.stack([np.zeros(18), np.sin(turn), np.cos(turn) - 1], axis=1) * size
            mesh = tube(at + ring, 0.0013, 5, closed=True)
        else:
            string = tube(np.linspace(at, at - [0, 0, size * 1.4], 4), 0.0009, 4)
            mesh = joined([string, ball(at - [0, 0, size * 1.4 + 0.004], np.array([0.004, 0.004, 0.006]), 6, 8)])
        components.append(_component("earrings", mesh, "head", metal))
    return components


@lru_cache(maxsize=1)
def _lobes() -> tuple[IntArray, IntArray]:
    """Return the vertices at the lower ends of both ears."""
    body = canonical_body()
    points, head = body.vertices[:SKIN_VERTICES], body.joints["head"]
    result = []
    for sign in (1.0, -1.0):
        ear = (sign * points[:, 0] > 0.071) & (np.abs(points[:, 2] - head[2] - 0.02) < 0.06)
        ear &= np.abs(points[:, 1] - head[1]) < 0.04
        index = np.flatnonzero(ear)
        result.append(index[np.argsort(points[index, 2])[:6]])
    return result[0], result[1]


def _chain(rng: np.random.Generator, shape: Shape) -> Component:
    """Draw a closed chain around the neck that lies on the chest, a little off the skin."""
    drop = float(rng.uniform(0.03, 0.12))
    vertices, weights_of = _neck_line()
    around = 2 * np.pi * np.arange(48) / 48
    neck = shape.joints["neck01"]
    front = (1 - np.cos(around)) / 2
    back_up = 0.028 * np.cos(around / 2) ** 4
    wanted = np.stack([np.sin(around), np.cos(around)], axis=1)
    height = neck[2] + 0.030 + back_up - (drop + 0.02) * front**3
    points = shape.rest[vertices].astype(np.float64)
    bearing = normalized(points[:, :2] - neck[:2])
    cost = (1 - bearing @ wanted.T) * 0.6 + np.abs(points[:, 2:] - height)
    near = np.argsort(cost, axis=0)[:5].T
    share = 1 / (np.take_along_axis(cost.T, near, axis=1) + 0.004)
    share /= share.sum(1, keepdims=True)
    path = np.einsum("nk,nkj->nj", share, points[near])
    path[:, 2] = 0.5 * path[:, 2] + 0.5 * height
    for _ in range(3):
        path = 0.5 * path + 0.25 * (np.roll(path, 1, 0) + np.roll(path, -1, 0))
    path += normalized((path - neck) * [1, 1, 0.3]) * _CHAIN_ROOM_M
    thick = float(rng.uniform(0.0012, 0.0028))
    mesh, faces = tube(path, thick, 5, closed=True)
    rows = np.repeat(vertices[near[:, 0]], 5)
    return Component(
        "necklace", surface_of(faces, len(mesh)), Skinned(mesh, weights_of[rows].tocsr()), mesh, _metal(rng)
    )


@lru_cache(maxsize=1)
def _neck_line() -> tuple[IntArray, Any]:
    body = canonical_body()
    points, neck = body.vertices[:SKIN_VERTICES], body.joints["neck01"]
    near = (np.abs(points[:, 0]) < 0.14) & (points[:, 2] < neck[2] + 0.09) & (points[:, 2] > neck[2] - 0.2)
    return np.flatnonzero(near), body_model().weights


def _on_wrist(rng: np.random.Generator, shape: Shape, side: str) -> list[Component]:
    """Draw a watch or a bracelet."""
    wrist, elbow = shape.joints[f"wrist.{side}"], shape.joints[f"lowerarm01.{side}"]
    axis = normalized(elbow - wrist)
    place = wrist + axis * rng.uniform(0.018, 0.035)
    points = shape.rest[_forearm(side)].astype(np.float64)
    near = points[np.abs((points - place) @ axis) < 0.012]
    first = normalized(np.cross(axis, [0.0, 1.0, 0.0]))
    second = np.cross(axis, first)
    centre = near.mean(0)
    flat = (near - centre) @ np.stack([first, second], axis=1)
    turn = 2 * np.pi * np.arange(20) / 20
    direction = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    # The convex outline of the wrist.
    support = (flat @ direction.T).max(0) + 0.0015
    ring = direction * support[:, None]
    way = ring @ np.stack([first, second])
    bone = f"lowerarm02.{side}"
    if rng.random() < 0.45:
        return [
            _component(
                "bracelet", tube(centre + way, float(rng.uniform(0.0015, 0.003)), 6, closed=True), bone, _metal(rng)
            )
        ]
    half = float(rng.uniform(0.008, 0.012))
    strap = np.stack([centre + way * grow + axis * along for along, grow in _STRAP * [half, 1.0]])
    material = Plain(draw_colour(rng, 0.1) * 0.6, 0.2) if rng.random() < 0.6 else _metal(rng)
    mesh = strap.reshape(-1, 3), grid_faces(len(strap), 20, True)
    # The dial is on the back of the wrist.
    index, little = (shape.joints[f"finger{finger}-1.{side}"] - wrist for finger in (2, 5))
    outer = int((normalized(way) @ np.cross(index, little) * (1 if side == "L" else -1)).argmax())
    out = normalized(way[outer])
    across = np.cross(out, axis)
    dial_centre = centre + way[outer]
    round_ = axis * np.cos(turn)[:, None] + across * np.sin(turn)[:, None]
    size = float(rng.uniform(0.015, 0.021))
    dial = np.stack(
        [dial_centre + round_ * size * r + out * h for r, h in ((1, -0.002), (1, 0.006), (0.85, 0.008), (0.01, 0.008))]
    )
    face = Plain(np.full(3, rng.choice([0.015, 0.7])), 0.9)
    dial_mesh = dial.reshape(-1, 3), grid_faces(len(dial), 20, True)
    return [_component("watch", mesh, bone, material), _component("watch", dial_mesh, bone, face)]


_STRAP = np.array([[-1.0, 1.0], [-1.0, 1.08], [1.0, 1.08], [1.0, 1.0]])


@lru_cache(maxsize=2)
def _forearm(side: str) -> IntArray:
    body = canonical_body()
    weight = body.region_weights[f"forearm.{side}"] + body.region_weights[f"hand.{side}"]
    return np.flatnonzero(weight[:SKIN_VERTICES] > 0.5)
