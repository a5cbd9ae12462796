"""Runtimes: ways to compute a model's outputs, from plain PyTorch to the fastest that a processor offers."""

from hdnet.predict.runtime_names import AUTO, RUNTIMES, Runtime
from hdnet.predict.runtimes.agreement import (
    MAX_DEPTH_MM,
    MAX_EXPORT_DEPTH_MM,
    MAX_EXPORT_NORMAL_DEG,
    MAX_NORMAL_DEG,
    Difference,
    check_export,
    difference,
)
from hdnet.predict.runtimes.choice import Choice, choose_runtime, make_runtime

__all__ = [
    "AUTO",
    "MAX_DEPTH_MM",
    "MAX_EXPORT_DEPTH_MM",
    "MAX_EXPORT_NORMAL_DEG",
    "MAX_NORMAL_DEG",
    "RUNTIMES",
    "Choice",
    "Difference",
    "Runtime",
    "check_export",
    "choose_runtime",
    "difference",
    "make_runtime",
]
