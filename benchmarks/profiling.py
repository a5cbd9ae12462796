"""Where a device's time goes in a training step, by kind of operation: a Markdown table out of ``torch.profiler``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.autograd import DeviceType

# The first that fits. Only losses, warp and rigid fit compute in float64; fused kernels carry the names of what is in
# them, so theirs are never taken for convolutions.
_KINDS = {
    "losses, warp, rigid fit": r"double|_f64|fp64|index|gather|scatter|bincount|svd|syev|jacobi|acos|linalg|cross",
    "convolutions": r"^(?!triton).*(conv|gemm|xmma|cutlass|fprop|dgrad|wgrad|implicit|nvjet|cudnn_infer)",
    "optimiser, clipping": r"adam|multi_tensor|foreach|get_total_norm|linalg_vector_norm",
    "normalisation, ReLU": r"norm|var_mean|rsqrt|relu|threshold|clamp_min|welford",
    "joining, upsampling, pooling": r"cat|upsample|pool|lerp|stack",
    "copies, casts, layouts": r"memcpy|memset|copy|convert|nchw|nhwc|fill|zero|transpose",
}
_OTHER = "other arithmetic"
_ANNOTATIONS = re.compile(r"^(##|Optimizer\.|Torch-Compiled|ProfilerStep|autograd::|enumerate\(|CompiledFunction)")
_TOP = 12


def print_profile(measure: Callable[[int, int], Any], device: torch.device) -> None:
    """Two tables: time by kind, and the operations that take most.

    Args:
        measure: Called with (steps, steps before them); gives ``step_s`` and ``profiler``.
        device: Its own time counts; on a processor, the time of the operations themselves.
    """
    steps = 10 if device.type == "cuda" else 1
    measured = measure(steps, 5 if device.type == "cuda" else 1)
    times = dict(operation_times(measured.profiler.key_averages(), device))
    kinds: dict[str, float] = defaultdict(float)
    for name, seconds in times.items():
        kinds[kind_of(name)] += seconds / steps
    step_s = measured.step_s
    kinds["idle" if device.type == "cuda" else "Python, waiting"] = max(0.0, step_s - sum(kinds.values()))
    print(f"| kind of operation | ms of {step_s * 1e3:,.1f} a step, profiled | share |\n|---|---:|---:|")
    for kind, seconds in sorted(kinds.items(), key=lambda item: -item[1]):
        print(f"| {kind} | {seconds * 1e3:,.2f} | {seconds / step_s:.1%} |")
    print(f"\n| the {_TOP} longest operations | kind | ms a step |\n|---|---|---:|")
    for name, seconds in sorted(times.items(), key=lambda item: -item[1])[:_TOP]:
        short = name if len(name) < 80 else f"{name[:77]}..."
        print(f"| `{short.replace('|', ' ')}` | {kind_of(name)} | {seconds / steps * 1e3:,.2f} |")
    print()


def operation_times(averages: Iterable[Any], device: torch.device) -> Iterable[tuple[str, float]]:
    """(name, seconds) of every kernel or, on a processor, operation, without what it calls."""
    wanted = DeviceType.CUDA if device.type == "cuda" else DeviceType.CPU
    for one in averages:
        if one.device_type != wanted or getattr(one, "is_user_annotation", False) or _ANNOTATIONS.match(one.key):
            continue
        microseconds = one.self_device_time_total if device.type == "cuda" else one.self_cpu_time_total
        if microseconds > 0:
            yield one.key, microseconds / 1e6


def kind_of(name: str) -> str:
    """The kind of an operation or kernel."""
    lowered = name.lower()
    return next((kind for kind, pattern in _KINDS.items() if re.search(pattern, lowered)), _OTHER)
