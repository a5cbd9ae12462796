"""A stand-in for two hourglasses that shows a known plane, and a picture for it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hdnet.geometry import Camera, unproject


class Scene(nn.Module):
    """Stands in for HDNet: shows a known plane as its camera sees it, whatever the picture."""

    def __init__(self, camera: Camera, normal: np.ndarray, distance_m: float = 4.0) -> None:
        super().__init__()
        self.camera = camera
        self.normal = torch.as_tensor(normal, dtype=torch.float32)
        self.distance_m = distance_m
        self.seen: list[Tensor] = []

    def forward(self, inputs_b7hw: Tensor) -> Tensor:
        self.seen.append(inputs_b7hw)
        rays = unproject(torch.ones_like(inputs_b7hw[:, :1]), self.camera)
        along = (rays * self.normal[:, None, None]).sum(1, keepdim=True)
        normals = self.normal[:, None, None].expand_as(rays) * inputs_b7hw[:, 6:]
        return torch.cat([-self.distance_m / along, normals], dim=1)


def middle_ray(camera: Camera) -> np.ndarray:
    ray = (
        unproject(torch.ones(1, 1, 256, 256, dtype=torch.float64), camera)[0, :, 127:129, 127:129].mean((1, 2)).numpy()
    )
    unit: np.ndarray = ray / np.linalg.norm(ray)
    return unit


def photograph(height: int = 400, width: int = 300, row: int = 210, column: int = 130) -> dict[str, np.ndarray]:
    y, x = np.mgrid[:height, :width]
    mask = ((y - row) / (0.4 * height)) ** 2 + ((x - column) / (0.2 * height)) ** 2 < 1
    image = np.random.default_rng(0).integers(0, 250, (height, width, 3), dtype=np.uint8)
    iuv = np.zeros((height, width, 3), np.uint8)
    iuv[mask] = (2, 90, 160)
    return {"image": image, "mask": mask, "iuv": iuv}
