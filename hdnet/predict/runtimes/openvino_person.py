"""OpenVINO graph of the network for photographs: converted from PyTorch, batch norm folded, 8-bit on request."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import openvino as ov  # type: ignore[import-untyped]
import torch
from openvino import opset13 as op

from hdnet.models import PersonModel
from hdnet.models.efficientnet import EXACT_BLOCKS
from hdnet.models.lite import BODY_CHANNELS, PIXEL_CHANNELS
from hdnet.pictures.crop import NETWORK_SIZE
from hdnet.predict.runtime_names import PERSON_INPUT_NAME, PERSON_OUTPUT_NAMES
from hdnet.predict.runtimes.openvino_graph import ACTIVATION_LEVELS, WEIGHT_LEVELS

_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_LARGEST_QUANTISED = NETWORK_SIZE // 16
_LAST_EXACT = f".encoder.blocks.{EXACT_BLOCKS - 1}."
_TO_LAST, _TO_FIRST = np.array([0, 2, 3, 1]), np.array([0, 3, 1, 2])

# (lowest, highest) value of every quantised input, by the name of the operation that reads it.
Ranges = dict[str, tuple[float, float]]


@torch.inference_mode()
def person_graph(model: PersonModel, batch: int = -1) -> Any:
    """Convert the network.

    Args:
        model: The network, in evaluation mode.
        batch: Pictures at once; -1 for any number.

    Returns:
        ``openvino.Model`` from (batch, 4, 256, 256) to the maps of :class:`hdnet.models.lite.PersonMaps`.
    """
    example = torch.zeros(2, 4, NETWORK_SIZE, NETWORK_SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, which takes a quarter of torch.export's time
        # Traced here: OpenVINO would trace twice and compare, which takes as long as all the rest.
        traced = torch.jit.trace(model, example, strict=False, check_trace=False)  # type: ignore[no-untyped-call]
        graph = ov.convert_model(traced)
    graph.reshape([batch, 4, NETWORK_SIZE, NETWORK_SIZE])
    graph.inputs[0].set_names({PERSON_INPUT_NAME})
    for output, name in zip(graph.outputs, PERSON_OUTPUT_NAMES, strict=True):
        output.set_names({name})
    return graph


def split(graph: Any) -> tuple[Any, Any]:
    """Cut the graph into stem and first blocks, which need float32, and the rest.

    Args:
        graph: What :func:`person_graph` made, for a batch of 1; not changed.

    Returns:
        The first part, from the picture to what the rest needs of it, channels last, and the rest, from the picture and
        that to the outputs.
    """
    first, rest = graph.clone(), graph.clone()
    leaving = [op.result(op.transpose(output, op.constant(_TO_LAST))) for output, _ in _leaving(first)]
    parameters = rest.get_parameters()
    for output, readers in _leaving(rest):
        # OpenVINO computes with channels last: so nothing is moved in memory.
        channels_last = op.parameter([output.get_shape()[k] for k in _TO_LAST], output.get_element_type())
        parameters.append(channels_last)
        given = op.transpose(channels_last, op.constant(_TO_FIRST)).output(0)
        for reader in readers:
            reader.replace_source_output(given)
    return ov.Model(leaving, first.get_parameters(), "start"), ov.Model(rest.get_results(), parameters, "rest")


def _leaving(graph: Any) -> list[tuple[Any, list[Any]]]:
    """Outputs of the operations up to the last of the first blocks that later ones read, and these inputs."""
    nodes = graph.get_ordered_ops()
    # Operations are named by the modules that they were converted from.
    last = [node for node in nodes if _LAST_EXACT in node.get_friendly_name()][-1]
    early, waiting = set[str](), [last]
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in early:
            early.add(node.get_friendly_name())
            waiting += [one.get_node() for one in node.input_values()]
    found = []
    for node in nodes:
        if node.get_friendly_name() in early and node.get_type_name() not in ("Constant", "Parameter"):
            readers = [
                one for one in node.output(0).get_target_inputs() if one.get_node().get_friendly_name() not in early
            ]
            if readers:
                found.append((node.output(0), readers))
    return found


def with_joined_maps(graph: Any) -> Any:
    """Copy the graph with the maps of one size as one output: OpenVINO takes milliseconds to part them.

    Args:
        graph: What :func:`person_graph` made.

    Returns:
        ``openvino.Model``, whose outputs :func:`parted` takes.
    """
    graph = graph.clone()
    sources: dict[str, Any] = {}
    for result in graph.get_results():
        source = result.input_value(0)
        before = source.get_node()
        if before.get_type_name() == "Clamp":  # of U and V
            before = before.input_value(0).get_node()
        if before.get_type_name() == "VariadicSplit":
            source = before.input_value(0)
        sources[source.get_node().get_friendly_name()] = source
    return ov.Model([op.result(source) for source in sources.values()], graph.get_parameters(), "maps")


def parted(pixels: np.ndarray, body: np.ndarray, log_scale: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the outputs of :func:`with_joined_maps` as the arrays of :class:`hdnet.models.lite.PersonMaps`, views."""
    parts, uv = np.split(body, [BODY_CHANNELS[0]], axis=1)
    return *np.split(pixels, np.cumsum(PIXEL_CHANNELS[:-1]), axis=1), parts, uv.clip(0, 1), log_scale


def quantise(graph: Any, inputs_b4hw: np.ndarray, margin: float, core: ov.Core) -> None:
    """Have the convolutions at stride 16 and 32 compute with 8-bit integers, in place.

    They hold most weights. Rounding all but the first and the heads costs a trained model 7 mm and 2 degrees, these
    alone 1.5 mm and 0.2 degrees: where pictures are large, few channels carry the relief.

    Args:
        graph: What :func:`person_graph` made, for a batch of 1.
        inputs_b4hw: Pictures that the ranges are measured with.
        margin: Factor of the measured ranges.
        core: Measures them.
    """
    ranges = _ranges(graph, inputs_b4hw, margin, core)
    rounded: dict[tuple[str, int], Any] = {}
    for node in _quantised(graph):
        source = node.input_value(0)
        key = source.get_node().get_friendly_name(), source.get_index()
        if key not in rounded:
            low, high = ranges[node.get_friendly_name()]
            rounded[key] = _fake(source, np.float32(low), np.float32(high), ACTIVATION_LEVELS)
        node.input(0).replace_source_output(rounded[key])
        weights = node.input_value(1)
        values = weights.get_node().get_data()
        channels = 2 if node.get_type_name() == "GroupConvolution" else 1
        largest = np.abs(values).max(axis=tuple(range(channels, values.ndim)), keepdims=True).astype(np.float32)
        largest[largest == 0] = 1  # an empty range is not allowed
        node.input(1).replace_source_output(_fake(weights, -largest, largest, WEIGHT_LEVELS))
    graph.validate_nodes_and_infer_types()


def _quantised(graph: Any) -> list[Any]:
    """Convolutions to be quantised."""
    nodes = [node for node in graph.get_ordered_ops() if node.get_type_name() in _CONVOLUTIONS]
    return [node for node in nodes if node.get_output_shape(0)[-1] <= _LARGEST_QUANTISED]


def _ranges(graph: Any, inputs_b4hw: np.ndarray, margin: float, core: ov.Core) -> Ranges:
    nodes = _quantised(graph)
    probe = ov.Model([op.result(node.input_value(0)) for node in nodes], graph.get_parameters(), "ranges")
    request = core.compile_model(probe, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    low, high = np.zeros(len(nodes)), np.zeros(len(nodes))
    for one in inputs_b4hw:
        found = request.infer([one[None]])
        low = np.minimum(low, [found[k].min() for k in range(len(nodes))])
        high = np.maximum(high, [found[k].max() for k in range(len(nodes))])
    high = np.where(high > low, high, low + 1)  # an empty range is not allowed
    names = [node.get_friendly_name() for node in nodes]
    return {name: (margin * float(a), margin * float(b)) for name, a, b in zip(names, low, high, strict=True)}


def _fake(source: Any, low: Any, high: Any, levels: int) -> Any:
    ends = [op.constant(np.asarray(end, np.float32)) for end in (low, high)]
    return op.fake_quantize(source, *ends, *ends, levels).output(0)
