"""Detection of a sequence whose pictures, masks or body maps are numbered apart from one another.

A mask of the right frame lies on the edges of its picture, a body map on its mask; those of the frames before and after
lie a little beside, wherever the person moves. A shift is what a run of frames agrees on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

from hdnet.data.checks.findings import Findings

REACH = 3
"""Largest shift that is looked for, in frames."""

Pair = Literal["body", "mask"]
"""Body maps against masks, or masks against pictures."""

_SIZE = 256
_OFFSETS = tuple(range(-REACH, REACH + 1))
# A map or an outline that lies beside in all frames alike, by this part of the person's longer side (an outline within:
# twice), is not shifted in time: correct maps under loose clothes lie up to 3 of 256 pixels off, masks may be too wide.
# With a person who crosses the picture at an even pace the two look the same.
_BESIDE = 0.0125
# Gains of another frame's mask or map that count: in overlap, and in parts of the picture's contrast along the outline.
# Measured on a real film of 40 frames, every third kept: overlap .91 with the own map, .86 with a neighbour's; contrast
# 26.6 and 25.1 levels over all frames, 26 and 24 over those that move.
_GAIN: dict[Pair, float] = {"body": 0.01, "mask": 0.06}
_LEAST_GAIN: dict[Pair, float] = {"body": 0.002, "mask": 0.02}
_AGREE, _MOST = 0.8, 0.7
_FEWEST = 4
# Overlap of the masks of two frames between which the person moved.
_MOVED = 0.99


@dataclass(frozen=True, eq=False)
class Trace:
    """Summary of a frame for the comparison with its neighbours, at most 256 pixels a side.

    Attributes:
        mask_hw: uint8 coverage by the person.
        body_hw: uint8 coverage by body parts; None without a map.
        grey_hw: uint8 picture; None without one.
        body_scores: Overlap with the own body map: where it is, and a little displaced.
        mask_scores: Contrast of the own picture along the outline: as it is, and a little within and outside.
        left: Place of its first column in pixels of a frame that all traces share.
        top: The same of its first row.
    """

    mask_hw: np.ndarray
    body_hw: np.ndarray | None = None
    grey_hw: np.ndarray | None = None
    body_scores: tuple[float, ...] = ()
    mask_scores: tuple[float, ...] = ()
    left: int = 0
    top: int = 0

    @classmethod
    def of(cls, mask: np.ndarray, body: np.ndarray | None = None, image: np.ndarray | None = None) -> Trace:
        """Return the trace of a whole frame.

        Args:
            mask: (H, W) bool.
            body: (H, W) bool, where the map has a part.
            image: (H, W, 3) uint8.
        """
        factor = -(-max(mask.shape) // _SIZE)
        planes = [None if plane is None else _silhouette(plane) for plane in (mask, body)]
        grey = None if image is None else Image.fromarray(image).convert("L")
        small = [None if plane is None else np.asarray(plane.reduce(factor)) for plane in (*planes, grey)]
        mask_hw, body_hw, grey_hw = np.asarray(small[0]), small[1], small[2]
        reach = max(1, round(_BESIDE * _longer_side(mask_hw)))
        body_scores: tuple[float, ...] = ()
        mask_scores: tuple[float, ...] = ()
        if body_hw is not None:
            steps = [(y, x) for y in (0, -reach, reach) for x in (0, -reach, reach)]
            body_scores = tuple(_overlap(mask_hw, body_hw, y, x) for y, x in steps)
        if grey_hw is not None:
            edges, size = _gradient(grey_hw), 2 * reach + 1
            within = ndimage.minimum_filter(mask_hw, size), ndimage.minimum_filter(mask_hw, 2 * size - 1)
            forms = (mask_hw, *within, ndimage.maximum_filter(mask_hw, size))
            mask_scores = tuple(_contrast(edges, _gradient(form), 0, 0) for form in forms)
        return cls(mask_hw, body_hw, grey_hw, body_scores, mask_scores)

    @cached_property
    def outline_2hw(self) -> np.ndarray:
        """Gradient of the mask."""
        return _gradient(self.mask_hw)

    @cached_property
    def edges_2hw(self) -> np.ndarray | None:
        """Gradient of the picture."""
        return None if self.grey_hw is None else _gradient(self.grey_hw)


@dataclass(frozen=True)
class Shift:
    """Run of frames whose masks or maps are those of other frames.

    Attributes:
        pair: What was compared.
        offset: Frames after (before, if negative) the own one whose mask or map fits.
        first: Index of the first frame.
        last: Index of the last frame.
        count: Frames in the run that show it.
        own: Mean score of the own mask or map: overlap, or contrast along the outline in grey levels.
        other: The same of the one that fits.
    """

    pair: Pair
    offset: int
    first: int
    last: int
    count: int
    own: float
    other: float

    def __str__(self) -> str:
        what, on = ("body parts", "mask") if self.pair == "body" else ("masks", "picture")
        count = abs(self.offset)
        other = f"the frame {'after' if self.offset > 0 else 'before'}"
        other = other if count == 1 else f"{count} frames {'after' if self.offset > 0 else 'before'}"
        score = (
            f"overlap {self.other:.1%} instead of {self.own:.1%}"
            if self.pair == "body"
            else f"contrast along the outline {self.other:.0f} instead of {self.own:.0f} levels"
        )
        return f"the {what} of {other} lie better on the {on} than its own ({score}, in {self.count} frames)"


class ShiftCheck:
    """Comparison of each frame of a sequence with its neighbours, in one pass; keeps a few frames in memory."""

    def __init__(self) -> None:
        self._recent: deque[Trace | None] = deque(maxlen=REACH + 1)
        self._scores: dict[Pair, list[np.ndarray]] = {"body": [], "mask": []}
        self._beside: dict[Pair, list[tuple[float, ...]]] = {"body": [], "mask": []}
        self._moved: list[np.ndarray] = []

    def add(self, trace: Trace | None) -> None:
        """Take the next frame of the sequence; None for one that cannot be used."""
        self._recent.append(trace)
        for rows in (*self._scores.values(), self._moved):
            rows.append(np.full(len(_OFFSETS), np.nan, dtype=np.float32))
        self._beside["body"].append(() if trace is None else trace.body_scores)
        self._beside["mask"].append(() if trace is None else trace.mask_scores)
        if trace is None:
            return
        newest = len(self._moved) - 1
        for back, other in enumerate(reversed(self._recent)):
            if other is None or other.mask_hw.shape != trace.mask_hw.shape:
                continue
            self._compare(newest, -back, trace, other)
            if back:
                self._compare(newest - back, back, other, trace)

    def _compare(self, index: int, offset: int, frame: Trace, other: Trace) -> None:
        column = offset + REACH
        y, x = other.top - frame.top, other.left - frame.left
        self._moved[index][column] = _overlap(frame.mask_hw, other.mask_hw, y, x)
        if other.body_hw is not None:
            self._scores["body"][index][column] = _overlap(frame.mask_hw, other.body_hw, y, x)
        if frame.edges_2hw is not None:
            self._scores["mask"][index][column] = _contrast(frame.edges_2hw, other.outline_2hw, y, x)

    def shifts(self) -> list[Shift]:
        """Return the runs of frames that are numbered apart, at most one of each pair."""
        found = (self._shift(pair) for pair in self._scores)
        return [shift for shift in found if shift is not None]

    def fits(self, pair: Pair) -> bool:
        """Return whether the own mask or map fits better than both neighbours', in most frames that tell them apart."""
        scores, moved = np.array(self._scores[pair]), np.array(self._moved)
        for offset in (-1, 1):
            gain, informative = self._gains(pair, scores, moved, REACH, REACH + offset)
            if np.count_nonzero(informative) < _FEWEST:
                return False
            lost = -gain[informative]
            if (lost > 0).mean() < _MOST or lost.mean() < _LEAST_GAIN[pair]:
                return False
        return True

    def _gains(
        self, pair: Pair, scores: np.ndarray, moved: np.ndarray, own: int, other: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return each frame's gain by another frame's mask or map, and which frames tell the two apart."""
        gain = scores[:, other] - scores[:, own]
        if pair == "mask":
            gain = gain / np.maximum(scores[:, own], 1)
        informative = np.isfinite(gain) & (moved[:, other] < _MOVED)
        return np.where(np.isfinite(gain), gain, 0), informative

    def _shift(self, pair: Pair) -> Shift | None:
        scores, moved = np.array(self._scores[pair]), np.array(self._moved)
        if len(scores) < _FEWEST:
            return None
        known = [i for i, values in enumerate(self._beside[pair]) if values]
        if not known:
            return None
        beside = np.array([self._beside[pair][i] for i in known])
        scores[known, REACH] = np.maximum(scores[known, REACH], beside[:, beside.mean(axis=0).argmax()])
        found: tuple[float, Shift | None] = (0.0, None)
        for column, offset in enumerate(_OFFSETS):
            if offset == 0:
                continue
            gain, informative = self._gains(pair, scores, moved, REACH, column)
            first, last = _largest_run(np.where(informative, gain - _GAIN[pair] / 2, 0))
            members = np.flatnonzero(informative[first:last]) + first
            if len(members) < _FEWEST or (gain[members] > 0).mean() < _AGREE:
                continue
            total = float(gain[members].sum())
            # Masks that are too wide gain by any other frame's; a shift gains in one direction of time.
            back = self._gains(pair, scores, moved, REACH, REACH - offset)[0][members].mean()
            mean = gain[members].mean()
            if mean > _GAIN[pair] and total > found[0] and back < mean / 2:
                own, other = (float(scores[members, c].mean()) for c in (REACH, column))
                found = (total, Shift(pair, offset, int(members[0]), int(members[-1]), len(members), own, other))
        return found[1]


class SequenceShifts:
    """Comparison of the frames of a folder, each with its neighbours in its own sequence.

    Args:
        sequence_of: Sequence by frame name.
    """

    def __init__(self, sequence_of: Mapping[str, str]) -> None:
        self._sequence_of = sequence_of
        self._checks: dict[str, ShiftCheck] = {}
        self._names: dict[str, list[str]] = {}

    def add(self, name: str, trace: Trace | None) -> None:
        """Take the next frame, in the order of the names."""
        sequence = self._sequence_of.get(name, "")
        self._names.setdefault(sequence, []).append(name)
        self._checks.setdefault(sequence, ShiftCheck()).add(trace)

    def check(self, found: Findings, root: Path) -> None:
        """Add an error for every sequence that is numbered apart."""
        for sequence, check in self._checks.items():
            for shift in check.shifts():
                names = self._names[sequence]
                found.error(
                    root / ("densepose" if shift.pair == "body" else "mask") / f"{names[shift.first]}.png",
                    "numbering",
                    f"from here to {names[shift.last]}, {shift}; expected picture, mask and map of the same frame; "
                    "number them alike and import the sequence again",
                )


def _largest_run(values: np.ndarray) -> tuple[int, int]:
    """Return first and last + 1 index of the run with the largest sum."""
    sums = np.concatenate([[0.0], values.cumsum()])
    lowest = np.minimum.accumulate(sums)
    end = int((sums - lowest).argmax())
    return int(sums[: end + 1].argmin()), end


def _silhouette(plane: np.ndarray) -> Image.Image:
    return Image.fromarray(np.where(plane, np.uint8(255), np.uint8(0)))


def _longer_side(mask_hw: np.ndarray) -> int:
    rows, columns = (np.flatnonzero(mask_hw.any(axis=axis)) for axis in (1, 0))
    return int(max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1) if rows.size else 0


def _common(shape: tuple[int, ...], y: int, x: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the common window of two planes of one shape, the second moved by (y, x), in each of them."""
    (height, width) = shape
    first = (slice(max(y, 0), max(height + min(y, 0), 0)), slice(max(x, 0), max(width + min(x, 0), 0)))
    second = (slice(max(-y, 0), max(height - max(y, 0), 0)), slice(max(-x, 0), max(width - max(x, 0), 0)))
    return first, second


def _overlap(first: np.ndarray, second: np.ndarray, y: int, x: int) -> float:
    """Return the intersection over union of two soft silhouettes, the second moved by (y, x)."""
    a, b = _common(first.shape, y, x)
    both = int(np.minimum(first[a], second[b]).sum(dtype=np.int64))
    either = int(first.sum(dtype=np.int64)) + int(second.sum(dtype=np.int64)) - both
    return both / either if either else 0.0


def _gradient(plane: np.ndarray) -> np.ndarray:
    """Return (2, H, W) differences down and right, float32."""
    down, right = np.gradient(plane.astype(np.float32))
    return np.stack([down, right])


def _contrast(edges_2hw: np.ndarray, outline_2hw: np.ndarray, y: int, x: int) -> float:
    """Return the picture's mean contrast across an outline that is moved by (y, x)."""
    a, b = _common(edges_2hw.shape[1:], y, x)
    edges, outline = edges_2hw[:, *a], outline_2hw[:, *b]
    length = float(np.hypot(outline[0], outline[1]).sum())
    return float(np.abs((edges * outline).sum(axis=0)).sum()) / length if length else 0.0
