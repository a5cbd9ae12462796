"""Mesh primitives of accessories: grids, tubes, ellipsoids and discs, with their topologies cached."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from hdnet.synthetic.surface import FloatArray, IntArray, Surface, normalized, triangulate

Mesh = tuple[FloatArray, IntArray]
"""Vertices (N, 3) and faces (F, 3)."""


@lru_cache(maxsize=256)
def grid_faces(rows: int, columns: int, closed: bool) -> IntArray:
    """Return the faces (F, 3) of a row-major vertex grid; ``closed`` joins the last column to the first.

    Seen with rows running down and columns to the right, faces look at the viewer.
    """
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    a = row * columns + column
    b = row * columns + (column + 1) % columns
    c, d = a + columns, b + columns
    quads = np.stack([a, c, d, b], axis=-1).reshape(-1, 4)
    return triangulate(quads)


@lru_cache(maxsize=256)
def grid_surface(rows: int, columns: int, closed: bool) -> Surface:
    """Return the cached surface of :func:`grid_faces`."""
    return Surface(grid_faces(rows, columns, closed), rows * columns)


def tube(path: FloatArray, radius_m: FloatArray | float, sides: int = 6, closed: bool = False) -> Mesh:
    """Build a tube along a path (N, 3); ``closed`` joins its ends to a ring."""
    if closed:
        tangent = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    else:
        tangent = np.gradient(path, axis=0)
    tangent = normalized(tangent)
    spread = np.abs(tangent).sum(0)
    reference = np.eye(3)[int(spread.argmin())]
    first = normalized(np.cross(tangent, reference))
    second = np.cross(tangent, first)
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = first[:, None] * np.cos(angle)[:, None] + second[:, None] * np.sin(angle)[:, None]
    vertices = path[:, None] + ring * np.broadcast_to(radius_m, len(path))[:, None, None]
    faces = grid_faces(len(path), sides, True)
    if closed:
        last = np.arange(sides) + (len(path) - 1) * sides
        first_ring, turned = np.arange(sides), (np.arange(sides) + 1) % sides
        quads = np.stack([last, first_ring, turned, last[turned]], axis=1)
        faces = np.concatenate([faces, triangulate(quads)])
    return vertices.reshape(-1, 3), faces[:, ::-1]


def ball(centre: FloatArray, radii_m: FloatArray | float, rows: int = 9, columns: int = 14) -> Mesh:
    """Build an ellipsoid with axes along x, y, z."""
    polar = np.pi * np.arange(rows) / (rows - 1)
    around = 2 * np.pi * np.arange(columns) / columns
    sine = np.sin(polar)[:, None]
    unit = np.stack(
        [sine * np.sin(around), -sine * np.cos(around), np.broadcast_to(np.cos(polar)[:, None], (rows, columns))], -1
    )
    return (centre + unit * radii_m).reshape(-1, 3), grid_faces(rows, columns, True)


def disc(outline: FloatArray) -> Mesh:
    """Build a fan over a closed outline (N, 3), about its mean."""
    count = len(outline)
    here = np.arange(count)
    faces = np.stack([here, (here + 1) % count, np.full(count, count)], axis=1)
    return np.concatenate([outline, outline.mean(0, keepdims=True)]), faces.astype(np.int32)


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """Join meshes into one."""
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in meshes[:-1]])
    faces = [faces + start for (_, faces), start in zip(meshes, starts, strict=True)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces).astype(np.int32)


_SURFACES: dict[tuple[int, bytes], Surface] = {}


def surface_of(faces: IntArray, vertex_count: int) -> Surface:
    """Return the surface of some faces, cached because most accessories share a few topologies."""
    faces = np.ascontiguousarray(faces, dtype=np.int32)
    key = (vertex_count, faces.tobytes())
    if key not in _SURFACES:
        if len(_SURFACES) >= 64:
            _SURFACES.pop(next(iter(_SURFACES)))
        _SURFACES[key] = Surface(faces, vertex_count)
    return _SURFACES[key]


def smoothstep(value: FloatArray, low: float, high: float) -> FloatArray:
    """Return 0 below ``low``, 1 above ``high`` and a smooth step between (``high`` may be below ``low``)."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
