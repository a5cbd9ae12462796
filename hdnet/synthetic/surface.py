"""Triangle meshes with a fixed topology: normals, smoothing, Loop subdivision, cutting along a field."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

FloatArray = npt.NDArray[Any]
IntArray = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]


def triangulate(quads: IntArray) -> IntArray:
    """Split quads (F, 4) into triangles (2F, 3) int32 of the same winding."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def normalized(vectors: FloatArray) -> FloatArray:
    """Return unit vectors along the last axis; zero stays zero."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


def edges_of(faces: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Return unique undirected edges (E, 2), the edge of each face side (3F,) and faces at each edge (E,).

    Sides run over corners 0-1 of all faces, then 1-2, then 2-0.
    """
    sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    # One number an edge: sorting rows is several times slower.
    span = int(sides.max()) + 1 if len(sides) else 1
    codes, inverse, counts = np.unique(
        sides[:, 0].astype(np.int64) * span + sides[:, 1], return_inverse=True, return_counts=True
    )
    return np.stack([codes // span, codes % span], axis=1), inverse.ravel(), counts


class Surface:
    """Triangles over a fixed number of vertices, with the sparse operators that every frame needs."""

    def __init__(self, faces: IntArray, vertex_count: int) -> None:
        self.faces = np.ascontiguousarray(faces, dtype=np.int32)
        self.vertex_count = vertex_count
        count = len(faces)
        ones = np.ones(3 * count, dtype=np.float32)
        self._at_vertex = sp.csr_matrix(
            (ones, (self.faces.T.ravel(), np.tile(np.arange(count), 3))), (vertex_count, count)
        )
        edges, _, counts = edges_of(self.faces)
        neighbours = sp.coo_matrix((np.ones(len(edges), np.float32), edges.T), (vertex_count, vertex_count))
        neighbours = (neighbours + neighbours.T).tocsr()
        degree = np.maximum(np.asarray(neighbours.sum(1)).ravel(), 1)
        self.mean_of_neighbours = sp.diags((1 / degree).astype(np.float32)) @ neighbours
        self.on_boundary: BoolArray = np.zeros(vertex_count, dtype=bool)
        self.on_boundary[edges[counts == 1].ravel()] = True

    def normals(self, vertices: FloatArray) -> FloatArray:
        """Return area-weighted unit vertex normals (V, 3), float32."""
        corners = vertices.astype(np.float32)[self.faces]
        a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        cross = np.empty_like(a)
        # np.cross is several times slower on arrays of this shape.
        cross[:, 0] = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
        cross[:, 1] = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
        cross[:, 2] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
        return normalized(np.asarray(self._at_vertex @ cross))

    def smooth(self, values: FloatArray, steps: int, strength: float = 0.5) -> FloatArray:
        """Smooth (V,) or (V, C) values by ``steps`` Laplacian steps."""
        for _ in range(steps):
            values = values + strength * (self.mean_of_neighbours @ values - values)
        return values


def loop_subdivide(faces: IntArray, vertex_count: int) -> tuple[Any, IntArray]:
    """Subdivide once by Loop's scheme, with the boundary as a cubic spline.

    Returns:
        A sparse (V + E, V) matrix from old to new vertices, and the (4F, 3) new faces.
    """
    edges, side_edge, counts = edges_of(faces)
    edge_count, boundary = len(edges), counts == 1
    middle = side_edge.reshape(3, -1).T + vertex_count
    a, b, c = faces.T
    ab, bc, ca = middle.T
    new_faces = np.concatenate(
        [np.stack(three, axis=1) for three in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))]
    )
    rows: list[IntArray] = []
    columns: list[IntArray] = []
    values: list[FloatArray] = []

    def add(row: IntArray, column: IntArray, value: FloatArray | float) -> None:
        rows.append(row)
        columns.append(column)
        values.append(np.broadcast_to(value, row.shape))

    new = vertex_count + np.arange(edge_count)
    for end in (0, 1):
        add(new, edges[:, end], np.where(boundary, 0.5, 0.375))
    opposite = np.concatenate([c, a, b])
    inner_side = ~boundary[side_edge]
    add(vertex_count + side_edge[inner_side], opposite[inner_side], 0.125)
    degree = np.bincount(edges.ravel(), minlength=vertex_count)
    at_boundary = np.zeros(vertex_count, dtype=bool)
    at_boundary[edges[boundary].ravel()] = True
    beta = np.where(degree == 3, 3 / 16, 3 / (8 * np.maximum(degree, 1)))
    inner = np.flatnonzero(~at_boundary)
    add(inner, inner, (1 - degree * beta)[inner])
    for here, there in ((0, 1), (1, 0)):
        use = ~at_boundary[edges[:, here]]
        add(edges[use, here], edges[use, there], beta[edges[use, here]])
        add(edges[boundary, here], edges[boundary, there], 0.125)
    rim = np.flatnonzero(at_boundary)
    add(rim, rim, 0.75)
    index = (np.concatenate(rows), np.concatenate(columns))
    shape = (vertex_count + edge_count, vertex_count)
    return sp.csr_matrix((np.concatenate(values).astype(np.float32), index), shape), new_faces.astype(np.int32)


def compacted(faces: IntArray) -> tuple[IntArray, IntArray]:
    """Return the vertices (N,) that faces (F, 3) use, and the faces renumbered to them, int32."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return used, renumbered.reshape(-1, 3).astype(np.int32)


def submesh(faces: IntArray, vertex_count: int) -> tuple[Any, IntArray]:
    """Drop unused vertices: a sparse (used, V) selection matrix and the renumbered faces."""
    used, renumbered = compacted(faces)
    ones = np.ones(len(used), dtype=np.float32)
    select = sp.csr_matrix((ones, (np.arange(len(used)), used)), (len(used), vertex_count))
    return select, renumbered


def clip(matrix: Any, faces: IntArray, field: FloatArray) -> tuple[Any, IntArray]:
    """Keep the part of a mesh where ``field`` is positive, cutting triangles along its zero line.

    Args:
        matrix: (V, N) sparse map from some base vertices to the mesh's vertices.
        faces: (F, 3) faces of the mesh.
        field: (V,) scalar per vertex.

    Returns:
        The map and faces of the largest connected piece that is kept (cutting leaves tiny islands).
    """
    positive = field > 0
    corners_in = positive[faces].sum(1)
    pieces = [faces[corners_in == 3]]
    cut = faces[(corners_in == 1) | (corners_in == 2)]
    if len(cut):
        one_in = positive[cut].sum(1) == 1
        odd = np.where(one_in, positive[cut].argmax(1), (~positive[cut]).argmax(1))
        rows = np.arange(len(cut))
        a, b, c = (cut[rows, (odd + step) % 3] for step in range(3))
        sides = np.sort(np.concatenate([np.stack([a, b], 1), np.stack([a, c], 1)]), axis=1)
        edges, which = np.unique(sides, axis=0, return_inverse=True)
        start, end = field[edges[:, 0]], field[edges[:, 1]]
        # Away from the ends, so that no sliver triangles arise.
        share = np.clip(start / (start - end), 0.08, 0.92).astype(np.float32)
        points = sp.diags(1 - share) @ matrix[edges[:, 0]] + sp.diags(share) @ matrix[edges[:, 1]]
        ab, ac = (which.ravel() + matrix.shape[0]).reshape(2, -1)
        pieces.append(np.stack([a, ab, ac], 1)[one_in])
        pieces.append(np.stack([ab, b, c], 1)[~one_in])
        pieces.append(np.stack([ab, c, ac], 1)[~one_in])
        matrix = sp.vstack([matrix, points]).tocsr()
    return largest_piece(matrix, np.concatenate(pieces))


def largest_piece(matrix: Any, faces: IntArray) -> tuple[Any, IntArray]:
    """Return the largest connected component of a mesh, unused vertices dropped."""
    links = np.concatenate([faces[:, :2], faces[:, 1:]])
    graph = sp.coo_matrix((np.ones(len(links)), links.T), (matrix.shape[0],) * 2)
    _, label = connected_components(graph, directed=False)
    sizes = np.bincount(label[faces[:, 0]])
    select, kept = submesh(faces[label[faces[:, 0]] == sizes.argmax()], matrix.shape[0])
    return (select @ matrix).tocsr(), kept
