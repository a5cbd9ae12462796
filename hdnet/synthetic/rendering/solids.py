"""Solids of furniture, rooms, streets, things and bystanders, in the world frame, and their finishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hdnet.synthetic.surface import FloatArray, IntArray, Surface, triangulate

Pattern = Literal["plain", "noise", "wood", "planks", "tiles", "bricks", "stripes", "windows", "books"]
_BOX_QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


@dataclass(frozen=True, eq=False)
class Finish:
    """Colours, pattern and gloss of a face.

    Attributes:
        colours: (2, 3) linear RGB, of which a plain one uses the first.
        pattern: Distribution of the two colours.
        size_m: (2,) of a tile, plank or window, across and up.
        gloss: 0 matt .. 1 metal or glass.
        glow: Emitted light, relative to a lit white wall.
    """

    colours: FloatArray
    pattern: Pattern = "plain"
    size_m: tuple[float, float] = (1.0, 1.0)
    gloss: float = 0.05
    glow: float = 0.0


@dataclass(frozen=True, eq=False)
class Solid:
    """Triangles in the world, each with its finish.

    Attributes:
        vertices: (V, 3) float32.
        faces: (F, 3) int32.
        finish: (F,) index into ``finishes``.
        finishes: Finishes of the faces.
        normals: (V, 3) float32 unit normals of round solids, 0 where faces are flat; None if all are flat.
        paint: (V, 3) float32 linear RGB instead of the finishes' colours, negative where those hold; None if all do.
    """

    vertices: FloatArray
    faces: IntArray
    finish: IntArray
    finishes: tuple[Finish, ...]
    normals: FloatArray | None = None
    paint: FloatArray | None = None

    def moved(self, yaw_deg: float, at: Sequence[float] | FloatArray) -> Solid:
        """Turn about the vertical, then move."""
        turn = np.radians(yaw_deg)
        matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        return self.placed(matrix, at)

    def placed(self, rotation: FloatArray, at: Sequence[float] | FloatArray) -> Solid:
        """Turn by ``rotation`` (3, 3), then move."""
        vertices = (self.vertices @ rotation.T + np.asarray(at)).astype(np.float32)
        normals = None if self.normals is None else (self.normals @ rotation.T).astype(np.float32)
        return replace(self, vertices=vertices, normals=normals)

    def smooth(self) -> Solid:
        """Shade the faces as one round surface."""
        normals = Surface(self.faces, len(self.vertices)).normals(self.vertices)
        return replace(self, normals=normals.astype(np.float32))

    def at_vertices(self, values: FloatArray, face: IntArray, weights: FloatArray) -> FloatArray:
        """Interpolate values (V, C) at the vertices to points (N,) of faces with barycentric weights (N, 3)."""
        return np.asarray(np.einsum("nk,nkc->nc", weights, values[self.faces[face]]), dtype=np.float32)


def box(finish: Finish, low: Sequence[float], high: Sequence[float]) -> Solid:
    """Build an upright box between two corners."""
    ends = np.array([low, high], dtype=np.float32)
    corner = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    vertices = ends[corner, np.arange(3)]
    return Solid(vertices, triangulate(_BOX_QUADS), np.zeros(12, dtype=np.int32), (finish,))


def quad(finish: Finish, corners: Sequence[Sequence[float]]) -> Solid:
    """Build a quadrilateral from four corners in order."""
    faces = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    return Solid(np.array(corners, dtype=np.float32), faces, np.zeros(2, dtype=np.int32), (finish,))


def cylinder(finish: Finish, centre: Sequence[float], radii: tuple[float, float], height: float) -> Solid:
    """Build an upright cylinder or truncated cone that stands on ``centre``, with a lid."""
    sides = 14
    angle = np.arange(sides) * 2 * np.pi / sides
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(sides)], axis=1)
    lift = np.array([0, 0, height])
    vertices = np.concatenate([ring * radii[0], ring * radii[1] + lift, lift[None]]) + np.asarray(centre)
    here = np.arange(sides)
    following = (here + 1) % sides
    lid = np.full(sides, 2 * sides)
    faces = np.concatenate(
        [
            np.stack([here, following, here + sides], axis=1),
            np.stack([following, following + sides, here + sides], axis=1),
            np.stack([here + sides, following + sides, lid], axis=1),
        ]
    )
    return Solid(vertices.astype(np.float32), faces.astype(np.int32), np.zeros(len(faces), dtype=np.int32), (finish,))


def blob(
    rng: np.random.Generator, finish: Finish, centre: Sequence[float] | FloatArray, radii: Sequence[float] | FloatArray
) -> Solid:
    """Build a bumpy ball: a crown of leaves, a bush, a cushion."""
    rows, columns = 9, 14
    up = np.linspace(-np.pi / 2, np.pi / 2, rows)[:, None]
    around = np.arange(columns)[None] * 2 * np.pi / columns
    size = 1 + rng.normal(0, 0.13, (rows, columns))
    ball = np.stack([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up) + 0 * around], axis=-1)
    vertices = (ball * size[..., None]).reshape(-1, 3) * np.asarray(radii) + np.asarray(centre)
    row, column = np.mgrid[: rows - 1, :columns]
    a, b = row * columns + column, row * columns + (column + 1) % columns
    c, d = a + columns, b + columns
    faces = np.concatenate([np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)])
    return Solid(vertices.astype(np.float32), faces.astype(np.int32), np.zeros(len(faces), dtype=np.int32), (finish,))


def leaves(
    rng: np.random.Generator, finish: Finish, centre: Sequence[float], count: int, length: float, spread: float
) -> Solid:
    """Build long narrow leaves that grow from a point and bend outwards: a house plant."""
    angle = rng.uniform(0, 2 * np.pi, count)
    rise = rng.uniform(0.5, 1.0, count) * length
    reach = spread * rng.uniform(0.3, 1.0, count) * length
    along = np.linspace(0, 1, 5)
    width = 0.035 * length * np.sin(np.pi * np.clip(0.12 + 0.88 * along, 0, 1))
    out = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    across = np.stack([-out[:, 1], out[:, 0]], axis=1)
    flat = out[:, None] * (reach[:, None] * along**1.5)[..., None]
    height = rise[:, None] * (along * (1.35 - 0.45 * along))
    sides = [flat + sign * across[:, None] * width[:, None] for sign in (-1, 1)]
    points = np.stack([np.concatenate([side, height[..., None]], axis=-1) for side in sides], axis=2)
    step = np.arange(4) * 2
    strip = np.concatenate([np.stack([step, step + 1, step + 3], 1), np.stack([step, step + 3, step + 2], 1)])
    faces = (np.arange(count)[:, None, None] * 10 + strip).reshape(-1, 3)
    vertices = points.reshape(-1, 3) + np.asarray(centre)
    return Solid(vertices.astype(np.float32), faces.astype(np.int32), np.zeros(len(faces), dtype=np.int32), (finish,))


def merged(solids: Sequence[Solid]) -> Solid:
    """Merge solids into one."""
    first_vertex = np.cumsum([0] + [len(s.vertices) for s in solids])
    first_finish = np.cumsum([0] + [len(s.finishes) for s in solids])
    return Solid(
        np.concatenate([s.vertices for s in solids]),
        np.concatenate([s.faces + start for s, start in zip(solids, first_vertex, strict=False)]).astype(np.int32),
        np.concatenate([s.finish + start for s, start in zip(solids, first_finish, strict=False)]),
        tuple(finish for s in solids for finish in s.finishes),
        _joined([s.normals for s in solids], solids, 0.0),
        _joined([s.paint for s in solids], solids, -1.0),
    )


def _joined(values: Sequence[FloatArray | None], solids: Sequence[Solid], missing: float) -> FloatArray | None:
    """Join values (V, 3) at the vertices of solids, of which some have none."""
    if all(value is None for value in values):
        return None
    every = [
        np.full_like(solid.vertices, missing) if value is None else value
        for value, solid in zip(values, solids, strict=True)
    ]
    return np.concatenate(every)
