from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from hdnet.data.synthetic.body import SKIN_VERTICES, body_model
from hdnet.data.synthetic.clothing import FOLD_DRIVERS, Garment, fit, make_folds
from hdnet.data.synthetic.garments import ARM, CANONICAL_SHAPE, LEG, Cut, canonical, limb_position, pattern
from hdnet.data.synthetic.motion import draw_still
from hdnet.data.synthetic.person import SHOES, TOP, draw_person, pose_person

CUTS = [Cut("top", 0.65), Cut("top", 1.92, 0.05), Cut("trousers", 0.5), Cut("trousers", 1.95), Cut("skirt", 0.3)]


def _garment(cut: Cut, ease_m: float, folds: float) -> Garment:
    count = pattern(cut).surface.vertex_count
    drawn = make_folds(np.random.default_rng(1), cut, folds)
    return Garment(cut, np.full(count, ease_m), np.full(count, 0.001), 4, drawn, TOP)


@pytest.mark.parametrize("cut", CUTS)
def test_garments_end_where_they_are_cut(cut: Cut) -> None:
    body, _ = canonical()
    points = pattern(cut).canonical
    hip = body.joints["upperleg01.L"][2]
    if cut.kind == "top":
        assert points[:, 2].min() > hip + cut.hem_m - 0.02 or cut.length > 1.8
        sleeve = points[np.abs(points[:, 0]) > 0.22]
        assert abs(limb_position(body, sleeve, ARM).max() - cut.length) < 0.1
        # The neck is left open.
        assert np.linalg.norm(points - body.joints["neck01"], axis=1).min() > 0.03
    elif cut.kind == "trousers":
        assert abs(limb_position(body, points, LEG).max() - cut.length) < 0.1
        assert points[:, 2].max() < hip + 0.11
    else:
        assert points[:, 2].min() == pytest.approx(hip - cut.length, abs=0.02)


@pytest.mark.parametrize("cut", CUTS)
def test_ease_lets_a_garment_out(cut: Cut) -> None:
    model = body_model()
    body = model.shape(CANONICAL_SHAPE)
    bends = np.ones(len(FOLD_DRIVERS))
    tight, _ = fit(_garment(cut, 0.002, 0.0), body, bends)
    loose, normals = fit(_garment(cut, 0.022, 0.0), body, bends)
    assert np.einsum("ij,ij->i", loose - tight, normals).mean() > 0.01
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-4)


def test_folds_are_geometry_of_a_few_millimetres() -> None:
    body = body_model().shape(CANONICAL_SHAPE)
    bends = np.ones(len(FOLD_DRIVERS))
    plain, smooth_normals = fit(_garment(CUTS[1], 0.015, 0.0), body, bends)
    folded, normals = fit(_garment(CUTS[1], 0.015, 1.0), body, bends)
    height = np.linalg.norm(folded - plain, axis=1)
    assert 0.001 < np.percentile(height, 90) < 0.02
    assert height.max() < 0.04
    turned = np.degrees(np.arccos(np.clip((smooth_normals * normals).sum(1), -1, 1)))
    assert 4 < turned.mean() < 30


def test_dressed_people_are_watertight_to_the_eye_and_stand_on_the_floor() -> None:
    """Skin is hidden only where cloth is near, so that no hole is seen."""
    for seed in range(3):
        person = draw_person(np.random.default_rng(seed), np.random.default_rng(seed + 100))
        posed = pose_person(person, draw_still(np.random.default_rng(seed + 200)))
        assert posed.vertices[:, 2].min() == 0
        assert np.isfinite(posed.vertices).all()
        assert np.allclose(np.linalg.norm(posed.normals, axis=1), 1, atol=1e-3)
        shown = np.unique(person.faces[person.labels == 0])
        hidden = np.setdiff1d(np.unique(body_model().triangles["skin"]), shown)
        cloth = posed.vertices[np.unique(person.faces[(person.labels >= TOP) & (person.labels <= SHOES)])]
        distance, _ = cKDTree(cloth).query(posed.vertices[:SKIN_VERTICES][hidden])
        assert np.percentile(distance, 99) < 0.09


def test_person_and_clothes_have_their_own_streams() -> None:
    a = draw_person(np.random.default_rng(1), np.random.default_rng(2))
    b = draw_person(np.random.default_rng(1), np.random.default_rng(3))
    assert np.array_equal(a.rest, b.rest)
    assert len(a.faces) != len(b.faces) or not np.array_equal(a.garments[0].ease_m, b.garments[0].ease_m)
