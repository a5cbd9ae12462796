"""Synthetic dancers of whom every pixel's point of the body is known, turning as told, and their spoiling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hdnet.synthetic.exact import ExactFrame, dancer
from hdnet.synthetic.rendering import PICTURE_SIZE as SIZE


def turning_dancers(count: int, frames: int) -> list[list[ExactFrame]]:
    """Dancers who turn by 5 to 25 degrees from frame to frame, from any side."""
    dancers = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        steps = rng.choice([-1, 1]) * rng.uniform(5, 25, frames)
        dancers.append(dancer(1000 + seed, rng.uniform(-180, 180) + np.cumsum(steps)))
    return dancers


def turn_between(frame_i: ExactFrame, frame_j: ExactFrame) -> float:
    """True turn from i to j, -180..180 degrees."""
    return (frame_j.yaw_deg - frame_i.yaw_deg + 180) % 360 - 180


def misplaced(frame: ExactFrame, rng: np.random.Generator, patches: int = 12, side: int = 10) -> ExactFrame:
    """The same frame with square patches in which DensePose shows another place of the same body part."""
    iuv = frame.iuv.copy()
    rows, columns = np.nonzero(frame.iuv[..., 0])
    for k in rng.choice(len(rows), patches):
        part = frame.iuv[rows[k], columns[k], 0]
        other = rng.choice(np.flatnonzero(frame.iuv[rows, columns, 0] == part))
        y, x = (np.arange(at[k] - side // 2, at[k] + side // 2).clip(0, SIZE - 1) for at in (rows, columns))
        from_y = (y + rows[other] - rows[k]).clip(0, SIZE - 1)
        from_x = (x + columns[other] - columns[k]).clip(0, SIZE - 1)
        here, there = frame.iuv[np.ix_(y, x)], frame.iuv[np.ix_(from_y, from_x)]
        both = (here[..., :1] == part) & (there[..., :1] == part)
        iuv[np.ix_(y, x)] = np.where(both, there, iuv[np.ix_(y, x)])
    return replace(frame, iuv=iuv)
