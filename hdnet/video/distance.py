"""Distance of the person in every frame of a clip: one metric scale, and no flicker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hdnet.geometry import Camera
from hdnet.geometry.relief import RELIEF_UNIT_PX, view_of
from hdnet.pictures.crop import NETWORK_SIZE
from hdnet.video.survey import Survey

# Standard deviation of the smoothing over time. The network errs by 2 to 3 % from one second to the next; 0.7 s instead
# of 0.33 lower the error of depth from 94 to 88 mm on a synthetic dance (``benchmarks/video.py``).
_SPREAD_S = 0.7


def focal_of_square(square: tuple[float, float, float], camera: Camera) -> float:
    """Pixels a radian about the middle ray of a square (left, top, zoom) of the camera's picture."""
    like = camera.crop(*square).as_tensor(torch.float64)[None]
    return float(view_of(like, (NETWORK_SIZE, NETWORK_SIZE)).focal_b[0])


def log_distances(survey: Survey, seen: Mapping[int, Mapping[str, Any]], camera: Camera) -> dict[int, float]:
    """Return the logarithm of the distance in metres, by the network's scale, smoothed within every shot.

    Args:
        survey: Times and shots.
        seen: "square" and "log_scale" of every frame that shows the person, by position.
        camera: Of the clip.
    """
    found = {
        position: float(np.log(focal_of_square(tuple(one["square"]), camera))) - one["log_scale"]
        for position, one in seen.items()
    }
    smooth: dict[int, float] = {}
    for shot in survey.shots:
        positions = [position for position in shot if position in found]
        if positions:
            times = np.array([survey.times_s[position] for position in positions])
            values = np.array([found[position] for position in positions])
            smooth.update(zip(positions, _smoothed(times, values), strict=True))
    return smooth


def _smoothed(times_s: np.ndarray, values: np.ndarray) -> list[float]:
    """Averages of values with Gaussian weights in time."""
    first = np.searchsorted(times_s, times_s - 3 * _SPREAD_S)
    last = np.searchsorted(times_s, times_s + 3 * _SPREAD_S, side="right")
    result = []
    for time_s, a, b in zip(times_s, first, last, strict=True):
        weights = np.exp(-0.5 * ((times_s[a:b] - time_s) / _SPREAD_S) ** 2)
        result.append(float(weights @ values[a:b] / weights.sum()))
    return result


def depth_limits(
    seen: Mapping[int, Mapping[str, Any]], distances_m: Mapping[int, float], camera: Camera
) -> tuple[float, float]:
    """Return the nearest and farthest depth in metres of nearly all of the person in nearly all frames.

    Args:
        seen: "square" and "relief", that of nearly the nearest and farthest pixel, by position.
        distances_m: Of the same frames.
        camera: Of the clip.
    """
    ends = np.array(
        [
            distances_m[position]
            * np.exp(np.array(one["relief"]) * RELIEF_UNIT_PX / focal_of_square(tuple(one["square"]), camera))
            for position, one in seen.items()
        ]
    )
    return float(np.quantile(ends[:, 0], 0.02)), float(np.quantile(ends[:, 1], 0.98))
