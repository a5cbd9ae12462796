"""PyTorch runtimes: the model as it is, or with its convolutions in bfloat16."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hdnet.models import HDNet, PersonModel
from hdnet.predict.runtime_names import Outputs


def arrays(outputs: Tensor | Sequence[Tensor]) -> Outputs:
    """Return a model's outputs as :class:`hdnet.predict.runtimes.Runtime` gives them."""
    if isinstance(outputs, Tensor):
        array: np.ndarray = outputs.cpu().numpy()
        return array
    return tuple(one.cpu().numpy() for one in outputs)


class TorchRuntime:
    """Runs the model in the precision of its weights.

    Args:
        model: The networks; moved to ``device``.
        threads: Of the processor; None keeps PyTorch's own choice. PyTorch applies this number to the whole process.
        device: PyTorch device.
    """

    name = "torch"

    def __init__(self, model: HDNet | PersonModel, threads: int | None = None, device: str = "cpu") -> None:
        self._model = model.to(device).eval()
        self._threads = threads
        self._device = torch.device(device)
        # A stand-in without weights works in the type of its input.
        self._dtype = next((p.dtype for p in model.parameters()), torch.float32)

    @torch.inference_mode()
    def __call__(self, inputs_bchw: np.ndarray) -> Outputs:
        """See :class:`hdnet.predict.runtimes.Runtime`."""
        # At every call: OpenMP counts threads for each calling thread.
        if self._threads is not None and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        return arrays(self._model(self._inputs(inputs_bchw)))

    def _inputs(self, inputs_bchw: np.ndarray) -> Tensor:
        # On a processor PyTorch sums the statistics of channels_last pictures pixel by pixel in float32: 2e-3 off.
        return torch.from_numpy(np.ascontiguousarray(inputs_bchw)).to(self._device, self._dtype)


class TorchBf16Runtime(TorchRuntime):
    """Convolutions in bfloat16 and channels_last, everything else in float32.

    The last convolution of each network stays in float32: bfloat16 cannot tell 4.00 m from 4.01 m. Sums inside a
    convolution and the statistics of the normalisation are float32, too.

    Args:
        model: The networks; copied.
        threads: As of :class:`TorchRuntime`.
        device: PyTorch device.
    """

    name = "torch-bf16"

    def __init__(self, model: HDNet | PersonModel, threads: int | None = None, device: str = "cpu") -> None:
        copied = copy.deepcopy(model).float().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._is_person = isinstance(copied, PersonModel)
        if not self._is_person:
            for network in (copied.normal_estimator, copied.depth_estimator):
                network.convolutions_to_bfloat16()
        super().__init__(copied, threads, device)
        self._dtype = torch.float32

    def __call__(self, inputs_bchw: np.ndarray) -> Outputs:
        """See :class:`hdnet.predict.runtimes.Runtime`."""
        # The network for photographs keeps its heads in float32 under autocast, as in training.
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_person):
            return super().__call__(inputs_bchw)

    def _inputs(self, inputs_bchw: np.ndarray) -> Tensor:
        return super()._inputs(inputs_bchw).contiguous(memory_format=torch.channels_last)
