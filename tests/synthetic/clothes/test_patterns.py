from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.clothes.patterns import ARM, LEG, Cut, limb_position, pattern
from hdnet.synthetic.surface import Surface, edges_of

CUTS = [
    Cut("top", 0.6),
    Cut("top", 1.92, 0.05, "v"),
    Cut("top", 1.96, -0.04, "high"),
    Cut("top", 1.92, -0.02, "crew", 0.05),
    Cut("trousers", 0.5, 0.1),
    Cut("trousers", 1.93, 0.1),
    Cut("skirt", 0.3, 0.1),
]


@pytest.mark.parametrize("cut", CUTS)
def test_garments_end_where_they_are_cut(cut: Cut) -> None:
    body = canonical_body()
    points = pattern(cut).canonical
    hip = body.joints["upperleg01.L"][2]
    if cut.kind == "top":
        assert points[:, 2].min() > hip + cut.edge_m - 0.02 or cut.length > 1.8
        sleeve = points[np.abs(points[:, 0]) > 0.22]
        assert abs(limb_position(body, sleeve, ARM).max() - cut.length) < 0.1
        assert np.linalg.norm(points - body.joints["neck01"], axis=1).min() > 0.03
    elif cut.kind == "trousers":
        assert abs(limb_position(body, points, LEG).max() - cut.length) < 0.1
        assert points[:, 2].max() == pytest.approx(hip + cut.edge_m, abs=0.015)
    else:
        assert points[:, 2].min() == pytest.approx(hip - cut.length, abs=0.02)
        assert points[:, 2].max() == pytest.approx(hip + cut.edge_m, abs=0.02)


@pytest.mark.parametrize("cut", CUTS)
def test_a_garment_is_one_piece_with_the_openings_of_its_kind(cut: Cut) -> None:
    """No islands: what is left over from cutting would fall for ever."""
    piece = pattern(cut)
    edges, _, counts = edges_of(piece.surface.faces)
    count = piece.surface.vertex_count
    graph = Surface(piece.surface.faces, count).mean_of_neighbours
    assert connected_components(graph, directed=False)[0] == 1
    rim = edges[counts == 1]
    assert set(piece.rim) == set(rim.ravel())
    loops, _ = _loops(rim, count)
    # Neck, hem and two sleeves; waist and two legs; waist and hem. An open front joins neck and hem.
    expected = {"top": 3 if cut.opening_m else 4, "trousers": 3, "skirt": 2}[cut.kind]
    assert loops == expected


def _loops(edges: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    import scipy.sparse as sp

    graph = sp.coo_matrix((np.ones(len(edges)), edges.T), (count, count))
    _, label = connected_components(graph, directed=False)
    used = np.unique(label[edges.ravel()])
    return len(used), label


def test_an_open_front_is_as_wide_as_told() -> None:
    closed, opened = (pattern(Cut("top", 1.92, 0.0, "crew", half)).canonical for half in (0.0, 0.05))

    def front(points: np.ndarray) -> float:
        chest = (points[:, 1] < -0.05) & (np.abs(points[:, 2] - 0.5) < 0.05)
        return float(np.abs(points[chest, 0]).min())

    assert front(closed) < 0.01
    assert 0.04 < front(opened) < 0.08


@pytest.mark.parametrize("cut", CUTS)
def test_hidden_skin_is_well_inside_the_garment(cut: Cut) -> None:
    from scipy.spatial import cKDTree

    from hdnet.synthetic.body import body_model

    body = canonical_body()
    piece = pattern(cut)
    skin = body_model().triangles["skin"]
    hidden = body.vertices[skin[piece.hidden_skin]].mean(1)
    distance, _ = cKDTree(piece.canonical).query(hidden)
    assert len(hidden) > 100
    # A skirt hides the hips, which it does not touch between the legs.
    assert np.percentile(distance, 99) < (0.12 if cut.kind == "skirt" else 0.06)
    assert not np.isin(body.region_of_faces(skin)[piece.hidden_skin], ["head", "hand.L", "hand.R"]).any()
