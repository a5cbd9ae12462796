"""What holds for every part: finite, on the body, deterministic, small, of a known name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial import cKDTree

from hdnet.synthetic.adorn import draw_head, draw_jewellery, draw_shoes
from hdnet.synthetic.body import SKIN_VERTICES
from hdnet.synthetic.parts import Part, PosedBody, Shape

BENT = {"spine03": (0.6, 0.0, 0.1), "neck01": (0.3, 0.2, 0.4), "head": (0.2, 0.0, 0.5), "upperleg01.L": (-1.2, 0, 0)}
# A ponytail's tip may be this far from the skin; all else is near it.
REACH_M = {"hair": 0.45, "hat": 0.16, "visor": 0.16, "cap": 0.06, "beanie": 0.09}
NAMES = {
    *("teeth", "tongue", "hair", "beard", "cap", "visor", "beanie", "hat", "glasses"),
    *("earrings", "necklace", "bracelet", "watch", "shoe.L", "shoe.R", "sole.L", "sole.R", "sock.L", "sock.R"),
}


def _drawn(shape: Shape, seed: int) -> tuple[Part, ...]:
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
        for part in _drawn(shape, seed):
            assert part.name in NAMES
            points = part.carrier.vertices(body)
            assert points.shape == part.canonical.shape == (part.surface.vertex_count, 3)
            assert np.isfinite(points).all()
            assert np.isfinite(part.canonical).all()
            assert part.faces.min() >= 0
            assert part.faces.max() < len(points)
            assert skin.query(points[::5])[0].max() < REACH_M.get(part.name, 0.08), part.name
            albedo = part.material.albedo(part.canonical)
            assert albedo.shape == points.shape
            assert albedo.min() >= 0
            assert albedo.max() <= 1
            assert 0 <= part.material.gloss <= 1


def test_the_same_generator_state_gives_the_same_parts(
    shape_of: Callable[..., Shape], pose_of: Callable[..., PosedBody]
) -> None:
    shape = shape_of(1)
    body = pose_of(shape, BENT)
    first, second = _drawn(shape, 5), _drawn(shape, 5)
    assert [part.name for part in first] == [part.name for part in second]
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.carrier.vertices(body), b.carrier.vertices(body))
        assert np.array_equal(a.material.albedo(a.canonical), b.material.albedo(b.canonical))


def test_triangle_counts_are_modest(shape_of: Callable[..., Shape]) -> None:
    shapes = [shape_of(seed) for seed in range(3)]
    for seed in range(20):
        parts = _drawn(shapes[seed % 3], seed)
        count = {name: sum(len(part.faces) for part in parts if part.name.startswith(name)) for name in ("hair", "s")}
        assert count["hair"] <= 8500
        assert count["s"] <= 8000
        assert sum(len(part.faces) for part in parts if part.name == "glasses") <= 1000


def test_most_people_wear_neither_hat_nor_glasses_and_women_have_no_beard(shape_of: Callable[..., Shape]) -> None:
    man, woman = shape_of(0, gender=0.05, age=0.75), shape_of(0, gender=0.95, age=0.75)
    names = [{part.name for part in draw_head(np.random.default_rng(seed), man)} for seed in range(60)]
    hats = sum(bool(here & {"cap", "beanie", "hat"}) for here in names)
    assert 2 <= hats <= 20
    assert 4 <= sum("glasses" in here for here in names) <= 26
    assert 10 <= sum("beard" in here for here in names) <= 35
    assert not any(part.name == "beard" for seed in range(40) for part in draw_head(np.random.default_rng(seed), woman))


def test_teenagers_have_no_beard(shape_of: Callable[..., Shape]) -> None:
    boy = shape_of(0, gender=0.05, age=0.6)
    assert not any(part.name == "beard" for seed in range(40) for part in draw_head(np.random.default_rng(seed), boy))
