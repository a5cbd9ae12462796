"""The complete model: a normal estimator, then a depth estimator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdnet.geometry import Camera
from hdnet.models.hourglass import DepthEstimator, NormalEstimator


def unit_normals(raw_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Scale normals to unit length in the mask, 0 outside; a zero vector stays 0 (docs/parity.md, 56)."""
    return F.normalize(raw_b3hw, dim=1, eps=1e-12) * mask_b1hw.to(raw_b3hw.dtype)


def depth_inputs(image_b3hw: Tensor, normals_b3hw: Tensor, vui_b3hw: Tensor) -> Tensor:
    """Join the depth estimator's input in the reference's channel order: R,G,B, nx,ny,nz, V,U,I."""
    return torch.cat([image_b3hw, normals_b3hw, vui_b3hw], dim=1)


class HDNet(nn.Module):
    """Both estimators and the camera that they were trained in; this is saved, registered and served.

    Args:
        normal_estimator: Pictures to normals.
        depth_estimator: Picture, normals and IUV to depth.
        camera: Camera of the 256 x 256 training pictures.
    """

    def __init__(self, normal_estimator: NormalEstimator, depth_estimator: DepthEstimator, camera: Camera) -> None:
        super().__init__()
        self.normal_estimator = normal_estimator
        self.depth_estimator = depth_estimator
        self.camera = camera

    def forward(self, inputs_b7hw: Tensor) -> Tensor:
        """Compute depth and normals, the whole inference chain.

        Args:
            inputs_b7hw: R, G, B (0..255, white background), I, U, V (0..255, I = 0..24), mask (0 or 1).

        Returns:
            outputs_b4hw: depth in metres (meaningless outside the mask), then the unit normals in the camera frame, 0
            outside the mask.

        Raises:
            ValueError: If the shape is not (B, 7, H, W) with H and W multiples of 16.
        """
        if inputs_b7hw.ndim != 4 or inputs_b7hw.shape[1] != 7:
            raise ValueError(f"expected (B, 7, H, W) = R,G,B,I,U,V,mask, got {tuple(inputs_b7hw.shape)}")
        image_b3hw, iuv_b3hw, mask_b1hw = inputs_b7hw[:, :3], inputs_b7hw[:, 3:6], inputs_b7hw[:, 6:]
        normals_b3hw = unit_normals(self.normal_estimator(image_b3hw).to(inputs_b7hw.dtype), mask_b1hw)
        inputs_b9hw = depth_inputs(image_b3hw, normals_b3hw, iuv_b3hw.flip(1))
        depth_b1hw = self.depth_estimator(inputs_b9hw).to(inputs_b7hw.dtype)
        return torch.cat([depth_b1hw, normals_b3hw], dim=1)
