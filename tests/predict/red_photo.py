"""A network for photographs that knows the answer: red pixels are the person; and pictures of one."""

import math

import numpy as np
import torch
from torch import nn

from hdnet.models.lite import LiteConfig, PersonMaps

# Blue of relief 0, and levels per unit of relief.
ZERO, LEVELS = 128, 100


class RedPerson(nn.Module):
    """Sees a person in every red pixel, and its relief in the blue of it; 100 pixels are a metre."""

    def __init__(self, metric=False):
        super().__init__()
        self.config = LiteConfig(metric=metric)

    def forward(self, inputs_b4hw):
        red, green, blue = inputs_b4hw[:, :1], inputs_b4hw[:, 1:2], inputs_b4hw[:, 2:3]
        mask = (red - green - 100) / 5
        normals = torch.tensor([0.0, 0.0, -3.0])[None, :, None, None].expand(len(red), 3, *red.shape[2:])
        small = red[:, :, ::4, ::4]
        body = small * (torch.arange(25) == 2)[:, None, None], small.repeat(1, 2, 1, 1)
        return PersonMaps(normals, red * 0, (blue - ZERO) / LEVELS, mask, *body, red.mean((2, 3)) * 0 + math.log(100))


def photo(height, width, box, blue=ZERO):
    """A grey picture with an ellipse of a person, (top, bottom, left, right), and its mask."""
    top, bottom, left, right = box
    y, x = np.mgrid[:height, :width]
    mask = ((y - (top + bottom - 1) / 2) / (bottom - top) * 2) ** 2 + (
        (x - (left + right - 1) / 2) / (right - left) * 2
    ) ** 2 <= 1
    image = np.full((height, width, 3), 120, np.uint8)
    image[mask] = np.array([250, 10, 0], np.uint8)
    image[..., 2] = np.where(mask, blue, 120)
    return image, mask


def overlap(first, second):
    return (first & second).sum() / (first | second).sum()
