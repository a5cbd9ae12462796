"""Shoes: flat soles under the feet, and no skin where a shoe is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial import cKDTree

from hdnet.synthetic.accessories.shoes import draw_shoes, hidden_skin
from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.components import PosedBody, Shape


@pytest.mark.parametrize("seed", range(6))
def test_soles_are_the_lowest_and_flat(
    seed: int, shape_of: Callable[..., Shape], pose_of: Callable[..., PosedBody]
) -> None:
    shape = shape_of(seed)
    body = pose_of(shape)
    components = draw_shoes(np.random.default_rng(seed), shape)
    if not components:
        return
    soles = np.concatenate(
        [component.carrier.vertices(body) for component in components if component.name.startswith("sole")]
    )
    others = np.concatenate(
        [component.carrier.vertices(body) for component in components if not component.name.startswith("sole")]
    )
    assert soles[:, 2].min() < min(others[:, 2].min(), body.vertices[:13380, 2].min()) - 0.004
    bottom = soles[soles[:, 2] < soles[:, 2].min() + 0.004]
    assert len(bottom) > 40
    assert np.ptp(bottom[:, 1]) > 0.05


def test_hidden_skin_is_near_what_covers_it_and_only_on_feet_and_calves(shape_of: Callable[..., Shape]) -> None:
    body = canonical_body()
    skin = body_model().triangles["skin"]
    region = body.region_of_faces(skin)
    for seed in range(12):
        components = draw_shoes(np.random.default_rng(seed), shape_of(1))
        hidden = hidden_skin(components)
        assert hidden.shape == (len(skin),)
        assert set(region[hidden]) <= {"foot.L", "foot.R", "calf.L", "calf.R"}
        covers = [component.canonical for component in components if component.name[:4] in ("shoe", "sock", "sole")]
        if hidden.any():
            distance, _ = cKDTree(np.concatenate(covers)).query(body.vertices[skin[hidden]].mean(1))
            assert distance.max() < 0.04


def test_toes_are_hidden_in_closed_shoes(shape_of: Callable[..., Shape]) -> None:
    body = canonical_body()
    skin = body_model().triangles["skin"]
    toes = body.vertices[skin][:, :, 1].max(1) < body.joints["foot.L"][1] - 0.13
    toes &= body.vertices[skin][:, :, 2].max(1) < body.joints["foot.L"][2]
    for seed in range(12):
        components = draw_shoes(np.random.default_rng(seed), shape_of(1))
        hidden = hidden_skin(components)
        assert not hidden.any() or hidden[toes].all()


def test_nobody_elses_parts_hide_skin() -> None:
    assert not hidden_skin(()).any()
