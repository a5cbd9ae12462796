"""Which way U and V run over the body, as seen in one DensePose picture.

DensePose's charts are fixed to the skin, and a picture shows skin from outside only. So, whatever the pose, U and V
of a part turn the same way round in every picture; arms and legs of the two sides turn opposite ways. A mirrored
picture, exchanged sides and exchanged coordinates each leave another trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hdnet.data.correspondence.matching import PARTS

# +1: V lies clockwise of U in the picture (x right, y down). Read off a real DensePose map and the synthetic people;
# hands, feet and the back are left out, which do not always show the same face.
_LIMBS = {7: -1, 8: 1, 9: 1, 10: -1, 11: 1, 12: -1, 13: 1, 14: -1,
          15: -1, 16: 1, 17: 1, 18: -1, 19: -1, 20: 1, 21: 1, 22: -1}  # fmt: skip
_CENTRE = {2: 1, 23: -1, 24: -1}
_MIN_PIXELS = 60
_MIN_LIMBS = 4
_CLEAR = 0.6

Fault = Literal["", "sides", "mirrored", "exchanged"]


@dataclass(frozen=True)
class Charts:
    """How far one picture agrees with DensePose's charts, each from -1 (the opposite) over 0 (unknown) to 1.

    Attributes:
        limbs: Turning sense of U and V on arms and legs.
        centre: Turning sense on chest and head, which have no other side.
        along: Whether U, not V, runs along arms and legs.
        parts: Arm and leg parts that were seen.
    """

    limbs: float
    centre: float
    along: float
    parts: int

    def fault(self) -> Fault:
        """What is certainly wrong: exchanged sides, a mirrored picture, exchanged U and V; "" where nothing is."""
        if self.parts < _MIN_LIMBS or self.limbs > -_CLEAR:
            return ""
        if self.centre > _CLEAR:
            return "sides"
        if self.centre > -_CLEAR:
            return ""
        return "exchanged" if self.along < -_CLEAR / 2 else "mirrored"


def read_charts(iuv: np.ndarray) -> Charts:
    """Measure the charts of a picture.

    On each part U and V are fitted by linear functions of the pixel position.

    Args:
        iuv: (H, W, 3) uint8 in the order I, U, V.
    """
    rows, columns = np.nonzero((iuv[..., 0] > 0) & (iuv[..., 0] <= PARTS))
    part = iuv[rows, columns, 0]
    count = np.bincount(part, minlength=PARTS + 1).astype(np.float64)
    count[0] = 0
    seen = np.flatnonzero(count >= _MIN_PIXELS)
    if not seen.size:
        return Charts(0.0, 0.0, 0.0, 0)
    columns_of = {
        "x": columns.astype(np.float64),
        "y": rows.astype(np.float64),
        "u": iuv[rows, columns, 1].astype(np.float64),
        "v": iuv[rows, columns, 2].astype(np.float64),
    }

    def mean(values: np.ndarray) -> np.ndarray:
        sums: np.ndarray = np.bincount(part, weights=values, minlength=PARTS + 1)[seen]
        return sums / count[seen]

    means = {name: mean(values) for name, values in columns_of.items()}

    def covariance(first: str, second: str) -> np.ndarray:
        product: np.ndarray = mean(columns_of[first] * columns_of[second]) - means[first] * means[second]
        return product

    xx, xy, yy = covariance("x", "x"), covariance("x", "y"), covariance("y", "y")
    slopes = []
    for name in ("u", "v"):
        x_, y_ = covariance("x", name), covariance("y", name)
        slope = np.stack([yy * x_ - xy * y_, xx * y_ - xy * x_], axis=1)
        slopes.append(slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12))
    u_way, v_way = slopes
    turning = u_way[:, 0] * v_way[:, 1] - u_way[:, 1] * v_way[:, 0]
    limb = np.isin(seen, list(_LIMBS))
    # The long axis of a part: the direction of its larger second moment.
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    axis = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    along = (u_way * axis).sum(1) ** 2 - (v_way * axis).sum(1) ** 2
    stretched = np.sqrt(((xx - yy) / 2) ** 2 + xy**2) > 0.5 * (xx + yy) / 2
    weights = count[seen]
    return Charts(
        _agreement(turning, _LIMBS, seen, weights),
        _agreement(turning, _CENTRE, seen, weights),
        _weighted(along, weights * (limb & stretched)),
        int(limb.sum()),
    )


def _agreement(turning: np.ndarray, signs: dict[int, int], seen: np.ndarray, weights: np.ndarray) -> float:
    expected = np.array([signs.get(int(part), 0) for part in seen], dtype=np.float64)
    return _weighted(expected * turning, weights * (expected != 0))


def _weighted(values: np.ndarray, weights: np.ndarray) -> float:
    total = float(weights.sum())
    return float((values * weights).sum()) / total if total else 0.0
