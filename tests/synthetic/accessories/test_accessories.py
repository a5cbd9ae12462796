"""Properties of every accessory: finite, on the body, deterministic, small, of a known name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial import cKDTree

from hdnet.synthetic.accessories import draw_head, draw_jewellery, draw_shoes
from hdnet.synthetic.body import SKIN_VERTICES
from hdnet.synthetic.components import Component, PosedBody, Shape

BENT = {"spine03": (0.6, 0.0, 0.1), "neck01": (0.3, 0.2, 0.4), "head": (0.2, 0.0, 0.5), "upperleg01.L": (-1.2, 0, 0)}
# A ponytail's tip may be this far from the skin; all else is near it.
REACH_M = {"hair": 0.45, "hat": 0.16, "visor": 0.16, "cap": 0.06, "beanie": 0.09}
NAMES = {
    *("teeth", "tongue", "hair", "beard", "cap", "visor", "beanie", "hat", "glasses"),
    *("earrings", "necklace", "bracelet", "watch", "shoe.L", "shoe.R", "sole.L", "sole.R", "sock.L", "sock.R"),
}


def _drawn(shape: Shape, seed: int) -> tuple[Component, ...]:
    rng = np.random.default_rng(seed)
    return draw_head(rng, shape) + draw_jewellery(rng, shape) + draw_shoes(rng, shape)


@pytest.mark.parametrize("seed", range(12))
def test_parts_are_finite_and_stay_on_the_body(
    seed: int, shape_of: Callable[..., Shape], pose_of: Callable[..., PosedBody]
) -> None:
    shape = shape_of(seed)
    for turns in ({}, BENT):
        body = pose_of(shape, turns)
        skin = cKDTree(body.vertices[:SKIN_VERTICES])
        for component in _drawn(shape, seed):
            assert component.name in NAMES
            points = component.carrier.vertices(body)
            assert points.shape == component.canonical.shape == (component.surface.vertex_count, 3)
            assert np.isfinite(points).all()
            assert np.isfinite(component.canonical).all()
            assert component.faces.min() >= 0
            assert component.faces.max() < len(points)
            assert skin.query(points[::5])[0].max() < REACH_M.get(component.name, 0.08), component.name
            albedo = component.material.albedo(component.canonical)
            assert albedo.shape == points.shape
            assert albedo.min() >= 0
            assert albedo.max() <= 1
            assert 0 <= component.material.gloss <= 1


def test_the_same_generator_state_gives_the_same_parts(
    shape_of: Callable[..., Shape], pose_of: Callable[..., PosedBody]
) -> None:
    shape = shape_of(1)
    body = pose_of(shape, BENT)
    first, second = _drawn(shape, 5), _drawn(shape, 5)
    assert [component.name for component in first] == [component.name for component in second]
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.carrier.vertices(body), b.carrier.vertices(body))
        assert np.array_equal(a.material.albedo(a.canonical), b.material.albedo(b.canonical))


def test_triangle_counts_are_modest(shape_of: Callable[..., Shape]) -> None:
    shapes = [shape_of(seed) for seed in range(3)]
    for seed in range(20):
        components = _drawn(shapes[seed % 3], seed)
        count = {
            name: sum(len(component.faces) for component in components if component.name.startswith(name))
            for name in ("hair", "s")
        }
        assert count["hair"] <= 8500
        assert count["s"] <= 8000
        assert sum(len(component.faces) for component in components if component.name == "glasses") <= 1000


def test_most_people_wear_neither_hat_nor_glasses_and_women_have_no_beard(shape_of: Callable[..., Shape]) -> None:
    man, woman = shape_of(0, gender=0.05, age=0.75), shape_of(0, gender=0.95, age=0.75)
    names = [{component.name for component in draw_head(np.random.default_rng(seed), man)} for seed in range(60)]
    hats = sum(bool(here & {"cap", "beanie", "hat"}) for here in names)
    assert 2 <= hats <= 20
    assert 4 <= sum("glasses" in here for here in names) <= 26
    assert 10 <= sum("beard" in here for here in names) <= 35
    assert not any(
        component.name == "beard" for seed in range(40) for component in draw_head(np.random.default_rng(seed), woman)
    )


def test_teenagers_have_no_beard(shape_of: Callable[..., Shape]) -> None:
    boy = shape_of(0, gender=0.05, age=0.6)
    assert not any(
        component.name == "beard" for seed in range(40) for component in draw_head(np.random.default_rng(seed), boy)
    )
