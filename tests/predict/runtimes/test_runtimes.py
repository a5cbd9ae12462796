"""Each runtime computes what the model computes, as exactly as its numbers allow."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from hdnet.errors import ModelError
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.predict.runtimes import RUNTIMES, difference, make_runtime
from hdnet.predict.runtimes.openvino_cpu import MARGIN, ranges_of
from hdnet.predict.runtimes.probes import probe_inputs

# Largest mean difference of depth and of normals from the model: by its own numbers, untrained networks pass on more
# of a rounding than trained ones. OpenVINO adds up a layer's statistics pixel after pixel in float32.
CLOSE = {
    "torch": (0.0005, 0.0005),
    "openvino": (0.05, 0.05),
    "torch-bf16": (1.0, 1.5),
    "openvino-bf16": (1.0, 1.5),
    "openvino-int8": (2.0, 5.0),
}


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return probe_inputs(2, seed=7)


@torch.inference_mode()
def outputs_of(model: HDNet, inputs: np.ndarray) -> np.ndarray:
    return np.concatenate([model(torch.from_numpy(one[None])).numpy() for one in inputs])


@pytest.mark.parametrize("name", RUNTIMES)
def test_runtime_agrees_with_the_model(name: str, model: HDNet, inputs: np.ndarray) -> None:
    expected = outputs_of(model, inputs)
    inside = inputs[:, 6] > 0

    runtime = make_runtime(name, model, threads=1)
    found = runtime(inputs)

    assert runtime.name == name
    assert found.shape == (2, 4, 256, 256)
    assert found.dtype == np.float32
    off, (depth_mm, normal_deg) = difference(found, expected, inside), CLOSE[name]
    assert off.depth_mm <= depth_mm
    assert off.normal_deg <= normal_deg
    # The background, which no mask hides, is the same picture too: a shifted upsampling would show at the border.
    assert np.abs(found[:, 0] - expected[:, 0]).max() < 0.03
    assert (found[:, 1:].transpose(0, 2, 3, 1)[~inside] == 0).all()


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_picture_does_not_depend_on_its_neighbours(name: str, model: HDNet, inputs: np.ndarray) -> None:
    runtime = make_runtime(name, model, threads=1)

    together, alone = runtime(inputs), np.concatenate([runtime(one[None]) for one in inputs])

    assert np.abs(together - alone).max() < (1e-3 if "bf16" not in name else 0.02)


@pytest.mark.parametrize("name", RUNTIMES)
def test_the_order_of_the_inputs_in_memory_does_not_matter(name: str, model: HDNet, inputs: np.ndarray) -> None:
    runtime = make_runtime(name, model, threads=1)
    pixel_by_pixel = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

    assert np.array_equal(runtime(pixel_by_pixel), runtime(inputs))


@pytest.mark.parametrize("name", ["torch-bf16", "openvino-bf16", "openvino-int8"])
def test_depth_is_finer_than_bfloat16(name: str, model: HDNet, inputs: np.ndarray) -> None:
    # Around 4 m bfloat16 has steps of 16 and 31 mm: the whole relief of these networks would be a few flat steps.
    depth = make_runtime(name, model, threads=1)(inputs[:1])[0, 0]

    assert len(np.unique(depth)) > 10_000


@pytest.mark.parametrize("scale", ["raw", "unit"])
def test_graph_keeps_either_scale_of_the_input(scale: str, model: HDNet, inputs: np.ndarray) -> None:
    torch.manual_seed(1)
    other = HDNet(NormalEstimator(2, scale), DepthEstimator(2, scale, 4.0), model.camera).eval()  # type: ignore[arg-type]
    torch.nn.init.normal_(other.depth_estimator.head.weight, std=0.01)

    found = make_runtime("openvino", other, threads=1)(inputs[:1])

    assert difference(found, outputs_of(other, inputs[:1]), inputs[:1, 6] > 0).depth_mm < 0.05


def test_the_model_itself_stays_as_it_was(model: HDNet) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}

    for name in RUNTIMES:
        make_runtime(name, model, threads=1)

    after = model.state_dict()
    assert all(value.dtype == torch.float32 and torch.equal(value, after[name]) for name, value in before.items())


def test_ranges_are_the_largest_values_behind_each_relu(model: HDNet, inputs: np.ndarray) -> None:
    image = torch.from_numpy(inputs[:1, :3])
    network = model.normal_estimator
    with torch.inference_mode():
        first = network.blocks[0](image * network.input_gain + network.input_offset)
        second = network.blocks[1](first)

    found = ranges_of(model, inputs[:1])

    assert {kind: len(values) for kind, values in found.items()} == {"normal": 17, "depth": 17}
    assert found["normal"][:2] == pytest.approx((MARGIN * first.max().item(), MARGIN * second.max().item()))
    assert not any(block._forward_hooks for block in network.blocks)


def test_ranges_of_dead_layers_are_not_empty(model: HDNet, inputs: np.ndarray) -> None:
    torch.manual_seed(2)
    dead = HDNet(NormalEstimator(2), DepthEstimator(2), model.camera).eval()
    torch.nn.init.constant_(dead.normal_estimator.blocks[3].shift, -1e3)
    torch.nn.init.zeros_(dead.depth_estimator.blocks[4].conv.weight)

    assert ranges_of(dead, inputs[:1])["normal"][3] == 1.0
    assert np.isfinite(make_runtime("openvino-int8", dead, threads=1)(inputs[:1])).all()


def test_threads_are_those_asked_for(model: HDNet, inputs: np.ndarray) -> None:
    before = torch.get_num_threads()
    try:
        make_runtime("torch", model, threads=3)(inputs[:1])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("cores", "expected"), [(2, 2), (8, 3)])
def test_a_container_with_fewer_cores_gets_no_more_threads(
    model: HDNet, inputs: np.ndarray, monkeypatch: pytest.MonkeyPatch, cores: int, expected: int
) -> None:
    monkeypatch.setattr("hdnet.predict.runtimes.choice.cores", lambda: cores)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        make_runtime("torch", model)(inputs[:1])
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


def test_probes_are_people_on_white() -> None:
    found = probe_inputs(3)
    again = probe_inputs(2)

    inside = found[:, 6] > 0
    assert found.shape == (3, 7, 256, 256)
    assert found.dtype == np.float32
    assert np.array_equal(found[:2], again)
    assert not np.array_equal(found[0], found[1])
    assert (found[:, :3].transpose(0, 2, 3, 1)[~inside] == 255).all()
    assert (found[:, :3].transpose(0, 2, 3, 1)[inside] < 255).all()
    assert np.array_equal(found[:, 3] > 0, inside)
    assert found[:, 3].max() == 24
    assert found[:, :6].min() >= 0
    assert found[:, :6].max() <= 255
    assert 0.1 < inside.mean() < 0.5


@pytest.mark.parametrize(
    ("name", "device", "words"),
    [
        ("tensorrt", "cpu", "'tensorrt' is not known, expected auto or one of torch, torch-bf16, openvino"),
        ("openvino-bf16", "cuda", "works on the processor only, found device 'cuda'"),
    ],
)
def test_what_cannot_run_is_named(name: str, device: str, words: str, model: HDNet) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        make_runtime(name, model, device=device)
    assert "\n" not in str(caught.value)


def test_missing_openvino_is_named(model: HDNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    for ours in ("openvino_cpu", "openvino_graph"):
        monkeypatch.delitem(sys.modules, f"hdnet.predict.runtimes.{ours}", raising=False)

    with pytest.raises(ModelError, match=r"runtime 'openvino' needs OpenVINO, `pip install .*-e .*\[serve\]'?`"):
        make_runtime("openvino", model)
