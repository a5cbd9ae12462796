"""Spherical map of the head: skin points by direction from the middle of the skull.

Azimuth runs from the face (0) over the person's left; the polar angle from the crown (0) downwards. The skin point of
each direction is found once on the canonical body and holds for every head.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.components import Shape
from hdnet.synthetic.surface import FloatArray, IntArray, normalized

COLUMNS = 96
_ROWS = 57
_LOWEST = np.radians(140.0)
AZIMUTH = 2 * np.pi * np.arange(COLUMNS) / COLUMNS


@dataclass(frozen=True, eq=False)
class Skull:
    """Head of a person in the rest pose, by direction.

    Attributes:
        centre: (3,) middle of the skull.
        size: Radius relative to the canonical head.
        bare: (rows, columns, 3) the skin without the ears.
        full: (rows, columns, 3) the skin with the ears.
    """

    centre: FloatArray
    size: float
    bare: FloatArray
    full: FloatArray

    def at(self, polar: FloatArray, ears: bool = False) -> tuple[FloatArray, FloatArray]:
        """Return skin points (R, columns, 3) at polar angles (R, columns), and unit vectors away from the centre."""
        points = self.full if ears else self.bare
        place = np.clip(polar / _LOWEST * (_ROWS - 1), 0, _ROWS - 1.001)
        row = place.astype(np.int64)
        column = np.arange(COLUMNS)
        share = (place - row)[..., None]
        found = points[row, column] * (1 - share) + points[row + 1, column] * share
        return found, normalized(found - self.centre)

    def weights_at(self, polar: FloatArray) -> Any:
        """Return sparse bone weights (R * columns, B) of the skin without ears at polar angles (R, columns)."""
        place = np.clip(polar / _LOWEST * (_ROWS - 1), 0, _ROWS - 1.001)
        row = place.astype(np.int64)
        share = (place - row).ravel()
        above = (row * COLUMNS + np.arange(COLUMNS)).ravel()
        weights = _bone_weights()
        return (sp.diags(1 - share) @ weights[above] + sp.diags(share) @ weights[above + COLUMNS]).tocsr()


def skull_of(shape: Shape) -> Skull:
    """Map a person's head."""
    bare_map, full_map, radius = _maps()
    bare = (bare_map @ shape.rest).reshape(_ROWS, COLUMNS, 3).astype(np.float64)
    full = (full_map @ shape.rest).reshape(_ROWS, COLUMNS, 3).astype(np.float64)
    back = bare[: int(_ROWS * 0.55), COLUMNS // 4 : -COLUMNS // 4]
    centre = _centre() + (back.mean((0, 1)) - _back_mean())
    size = float(np.linalg.norm(back - centre, axis=-1).mean() / radius)
    return Skull(centre, size, bare, full)


@lru_cache(maxsize=1)
def _centre() -> FloatArray:
    body = canonical_body()
    return np.asarray(body.joints["head"] + [0.0, 0.0, 0.06])


@lru_cache(maxsize=1)
def _back_mean() -> FloatArray:
    body = canonical_body()
    bare = (_maps()[0] @ body.vertices).reshape(_ROWS, COLUMNS, 3)
    return np.asarray(bare[: int(_ROWS * 0.55), COLUMNS // 4 : -COLUMNS // 4].mean((0, 1)))


@lru_cache(maxsize=1)
def _bone_weights() -> Any:
    return (_maps()[0] @ body_model().weights).tocsr()


@lru_cache(maxsize=1)
def _maps() -> tuple[Any, Any, float]:
    """Return sparse maps (rows * columns, V) from the body to the head without and with ears, and its mean radius."""
    body = canonical_body()
    skin = body_model().triangles["skin"]
    faces = skin[body.region_of_faces(skin) == "head"]
    polar = np.linspace(0, _LOWEST, _ROWS)[:, None]
    directions = np.stack(
        [
            np.sin(polar) * np.sin(AZIMUTH),
            -np.sin(polar) * np.cos(AZIMUTH),
            np.broadcast_to(np.cos(polar), (_ROWS, COLUMNS)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    corners = body.vertices[faces].astype(np.float64) - _centre()
    distance, weights, face = _hits(directions, corners)
    nearest, farthest = distance.argmin(1), np.where(np.isinf(distance), -1, distance).argmax(1)
    ray = np.arange(len(directions))
    maps = []
    for chosen in (nearest, farthest):
        columns = faces[face[ray, chosen]]
        values = weights[ray, chosen]
        index = (np.repeat(ray, 3), columns.ravel())
        maps.append(sp.csr_matrix((values.ravel(), index), (len(ray), len(body.vertices))))
    bare = (maps[0] @ body.vertices).reshape(_ROWS, COLUMNS, 3)
    back = bare[: int(_ROWS * 0.55), COLUMNS // 4 : -COLUMNS // 4]
    return maps[0], maps[1], float(np.linalg.norm(back - _centre(), axis=-1).mean())


def _hits(directions: FloatArray, corners: FloatArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Intersect rays from the origin with the triangles near them: distance, corner weights and face, (N, K)."""
    _, near = cKDTree(normalized(corners.mean(1))).query(directions, k=64)
    a, b, c = (corners[near, corner] for corner in range(3))
    ab, ac = b - a, c - a
    ray = np.broadcast_to(directions[:, None], a.shape)
    p = np.cross(ray, ac)
    determinant = np.einsum("nkj,nkj->nk", ab, p)
    determinant = np.where(np.abs(determinant) < 1e-14, 1e-14, determinant)
    u = np.einsum("nkj,nkj->nk", -a, p) / determinant
    q = np.cross(-a, ab)
    v = np.einsum("nkj,nkj->nk", ray, q) / determinant
    t = np.einsum("nkj,nkj->nk", ac, q) / determinant
    slack = 1e-3
    inside = (u > -slack) & (v > -slack) & (u + v < 1 + slack) & (t > 0.05)
    return np.where(inside, t, np.inf), np.stack([1 - u - v, u, v], axis=-1), near
