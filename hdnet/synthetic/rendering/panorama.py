"""Equirectangular maps of radiance from all directions, looked up in the world frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from skimage.transform import resize_local_mean

from hdnet.synthetic.surface import FloatArray


@dataclass(frozen=True, eq=False)
class Panorama:
    """Radiance from all directions.

    Attributes:
        radiance: (H, 2 H, 3) linear; the first row is the zenith, the middle column the world's +y before any turn,
            columns run clockwise as seen from above.
        turn_rad: Turn of the map about the vertical, counter-clockwise as seen from above.
        mirrored: Whether left and right are swapped.
    """

    radiance: FloatArray
    turn_rad: float = 0.0
    mirrored: bool = False

    def turned(self, turn_rad: float, mirrored: bool) -> Self:
        """Return the same map with another turn."""
        return replace(self, turn_rad=turn_rad, mirrored=mirrored)

    def sample(self, directions: FloatArray) -> FloatArray:
        """Return radiance (N, 3) float32 in world directions (N, 3) of any length, bilinearly interpolated."""
        x, y, z = directions.T
        height, width = self.radiance.shape[:2]
        azimuth = self._of_map(np.arctan2(x, y))
        column = azimuth * (width / (2 * np.pi)) + (width - 1) / 2
        row = np.arctan2(-z, np.hypot(x, y)) * (height / np.pi) + (height - 1) / 2
        row = np.clip(row, 0, height - 1)
        left, top = np.floor(column).astype(np.int32), np.minimum(row.astype(np.int32), height - 2)
        right_share, low_share = (column - left)[:, None], (row - top)[:, None]
        left, right = left % width, (left + 1) % width
        flat, start = self.radiance.reshape(-1, 3), top * width
        upper = _mixed(flat.take(start + left, 0), flat.take(start + right, 0), right_share)
        lower = _mixed(flat.take(start + width + left, 0), flat.take(start + width + right, 0), right_share)
        return _mixed(upper, lower, low_share)

    def to_world(self, directions: FloatArray) -> FloatArray:
        """Return directions (N, 3) of the map that was not turned in the world."""
        x, y, z = directions.T
        azimuth = np.arctan2(x, y) - self.turn_rad
        azimuth, level = -azimuth if self.mirrored else azimuth, np.hypot(x, y)
        return np.stack([level * np.sin(azimuth), level * np.cos(azimuth), z], axis=1)

    def _of_map(self, azimuth: FloatArray) -> FloatArray:
        return np.asarray((-azimuth if self.mirrored else azimuth) + np.asarray(self.turn_rad, azimuth.dtype))


def _mixed(first: FloatArray, second: FloatArray, share: FloatArray) -> FloatArray:
    first = first.astype(np.float32)
    return np.asarray(first + share.astype(np.float32) * (second.astype(np.float32) - first))


def pixel_rays(height: int) -> FloatArray:
    """Return the unit directions (H * 2 H, 3) float64 of the pixels of a map that is not turned."""
    azimuth = (np.arange(2 * height) + 0.5) * (np.pi / height) - np.pi
    elevation = np.pi / 2 - (np.arange(height) + 0.5) * (np.pi / height)
    elevation, azimuth = (grid.ravel() for grid in np.meshgrid(elevation, azimuth, indexing="ij"))
    level = np.cos(elevation)
    return np.stack([level * np.sin(azimuth), level * np.cos(azimuth), np.sin(elevation)], axis=1)


def solid_angles(height: int) -> FloatArray:
    """Return the solid angle (H, 1) of a pixel of each row, in steradians, float64."""
    edge = np.cos(np.arange(height + 1) * (np.pi / height))
    return np.asarray((edge[:-1] - edge[1:])[:, None] * (np.pi / height))


def reduced(radiance: FloatArray, height: int) -> FloatArray:
    """Shrink a map (H, 2 H, 3) to a height, keeping the mean radiance over solid angle."""
    if len(radiance) <= height:
        return radiance
    flux = radiance * solid_angles(len(radiance)).astype(radiance.dtype)[..., None]
    if len(radiance) % height == 0:
        # Some 50 times faster than the general case.
        cell = len(radiance) // height
        shrunk = flux.reshape(height, cell, -1).mean(1).reshape(height, 2 * height, cell, 3).mean(2)
    else:
        shrunk = resize_local_mean(flux, (height, 2 * height), channel_axis=-1, preserve_range=True)
    cells = (len(radiance) / height) ** 2
    return np.asarray(shrunk * cells / solid_angles(height)[..., None], dtype=radiance.dtype)
