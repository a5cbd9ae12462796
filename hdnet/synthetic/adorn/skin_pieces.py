"""Pieces of skin or of the tights let out a little: beards, socks, shoes, straps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import canonical
from hdnet.synthetic.surface import FloatArray, Surface, clip, loop_subdivide, submesh

Field = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Piece:
    """A cut piece.

    Attributes:
        matrix: (M, V) sparse map from the body's vertices.
        surface: Its faces.
        weights: (M, B) sparse bone weights.
        canonical: (M, 3) its vertices on the canonical body.
        field: (M,) value of the field that it was cut by, 0 at the edge.
    """

    matrix: Any
    surface: Surface
    weights: Any
    canonical: FloatArray
    field: FloatArray

    def let_out(self, rest: FloatArray, offset_m: FloatArray | float, smoothing: int = 0) -> FloatArray:
        """(M, 3) the piece on a shaped body, moved along its normals."""
        base = np.asarray(self.matrix @ rest, dtype=np.float64)
        if smoothing:
            base = self.surface.smooth(base, smoothing)
        return np.asarray(base + self.surface.normals(base) * np.broadcast_to(offset_m, len(base))[:, None])


def cut(mesh: str, near: Field, field: Field, levels: int = 0) -> Piece:
    """The part of a mesh of the body where ``field`` of canonical positions is positive.

    Args:
        mesh: "skin" or "tights".
        near: Positive on whole faces to look at (by their centres); saves time.
        field: In metres, roughly.
        levels: Loop subdivisions before the cut.
    """
    body, _ = canonical()
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
    return Piece(matrix, Surface(faces, matrix.shape[0]), weights, points, np.maximum(field(points), 0))
