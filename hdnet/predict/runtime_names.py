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
PERSON_INPUT_NAME = "rgb_hint"
PERSON_OUTPUT_NAMES = (
    "normals_b3hw",
    "log_kappa_b1hw",
    "relief_b1hw",
    "mask_b1hw",
    "parts_b25hw",
    "uv_b2hw",
    "log_scale_b1",
)

NOT_FINITE = "model gives values that are not finite: its weights are damaged, train it again"
"""Error of outputs that cannot be used."""

# Two hourglasses give one array, the network for photographs several.
Outputs = np.ndarray | tuple[np.ndarray, ...]


class Runtime(Protocol):
    """Computes a model's outputs, for one caller at a time."""

    @property
    def name(self) -> str:
        """One of ``RUNTIMES``."""

    def __call__(self, inputs_bchw: np.ndarray) -> Outputs:
        """Compute a model's outputs.

        Args:
            inputs_bchw: float32, any B from 1 on: (B, 7, 256, 256) as :meth:`hdnet.models.HDNet.forward` takes it, or
                (B, 4, 256, 256) as :meth:`hdnet.models.PersonModel.forward` does.

        Returns:
            Of two hourglasses (B, 4, 256, 256): depth in metres, then the unit normals in the model's camera, 0 outside
            the mask. Of a model for photographs the arrays of :class:`hdnet.models.lite.PersonMaps`, in order. float32,
            or float64 of a model with float64 weights.
        """
