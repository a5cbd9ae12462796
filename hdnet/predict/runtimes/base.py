"""What a runtime is."""

from __future__ import annotations

from typing import Protocol

import numpy as np

# What files of other programs call the model's input and output.
INPUT_NAME, OUTPUT_NAME = "rgb_iuv_mask", "depth_m_normal_xyz"


class Runtime(Protocol):
    """Computes a model's outputs; one caller at a time."""

    @property
    def name(self) -> str:
        """One of ``RUNTIMES``."""

    def __call__(self, inputs_b7hw: np.ndarray) -> np.ndarray:
        """The inference chain.

        Args:
            inputs_b7hw: (B, 7, 256, 256) float32 as :meth:`hdnet.models.HDNet.forward` takes it, any B from 1 on.

        Returns:
            (B, 4, 256, 256): depth in metres, then the unit normals in the model's camera, 0 outside the mask. float32,
            or float64 of a model with float64 weights.
        """
