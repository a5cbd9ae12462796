from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from hdnet.synthetic.surface import Surface, clip, edges_of, loop_subdivide, triangulate


def _plane(cells: int) -> tuple[np.ndarray, np.ndarray]:
    line = np.linspace(0, 1, cells + 1)
    x, y = np.meshgrid(line, line)
    points = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    number = np.arange(x.size).reshape(x.shape)
    quads = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], axis=-1)
    return points, triangulate(quads.reshape(-1, 4))


def _icosahedron() -> tuple[np.ndarray, np.ndarray]:
    from scipy.spatial import ConvexHull

    golden = (1 + 5**0.5) / 2
    points = np.array(
        [p for a in (-1, 1) for b in (-golden, golden) for p in ((0, a, b), (a, b, 0), (b, 0, a))],
        dtype=float,
    )
    faces = ConvexHull(points).simplices
    corners = points[faces]
    inward = np.einsum(
        "ij,ij->i", np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), corners[:, 0]
    )
    faces[inward < 0] = faces[inward < 0][:, ::-1]
    return points / np.linalg.norm(points[0]), faces


def _area(points: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def test_loop_keeps_a_plane_flat_and_makes_four_faces_of_one() -> None:
    points, faces = _plane(4)
    matrix, finer = loop_subdivide(faces, len(points))
    new = matrix @ points
    assert len(finer) == 4 * len(faces)
    assert np.allclose(np.asarray(matrix.sum(1)), 1)
    assert np.abs(new[:, 2]).max() < 1e-6
    # The boundary spline rounds the corners only.
    assert 0.95 < _area(new, finer) <= 1


def test_loop_of_a_closed_mesh_stays_closed_and_symmetric() -> None:
    points, faces = _icosahedron()
    matrix, finer = loop_subdivide(faces, len(points))
    radii = np.linalg.norm(matrix @ points, axis=1)
    assert (edges_of(finer)[2] == 2).all()
    assert np.ptp(radii[:12]) < 1e-6
    assert np.ptp(radii[12:]) < 1e-6


def test_normals_of_a_sphere_point_outwards() -> None:
    points, faces = _icosahedron()
    normals = Surface(faces, len(points)).normals(points)
    assert np.allclose(normals, points, atol=1e-5)


def test_clip_cuts_along_the_line() -> None:
    points, faces = _plane(5)
    matrix, kept = clip(sp.identity(len(points), format="csr"), faces, 0.5 - points[:, 0])
    cut = matrix @ points
    assert cut[:, 0].max() == pytest.approx(0.5, abs=1e-6)
    assert _area(cut, kept) == pytest.approx(0.5, abs=1e-5)


def test_clip_keeps_the_largest_piece_only() -> None:
    points, faces = _plane(8)
    matrix, kept = clip(
        sp.identity(len(points), format="csr"), faces, np.maximum(0.4 - points[:, 0], points[:, 0] - 0.8)
    )
    cut = matrix @ points
    assert cut[:, 0].max() == pytest.approx(0.4, abs=1e-6)
    assert len(np.unique(kept)) == len(cut)
