"""Metrics on held-out people, against what `evaluate` finds for the complete model."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hdnet.errors import DataError
from hdnet.evaluation import METRICS, NORMAL_METRICS, depth_metrics, evaluate, normal_metrics
from hdnet.geometry import Camera, depth_to_normals
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.training.validation import METRICS_OF_STAGE, HeldOutValidator, higher_is_better

SIZE, CAMERA = 32, Camera.centred(60, 32)
TURNED = Camera(60, 60, 5, 16)


def person(seed: int, camera: Camera = CAMERA, **changes: Any) -> dict[str, Any]:
    random = torch.Generator().manual_seed(seed)
    mask = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    mask[:, 4:28, 6 : 20 + seed % 8] = True
    image = torch.where(mask, (torch.rand(3, SIZE, SIZE, generator=random) * 250).round(), 255.0)
    vui = (torch.rand(3, SIZE, SIZE, generator=random) * 24).round() * mask
    normals = nn.functional.normalize(torch.randn(3, SIZE, SIZE, generator=random), dim=0) * mask
    depth = (4 + 0.1 * torch.randn(1, SIZE, SIZE, generator=random)) * mask
    values = {"image": image, "vui": vui, "mask": mask, "depth": depth, "normals": normals}
    return {**values, "camera": camera.as_tensor(), **changes}


@pytest.fixture
def estimators() -> tuple[NormalEstimator, DepthEstimator]:
    torch.manual_seed(0)
    depth = DepthEstimator(2)
    nn.init.constant_(depth.head.bias, 4.0)
    return NormalEstimator(2).train(), depth.train()


def test_a_normal_estimator_is_measured_as_evaluate_does(estimators):
    normal, depth = estimators
    people = [person(seed) for seed in range(5)]

    found = HeldOutValidator(people, batch_size=2)(normal)

    expected = evaluate(HDNet(normal, depth, CAMERA), people).summary["model"]
    assert tuple(found) == NORMAL_METRICS == METRICS_OF_STAGE["train_normal"]
    assert found == pytest.approx({metric: expected[metric] for metric in NORMAL_METRICS}, rel=1e-4)


def test_a_depth_estimator_is_measured_as_evaluate_does_if_it_sees_the_same_normals(estimators):
    normal, depth = estimators
    people = [person(seed, TURNED) for seed in range(3)]

    found = HeldOutValidator(people, camera=CAMERA, normal_estimator=normal)(depth)

    expected = evaluate(HDNet(normal, depth, CAMERA), people).summary["model"]
    assert tuple(found) == METRICS == METRICS_OF_STAGE["train_depth"]
    for metric in ("depth_mae_mm", "depth_rmse_mm", "depth_abs_rel"):
        assert found[metric] == pytest.approx(expected[metric], rel=1e-4)


@pytest.mark.parametrize("key", ["normals", "input_normals"])
def test_normals_of_a_depth_estimator_are_those_of_its_depth(estimators, key):
    people, network = [person(seed) for seed in range(2)], estimators[1]
    if key == "input_normals":
        people = [{**one, key: one["normals"].flip(2)} for one in people]

    found = HeldOutValidator(people, batch_size=1)(network)

    rows = []
    for one in people:
        inputs = torch.cat([one["image"], one[key], one["vui"]])[None]
        with torch.no_grad():
            depth = network(inputs).double()
        normals = depth_to_normals(depth, one["mask"][None], CAMERA)[0].permute(1, 2, 0)
        true, mask = one["normals"].permute(1, 2, 0), one["mask"][0]
        rows.append(depth_metrics(depth[0, 0], one["depth"][0], mask) | normal_metrics(normals, true, mask))
    assert found == pytest.approx({name: np.mean([row[name] for row in rows]) for name in METRICS}, rel=1e-6)


def test_so_many_people_are_spread_evenly_and_always_the_same(estimators):
    people = [person(seed) for seed in range(9)]

    some = HeldOutValidator(people, limit=3)

    assert some.chosen == (0, 4, 8)
    assert HeldOutValidator(people, limit=50).chosen == tuple(range(9))
    assert HeldOutValidator(people).chosen == tuple(range(9))
    assert some(estimators[0]) == some(estimators[0])
    alone = HeldOutValidator([people[k] for k in (0, 4, 8)], batch_size=1)
    assert some(estimators[0]) == pytest.approx(alone(estimators[0]), rel=1e-5)


class SeenStates:
    """A hook that notes training mode and gradients at every call."""

    def __init__(self) -> None:
        self.found: list[tuple[bool, bool]] = []

    def __call__(self, module: nn.Module, *_: Any) -> None:
        self.found.append((module.training, torch.is_grad_enabled()))


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_gradients_stay(estimators, training):
    for network in estimators:
        network.train(training)
        network.register_forward_hook(seen_states := SeenStates())
        HeldOutValidator([person(0)])(network)
        assert seen_states.found == [(False, False)]
        assert network.training is training
        assert all(parameter.grad is None for parameter in network.parameters())


def test_mode_comes_back_after_an_error(estimators):
    empty = person(1, mask=torch.zeros(1, SIZE, SIZE, dtype=torch.bool))
    with pytest.raises(DataError, match=r"^held-out sample 1: mask is empty"):
        HeldOutValidator([person(0), empty])(estimators[1])
    assert estimators[1].training


def test_batch_statistics_are_not_used(estimators):
    network = NormalEstimator(2, norm="batch").train()
    people = [person(seed) for seed in range(4)]
    together, alone = HeldOutValidator(people, batch_size=4), HeldOutValidator(people, batch_size=1)
    assert together(network) == pytest.approx(alone(network), rel=1e-5)


def test_nobody_is_refused_with_what_to_do():
    with pytest.raises(DataError, match=r"no held-out people.*heldout_people.*switch validation off"):
        HeldOutValidator([])
    with pytest.raises(ValueError, match="at least 1"):
        HeldOutValidator([person(0)], limit=0)


def test_a_network_that_answers_nonsense_is_never_the_best(estimators, caplog):
    with torch.no_grad():
        estimators[0].head.bias.fill_(math.nan)
    with caplog.at_level(logging.WARNING):
        found = HeldOutValidator([person(0)])(estimators[0])
    assert tuple(found) == NORMAL_METRICS
    assert all(math.isnan(value) for value in found.values())
    assert "held-out sample 0: predicted normals not finite" in caplog.text


def test_which_way_is_better():
    assert [metric for metric in METRICS if higher_is_better(metric)] == list(NORMAL_METRICS[2:])
    with pytest.raises(ValueError, match="no metric 'loss'"):
        higher_is_better("loss")
