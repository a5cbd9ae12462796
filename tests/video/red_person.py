"""Videos of a red ellipse, and a network that sees a person in everything red."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from hdnet.models.lite import LiteConfig, PersonMaps

HEIGHT, WIDTH = 96, 160
# Pixels of the square per metre that the network tells.
SCALE = 100.0


class RedPerson(nn.Module):
    """Sees a person in every red pixel: a front that faces the camera, its body part by the row; counts its calls."""

    config = LiteConfig()

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, inputs_b4hw: torch.Tensor) -> PersonMaps:
        self.calls += 1
        red, green, blue = inputs_b4hw[:, :1], inputs_b4hw[:, 1:2], inputs_b4hw[:, 2:3]
        mask = (red - green - 70) / 5
        normals = torch.tensor([0.0, 0.0, -3.0])[None, :, None, None].expand(len(red), 3, *red.shape[2:])
        small = mask[:, :, ::4, ::4]
        part = torch.linspace(1, 24, small.shape[2]).round()[None, None, :, None]
        parts = 10.0 * (torch.arange(25.0)[None, :, None, None] == torch.where(small > 0, part, 0))
        across = torch.linspace(0, 1, small.shape[3]).expand(small.shape[2], -1)[None, None]
        uv = torch.cat([across, across], dim=1).expand(len(red), -1, -1, -1)
        scale = torch.full((len(red), 1), float(np.log(SCALE)))
        return PersonMaps(normals, red * 0 + 2, blue * 0, mask, parts, uv, scale)


@dataclass(frozen=True)
class Figure:
    """A person in a frame: middle and half-axes in pixels, and the colour."""

    x: float
    y: float = 48.0
    half_width: float = 12.0
    half_height: float = 36.0
    colour: tuple[int, int, int] = (210, 20, 30)


def paint(*figures: Figure, background: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A frame (H, W, 3) uint8 of people with stripes before a patterned background."""
    y, x = np.mgrid[:height, :width].astype(float)
    level = (110, 40, 190)[background % 3] + 20 * np.sin(x / 7 + background) + 15 * np.cos(y / 5)
    image = np.repeat(level[..., None], 3, axis=2)
    for one in figures:
        inside = ((x - one.x) / one.half_width) ** 2 + ((y - one.y) / one.half_height) ** 2 < 1
        stripes = 1 + 0.15 * np.sin((y - one.y) / 3) + 0.1 * np.cos((x - one.x) / 2)
        image = np.where(inside[..., None], np.array(one.colour) * stripes[..., None], image)
    return image.clip(0, 255).astype(np.uint8)
