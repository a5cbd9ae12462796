"""JPEG compression and low resolution of batches of pictures, on their device.

Only what loses something: colour space, chroma of half the resolution, quantised cosine transform of 8 x 8 blocks with
the tables of ITU-T T.81, annex K, scaled by quality as libjpeg does. The lossless rest leaves pixels as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from hdnet.training.augment_geometry import constant, moved

_BLOCK = 8
# Of a macro-block: two blocks of brightness, one of the halved chroma.
_MULTIPLE = 2 * _BLOCK
# JFIF: RGB to Y, Cb, Cr about 128.
_TO_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))
# fmt: off
_BRIGHTNESS_TABLE = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)
_CHROMA_TABLE = (
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)
# fmt: on


def jpeg(image_b3hw: Tensor, qualities: Sequence[int]) -> Tensor:
    """Compress pictures and decompress them, as Pillow does by default.

    Args:
        image_b3hw: RGB, 0..255; fractions are rounded.
        qualities: One an item, 1..100.

    Returns:
        (B, 3, H, W) whole numbers in the type of the picture.
    """
    height, width = image_b3hw.shape[-2:]
    beyond = (0, -width % _MULTIPLE, 0, -height % _MULTIPLE)
    padded = F.pad(image_b3hw, beyond, mode="replicate") if any(beyond) else image_b3hw
    to_ycc = constant(_TO_YCC, image_b3hw.device, image_b3hw.dtype)
    ycc = (to_ycc @ padded.clamp(0, 255).round().flatten(2)).view_as(padded).round_()
    ycc[:, :1] -= 128
    brightness = _quantised(ycc[:, :1], _BRIGHTNESS_TABLE, qualities)
    chroma = _quantised(F.avg_pool2d(ycc[:, 1:], 2).round_(), _CHROMA_TABLE, qualities)
    # The decoder's triangle filter, libjpeg's "fancy upsampling".
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    ycc = torch.cat([brightness + 128, chroma], 1)
    rgb = (constant(_TO_RGB, ycc.device, ycc.dtype) @ ycc.flatten(2)).view_as(ycc)
    return rgb.round_().clamp_(0, 255)[..., :height, :width]


def lower_resolution(image_b3hw: Tensor, size: int, quality: int | None) -> Tensor:
    """Shrink pictures to ``size`` rows, compress them with that quality, if any, and enlarge them again."""
    height, width = image_b3hw.shape[-2:]
    small_size = (size, max(round(size * width / height), 1))
    small = F.interpolate(image_b3hw, small_size, mode="bilinear", antialias=True, align_corners=False)
    if quality is not None:
        small = jpeg(small, [quality] * len(small))
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False).clamp_(0, 255)


def _quantised(channels_bchw: Tensor, table: tuple[int, ...], qualities: Sequence[int]) -> Tensor:
    batch, count, height, width = channels_bchw.shape
    rows, columns = height // _BLOCK, width // _BLOCK
    blocks = channels_bchw.view(batch, count, rows, _BLOCK, columns, _BLOCK).transpose(3, 4).reshape(batch, -1, 64)
    transform = constant(_cosine_transform(), channels_bchw.device, channels_bchw.dtype)
    steps = moved(torch.tensor([_scaled(table, quality) for quality in qualities], dtype=blocks.dtype), blocks.device)
    coefficients = (blocks @ transform.mT).div_(steps[:, None]).round_().mul_(steps[:, None])
    blocks = (coefficients @ transform).view(batch, count, rows, columns, _BLOCK, _BLOCK)
    return blocks.transpose(3, 4).reshape(channels_bchw.shape)


def _scaled(table: tuple[int, ...], quality: int) -> tuple[float, ...]:
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(float(min(max((step * percent + 50) // 100, 1), 255)) for step in table)


@lru_cache(maxsize=1)
def _cosine_transform() -> tuple[tuple[float, ...], ...]:
    """Orthonormal transform of a block of 64 pixels, row by row: coefficient (u, v) of pixel (y, x)."""
    one = [
        [math.cos((2 * x + 1) * u * math.pi / 16) * math.sqrt((1 if u == 0 else 2) / 8) for x in range(8)]
        for u in range(8)
    ]
    return tuple(tuple(one[u][y] * one[v][x] for y in range(8) for x in range(8)) for u in range(8) for v in range(8))
