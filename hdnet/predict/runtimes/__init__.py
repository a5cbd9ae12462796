"""Ways to compute a model's outputs, from the plain one to the fastest that a processor offers."""

from hdnet.predict.runtimes.agreement import (
    MAX_DEPTH_MM,
    MAX_EXPORT_DEPTH_MM,
    MAX_EXPORT_NORMAL_DEG,
    MAX_NORMAL_DEG,
    Difference,
    check_export,
    difference,
)
from hdnet.predict.runtimes.base import Runtime
from hdnet.predict.runtimes.choice import Choice, choose_runtime
from hdnet.predict.runtimes.making import AUTO, CPU_RUNTIMES, GPU_RUNTIMES, RUNTIMES, make_runtime
from hdnet.predict.runtimes.pytorch import TORCH

__all__ = [
    "AUTO",
    "CPU_RUNTIMES",
    "GPU_RUNTIMES",
    "MAX_DEPTH_MM",
    "MAX_EXPORT_DEPTH_MM",
    "MAX_EXPORT_NORMAL_DEG",
    "MAX_NORMAL_DEG",
    "RUNTIMES",
    "TORCH",
    "Choice",
    "Difference",
    "Runtime",
    "check_export",
    "choose_runtime",
    "difference",
    "make_runtime",
]
