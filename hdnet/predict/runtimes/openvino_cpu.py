"""OpenVINO runtimes on the processor: float32, bfloat16 or 8-bit integers."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import openvino as ov  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from hdnet.models import HDNet, PersonModel
from hdnet.predict.runtime_names import Outputs
from hdnet.predict.runtimes.openvino_graph import build_graph
from hdnet.predict.runtimes.openvino_person import parted, person_graph, quantise, split
from hdnet.predict.runtimes.probes import person_probe_inputs, probe_inputs

# Margin of the 8-bit ranges over the values that were seen: clipping costs more than coarser steps.
MARGIN = 1.2
_PRECISIONS = {"openvino": "f32", "openvino-bf16": "bf16", "openvino-int8": "bf16"}
_RANGE_PROBES = 4
_RANGE_SEED = 1


@cache
def core() -> ov.Core:
    """OpenVINO with its plugins, which stay loaded as long as the process lives.

    The processor's plugin gives the thread that loads it an alternate signal stack, and frees that stack when the last
    ``Core`` and model are gone. If another thread releases them, the first one is left with freed memory, and
    the next signal that Python handles there (a child that ends, SIGTERM) kills the process.
    """
    return ov.Core()


def computes_bfloat16() -> bool:
    """Return whether the processor computes with bfloat16 numbers itself."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoRuntime:
    """Runs the model's graph (:mod:`hdnet.predict.runtimes.openvino_graph`), one picture after the other.

    On a processor pictures together are no faster than one by one.

    Args:
        name: "openvino" (float32), "openvino-bf16" (convolutions in bfloat16; float32 where the processor has none) or
            "openvino-int8" (all but each network's first convolution with 8-bit integers, the rest as bf16; ranges from
            made-up pictures). Of the network for photographs the first blocks stay in float32, see
            :data:`hdnet.models.efficientnet.EXACT_BLOCKS`.
        model: The networks.
        threads: Of the processor; None keeps OpenVINO's own choice.
    """

    def __init__(self, name: str, model: HDNet | PersonModel, threads: int | None = None) -> None:
        self.name = name
        self._is_person = isinstance(model, PersonModel)
        graph = graph_of(model, 1, name == "openvino-int8", is_joined=True)
        precision = _PRECISIONS[name]
        self._start = None
        if self._is_person and precision != "f32":
            start, graph = split(graph)
            self._start = _request(start, "f32", threads)
        self._request = _request(graph, precision, threads)

    def __call__(self, inputs_bchw: np.ndarray) -> Outputs:
        """See :class:`hdnet.predict.runtimes.Runtime`."""
        if not self._is_person:
            return np.concatenate([self._request.infer([one[None]])[0] for one in inputs_bchw])
        pictures = [self._maps(one[None]) for one in inputs_bchw]
        return parted(*(np.concatenate(outputs) for outputs in zip(*pictures, strict=True)))

    def _maps(self, input_1chw: np.ndarray) -> tuple[np.ndarray, ...]:
        inputs = [input_1chw]
        if self._start is not None:
            inputs += self._start.infer(inputs, share_inputs=True, share_outputs=True).to_tuple()
        maps: tuple[np.ndarray, ...] = self._request.infer(inputs, share_inputs=True).to_tuple()
        return maps


def _request(graph: Any, precision: str, threads: int | None) -> Any:
    # Pinned threads would stay on a core that another program works on.
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    settings["INFERENCE_PRECISION_HINT"] = precision
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    return core().compile_model(graph, "CPU", settings).create_infer_request()


def graph_of(model: HDNet | PersonModel, batch: int, is_quantised: bool = False, is_joined: bool = False) -> Any:
    """Build a model's graph.

    Args:
        model: The networks.
        batch: Pictures at once; -1 for any number. A quantised graph is for one.
        is_quantised: Compute with 8-bit integers.
        is_joined: Of the network for photographs, as of :func:`person_graph`.

    Returns:
        ``openvino.Model``.
    """
    if isinstance(model, HDNet):
        ranges = ranges_of(model, probe_inputs(_RANGE_PROBES, _RANGE_SEED)) if is_quantised else None
        return build_graph(model, batch, ranges)
    graph = person_graph(model.eval().float().cpu(), batch, is_joined)
    if is_quantised:
        quantise(graph, person_probe_inputs(_RANGE_PROBES, _RANGE_SEED), MARGIN, core())
    return graph


@torch.inference_mode()
def ranges_of(model: HDNet, inputs_b7hw: np.ndarray) -> dict[str, tuple[float, ...]]:
    """Measure the largest value behind each block's ReLU, with a margin.

    Every block normalises its values, so these depend little on the pictures: a few made-up ones suffice.

    Args:
        model: The networks, in evaluation mode.
        inputs_b7hw: (B, 7, 256, 256) float32, the pictures to measure with.

    Returns:
        For "normal" and "depth" one value per block.
    """
    found: dict[str, list[float]] = {}
    hooks = []
    for network in (model.normal_estimator, model.depth_estimator):
        values = found[network.role] = [0.0] * len(network.blocks)
        hooks += [block.register_forward_hook(_maximum_into(values, i)) for i, block in enumerate(network.blocks)]
    parameter = next(model.parameters())
    try:
        for one in inputs_b7hw:
            model(torch.from_numpy(one[None]).to(parameter))
    finally:
        for hook in hooks:
            hook.remove()
    # The range of a block whose outputs are all 0 must not be empty.
    return {role: tuple(MARGIN * value or 1.0 for value in values) for role, values in found.items()}


def _maximum_into(values: list[float], index: int) -> Any:
    def record(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        values[index] = max(values[index], output.max().item())

    return record
