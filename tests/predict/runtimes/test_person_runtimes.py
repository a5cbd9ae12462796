"""The network for photographs in every runtime and export, against PyTorch in float32."""

from functools import cache

import numpy as np
import pytest
import torch

from hdnet.errors import ModelError
from hdnet.geometry import Camera
from hdnet.models import LiteEstimator, PersonMaps, PersonModel
from hdnet.predict.export import export_model
from hdnet.predict.runtime_names import PERSON_OUTPUT_NAMES
from hdnet.predict.runtimes import check_export, choose_runtime, difference, make_runtime
from hdnet.predict.runtimes.agreement import probes_for

openvino = pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def model():
    """Random weights, and running statistics that fit them."""
    torch.manual_seed(3)
    made = PersonModel(LiteEstimator(), Camera.centred())
    made.train()
    with torch.no_grad():
        for _ in range(10):
            made(torch.from_numpy(probes_for(made, 4, seed=9).inputs_bchw))
    return made.eval()


@pytest.fixture(scope="module")
def probes(model):
    return probes_for(model, 2, seed=5)


@pytest.fixture(scope="module")
def reference(model, probes):
    return make_runtime("torch", model)(probes.inputs_bchw)


@pytest.fixture(scope="module")
def outputs_of(model, probes):
    """Outputs of a runtime; each is made once."""
    return cache(lambda name: make_runtime(name, model)(probes.inputs_bchw))


def test_names_of_the_outputs_are_those_of_the_maps():
    assert PersonMaps._fields == PERSON_OUTPUT_NAMES


@pytest.mark.parametrize(
    ("name", "limit_mm", "limit_deg"),
    [("torch-bf16", 2.0, 1.0), ("openvino", 0.01, 0.01), ("openvino-bf16", 2.0, 1.0), ("openvino-int8", 2.0, 1.0)],
)
def test_a_runtime_gives_the_same_maps(outputs_of, probes, reference, name, limit_mm, limit_deg):
    outputs = outputs_of(name)
    assert [one.shape for one in outputs] == [one.shape for one in reference]
    assert [one.dtype for one in outputs] == [np.float32] * len(reference)
    found = difference(outputs, reference, probes.mask_bhw)
    assert found.depth_mm < limit_mm
    assert found.normal_deg < limit_deg


def test_the_exact_start_and_the_rest_are_the_whole_graph(model, probes, reference):
    from hdnet.predict.runtimes.openvino_cpu import core, graph_of
    from hdnet.predict.runtimes.openvino_person import parted, split

    start, rest = (
        core().compile_model(one, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for one in split(graph_of(model, 1, is_joined=True))
    )
    picture = probes.inputs_bchw[:1]
    left = start([picture]).to_tuple()
    # The feature of stride 2, which the decoder reads too, and that of the second block, channels last.
    assert [one.shape for one in left] == [(1, 128, 128, 16), (1, 64, 64, 24)]
    for found, wanted in zip(parted(*rest([picture, *left]).to_tuple()), reference, strict=True):
        np.testing.assert_allclose(found, wanted[:1], atol=1e-4)


def test_bfloat16_begins_after_the_first_blocks():
    """Features of float32 up to there, other ones after it."""
    torch.manual_seed(0)
    estimator = LiteEstimator().eval()
    picture = torch.rand(1, 4, 64, 64) * 255
    with torch.inference_mode():
        exact = estimator.encoder(picture)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = estimator.encoder(picture)
    assert torch.equal(rounded[0], exact[0])
    assert not torch.equal(rounded[1], exact[1])


def test_eight_bits_are_really_used(outputs_of, reference):
    exact, rounded = outputs_of("openvino"), outputs_of("openvino-int8")
    parts = PersonMaps._fields.index("parts_b25hw")
    of_rounding, of_eight_bits = (np.abs(one[parts] - reference[parts]).max() for one in (exact, rounded))
    assert of_rounding < 1e-4
    assert of_eight_bits > 10 * of_rounding


def test_the_fastest_is_chosen_among_those_that_are_right(model):
    choice = choose_runtime(model, threads=1, candidates=("openvino", "openvino-int8"))
    assert set(choice.seconds_by_name) == {"torch", "openvino", "openvino-int8"}
    assert choice.name == min(choice.seconds_by_name, key=choice.seconds_by_name.__getitem__)
    assert choice.difference_by_name["openvino"].is_small


@pytest.mark.parametrize(("form", "name"), [("onnx", "model.onnx"), ("openvino", "model.xml")])
def test_an_export_reproduces_the_model(model, tmp_path, form, name):
    pytest.importorskip("onnxruntime")
    files, worst = export_model(model, None, form, tmp_path / name)
    assert (tmp_path / name) in files
    assert worst.depth_mm < 0.5
    assert worst.normal_deg < 0.1


def test_an_export_of_another_model_is_refused(model):
    other = PersonModel(LiteEstimator(), Camera.centred()).eval()
    with pytest.raises(ModelError, match=r"the exported model is .* from the original"):
        check_export(model, make_runtime("torch", other), "other")
