"""Runtimes by their names."""

from __future__ import annotations

import torch

from hdnet.errors import ModelError
from hdnet.models import HDNet
from hdnet.predict.runtimes.base import Runtime
from hdnet.predict.runtimes.openvino_runtime import OPENVINO, OPENVINO_BF16, OPENVINO_INT8, OpenVinoRuntime
from hdnet.predict.runtimes.pytorch import TORCH, TORCH_BF16, TorchBf16Runtime, TorchRuntime

CPU_RUNTIMES = (TORCH, TORCH_BF16, OPENVINO, OPENVINO_BF16, OPENVINO_INT8)
GPU_RUNTIMES = (TORCH, TORCH_BF16)
RUNTIMES = CPU_RUNTIMES
AUTO = "auto"


def on_processor(device: str) -> bool:
    """True for PyTorch's name of the processor."""
    return torch.device(device).type == "cpu"


def make_runtime(name: str, model: HDNet, threads: int | None = None, device: str = "cpu") -> Runtime:
    """A runtime by its name.

    Args:
        name: One of ``RUNTIMES``.
        model: The networks.
        threads: Of the processor; None leaves the choice to the runtime.
        device: PyTorch device.

    Raises:
        ModelError: If there is no such runtime, or this machine cannot run it.
    """
    if name not in RUNTIMES:
        raise ModelError(f"runtime {name!r} is not known, expected {AUTO} or one of {', '.join(RUNTIMES)}")
    if name == TORCH:
        return TorchRuntime(model, threads, device)
    if name == TORCH_BF16:
        return TorchBf16Runtime(model, threads, device)
    if not on_processor(device):
        raise ModelError(f"runtime {name!r} works on the processor only, found device {device!r}; take {TORCH_BF16}")
    return OpenVinoRuntime(name, model, threads)
