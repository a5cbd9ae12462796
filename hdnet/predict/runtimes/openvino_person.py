"""OpenVINO graph of the network for photographs: converted from PyTorch, batch norm folded, 8-bit on request."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import openvino as ov  # type: ignore[import-untyped]
import torch
from openvino import opset13 as op

from hdnet.models import PersonModel
from hdnet.pictures.crop import NETWORK_SIZE
from hdnet.predict.runtime_names import PERSON_INPUT_NAME, PERSON_OUTPUT_NAMES
from hdnet.predict.runtimes.openvino_graph import ACTIVATION_LEVELS, WEIGHT_LEVELS

_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_LARGEST_QUANTISED = NETWORK_SIZE // 16

# (lowest, highest) value of every quantised input, by the name of the operation that reads it.
Ranges = dict[str, tuple[float, float]]


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
        graph = ov.convert_model(model, example_input=example)
    graph.reshape([batch, 4, NETWORK_SIZE, NETWORK_SIZE])
    graph.inputs[0].set_names({PERSON_INPUT_NAME})
    for output, name in zip(graph.outputs, PERSON_OUTPUT_NAMES, strict=True):
        output.set_names({name})
    return graph


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
