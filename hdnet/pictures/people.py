"""The number of people in a DensePose map or a mask."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hdnet.pictures.crop import bounds

TORSO_PARTS = (1, 2)
HEAD_PARTS = (23, 24)
_WORKING_SIZE = 384  # pixels along a side: people are counted, not measured
_SMALLEST_PIECE = 0.005  # of all pixels with a body part, and
_SMALLEST_SHARE = 0.25  # of the largest torso or head; what is smaller is a speck
# Silhouettes of two people stand side by side, this far apart in parts of the longer side of all, are of similar area
# and height; of one person behind a table one part is above the other.
_GAP, _SIMILAR_AREA, _SIMILAR_HEIGHT = 0.03, 0.25, 0.5
_APART = 2.0  # distance of the centres over the square root of the larger area


def count_people(parts: np.ndarray, mask: np.ndarray) -> int:
    """Count the people inside a mask by their torsos and heads.

    Two pieces of torso, or of head, belong to two people if they are of similar size and clearly apart: their centres
    further from each other than twice the square root of the larger one's area. An arm in front of the body, which
    cuts a torso in two, therefore makes no second person; two people cheek to cheek count as one.

    Args:
        parts: (H, W) DensePose body part, 0..24.
        mask: (H, W) bool.

    Returns:
        0 where no body part lies inside the mask, else at least 1.
    """
    inside = mask & (parts > 0)
    if not inside.any():
        return 0
    (top, bottom), (left, right) = bounds(inside)
    step = max(1, max(bottom - top, right - left) // _WORKING_SIZE)
    box = (slice(top, bottom, step), slice(left, right, step))
    shown = np.where(inside[box], parts[box], 0)
    smallest = _SMALLEST_PIECE * np.count_nonzero(shown)
    return max(1, *(_count_apart(np.isin(shown, kind), smallest) for kind in (TORSO_PARTS, HEAD_PARTS)))


def count_silhouettes(mask: np.ndarray) -> int:
    """Count large pieces of a mask that stand side by side.

    Args:
        mask: (H, W) bool, not empty.
    """
    (top, bottom), (left, right) = bounds(mask)
    side = max(bottom - top, right - left)
    step = max(1, side // _WORKING_SIZE)
    labels, found = ndimage.label(mask[top:bottom:step, left:right:step], structure=np.ones((3, 3), int))
    if found < 2:
        return 1
    areas = np.bincount(labels.ravel())[1:]
    boxes = ndimage.find_objects(labels)
    kept: list[tuple[slice, slice]] = []
    for i in np.argsort(-areas, kind="stable"):
        rows, columns = boxes[i]
        if areas[i] < _SIMILAR_AREA * areas.max():
            break
        tallest = max([rows.stop - rows.start, *(other.stop - other.start for other, _ in kept)])
        gaps = [max(columns.start - other.stop, other.start - columns.stop) * step for _, other in kept]
        if rows.stop - rows.start >= _SIMILAR_HEIGHT * tallest and all(gap > _GAP * side for gap in gaps):
            kept.append((rows, columns))
    return len(kept)


def separate_people(parts: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Divide a mask among the people in it, by their torsos or, where they show more people, their heads.

    Every pixel goes to the torso or head that is nearest on a way through the mask; they are told apart as by
    :func:`count_people`.

    Args:
        parts: (H, W) body part, 0..24.
        mask: (H, W) bool.

    Returns:
        (H, W) int32, number of the person from 1; 0 outside the mask. All 1 where there is one person, or no part.
    """
    shown = np.where(mask, parts, 0)
    smallest = _SMALLEST_PIECE * np.count_nonzero(shown)
    found = [_apart(np.isin(shown, kind), smallest) for kind in (TORSO_PARTS, HEAD_PARTS)]
    labels, pieces = max(found, key=lambda one: len(one[1]))
    if len(pieces) < 2:
        return mask.astype(np.int32)
    from skimage.segmentation import watershed  # slow to import, and most pictures show one person

    markers = np.zeros(mask.shape, np.int32)
    for number, piece in enumerate(pieces, start=1):
        markers[labels == piece] = number
    # Of constant height: the floods meet half-way.
    return np.asarray(watershed(np.zeros(mask.shape, np.uint8), markers, mask=mask), np.int32)


def _count_apart(pieces: np.ndarray, smallest: float) -> int:
    """Count connected pieces, taken from the largest down, that are large enough and clearly apart."""
    return len(_apart(pieces, smallest)[1])


def _apart(pieces: np.ndarray, smallest: float) -> tuple[np.ndarray, list[int]]:
    """Return the connected pieces, numbered (H, W), and the numbers of those that are large and clearly apart."""
    labels, found = ndimage.label(pieces, structure=np.ones((3, 3), int))
    if found < 2:
        return labels, list(range(1, found + 1))  # whatever its size, it makes no second person
    areas = np.bincount(labels.ravel())[1:]
    large = np.flatnonzero(areas >= max(smallest, _SMALLEST_SHARE * areas.max()))
    large = large[np.argsort(-areas[large], kind="stable")]
    middles = np.array(ndimage.center_of_mass(pieces, labels, large + 1))
    kept: list[int] = []
    for i in range(len(large)):
        distances = [float(np.linalg.norm(middles[i] - middles[k])) / areas[large[k]] ** 0.5 for k in kept]
        if all(distance > _APART for distance in distances):
            kept.append(i)
    return labels, [int(large[k]) + 1 for k in kept]
