"""OpenVINO on the processor: float32, bfloat16 or 8-bit integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from hdnet.errors import ModelError
from hdnet.models import HDNet
from hdnet.predict.runtimes.probes import probe_inputs
from hdnet.predict.runtimes.quantization import ranges_of

OPENVINO, OPENVINO_BF16, OPENVINO_INT8 = "openvino", "openvino-bf16", "openvino-int8"
_PRECISIONS = {OPENVINO: "f32", OPENVINO_BF16: "bf16", OPENVINO_INT8: "bf16"}
_RANGE_PROBES = 4
_RANGE_SEED = 1


class OpenVinoRuntime:
    """Runs the model's graph (:mod:`hdnet.predict.runtimes.openvino_graph`), one picture after the other.

    On a processor pictures together are no faster than one by one.

    Args:
        name: "openvino" (float32), "openvino-bf16" (convolutions in bfloat16; float32 where the processor has none) or
            "openvino-int8" (all but each network's first convolution with 8-bit integers, the rest as bf16; ranges from
            made-up pictures).
        model: The networks.
        threads: Of the processor; None leaves OpenVINO's own choice.

    Raises:
        ModelError: If OpenVINO is missing.
    """

    def __init__(self, name: str, model: HDNet, threads: int | None = None) -> None:
        try:
            from hdnet.predict.runtimes.openvino_core import core
            from hdnet.predict.runtimes.openvino_graph import build_graph
        except ImportError as error:
            raise ModelError(f"runtime {name!r} needs OpenVINO, `pip install 'hdnet[serve]'` ({error})") from error
        self.name = name
        quantized = name == OPENVINO_INT8
        ranges = ranges_of(model, probe_inputs(_RANGE_PROBES, _RANGE_SEED)) if quantized else None
        graph = build_graph(model, batch=1, ranges=ranges)
        # Pinned threads would stay on a core that another program works on.
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
        settings["INFERENCE_PRECISION_HINT"] = _PRECISIONS[name]
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._request = core().compile_model(graph, "CPU", settings).create_infer_request()

    def __call__(self, inputs_b7hw: np.ndarray) -> np.ndarray:
        """See :class:`hdnet.predict.runtimes.Runtime`."""
        return np.concatenate([self._request.infer([one[None]])[0] for one in inputs_b7hw])
