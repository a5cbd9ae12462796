"""Detection of changes of shot in a video; pairs of frames must not cross them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BINS = 16
_GRID = 32
_EVERY = 4

# Differences of brightness distributions in levels of 0..255 (an earth mover's distance: flickering light changes
# it by its own few levels). Neighbouring frames of a dance differ by 0.5 to 3.
_PERSON_LEVELS, _BACKGROUND_LEVELS = 22.0, 18.0
# Enough where the person also stands somewhere else all of a sudden.
_MOVED_PERSON_LEVELS, _MOVED_BACKGROUND_LEVELS, _MOVED_OVERLAP = 9.0, 7.0, 0.15
# A cut stands out from its surroundings; a strobe light or a shaking camera does not.
_STANDS_OUT, _SURROUNDINGS = 3.0, 15


@dataclass(frozen=True, eq=False)
class Appearance:
    """Summary of a frame, small enough to keep for a whole video.

    Attributes:
        person: (3, 16) cumulated brightness distribution of the person's red, green and blue, 0 for no person.
        background: (3, 16) that of the rest.
        silhouette: Mask on a coarse grid, packed to bits.
    """

    person: np.ndarray
    background: np.ndarray
    silhouette: np.ndarray


def appearance_of(image: np.ndarray, mask: np.ndarray) -> Appearance:
    """Return the summary of a frame.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool.
    """
    pixels, inside = image[::_EVERY, ::_EVERY], mask[::_EVERY, ::_EVERY]
    rows = np.linspace(0, mask.shape[0] - 1, _GRID).astype(np.int64)
    columns = np.linspace(0, mask.shape[1] - 1, _GRID).astype(np.int64)
    return Appearance(
        _distribution(pixels[inside]), _distribution(pixels[~inside]), np.packbits(mask[rows[:, None], columns])
    )


def _distribution(pixels: np.ndarray) -> np.ndarray:
    if not len(pixels):
        return np.zeros((3, _BINS), dtype=np.float32)
    counts = np.stack([np.bincount(pixels[:, channel] >> 4, minlength=_BINS) for channel in range(3)])
    return (counts.cumsum(axis=1) / len(pixels)).astype(np.float32)


def find_cuts(appearances: Sequence[Appearance]) -> list[int]:
    """Return the positions at which a new shot begins.

    Position k is a cut when each of the two frames before it differs from each of the two from it on: by the colours
    of the person (a change of clothes) or of the background, or by somewhat less where the silhouette jumps too. So a
    single flash is none. The difference must also be three times the usual one of the surrounding frames. Cross-fades
    are not found.

    Args:
        appearances: One a frame, in order.
    """
    count = len(appearances)
    if count < 2:
        return []
    person = np.stack([one.person for one in appearances])
    background = np.stack([one.background for one in appearances])
    silhouette = np.unpackbits(np.stack([one.silhouette for one in appearances]), axis=1).astype(bool)
    has_person, has_background = person[:, 0, -1] > 0, background[:, 0, -1] > 0

    def levels(distributions: np.ndarray, present: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        apart = np.abs(distributions[i] - distributions[j]).sum(axis=2).mean(axis=1) * (256 / _BINS)
        return np.where(present[i] & present[j], apart, 0)

    k = np.arange(1, count)
    person_levels, background_levels = np.full(count - 1, np.inf), np.full(count - 1, np.inf)
    overlap = np.zeros(count - 1)
    for before, after in ((1, 0), (2, 0), (1, 1), (2, 1)):
        i, j = np.maximum(k - before, 0), np.minimum(k + after, count - 1)
        person_levels = np.minimum(person_levels, levels(person, has_person, i, j))
        background_levels = np.minimum(background_levels, levels(background, has_background, i, j))
        both = (silhouette[i] & silhouette[j]).sum(axis=1)
        either = np.maximum((silhouette[i] | silhouette[j]).sum(axis=1), 1)
        overlap = np.maximum(overlap, both / either)
    usual_person = _usual(levels(person, has_person, k - 1, k))
    usual_background = _usual(levels(background, has_background, k - 1, k))
    moved = overlap < _MOVED_OVERLAP
    cut = (person_levels > np.where(moved, _MOVED_PERSON_LEVELS, _PERSON_LEVELS)) & (
        person_levels > _STANDS_OUT * usual_person
    )
    cut |= (background_levels > np.where(moved, _MOVED_BACKGROUND_LEVELS, _BACKGROUND_LEVELS)) & (
        background_levels > _STANDS_OUT * usual_background
    )
    return [int(position) for position in k[cut]]


def _usual(values: np.ndarray) -> np.ndarray:
    """Return the median of each value's surroundings, without itself; 0 where it has none."""
    usual = np.zeros(len(values))
    for i in range(len(values)):
        around = np.r_[values[max(i - _SURROUNDINGS, 0) : i], values[i + 1 : i + _SURROUNDINGS + 1]]
        usual[i] = np.median(around) if around.size else 0
    return usual
