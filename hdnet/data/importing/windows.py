"""Where the 256 x 256 window lies in each frame of a shot: it follows the person and does not jitter."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hdnet.pictures.crop import NETWORK_SIZE, Crop

# The typical size is a high quantile: a raised arm fits, a stray mask in one frame does not shrink all others.
_TYPICAL_QUANTILE = 0.95
# How far beyond the typical size (without margin) the largest box of the shot is still believed.
_LARGEST_BELIEVED = 1.5
_LEAST_ROOM = 1.02
# About a third of a second at 30 frames a second: slower than a mask's flicker, faster than a walking person.
_SMOOTH_FRAMES = 10.0
_PULLS = 20


def plan_windows(boxes: np.ndarray, numbers: np.ndarray, margin: float) -> list[Crop]:
    """The window of every frame of a shot.

    All windows have one size, so that the person's scale changes only when the person comes nearer: that of the
    95 % quantile of the boxes' longer sides plus the margin, more where the largest box needs it (up to 1.5 times).
    The centre follows the middle of the box, smoothed over about 10 frames, and is pulled no further than needed to
    keep the whole box inside. The cameras carry the window exactly, so following costs no accuracy.

    Args:
        boxes: (N, 4) top, bottom, left, right of the person; first and last + 1 pixel.
        numbers: (N,) frame numbers, increasing.
        margin: Free room on each side in parts of the typical size, 0.1 as at inference.

    Returns:
        N crops of 256 x 256.
    """
    edges = np.asarray(boxes, dtype=np.float64)
    longer = np.maximum(edges[:, 1] - edges[:, 0], edges[:, 3] - edges[:, 2])
    typical = float(np.quantile(longer, _TYPICAL_QUANTILE))
    side = max(typical * (1 + 2 * margin), min(float(longer.max()) * _LEAST_ROOM, typical * _LARGEST_BELIEVED))
    side = max(side, 1.0)
    zoom = round(side / NETWORK_SIZE, 6)
    centre_y = _follow(edges[:, 0], edges[:, 1], numbers, side)
    centre_x = _follow(edges[:, 2], edges[:, 3], numbers, side)
    # Pixel edges lie half a pixel before pixel centres, in both pictures (as in Crop.around).
    offset = (zoom * (1 - NETWORK_SIZE) - 1) / 2
    return [
        Crop(round(float(x + offset), 4), round(float(y + offset), 4), zoom)
        for x, y in zip(centre_x, centre_y, strict=True)
    ]


def _follow(first: np.ndarray, last: np.ndarray, numbers: np.ndarray, side: float) -> np.ndarray:
    """(N,) middle of the window along one axis, from the first and last edge of the boxes."""
    middle = (first + last) / 2
    lowest, highest = np.minimum(last - side / 2, middle), np.maximum(first + side / 2, middle)
    path = _smooth(middle, numbers)
    for _ in range(_PULLS):
        missing = np.clip(path, lowest, highest) - path
        if np.abs(missing).max() < side * 1e-3:
            break
        path = path + _smooth(missing, numbers)
    inside: np.ndarray = np.clip(path, lowest, highest)
    return inside


def _smooth(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Gaussian smoothing over frame numbers; numbers without a frame are interpolated."""
    step = float(np.median(np.diff(numbers))) if len(numbers) > 1 else 1.0
    places = (numbers - numbers[0]) / max(step, 1.0)
    grid = np.arange(int(places[-1]) + 1, dtype=np.float64)
    smooth = ndimage.gaussian_filter1d(np.interp(grid, places, values), _SMOOTH_FRAMES, mode="nearest")
    smoothed: np.ndarray = np.interp(places, grid, smooth)
    return smoothed
