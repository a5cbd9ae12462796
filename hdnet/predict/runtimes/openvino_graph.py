"""A model as an OpenVINO graph, written down operation by operation.

Converted from PyTorch, the normalisation falls apart into eight operations and each upsampling into six, a quarter of
the time. Here a block is Convolution, MVN, Add, ReLU, which OpenVINO computes as two, and the original's upsampling is
one Interpolate. A convolution of two joined inputs is the sum of two, so that nothing is copied together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov  # type: ignore[import-untyped]
from openvino import opset13 as op

from hdnet.models import HDNet
from hdnet.models.hourglass import NORM_EPS, POOL_BEFORE, SKIP_INTO, Hourglass
from hdnet.pictures.crop import NETWORK_SIZE
from hdnet.predict.runtimes.base import INPUT_NAME, OUTPUT_NAME

# Layer to the largest value behind its ReLU, network by network; see
# :func:`hdnet.predict.runtimes.quantization.ranges_of`.
Ranges = Mapping[str, tuple[float, ...]]


_ACTIVATION_LEVELS, _WEIGHT_LEVELS = 256, 255  # unsigned; signed and symmetric around 0


def build_graph(model: HDNet, batch: int = -1, ranges: Ranges | None = None) -> Any:
    """The inference chain of :meth:`hdnet.models.HDNet.forward`.

    Args:
        model: The networks.
        batch: Pictures at once; -1 leaves it open.
        ranges: Compute all convolutions but the first of each network with 8-bit integers, for activations from 0 to
            these values.

    Returns:
        ``openvino.Model`` from (batch, 7, 256, 256) to (batch, 4, 256, 256) float32.
    """
    inputs = op.parameter([batch, 7, NETWORK_SIZE, NETWORK_SIZE], np.float32, name=INPUT_NAME)
    image, mask = _channels(inputs, [0, 1, 2]), _channels(inputs, [6])
    normals = _Network(model.normal_estimator, None if ranges is None else ranges["normal"])(image)
    normals = op.multiply(op.normalize_l2(normals, _indices([1]), 1e-24, "max"), mask)
    joined = op.concat([image, normals, _channels(inputs, [5, 4, 3])], 1)
    depth = _Network(model.depth_estimator, None if ranges is None else ranges["depth"])(joined)
    outputs = op.concat([depth, normals], 1)
    outputs.output(0).set_names({OUTPUT_NAME})
    return ov.Model([outputs], [inputs], "hdnet")


class _Network:
    """One hourglass; mirrors :meth:`hdnet.models.hourglass.Hourglass.forward`."""

    def __init__(self, network: Hourglass, ranges: tuple[float, ...] | None) -> None:
        self._network, self._ranges = network, ranges

    def __call__(self, x: Any) -> Any:
        config = self._network.config
        if config.input_scale != "raw":
            gain, offset = _numpy(self._network.input_gain), _numpy(self._network.input_offset)
            x = op.add(op.multiply(x, _array(gain)), _array(offset))
        skips: dict[int, Any] = {}
        for index, block in enumerate(self._network.blocks):
            if index in POOL_BEFORE:
                x = op.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
            if index in SKIP_INTO:
                inputs = [self._rounded(_upsampled(x), index - 1), skips.pop(SKIP_INTO[index])]
            else:
                inputs = [x]
            x = self._block(block, inputs, is_first=index == 0)
            # Upsampling makes values between those of its input: it is rounded behind.
            if index + 1 not in SKIP_INTO and index + 1 < len(self._network.blocks):
                x = self._rounded(x, index)
            if index in SKIP_INTO.values():
                skips[index] = x
        return self._head(x)

    def _block(self, block: Any, inputs: list[Any], is_first: bool) -> Any:
        weights = np.split(_numpy(block.conv.weight), len(inputs), axis=1)
        convolved = [
            op.convolution(x, self._weights(weight, is_first), [1, 1], [1, 1], [1, 1], [1, 1])
            for x, weight in zip(inputs, weights, strict=True)
        ]
        x = convolved[0] if len(convolved) == 1 else op.add(*convolved)
        # The convolution's bias is what the normalisation takes away.
        x = op.mvn(x, _indices([2, 3]), True, NORM_EPS, "INSIDE_SQRT")
        return op.relu(op.add(x, _array(_numpy(block.shift)[:, None, None])))

    def _head(self, x: Any) -> Any:
        # As products and sums: OpenVINO computes a convolution in bfloat16 if it may, which cannot tell 4.00 m from
        # 4.01 m, but leaves what comes behind the last convolution in float32.
        weights = _numpy(self._network.head.weight)
        sums = [op.reduce_sum(op.multiply(x, _array(row[None])), _indices([1]), True) for row in weights]
        joined = op.concat(sums, 1) if len(sums) > 1 else sums[0]
        return op.add(joined, _array(_numpy(self._network.head.bias)[:, None, None]))

    def _rounded(self, x: Any, index: int) -> Any:
        return x if self._ranges is None else _rounded(x, np.zeros(()), self._ranges[index], _ACTIVATION_LEVELS)

    def _weights(self, weights: np.ndarray, is_first: bool) -> Any:
        # The first layer reads the picture, where a step of rounding shows.
        if self._ranges is None or is_first:
            return _array(weights)
        largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
        largest[largest == 0] = 1  # an empty range is none
        return _rounded(_array(weights), -largest, largest, _WEIGHT_LEVELS)


def _upsampled(x: Any) -> Any:
    """:func:`hdnet.models.hourglass.upsample_legacy`: output pixel i lies at input i / 2, the last one is repeated."""
    scales, axes, none = op.constant(np.array([2, 2], np.float32)), _indices([2, 3]), [0, 0]
    nearest, cubic = "round_prefer_floor", -0.75  # of modes that are not this one
    return op.interpolate(x, scales, "linear_onnx", "scales", none, none, "asymmetric", nearest, False, cubic, axes)


def _rounded(x: Any, low: Any, high: Any, levels: int) -> Any:
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
