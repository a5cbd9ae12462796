"""Rendered picture of a mesh, for contact sheets and documentation."""

from __future__ import annotations

import numpy as np

from hdnet.predict.mesh import Mesh
from hdnet.visualize import WHITE

# A rendered point stands for about this many pixels of the double-sized picture, so that triangles have no
# holes.
_SPLAT_SPACING_PX = 0.7
_POINTS_AT_ONCE = 2_000_000
_LIGHTS = (((-0.5, -0.6, -1.0), 0.75), ((0.8, -0.2, -0.5), 0.25))
_AMBIENT = 0.28
CLAY = np.array([222.0, 214.0, 204.0])


def mesh_picture(mesh: Mesh, size: int = 256, yaw_deg: float = 0.0, textured: bool = False) -> np.ndarray:
    """A shaded view of the mesh, orthographic, on white.

    Args:
        mesh: In the camera frame.
        size: Pixels along a side. The scale does not depend on the yaw, so that pictures make a turntable.
        yaw_deg: Turn about the vertical axis; positive shows more of the surface's right side in the picture.
        textured: The vertices' colours instead of clay.
    """
    fine = 2 * size
    angle = np.deg2rad(yaw_deg)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    centred = mesh.vertices - (low + high) / 2
    reach = max(float(np.hypot(centred[:, 0], centred[:, 2]).max()), float(np.abs(centred[:, 1]).max()), 1e-9)
    scale = 0.47 * fine / reach
    points = centred @ turn.T * [scale, scale, scale] + [fine / 2, fine / 2, 0]
    if textured and mesh.colors is not None:
        albedo = mesh.colors.astype(np.float64)
    else:
        albedo = np.broadcast_to(CLAY, mesh.vertices.shape)
    colours = albedo * shading(mesh.vertex_normals() @ turn.T)[:, None]
    canvas = _splat(points, colours, mesh.faces, fine)
    smooth: np.ndarray = canvas.reshape(size, 2, size, 2, 3).mean(axis=(1, 3))
    return smooth.round().astype(np.uint8)


def shading(normals: np.ndarray) -> np.ndarray:
    """Brightness 0..1 of every normal (N, 3) under a key light from the upper left and a fill light."""
    brightness = np.full(len(normals), _AMBIENT)
    for direction, power in _LIGHTS:
        towards = np.array(direction) / np.linalg.norm(direction)
        brightness += power * (normals @ towards).clip(0)
    return brightness.clip(0, 1)


def _splat(points: np.ndarray, colours: np.ndarray, faces: np.ndarray, size: int) -> np.ndarray:
    """(size, size, 3) picture: every triangle as a dense grid of points, the nearest one of a pixel wins."""
    canvas = np.full((size * size, 3), float(WHITE))
    nearest = np.full(size * size, np.inf)
    corners = points[faces]
    edges = corners - np.roll(corners, 1, axis=1)
    longest = np.linalg.norm(edges[..., :2], axis=2).max(axis=1)
    parts = np.ceil(longest / _SPLAT_SPACING_PX).astype(np.int64).clip(1)
    for count in np.unique(parts):
        i, j = np.nonzero(np.add.outer(np.arange(count + 1), np.arange(count + 1)) <= count)
        weights = np.stack([i, j, count - i - j], axis=1) / count
        alike = faces[parts == count]
        for chosen in np.array_split(alike, 1 + len(alike) * len(weights) // _POINTS_AT_ONCE):
            spot = np.einsum("kc,fcx->fkx", weights, points[chosen]).reshape(-1, 3)
            shade = np.einsum("kc,fcx->fkx", weights, colours[chosen]).reshape(-1, 3)
            column, row = np.floor(spot[:, 0]).astype(np.int64), np.floor(spot[:, 1]).astype(np.int64)
            seen = np.flatnonzero((column >= 0) & (column < size) & (row >= 0) & (row < size))
            pixel = row[seen] * size + column[seen]
            nearer = spot[seen, 2] < nearest[pixel]
            seen, pixel = seen[nearer], pixel[nearer]
            # Of repeated indices NumPy keeps the last assignment: from far to near.
            order = np.argsort(-spot[seen, 2], kind="stable")
            nearest[pixel[order]] = spot[seen[order], 2]
            canvas[pixel[order]] = shade[seen[order]]
    return canvas.reshape(size, size, 3)
