"""OpenVINO graph of the network for photographs, operation by operation; 8-bit on request.

Converting it from PyTorch takes three seconds, of every process that looks at a picture; this a tenth. Batch norm is
part of the convolution before it. A convolution of joined inputs is the sum of two, so that nothing is copied together.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import openvino as ov  # type: ignore[import-untyped]
import torch
from openvino import opset13 as op
from torch import Tensor, nn

from hdnet.models import PersonModel
from hdnet.models.batch_norm import BatchNorm
from hdnet.models.efficientnet import EXACT_BLOCKS, Block, ConvNorm, EfficientNetLite
from hdnet.models.lite import BODY_CHANNELS, PIXEL_CHANNELS, Decoder, Level
from hdnet.pictures.crop import NETWORK_SIZE
from hdnet.predict.runtime_names import PERSON_INPUT_NAME, PERSON_OUTPUT_NAMES
from hdnet.predict.runtimes.openvino_graph import ACTIVATION_LEVELS, WEIGHT_LEVELS, rounded

_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_LARGEST_QUANTISED = NETWORK_SIZE // 16
_LAST_EXACT = f"encoder.blocks.{EXACT_BLOCKS - 1}"
_TO_LAST, _TO_FIRST = np.array([0, 2, 3, 1]), np.array([0, 3, 1, 2])
_ONES, _TWOS, _NONE, _SIDES = [1, 1], [2, 2], [0, 0], np.array([2, 3])

# (lowest, highest) value of every quantised input, by the name of the operation that reads it.
Ranges = dict[str, tuple[float, float]]


@torch.inference_mode()
def person_graph(model: PersonModel, batch: int = -1, is_joined: bool = False) -> Any:
    """Build the inference of :meth:`hdnet.models.lite.LiteEstimator.forward`.

    Args:
        model: The network, in evaluation mode, float32.
        batch: Pictures at once; -1 for any number.
        is_joined: Leave the maps of one size together, for :func:`parted`: OpenVINO takes milliseconds to part them.

    Returns:
        ``openvino.Model`` from (batch, 4, 256, 256) to the maps of :class:`hdnet.models.lite.PersonMaps`.
    """
    network = model.estimator
    inputs = op.parameter([batch, 4, NETWORK_SIZE, NETWORK_SIZE], np.float32, name=PERSON_INPUT_NAME)
    scaled = op.add(op.multiply(inputs, _constant(network.input_gain[None])), _constant(network.input_offset[None]))
    features = _features(network.encoder, scaled)
    hint = op.variadic_split(inputs, op.constant(np.int64(1)), op.constant(np.array([3, 1]))).output(1)
    deepest, quarter, half = _decoded(network.decoder, features, hint)
    pixels = op.depth_to_space(_convolved(half, network.pixel_head.weight, network.pixel_head.bias), "depth_first", 2)
    body = _convolved(quarter, network.body_head.weight, network.body_head.bias)
    head = network.scale_head
    log_scale = op.add(
        op.matmul(op.reduce_mean(deepest, op.constant(_SIDES), False), _constant(head.weight), False, True),
        _constant(head.bias + math.log(NETWORK_SIZE)),
    )
    if is_joined:
        outputs = [node.output(0) for node in (pixels, body, log_scale)]
    else:
        parts, uv = _parts(body, BODY_CHANNELS)
        outputs = [*_parts(pixels, PIXEL_CHANNELS), parts, op.clamp(uv, 0.0, 1.0).output(0), log_scale.output(0)]
        for output, name in zip(outputs, PERSON_OUTPUT_NAMES, strict=True):
            output.set_names({name})
    return ov.Model([op.result(output) for output in outputs], [inputs], "hdnet")


def _features(encoder: EfficientNetLite, x: Any) -> list[Any]:
    """Nodes of the encoder's features at strides 2 to 32."""
    x = _conv_norm(encoder.stem, x)
    features = []
    for number, block in enumerate(encoder.blocks):
        x = _block(block, x)
        x.set_friendly_name(f"encoder.blocks.{number}")
        if number in encoder.last_blocks:
            features.append(x)
    return features


def _block(block: Block | nn.Module, x: Any) -> Any:
    assert isinstance(block, Block)
    expanded = _conv_norm(block.expand, x) if isinstance(block.expand, ConvNorm) else x
    projected = _conv_norm(block.project, _conv_norm(block.depthwise, expanded))
    return op.add(x, projected) if block.has_skip else projected


def _conv_norm(layer: ConvNorm, x: Any) -> Any:
    gain_c, offset_c = layer.norm.as_affine()
    weight, stride = layer.conv.weight * gain_c[:, None, None, None], list(layer.conv.stride)
    if layer.conv.groups > 1:
        convolved = op.group_convolution(x, _constant(weight[:, None]), stride, _NONE, _NONE, _ONES, "same_upper")
    else:
        convolved = op.convolution(x, _constant(weight), stride, _NONE, _NONE, _ONES, "same_upper")
    y = op.add(convolved, _constant(offset_c[None, :, None, None]))
    return y if layer.is_linear else op.clamp(y, 0.0, 6.0)


def _decoded(decoder: Decoder, features: list[Any], hint: Any) -> tuple[Any, Any, Any]:
    """Nodes of the decoder at strides 32, 4 and 2."""
    hints = []
    for _ in decoder.levels:
        hint = op.avg_pool(hint, _TWOS, _NONE, _NONE, _TWOS, True)
        hints.append(hint)
    decoded = [_normed(decoder.top, features[-1])]
    for level, skip, told in zip(decoder.levels, features[-2::-1], hints[::-1], strict=True):
        assert isinstance(level, Level)
        decoded.append(_level(level, decoded[-1], skip, told))
    return decoded[0], decoded[-2], decoded[-1]


def _level(level: Level, x: Any, skip: Any, hint: Any) -> Any:
    gain_c, offset_c = level.norm.as_affine()
    gain = gain_c[:, None, None, None]
    reduced = _convolved(x, level.reduce.weight * gain)
    of_skip, of_hint = torch.split(level.lateral.weight * gain, [level.lateral.in_channels - 1, 1], dim=1)
    scales = op.constant(np.array(_TWOS, np.float32))
    unused = "round_prefer_floor", False, -0.75  # settings of other modes
    how = "linear_onnx", "scales", _NONE, _NONE, "half_pixel", *unused
    up = op.interpolate(reduced, scales, *how, op.constant(_SIDES))
    # The offset goes with the hint's share, which is cheap.
    told = op.add(op.multiply(hint, _constant(of_hint.reshape(1, -1, 1, 1))), _constant(offset_c[None, :, None, None]))
    y = op.relu(op.add(op.add(_convolved(skip, of_skip), up), told))
    for convolution in level.convolutions:
        y = _normed(convolution, y)
    return y


def _normed(layers: nn.Module, x: Any) -> Any:
    """Convolution, batch norm, ReLU of :class:`hdnet.models.lite.Decoder`."""
    convolution, norm, _ = layers.children()
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, BatchNorm)
    gain_c, offset_c = norm.as_affine()
    return op.relu(_convolved(x, convolution.weight * gain_c[:, None, None, None], offset_c))


def _convolved(x: Any, weight: Tensor, bias_c: Tensor | None = None) -> Any:
    edge = [weight.shape[-1] // 2] * 2
    convolved = op.convolution(x, _constant(weight), _ONES, edge, edge, _ONES)
    return convolved if bias_c is None else op.add(convolved, _constant(bias_c[None, :, None, None]))


def _parts(x: Any, channels: tuple[int, ...]) -> list[Any]:
    split_at = op.variadic_split(x, op.constant(np.int64(1)), op.constant(np.array(channels)))
    return [split_at.output(k) for k in range(len(channels))]


def _constant(tensor: Tensor) -> Any:
    return op.constant(np.ascontiguousarray(tensor.numpy()))


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
    (last,) = (node for node in nodes if node.get_friendly_name() == _LAST_EXACT)
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


def parted(pixels: np.ndarray, body: np.ndarray, log_scale: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the outputs of a joined graph as the arrays of :class:`hdnet.models.lite.PersonMaps`, views."""
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
    steps: dict[tuple[str, int], Any] = {}
    for node in _quantised(graph):
        source = node.input_value(0)
        key = source.get_node().get_friendly_name(), source.get_index()
        if key not in steps:
            low, high = ranges[node.get_friendly_name()]
            steps[key] = rounded(source, low, high, ACTIVATION_LEVELS).output(0)
        node.input(0).replace_source_output(steps[key])
        weights = node.input_value(1)
        values = weights.get_node().get_data()
        channels = 2 if node.get_type_name() == "GroupConvolution" else 1
        largest = np.abs(values).max(axis=tuple(range(channels, values.ndim)), keepdims=True).astype(np.float32)
        largest[largest == 0] = 1  # an empty range is not allowed
        node.input(1).replace_source_output(rounded(weights, -largest, largest, WEIGHT_LEVELS).output(0))
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
