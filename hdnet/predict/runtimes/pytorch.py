"""PyTorch: the model as it is, or with its convolutions in bfloat16."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hdnet.models import HDNet

TORCH, TORCH_BF16 = "torch", "torch-bf16"


class TorchRuntime:
    """Runs the model in the precision of its weights.

    Args:
        model: The networks; moved to ``device``.
        threads: Of the processor; None leaves PyTorch's own choice. PyTorch keeps this number for the whole process.
        device: PyTorch device.
    """

    name = TORCH

    def __init__(self, model: HDNet, threads: int | None = None, device: str = "cpu") -> None:
        self._model = model.to(device).eval()
        self._threads = threads
        self._device = torch.device(device)
        # A stand-in without weights works in the type of its input.
        self._dtype = next((p.dtype for p in model.parameters()), torch.float32)

    @torch.inference_mode()
    def __call__(self, inputs_b7hw: np.ndarray) -> np.ndarray:
        """See :class:`hdnet.predict.runtimes.Runtime`."""
        # Set here and not once: OpenMP counts for each calling thread.
        if self._threads is not None and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        outputs: np.ndarray = self._model(self._inputs(inputs_b7hw)).cpu().numpy()
        return outputs

    def _inputs(self, inputs_b7hw: np.ndarray) -> Tensor:
        # On a processor PyTorch adds up statistics of channels_last pictures pixel after pixel in float32: 2e-3 off.
        return torch.from_numpy(np.ascontiguousarray(inputs_b7hw)).to(self._device, self._dtype)


class TorchBf16Runtime(TorchRuntime):
    """3 x 3 convolutions in bfloat16 and channels_last, everything else in float32.

    The last convolution of each network stays in float32: bfloat16 cannot tell 4.00 m from 4.01 m. Sums inside a
    convolution and the statistics of the normalisation are float32, too.

    Args:
        model: The networks; copied.
        threads: As of :class:`TorchRuntime`.
        device: PyTorch device.
    """

    name = TORCH_BF16

    def __init__(self, model: HDNet, threads: int | None = None, device: str = "cpu") -> None:
        halved = copy.deepcopy(model).float().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for network in (halved.normal_estimator, halved.depth_estimator):
            for block in network.blocks:
                block.conv.to(torch.bfloat16)
            network.blocks[0].register_forward_pre_hook(_to_bfloat16)
        super().__init__(halved, threads, device)
        self._dtype = torch.float32

    def _inputs(self, inputs_b7hw: np.ndarray) -> Tensor:
        return super()._inputs(inputs_b7hw).contiguous(memory_format=torch.channels_last)


def _to_bfloat16(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
    return tuple(argument.to(torch.bfloat16) for argument in arguments)
