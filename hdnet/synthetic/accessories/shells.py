"""Shells cut from skin or tights and offset outwards: beards, uppers of shoes, socks and straps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.surface import BoolArray, FloatArray, IntArray, Surface, clip, loop_subdivide, submesh

Field = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Shell:
    """Part of a body mesh cut along a field.

    Attributes:
        matrix: (M, V) sparse map from the body's vertices.
        surface: Faces.
        weights: (M, B) sparse bone weights.
        canonical: (M, 3) vertices on the canonical body.
        field: (M,) value of the field of the cut, 0 at the edge.
    """

    matrix: Any
    surface: Surface
    weights: Any
    canonical: FloatArray
    field: FloatArray

    def offset(self, rest: FloatArray, offset_m: FloatArray | float, smoothing: int = 0) -> FloatArray:
        """Return vertices (M, 3) of the shell on a shaped body, moved along their normals."""
        base = np.asarray(self.matrix @ rest, dtype=np.float64)
        if smoothing:
            base = self.surface.smooth(base, smoothing)
        return np.asarray(base + self.surface.normals(base) * np.broadcast_to(offset_m, len(base))[:, None])


def cut_shell(mesh: str, near: Field, field: Field, levels: int = 0) -> Shell:
    """Cut the part of a body mesh where ``field`` of canonical positions is positive.

    Args:
        mesh: "skin" or "tights".
        near: Positive at the centres of the faces to consider; saves time.
        field: Signed distance, roughly in metres.
        levels: Loop subdivisions before the cut.
    """
    body = canonical_body()
    model = body_model()
    faces = model.triangles[mesh]
    faces = faces[near(body.vertices[faces].mean(1)) > 0]
    matrix, faces = submesh(faces, len(body.vertices))
    for _ in range(levels):
        finer, faces = loop_subdivide(faces, matrix.shape[0])
        matrix = (finer @ matrix).tocsr()
    matrix, faces = clip(matrix, faces, field(np.asarray(matrix @ body.vertices)))
    points = np.asarray(matrix @ body.vertices)
    weights = (matrix @ model.weights).tocsr()
    return Shell(matrix, Surface(faces, matrix.shape[0]), weights, points, np.maximum(field(points), 0))


# Height of the upper's edge over the ankle joint at the sides, on the canonical body, and of what lies above it.
_TOPS_M = {"low": -0.012, "high": 0.055, "boot": 0.20, "sandal": -1.0}
_SOCK_M = {"ankle": 0.035, "crew": 0.14}
# Skin nearer than this to a shoe's edge stays visible.
_MARGIN_M = 0.006


@lru_cache(maxsize=8)
def lace_rows(kind: str, side: str) -> tuple[IntArray, ...]:
    """Return the vertex numbers along each lace, from one side of the instep to the other."""
    body = canonical_body()
    shell, foot = foot_shell(kind, side), body.joints[f"foot.{side}"]
    points = shell.canonical
    middle = _middle_x(side)
    rows = []
    for forward in (0.058, 0.074, 0.090, 0.106, 0.122):
        wanted = []
        for across in np.linspace(-0.019, 0.019, 7):
            target = np.array([middle(forward) + across, foot[1] - forward])
            high = points[:, 2] > foot[2] - 0.09
            distance = np.hypot(points[:, 0] - target[0], points[:, 1] - target[1]) - 0.3 * points[:, 2] + 9.0 * ~high
            wanted.append(int(distance.argmin()))
        row = np.array(sorted(set(wanted), key=lambda index: points[index, 0]))
        if len(row) > 3:
            rows.append(row)
    return tuple(rows)


def _middle_x(side: str) -> Callable[[float], float]:
    body = canonical_body()
    shell, foot = foot_shell("low", side), body.joints[f"foot.{side}"]

    def middle(forward: float) -> float:
        here = np.abs(foot[1] - forward - shell.canonical[:, 1]) < 0.012
        return float(shell.canonical[here, 0].min() + shell.canonical[here, 0].max()) / 2

    return middle


def _foot_field(kind: str, points: FloatArray, side: str) -> FloatArray:
    body = canonical_body()
    foot = body.joints[f"foot.{side}"]
    if kind in _SOCK_M:
        return np.asarray(foot[2] + _SOCK_M[kind] - points[:, 2])
    # Low at the ankle bones, higher at heel and tongue.
    forward = foot[1] - points[:, 1]
    rise = 0.5 * np.abs(forward - 0.005) if kind in ("low", "high") else 0.0
    return np.asarray(foot[2] + _TOPS_M[kind] + np.minimum(rise, 0.03) - points[:, 2])


@lru_cache(maxsize=16)
def foot_shell(kind: str, side: str) -> Shell:
    """Cut the upper of a shoe of a kind ("low", "high", "boot") for side "L" or "R"."""
    return _cut_foot(lambda points: _foot_field(kind, points, side), side)


@lru_cache(maxsize=16)
def sock_shell(sock: str, shoe: str, side: str) -> Shell:
    """Cut what a shoe leaves visible of a sock, and a little more."""

    def field(points: FloatArray) -> FloatArray:
        return np.minimum(_foot_field(sock, points, side), 0.018 - _foot_field(shoe, points, side))

    return _cut_foot(field, side)


def _cut_foot(field: Field, side: str) -> Shell:
    body = canonical_body()
    foot = body.joints[f"foot.{side}"]

    def near(points: FloatArray) -> FloatArray:
        inside = (points[:, 0] * foot[0] > 0) & (np.abs(points[:, 0] - foot[0]) < 0.15)
        return np.where(inside & (points[:, 2] < foot[2] + 0.30), 1.0, -1.0)

    return cut_shell("tights", near, field, levels=1)


@lru_cache(maxsize=8)
def strap_shell(number: int, side: str) -> Shell:
    """Cut a band over toes, instep or heel of a sandal."""
    body = canonical_body()
    foot = body.joints[f"foot.{side}"]

    def field(points: FloatArray) -> FloatArray:
        forward, up = foot[1] - points[:, 1], points[:, 2] - foot[2]
        band = [
            0.014 - np.abs(forward - 0.150),
            0.012 - np.abs(forward - 0.062 + 0.3 * up),
            np.minimum(0.010 - np.abs(up + 0.030), 0.02 - forward),
        ][number]
        return np.asarray(np.minimum(band, up + 0.085))

    def near(points: FloatArray) -> FloatArray:
        return np.where((points[:, 0] * foot[0] > 0) & (points[:, 2] < foot[2] + 0.05), 1.0, -1.0)

    return cut_shell("tights", near, field, levels=1)


@lru_cache(maxsize=16)
def covered_skin(kind: str, side: str) -> BoolArray:
    """Return the skin faces (F,) under a shoe, or under a sock ("ankle", "crew") and its shoe."""
    body = canonical_body()
    skin = body_model().triangles["skin"]
    own = np.isin(body.region_of_faces(skin), (f"foot.{side}", f"calf.{side}"))
    inside = _foot_field(kind, body.vertices, side) > _MARGIN_M
    return np.asarray(own & inside[skin].all(1))
