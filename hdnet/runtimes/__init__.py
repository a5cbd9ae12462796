"""Ways to compute a model's outputs, from the plain one to the fastest that a processor offers."""

from hdnet.runtimes.base import Runtime
from hdnet.runtimes.choice import MAX_DEPTH_MM, MAX_NORMAL_DEG, Choice, Difference, choose_runtime, difference
from hdnet.runtimes.making import AUTO, CPU_RUNTIMES, GPU_RUNTIMES, RUNTIMES, make_runtime
from hdnet.runtimes.pytorch import TORCH

__all__ = [
    "AUTO",
    "CPU_RUNTIMES",
    "GPU_RUNTIMES",
    "MAX_DEPTH_MM",
    "MAX_NORMAL_DEG",
    "RUNTIMES",
    "TORCH",
    "Choice",
    "Difference",
    "Runtime",
    "choose_runtime",
    "difference",
    "make_runtime",
]
