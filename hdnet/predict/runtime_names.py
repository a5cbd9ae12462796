"""Names and interface of the runtimes; importing them loads no runtime."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import numpy as np

AUTO = "auto"
GpuRuntimeName = Literal["torch", "torch-bf16"]
RuntimeName = Literal[GpuRuntimeName, "openvino", "openvino-bf16", "openvino-int8"]
"""Every runtime; all of them run on a processor."""
RuntimeChoice = Literal["auto", RuntimeName]
"""A runtime, or the fastest by measurement."""
GPU_RUNTIMES: tuple[str, ...] = get_args(GpuRuntimeName)
RUNTIMES: tuple[str, ...] = get_args(RuntimeName)

# Names of the model's input and output in files of other programs.
INPUT_NAME, OUTPUT_NAME = "rgb_iuv_mask", "depth_m_normal_xyz"


class Runtime(Protocol):
    """Computes a model's outputs, for one caller at a time."""

    @property
    def name(self) -> str:
        """One of ``RUNTIMES``."""

    def __call__(self, inputs_b7hw: np.ndarray) -> np.ndarray:
        """Compute the inference chain.

        Args:
            inputs_b7hw: (B, 7, 256, 256) float32 as :meth:`hdnet.models.HDNet.forward` takes it, any B from 1 on.

        Returns:
            (B, 4, 256, 256): depth in metres, then the unit normals in the model's camera, 0 outside the mask. float32,
            or float64 of a model with float64 weights.
        """
