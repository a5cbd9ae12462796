"""Measurements of a picture's shapes: placement of a part against the mask, orientation of DensePose's charts.

DensePose's charts are fixed to the skin, and a picture shows skin from outside only: whatever the pose, U and V of a
part turn in the same sense in every picture, on arms and legs of the two sides in opposite senses. A mirrored picture,
exchanged sides and exchanged coordinates leave different traces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import fft

from hdnet.data.checks.findings import Findings
from hdnet.data.layout.correspondences import PARTS

# Correct DensePose maps under loose clothes lie 1 to 3 pixels off their best place and gain below 0.03 there; a shift
# of 4 pixels in a 256 x 256 picture costs 0.15.
MIN_GAIN = 0.1
_MIN_BEST = 0.5
# A turn is only reported where it explains clearly more than a shift.
_TURN_GAIN = 0.05
_MIN_SHIFT = 2
_SEARCH_SIZE = 256

Turn = Callable[[np.ndarray], np.ndarray]
# Each is its own inverse or, for the quarter turns, the other's; the name is what was done to the part.
_TURNS: dict[str, Turn] = {
    "": lambda part: part,
    "mirrored left to right": lambda part: part[:, ::-1],
    "upside down (mirrored top to bottom)": lambda part: part[::-1],
    "turned by 180 degrees": lambda part: part[::-1, ::-1],
}
_SQUARE_TURNS: dict[str, Turn] = {
    "transposed (rows and columns exchanged)": lambda part: part.T,
    "turned by 90 degrees to the left": lambda part: part[::-1].T,
    "turned by 90 degrees to the right": lambda part: part.T[::-1],
}


@dataclass(frozen=True)
class Misplacement:
    """Turn and shift of a part against the mask.

    Attributes:
        turn: Name of the turn, "" for a mere shift.
        right_px: Shift to the right after the turn.
        low_px: Shift downwards after the turn.
        overlap: Intersection over union in the present place.
        best_overlap: The same in the best place.
    """

    turn: str
    right_px: int
    low_px: int
    overlap: float
    best_overlap: float

    def __str__(self) -> str:
        texts = [self.turn] if self.turn else []
        if abs(self.right_px) > _MIN_SHIFT:
            texts.append(f"{abs(self.right_px)} pixels too far {'right' if self.right_px > 0 else 'left'}")
        if abs(self.low_px) > _MIN_SHIFT:
            texts.append(f"{abs(self.low_px)} pixels too {'low' if self.low_px > 0 else 'high'}")
        return f"{' and '.join(texts)} (overlap {self.overlap:.0%}, in its best place {self.best_overlap:.0%})"


def outside(part: np.ndarray, mask: np.ndarray) -> float:
    """Share of a part's pixels that lie outside the mask; 0 where the part is empty."""
    total = int(part.sum())
    return float((part & ~mask).sum()) / total if total else 0.0


def misplacement(part: np.ndarray, mask: np.ndarray) -> Misplacement | None:
    """The turn and shift of a part against the mask, or None where no place is clearly better than the present one.

    Cross-correlation over all shifts, for the part as it is and in every turn. The part is (H, W) bool, for example
    the pixels of a DensePose map that hold a body part.
    """
    if not part.any() or not mask.any():
        return None
    step = -(-max(mask.shape) // _SEARCH_SIZE)
    small_part, small_mask = part[::step, ::step], mask[::step, ::step]
    turns = _TURNS | (_SQUARE_TURNS if mask.shape[0] == mask.shape[1] else {})
    overlap = _overlap(part, mask)
    found = [
        Misplacement(name, right * step, low * step, overlap, best)
        for name, turn in turns.items()
        for right, low, best in [_best_shift(np.ascontiguousarray(turn(small_part)), small_mask)]
    ]
    shifted, turned = found[0], max(found[1:], key=lambda place: place.best_overlap)
    best = turned if turned.best_overlap > shifted.best_overlap + _TURN_GAIN else shifted
    moved = best.turn or max(abs(best.right_px), abs(best.low_px)) > _MIN_SHIFT
    return best if moved and best.best_overlap > max(overlap + MIN_GAIN, _MIN_BEST) else None


def check_placement(
    found: Findings, file: Path, part: np.ndarray, mask: np.ndarray, lies: str, expected: str, kind: str, more: str = ""
) -> bool:
    """Check that a part (H, W) of a sample lies on the mask; return whether an error was added.

    The finding has the part with its verb ("the depth lies"), the expected place, a kind and ``more`` of a remedy.
    """
    place = misplacement(part, mask)
    if place is not None:
        fix = f"crop, resize and mirror all files of a sample alike{more}"
        found.error(file, kind, f"against the mask {lies} {place}; expected {expected}; {fix}")
    return place is not None


def _overlap(part: np.ndarray, mask: np.ndarray) -> float:
    union = int((part | mask).sum())
    return float((part & mask).sum()) / union if union else 0.0


def _best_shift(part: np.ndarray, mask: np.ndarray) -> tuple[int, int, float]:
    """(pixels too far right, pixels too low, intersection over union there)."""
    size = (2 * mask.shape[0], 2 * mask.shape[1])
    spectrum = fft.rfft2(mask.astype(np.float32), size) * np.conj(fft.rfft2(part.astype(np.float32), size))
    shared = fft.irfft2(spectrum, size)
    common = float(shared.max())
    # A part smaller than the mask fits in several places: take the middle one.
    places = np.argwhere(shared > common - 0.5)
    down, right = np.where(places > np.array(mask.shape), places - np.array(size), places).mean(axis=0)
    return -round(float(right)), -round(float(down)), common / (float(part.sum()) + float(mask.sum()) - common)


# +1: V lies clockwise of U in the picture (x right, y down). From a real DensePose map and the synthetic people; hands,
# feet and the back are left out, which do not always show the same face.
_LIMBS = {7: -1, 8: 1, 9: 1, 10: -1, 11: 1, 12: -1, 13: 1, 14: -1,
          15: -1, 16: 1, 17: 1, 18: -1, 19: -1, 20: 1, 21: 1, 22: -1}  # fmt: skip
_CENTRE = {2: 1, 23: -1, 24: -1}
_MIN_PIXELS = 60
_MIN_LIMBS = 4
_CLEAR = 0.6

Fault = Literal["", "sides", "mirrored", "exchanged"]


@dataclass(frozen=True)
class Charts:
    """Agreement of one picture with DensePose's charts, each from -1 (the opposite) over 0 (unknown) to 1.

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
        """The fault, if certain: exchanged sides, a mirrored picture, exchanged U and V; otherwise ""."""
        if self.parts < _MIN_LIMBS or self.limbs > -_CLEAR:
            return ""
        if self.centre > _CLEAR:
            return "sides"
        if self.centre > -_CLEAR:
            return ""
        return "exchanged" if self.along < -_CLEAR / 2 else "mirrored"


def read_charts(iuv: np.ndarray) -> Charts:
    """Charts of a picture (H, W, 3) uint8 I, U, V: U and V of each part, fitted linearly over the pixels."""
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
