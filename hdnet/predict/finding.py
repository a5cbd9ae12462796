"""The people in a photograph, found by the network for photographs itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from hdnet.errors import ModelError
from hdnet.models.estimates import BODY_STRIDE
from hdnet.models.lite import PersonMaps
from hdnet.pictures import faults
from hdnet.pictures.crop import MIN_MASK_PIXELS, NETWORK_SIZE, Crop, bounds, scene_inputs
from hdnet.pictures.people import separate_people
from hdnet.pictures.resampling import dilated
from hdnet.predict.prediction import Box
from hdnet.predict.runtime_names import NOT_FINITE

Look = Callable[[np.ndarray], PersonMaps]
"""The network's maps of one input (4, 256, 256), of a batch of one."""

MIN_PERSON_SHARE = 0.025
"""Smallest share of a picture that is taken for a person. Pictures of nobody reach 2 %."""
MIN_SQUARE_SHARE = 0.05
"""Smallest share of the square about a person that the person fills: arms up, seen from the side."""
# Smallest share of a window that may be a person; a second look has to confirm it.
_MIN_WINDOW_SHARE = 0.008
# What looks like a person, but is none: flowers and fruit are seen with faint body parts (their largest probability,
# mean over the mask: 0.25 to 0.48; people of real photographs 0.52 to 0.70) and a faint mask (share of what is more
# than a tenth a person that is more than nine tenths: mostly below 0.5, of people 0.6 to 0.9).
_CERTAIN_PARTS, _CERTAIN_MASK = 0.4, 0.55
# Smallest share of what the largest person covers that is taken for another one.
_LEAST_OF_LARGEST = 0.12
# Pieces of a mask that lie closer than this belong together.
_GAP_PX = 5
# Windows in which people are searched where the whole picture shows none: shares of its longer side, and from one to
# the next, of the window.
_WINDOWS = ((0.5, 0.5), (0.25, 0.75))
# A window has at least this many pixels of the picture along a side: below, people have fewer than 64.
_LEAST_WINDOW_PX = 96


@dataclass(frozen=True, eq=False)
class Found:
    """A person found in a picture.

    Attributes:
        square: The square about the person, as the network is to see it.
        box: The person's box in the picture's pixels.
        weight: Pixels of the picture that the person covers.
    """

    square: Crop
    box: Box
    weight: float


def find_people(image: np.ndarray, look: Look, everyone: bool = False) -> list[Found]:
    """Find the people of a picture, the one that it is most likely about first: large, and near the middle.

    The network looks at the whole picture; where that shows nobody, at windows of a half and a quarter of its longer
    side, as people of a tenth of the picture cover a handful of the network's pixels.

    Args:
        image: (H, W, 3) uint8 RGB.
        look: The network.
        everyone: Look at the windows of a half, too, where the whole picture shows somebody: it shows above all whom it
            is about.

    Raises:
        InputError: There is no person in the picture.
    """
    height, width = image.shape[:2]
    people, share = _in_square(image, Crop.letterbox(height, width), look, MIN_PERSON_SHARE)
    for number, (part, stride) in enumerate(_WINDOWS):
        is_enough = bool(people) and not (everyone and number == 0)
        if is_enough or part * max(height, width) < _LEAST_WINDOW_PX:
            break
        windows = _windows(height, width, part, stride)
        found = [one for window in windows for one in _in_square(image, window, look, _MIN_WINDOW_SHARE)[0]]
        # Windows overlap: of two views of one person, the larger counts.
        for one in sorted(found, key=lambda person: -person.weight):
            if all(_overlap(one.box, other.box) < 0.3 for other in people) and _is_confirmed(image, one, look):
                people.append(one)
    if not people:
        raise faults.NO_PERSON.error(reason=faults.LITTLE_OF_A_PERSON.format(share=share, least=MIN_PERSON_SHARE))
    middle = np.array([width - 1, height - 1]) / 2

    def importance(person: Found) -> float:
        left, top, right, bottom = person.box
        away = np.abs(np.array([left + right, top + bottom]) / 2 - middle) / np.maximum(middle, 1)
        return float(person.weight * (1 - 0.5 * away.max()))

    return sorted(people, key=importance, reverse=True)


def parts_of(maps: PersonMaps) -> np.ndarray:
    """Return the body part (S, S) 0..24 of every pixel, from the map of a quarter of the size."""
    return maps.parts_b25hw[0].argmax(0).numpy().repeat(BODY_STRIDE, 0).repeat(BODY_STRIDE, 1)


def square_of_box(box: Box, size: tuple[int, int]) -> Crop:
    """Return the square about a caller's box of one person.

    Args:
        box: Left, top, right, bottom in the picture's pixels.
        size: Height and width of the picture.

    Raises:
        InputError: The box is empty, or not within the picture.
    """
    height, width = size
    left, top = max(box[0], 0.0), max(box[1], 0.0)
    right, bottom = min(box[2], width - 1.0), min(box[3], height - 1.0)
    if not (np.isfinite(box).all() and right - left >= 8 and bottom - top >= 8):
        raise faults.UNUSABLE_BOX.error(box=",".join(f"{side:g}" for side in box), width=width, height=height)
    return Crop.about((left, top, right + 1, bottom + 1))


def main_piece(probability: np.ndarray, inside_box: np.ndarray | None = None) -> np.ndarray:
    """The largest piece of a mask, with what lies close to it: crumbs elsewhere are not of the person.

    Args:
        probability: (H, W), the mask's.
        inside_box: (H, W) bool, where the person is wanted: there most of the piece has to lie.

    Returns:
        (H, W) bool; all False where the probability is nowhere above a half.
    """
    label, weights = _pieces(probability if inside_box is None else probability * inside_box, probability)
    if not len(weights):
        return np.zeros(probability.shape, bool)
    piece: np.ndarray = (probability > 0.5) & (label == 1 + int(np.argmax(weights)))
    return piece


def _pieces(weight: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pieces of a mask, numbered from 1 (H, W), and the weight of each."""
    mask = probability > 0.5
    label, count = ndimage.label(dilated(mask, _GAP_PX))
    return label, np.bincount(label[mask], weight[mask], minlength=count + 1)[1:]


def looks_like_a_person(maps: PersonMaps, probability: np.ndarray, piece: np.ndarray, strict: bool = False) -> bool:
    """Return whether the network is certain of a piece of its mask, by body parts or mask, strictly by both.

    Args:
        maps: The network's maps of a square, of a batch of one.
        probability: (S, S), the mask's.
        piece: (S, S) bool, the piece.
        strict: Demand both.
    """
    places = torch.from_numpy(piece[::BODY_STRIDE, ::BODY_STRIDE])
    if not places.any():
        return False
    parts = float(maps.parts_b25hw[0].softmax(0).amax(0)[places].mean())
    mask = float((probability[probability > 0.1] > 0.9).mean())
    certain = (parts >= _CERTAIN_PARTS, mask >= _CERTAIN_MASK)
    return all(certain) if strict else any(certain)


def person_in(maps: PersonMaps, probability: np.ndarray, wanted: np.ndarray | None) -> np.ndarray:
    """Return the person whom a square is about, (S, S) bool: of people who touch, one.

    Args:
        maps: The network's maps of the square, of a batch of one.
        probability: (S, S), the mask's.
        wanted: (S, S) bool, where the person is wanted; None takes the largest.
    """
    piece = main_piece(probability, wanted)
    if not piece.any():
        return piece
    people = separate_people(parts_of(maps), piece)
    areas = np.bincount(people[piece if wanted is None else piece & wanted], minlength=2)
    person: np.ndarray = people == 1 + int(areas[1:].argmax())
    return person


def in_box(square: Crop, box: Box) -> np.ndarray:
    """Return where a square shows the inside of a box of the picture, (S, S) bool."""
    x, y = square.pixels()
    left, top, right, bottom = box
    inside: np.ndarray = ((y >= top) & (y <= bottom))[:, None] & ((x >= left) & (x <= right))
    return inside


def box_of(mask: np.ndarray, square: Crop) -> Box:
    """Return the box in the picture of a mask (S, S) that was found in a square."""
    (top, bottom), (left, right) = bounds(mask)
    # Pixel edges lie half a pixel before pixel centres.
    left_x, right_x = (square.left + square.zoom * (at - 0.5) for at in (left, right))
    top_y, bottom_y = (square.top + square.zoom * (at - 0.5) for at in (top, bottom))
    return left_x, top_y, right_x, bottom_y


class Seen(NamedTuple):
    """A look of the network at a square of a picture."""

    inputs_4hw: np.ndarray
    """Its input."""
    maps: PersonMaps
    """Its maps, of a batch of one."""
    probability: np.ndarray
    """(S, S) of the mask, 0 beyond the picture."""
    within: np.ndarray
    """(S, S) bool, where the square shows the picture."""


def see(image: np.ndarray, square: Crop, look: Look, mask: np.ndarray | None = None) -> Seen:
    """Look at a square of a picture (H, W, 3) uint8 RGB; without a mask (H, W) bool at the background, too.

    Raises:
        ModelError: The maps are not finite.
    """
    inputs_4hw, within = scene_inputs(image, mask, square)
    maps = look(inputs_4hw)
    check_finite(maps)
    return Seen(inputs_4hw, maps, probability_of(maps, within), within)


def check_finite(maps: PersonMaps) -> None:
    """Raise a ModelError for maps with values that are not finite."""
    # A sum is as finite as what is summed, and quicker than a look at every value.
    if not all(math.isfinite(float(one.sum())) for one in maps):
        raise ModelError(NOT_FINITE)


def probability_of(maps: PersonMaps, within: np.ndarray) -> np.ndarray:
    """Return the probability of the mask (S, S), 0 beyond the picture."""
    probability: np.ndarray = maps.mask_b1hw[0, 0].sigmoid().numpy() * within
    return probability


def _is_confirmed(image: np.ndarray, person: Found, look: Look) -> bool:
    _, maps, probability, _ = see(image, person.square, look)
    piece = main_piece(probability)
    return piece.mean() >= MIN_SQUARE_SHARE and looks_like_a_person(maps, probability, piece, strict=True)


def _in_square(image: np.ndarray, square: Crop, look: Look, least_share: float) -> tuple[list[Found], float]:
    """Find the people whom the network sees in a square; also return the share of the largest piece."""
    _, maps, probability, within = see(image, square, look)
    label, weights = _pieces(probability, probability)
    if not len(weights):
        return [], 0.0
    least = max(least_share * within.sum(), _LEAST_OF_LARGEST * weights.max(), MIN_MASK_PIXELS)
    people, masks, parts = [], [], parts_of(maps)
    for number in 1 + np.flatnonzero(weights >= least):
        # People who touch are one piece.
        piece = (probability > 0.5) & (label == number)
        apart = separate_people(parts, piece)
        masks += [apart == one for one in range(1, int(apart.max()) + 1)]
    for piece in masks:
        if _is_cut(piece, square, (image.shape[0], image.shape[1])):
            continue
        height, width = image.shape[:2]
        left, top, right, bottom = np.clip(box_of(piece, square), 0, [width - 1.0, height - 1.0] * 2).tolist()
        box = (left, top, right, bottom)
        people.append(Found(square.inner(piece), box, float(probability[piece].sum()) * square.zoom**2))
    return people, float(weights.max() / within.sum())


def _is_cut(piece: np.ndarray, square: Crop, size: tuple[int, int]) -> bool:
    """Return whether a piece goes on beyond the edge of a window, within the picture: another window has more of it."""
    height, width = size
    end = square.zoom * (NETWORK_SIZE - 1)
    edges = (
        (piece[:, 0], square.left > square.zoom),
        (piece[:, -1], square.left + end < width - 1 - square.zoom),
        (piece[0], square.top > square.zoom),
        (piece[-1], square.top + end < height - 1 - square.zoom),
    )
    return any(goes_on and line.any() for line, goes_on in edges)


def _windows(height: int, width: int, part: float, stride: float) -> list[Crop]:
    """Square windows of a share of the longer side, a share of themselves apart, over the whole picture."""
    side = part * max(height, width)
    zoom = side / NETWORK_SIZE

    def starts(length: int) -> np.ndarray:
        count = 1 + int(np.ceil(max(length - side, 0) / (side * stride)))
        return np.linspace(0, length - side, count) if count > 1 else np.array([(length - side) / 2])

    return [Crop(x + (zoom - 1) / 2, y + (zoom - 1) / 2, zoom) for y in starts(height) for x in starts(width)]


def _overlap(one: Box, other: Box) -> float:
    """Return the common area of two boxes as a share of the smaller one's."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return max(width, 0) * max(height, 0) / max(min(areas), 1e-9)
