"""Whether a part of a sample lies on the mask, and if it does not, how it was mirrored, turned or shifted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import fft

# A correct DensePose map under loose clothes can be 1 to 3 pixels off its best place and gains below 0.03 there; 4
# pixels off in a 256 x 256 picture cost 0.15.
MIN_GAIN = 0.1
_MIN_BEST = 0.5
# A turn is only claimed where it explains clearly more than a shift.
_TURN_GAIN = 0.05
_MIN_SHIFT = 2
_SEARCH_SIZE = 256

Turn = Callable[[np.ndarray], np.ndarray]
# Each undoes itself or, for the two quarter turns, is undone by the other; the name says what was done to the part.
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
    """How a part lies against the mask.

    Attributes:
        turn: What was done to it, "" for a mere shift.
        right_px: Pixels that it then lies too far to the right.
        low_px: Pixels that it then lies too low.
        overlap: Intersection over union as it lies.
        best_overlap: The same in its best place.
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
    """The turn and shift that carry a part onto the mask, or None where no place is clearly better than its own.

    Cross-correlation over all shifts, for the part as it is and in every turn.

    Args:
        part: (H, W) bool, for example where a DensePose map holds a body part.
        mask: (H, W) bool.
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


def _overlap(part: np.ndarray, mask: np.ndarray) -> float:
    union = int((part | mask).sum())
    return float((part & mask).sum()) / union if union else 0.0


def _best_shift(part: np.ndarray, mask: np.ndarray) -> tuple[int, int, float]:
    """(pixels too far right, pixels too low, intersection over union there)."""
    size = (2 * mask.shape[0], 2 * mask.shape[1])
    spectrum = fft.rfft2(mask.astype(np.float32), size) * np.conj(fft.rfft2(part.astype(np.float32), size))
    shared = fft.irfft2(spectrum, size)
    common = float(shared.max())
    # A part that is smaller than the mask fits in several places: take the middle one.
    places = np.argwhere(shared > common - 0.5)
    down, right = np.where(places > np.array(mask.shape), places - np.array(size), places).mean(axis=0)
    return -round(float(right)), -round(float(down)), common / (float(part.sum()) + float(mask.sum()) - common)
