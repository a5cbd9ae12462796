"""Tiny environment maps and photographs for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hdnet.synthetic.rendering.panorama import pixel_rays

SUN = np.array([0.6, 0.48, 0.64])
"""Direction towards the sun of :func:`sunny`, unit."""


def sunny(height: int = 64) -> np.ndarray:
    """A blue sky, a brown floor and a sun of 8 degrees diameter, radiance (H, 2 H, 3) float32."""
    rays = pixel_rays(height)
    sky = np.where(rays[:, 2:] > 0, [0.5, 0.7, 1.0], [0.3, 0.2, 0.1])
    sky = sky + np.where((rays @ SUN > np.cos(np.radians(4)))[:, None], [400.0, 380, 300], 0)
    return sky.reshape(height, 2 * height, 3).astype(np.float32)


def write_hdr(file: Path, radiance: np.ndarray) -> Path:
    """Write a Radiance file (RGBE without run lengths)."""
    height, width = radiance.shape[:2]
    largest = np.maximum(radiance.max(-1), 1e-30)
    exponent = np.floor(np.log2(largest)).astype(int) + 1
    mantissa = np.floor(np.clip(radiance, 0, None) * 256.0 / 2.0 ** exponent[..., None])
    rgbe = np.concatenate([mantissa, exponent[..., None] + 128], axis=-1).clip(0, 255).astype(np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {width}\n".encode() + rgbe.tobytes())
    return file


def write_photograph(file: Path, width: int = 400, height: int = 300, seed: int = 0) -> Path:
    """Write a picture of coloured rectangles."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(cells).resize((width, height), Image.Resampling.NEAREST).save(file)
    return file
