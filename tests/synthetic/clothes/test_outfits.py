from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.spatial import cKDTree

from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.canonical import CANONICAL_SHAPE, canonical_body
from hdnet.synthetic.clothes.dressing import dress, garment_surfaces, garment_textures
from hdnet.synthetic.clothes.outfits import draw_outfit
from hdnet.synthetic.clothes.patterns import pattern
from hdnet.synthetic.components import PosedBody


def _standing(frames: int) -> list[PosedBody]:
    model = body_model()
    rest = model.shape(CANONICAL_SHAPE)
    joints = dict(zip(model.bone_names, model.joints(rest), strict=True))
    return [PosedBody.at_rest(rest, joints)] * frames


def test_all_kinds_are_worn_and_skirts_by_women() -> None:
    def names(gender: float) -> Counter[str]:
        return Counter(
            garment.name for seed in range(150) for garment in draw_outfit(np.random.default_rng(seed), gender)
        )

    women, men = names(1.0), names(0.0)
    kinds = {"t_shirt", "long_sleeve", "sweatshirt", "hoodie", "shirt", "jacket", "trousers"}
    assert kinds <= set(men)
    assert kinds | {"skirt", "dress"} <= set(women)
    assert not {"skirt", "dress"} & set(men)


def test_an_outfit_follows_its_stream() -> None:
    first, again, other = (draw_outfit(np.random.default_rng(seed), 1.0) for seed in (4, 4, 5))
    assert [garment.cut for garment in first] == [garment.cut for garment in again]
    assert all(np.array_equal(a.slack, b.slack) for a, b in zip(first, again, strict=True))
    assert [garment.cut for garment in first] != [garment.cut for garment in other]


@pytest.mark.parametrize("seed", range(6))
def test_clothes_stay_outside_the_body_and_near_it(seed: int) -> None:
    bodies = _standing(8)
    outfit = draw_outfit(np.random.default_rng(seed), seed % 2)
    (worn,) = dress(outfit, bodies, [7])
    meshes = iter(worn)
    skin = bodies[-1].vertices[:SKIN_VERTICES]
    outward = _skin_normals(skin)
    tree = cKDTree(skin)
    for garment in outfit:
        for number, surface in enumerate(garment_surfaces(garment)):
            mesh = next(meshes)
            assert mesh.shape == (surface.vertex_count, 3)
            assert np.isfinite(mesh).all()
            if number:
                continue
            distance, nearest = tree.query(mesh)
            height = np.einsum("ij,ij->i", mesh - skin[nearest], outward[nearest])
            assert (height < -0.004).mean() < 0.02
            assert np.percentile(distance, 95) < 0.35
    assert next(meshes, None) is None


def test_colours_are_albedos_wherever_a_garment_is() -> None:
    for seed in range(12):
        for garment in draw_outfit(np.random.default_rng(seed), 1.0):
            for points in garment_textures(garment):
                colour = garment.material.albedo(points[::7].astype(np.float32))
                assert colour.shape == (len(points[::7]), 3)
                assert np.isfinite(colour).all()
                assert colour.min() > 0
                assert colour.max() < 1


def test_collars_lie_at_the_neck() -> None:
    body = canonical_body()
    found = 0
    for seed in range(30):
        for garment in draw_outfit(np.random.default_rng(seed), 0.0):
            for strip in garment_textures(garment)[1:]:
                found += 1
                away = np.linalg.norm(strip - body.joints["neck01"], axis=1)
                assert away.min() > 0.03
                assert away.max() < 0.25
    assert found > 5


def test_hems_are_thicker_than_the_cloth_between() -> None:
    for seed in range(5):
        for garment in draw_outfit(np.random.default_rng(seed), 0.0):
            at_edge = pattern(garment.cut).fine_edge_m < 0.005
            assert garment.relief_m[at_edge].min() > 0.001


def _skin_normals(skin: np.ndarray) -> np.ndarray:
    from hdnet.synthetic.surface import Surface

    return Surface(body_model().triangles["skin"], SKIN_VERTICES).normals(skin)
