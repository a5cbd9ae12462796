"""OpenVINO graph of a model, operation by operation.

Converted from PyTorch, the normalisation becomes eight operations and each upsampling six, a quarter of the time. Here
a block is Convolution, MVN, Add, ReLU, which OpenVINO computes as two, and the original's upsampling is one
Interpolate. A convolution of two joined inputs is the sum of two, so that nothing is copied together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov  # type: ignore[import-untyped]
from openvino import opset13 as op

from hdnet.models import HDNet
from hdnet.models.fast_paths import NORM_EPS
from hdnet.models.hourglass import Hourglass, figure
from hdnet.pictures.crop import NETWORK_SIZE
from hdnet.predict.runtime_names import INPUT_NAME, OUTPUT_NAME

# Largest value behind the ReLU of every block, by network (:func:`hdnet.predict.runtimes.openvino_cpu.ranges_of`).
Ranges = Mapping[str, tuple[float, ...]]

# Blocks whose output goes to an upsampling, which makes values between those of its input, or to the head.
_NOT_ROUNDED = (8, 10, 12, 14, 16)
ACTIVATION_LEVELS, WEIGHT_LEVELS = 256, 255  # unsigned; signed and symmetric around 0


def build_graph(model: HDNet, batch: int = -1, ranges: Ranges | None = None) -> Any:
    """Build the inference chain of :meth:`hdnet.models.HDNet.forward`.

    Args:
        model: The networks.
        batch: Pictures at once; -1 for any number.
        ranges: Compute all convolutions but the first of each network with 8-bit integers, for activations from 0 to
            these values.

    Returns:
        ``openvino.Model`` from (batch, 7, 256, 256) to (batch, 4, 256, 256) float32.
    """
    inputs = op.parameter([batch, 7, NETWORK_SIZE, NETWORK_SIZE], np.float32, name=INPUT_NAME)
    image, mask = _channels(inputs, [0, 1, 2]), _channels(inputs, [6])
    normals = _network(model.normal_estimator, image, ranges)
    normals = op.multiply(op.normalize_l2(normals, _indices([1]), 1e-24, "max"), mask)
    joined = op.concat([image, normals, _channels(inputs, [5, 4, 3])], 1)
    depth = _network(model.depth_estimator, joined, ranges)
    outputs = op.concat([depth, normals], 1)
    outputs.output(0).set_names({OUTPUT_NAME})
    return ov.Model([outputs], [inputs], "hdnet")


def _network(network: Hourglass, x: Any, ranges: Ranges | None) -> Any:
    """Nodes of :meth:`hdnet.models.hourglass.Hourglass.forward`."""
    if network.config.input_scale != "raw":
        x = op.add(op.multiply(x, _array(_numpy(network.input_gain))), _array(_numpy(network.input_offset)))
    x = figure(x, _Layers(network, None if ranges is None else ranges[network.role]))
    # The head as products and sums: OpenVINO computes a convolution in bfloat16 if it may, which cannot tell 4.00 m
    # from 4.01 m, but leaves what comes behind the last convolution in float32.
    sums = [
        op.reduce_sum(op.multiply(x, _array(row[None])), _indices([1]), True) for row in _numpy(network.head.weight)
    ]
    joined = op.concat(sums, 1) if len(sums) > 1 else sums[0]
    return op.add(joined, _array(_numpy(network.head.bias)[:, None, None]))


class _Layers:
    """The layers of :func:`hdnet.models.hourglass.figure` as nodes of a graph."""

    def __init__(self, network: Hourglass, ranges: tuple[float, ...] | None) -> None:
        self._network, self._ranges = network, ranges

    def block(self, index: int, x: Any) -> Any:
        """Convolution, MVN, Add, ReLU; a joined input as the sum of two convolutions."""
        block: Any = self._network.blocks[index]
        # A joined input is an upsampled one, rounded behind the upsampling, and a skip, rounded before.
        inputs = [self._rounded(x[0], index - 1), x[1]] if isinstance(x, tuple) else [x]
        weights = np.split(_numpy(block.conv.weight), len(inputs), axis=1)
        convolved = [
            op.convolution(one, self._weights(weight, index == 0), [1, 1], [1, 1], [1, 1], [1, 1])
            for one, weight in zip(inputs, weights, strict=True)
        ]
        x = convolved[0] if len(convolved) == 1 else op.add(*convolved)
        # The normalisation removes the convolution's bias.
        x = op.mvn(x, _indices([2, 3]), True, NORM_EPS, "INSIDE_SQRT")
        x = op.relu(op.add(x, _array(_numpy(block.shift)[:, None, None])))
        return x if index in _NOT_ROUNDED else self._rounded(x, index)

    def halve(self, x: Any) -> Any:
        """2 x 2 max pooling."""
        return op.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)

    def join(self, x: Any, skip: Any) -> Any:
        """Both inputs of the next block; :func:`hdnet.models.fast_paths.upsample` as one operation."""
        scales, axes, none = op.constant(np.array([2, 2], np.float32)), _indices([2, 3]), [0, 0]
        nearest, cubic = "round_prefer_floor", -0.75  # of other modes, unused
        # Output pixel i lies at input i / 2, the last one is repeated.
        up = op.interpolate(x, scales, "linear_onnx", "scales", none, none, "asymmetric", nearest, False, cubic, axes)
        return up, skip

    def _rounded(self, x: Any, index: int) -> Any:
        """``x`` on the 8-bit steps of block ``index``, if there are any."""
        return x if self._ranges is None else rounded(x, np.zeros(()), self._ranges[index], ACTIVATION_LEVELS)

    def _weights(self, weights: np.ndarray, is_first: bool) -> Any:
        # The first layer reads the picture, where a step of rounding shows.
        if self._ranges is None or is_first:
            return _array(weights)
        largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
        largest[largest == 0] = 1  # an empty range is not allowed
        return rounded(_array(weights), -largest, largest, WEIGHT_LEVELS)


def rounded(x: Any, low: Any, high: Any, levels: int) -> Any:
    """``x`` on so many steps between two values, or between those of each channel: computed with 8-bit integers."""
    ends = [op.constant(np.asarray(end, np.float32)) for end in (low, high)]
    return op.fake_quantize(x, *ends, *ends, levels)


def _channels(x: Any, channels: list[int]) -> Any:
    return op.gather(x, _indices(channels), op.constant(np.int64(1)))


def _indices(values: list[int]) -> Any:
    return op.constant(np.array(values, np.int64))


def _array(values: np.ndarray) -> Any:
    """A constant; (C, 1, 1) becomes (1, C, 1, 1)."""
    return op.constant(np.ascontiguousarray(values if values.ndim == 4 else values[None]))


def _numpy(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.detach().float().cpu().numpy()
    return array
