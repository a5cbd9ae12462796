"""The check of a DensePose map against its conventions, and against the mask of its person.

Most DensePose tools draw pictures for viewing, and picture tools resize, compress and reduce maps as if they were
photographs. The result can be read as a map, and moves the depth by centimetres without a word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hdnet.errors import InputError
from hdnet.pictures import faults
from hdnet.pictures.crop import bounds
from hdnet.pictures.reading import BLURRED, LAST_PART, IuvOrder

WANTED = "expected DensePose data with I = part 0..24, U and V = 0..255, stored without loss in an RGB PNG"
NOT_DATA = "this is a visualisation, not IUV data; save I, U and V themselves instead of a picture for viewing"
# A part map has some 25 colours; anti-aliased edges add a few.
_MAX_PART_COLOURS = 64
# Made-up maps of a part or two may have one U and V.
_MIN_PARTS = 3
# A palette has at most 256 colours, a map nearly as many as pixels (made-up ones may have one for each part).
_MAX_PALETTE, _MIN_PALETTE, _PIXELS_A_COLOUR, _COLOURS_A_PART = 256, 12, 8, 1.5
# Of the pixels at the edge of a part, those whose part no neighbour shares, and those whose part number lies between
# the numbers of two opposite neighbours. Measured on DensePose's, fitted and rendered maps: lonely at most .012 (.03
# shrunk by nearest neighbour), between at most .065 (.075); resized smoothly by factors of .3 to 8, by six filters,
# between .15 to .67; through JPEG lonely .08 or more.
MAX_LONELY, MAX_BETWEEN = 0.1, 0.12
_FEW_PIXELS = 300
_SAMPLED_ROWS = 256
# DensePose reaches a little beyond a mask; further away, in parts of the side of the person's square, it is of another
# person. Of whom this much, in parts of the mask, is worth a word.
_SPILL, _FOREIGN_PARTS = 0.03, 0.2
_SPILL_SIZE = 256  # the reach is rounded to pixels of a square of this size
# Share of a mask that body parts cover. A mask that is white all over may be of a person who fills the picture.
LEAST_COVERED, WELL_COVERED = 0.2, 0.3
_ALL_WHITE, _NEARLY_WHITE, _LEAST_COVERED_ALL_WHITE = 0.95, 0.9, 0.6
# An inverted mask has the picture's border, and the body parts beside it.
_BORDER, _BODY_BESIDE = 0.5, 0.3
_ENOUGH_PIXELS = 4096  # most maps have more colours in these than a palette holds

_UNIT_SCALE = "found U and V of at most 1; expected the scale 0..255; multiply them by 255"
OTHER_SIDE = (0, 1, 2, *(part + 1 if part % 2 else part - 1 for part in range(3, 25)))
"""Parts of a mirrored person, by part (table in hdnet.synthetic.iuv)."""
NEIGHBOUR_NOTE = "DensePose of somebody else, outside the mask, left out"


@dataclass(frozen=True)
class Blur:
    """Traces of smooth resizing in a map of part numbers.

    Attributes:
        edge: Pixels at the edges of parts that were examined.
        lonely: Share of them whose part number no neighbour has.
        between: Share of them whose number lies between those of two opposite neighbours.
    """

    edge: int
    lonely: float
    between: float


def densepose_order(rgb: np.ndarray, name: str) -> IuvOrder | None:
    """Return the channel order of a DensePose picture.

    Args:
        rgb: (H, W, 3) uint8.
        name: Its name in error lines.

    Returns:
        "vui" (the TikTok data's), "iuv" (DensePose's own), or None where both are possible.

    Raises:
        InputError: It is empty, a part map without U and V, a visualisation, or has I in the middle channel.
    """
    largest = _largest(rgb)
    if max(largest) == 0:
        raise _unusable(name, f"is black, DensePose found nobody; {WANTED}")
    _check_grey(rgb, largest, name)
    parts = [channel for channel in range(3) if 0 < largest[channel] <= LAST_PART]
    if not parts:
        raise _unusable(name, f"found {_what_it_shows(rgb)}, no channel holds part numbers; {WANTED}; {NOT_DATA}")
    if sorted(largest)[1] <= 1:
        raise _unusable(name, _UNIT_SCALE)
    if parts == [1]:
        raise _unusable(name, "part numbers are in the green channel; expected V, U, I or I, U, V; reorder them")
    if 0 in parts and 2 in parts:
        return None
    return "vui" if 2 in parts else "iuv"


def check_iuv(iuv: np.ndarray, name: str = "densepose", blurred: bool = False) -> np.ndarray:
    """Refuse what looks like a DensePose map and is none; some 256 rows of the body are examined.

    Args:
        iuv: (H, W, 3) uint8 in the order I, U, V.
        name: Its name in error lines.
        blurred: Let blurred part numbers pass.

    Returns:
        (H, W) the part numbers, for further checks.

    Raises:
        InputError: It has no body part, is a grey map of part numbers, has U and V of the scale 0..1, was reduced to a
            palette, resized smoothly or stored with loss.
    """
    parts = np.ascontiguousarray(iuv[..., 0])
    if not parts.any():
        raise faults.NO_DENSEPOSE_PARTS.error()
    (top, bottom), (left, right) = bounds(parts)
    step = _row_step(bottom - top)
    body = iuv[top:bottom:step, left:right][parts[top:bottom:step, left:right] > 0]
    largest = _largest(body)
    _check_grey(body, largest, name)
    if max(largest[1:]) <= 1:
        raise _unusable(name, _UNIT_SCALE)
    if not np.ptp(body[:, 1:], axis=0).any() and np.unique(body[:, 0]).size >= _MIN_PARTS:
        raise _unusable(name, f"found U {largest[1]} and V {largest[2]} everywhere, a map of part numbers; {WANTED}")
    colours, kinds = _colours(body)
    if colours:
        raise _unusable(
            name,
            f"found {colours} different I, U, V of {kinds} parts, as many as a palette holds: it was reduced to one "
            f"(GIF, pngquant), which mixes part numbers; {WANTED}",
        )
    if not blurred:
        check_blur(parts[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1], name)
    return parts


def check_blur(parts: np.ndarray, name: str) -> None:
    """Refuse part numbers that were resized smoothly or stored with loss.

    Args:
        parts: (H, W) uint8 part numbers.
        name: The map's name in error lines.

    Raises:
        InputError: More than 10 % of the pixels at edges of parts are lonely, or more than 12 % between their
            neighbours; see :class:`Blur`.
    """
    blur = blur_of(parts)
    if blur.edge >= _FEW_PIXELS and (blur.lonely > MAX_LONELY or blur.between > MAX_BETWEEN):
        share = max(blur.lonely, blur.between)
        found = f"{share:.0%} of the pixels at the edges of parts have a number that lies between their neighbours'"
        raise _unusable(name, f"{found}; {BLURRED}")


def blur_of(parts: np.ndarray) -> Blur:
    """Examine some 256 rows of (H, W) part numbers."""
    last = len(parts) - 1
    rows = np.arange(0, last + 1, _row_step(len(parts)))
    here = parts[rows]
    wide = np.pad(here, ((0, 0), (1, 1)), mode="edge")  # a pixel beyond the picture is like the one at its edge
    pairs = (parts[(rows - 1).clip(0)], parts[(rows + 1).clip(max=last)]), (wide[:, :-2], wide[:, 2:])
    alike, edge, between = (np.zeros(here.shape, bool) for _ in range(3))
    for one, other in pairs:
        alike |= (one == here) | (other == here)
        edge |= (one != here) | (other != here)
        between |= ((one < here) & (here < other)) | ((one > here) & (here > other))
    inside = here > 0
    count, lonely, steps = (int(np.count_nonzero(inside & where)) for where in (edge, ~alike, between))
    return Blur(count, lonely / max(count, 1), steps / max(count, 1))


@dataclass(frozen=True)
class Overlap:
    """Pixels of a mask and of the body parts of a map.

    Attributes:
        size: Of the picture.
        mask: Of the mask, at least one.
        body: With a body part.
        both: With a body part inside the mask.
    """

    size: int
    mask: int
    body: int
    both: int

    @classmethod
    def of(cls, parts: np.ndarray, mask: np.ndarray) -> Overlap:
        """Count the pixels of (H, W) part numbers and a (H, W) bool mask that is not empty."""
        body = parts > 0
        counts = (int(np.count_nonzero(one)) for one in (mask, body, body & mask))
        return cls(mask.size, *counts)


def check_inverted(overlap: Overlap, mask: np.ndarray) -> None:
    """Check that a mask does not cover what lies about the person.

    Raises:
        InputError: Most body parts lie beside the mask and cover much of it, and the mask has the picture's border.
    """
    o = overlap
    beside = (o.body - o.both) / max(o.size - o.mask, 1)
    is_elsewhere = 2 * o.both < o.body and o.both < _BODY_BESIDE * o.mask
    if is_elsewhere and beside >= _BODY_BESIDE and border_share(mask) > _BORDER:
        outside = f"{1 - o.both / o.body:.0%} of the body parts lie outside it"
        raise faults.MASK_INVERTED.error(reason=f"{outside}, {beside:.0%} of the picture beside it is body")


def check_cover(overlap: Overlap, mask: np.ndarray) -> float:
    """Check that body parts of a map cover a mask.

    Returns:
        The share of the mask that body parts cover.

    Raises:
        InputError: It is less than 20 %, or 60 % of a mask that is white all over.
    """
    covered, share = overlap.both / overlap.mask, overlap.mask / overlap.size
    is_all_white = _is_all_white(share, mask)
    least = _LEAST_COVERED_ALL_WHITE if is_all_white else LEAST_COVERED
    if covered < least:
        white = f", which is white on {share:.0%} of the picture" if is_all_white else ""
        raise faults.FEW_PARTS_IN_MASK.error(covered=covered, white=white, least=least)
    return covered


def check_not_all_white(mask: np.ndarray) -> None:
    """Check a (H, W) bool mask without a map.

    Raises:
        InputError: It is white all over.
    """
    share = float(np.count_nonzero(mask)) / mask.size
    if _is_all_white(share, mask):
        raise faults.MASK_ALL_WHITE.error(share=share)


def _is_all_white(share: float, mask: np.ndarray) -> bool:
    """Return whether a mask covers all of a picture but for a rim, corners or a hole."""
    return share > _ALL_WHITE or (share > _NEARLY_WHITE and border_share(mask) > _NEARLY_WHITE)


def border_share(mask: np.ndarray) -> float:
    """Share of the picture's border that lies in a mask."""
    edges = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    return float(sum(np.count_nonzero(edge) for edge in edges)) / sum(len(edge) for edge in edges)


def own_parts(iuv: np.ndarray, mask: np.ndarray, side: float) -> tuple[np.ndarray, bool]:
    """Cut off the body parts of somebody else.

    Args:
        iuv: (H, W, 3) in the order I, U, V.
        mask: (H, W) bool, the person.
        side: Of the square about the person in pixels.

    Returns:
        IUV near the mask alone, the given array where nothing lies elsewhere, and whether much did.
    """
    step = max(1, round(side / _SPILL_SIZE))
    every = (slice(None, None, step), slice(None, None, step))
    near = ndimage.maximum_filter(mask[every], size=2 * round(_SPILL * side / step) + 1)
    foreign = (iuv[..., 0][every] > 0) & ~near
    count = int(np.count_nonzero(foreign))
    if not count:
        return iuv, False
    height, width = mask.shape
    near = near.repeat(step, axis=0)[:height].repeat(step, axis=1)[:, :width]
    much = count > _FOREIGN_PARTS * int(np.count_nonzero(mask[every]))
    return np.where(near[..., None], iuv, np.uint8(0)), much


def _largest(channels: np.ndarray) -> list[int]:
    return [int(channels[..., channel].max(initial=0)) for channel in range(3)]


def _check_grey(channels: np.ndarray, largest: list[int], name: str) -> None:
    if len(set(largest)) > 1:
        return
    first = channels[..., 0]
    if np.array_equal(first, channels[..., 1]) and np.array_equal(first, channels[..., 2]):
        kind = "a grey map of part numbers" if max(largest) <= LAST_PART else "a grey picture"
        raise _unusable(name, f"found {kind} without U and V; {WANTED}; {NOT_DATA}")


def _colours(body: np.ndarray) -> tuple[int, int]:
    """Number of different I, U, V of (N, 3) and of parts if it is that of a palette, else 0, 0."""
    few = body[:: max(1, len(body) // _ENOUGH_PIXELS)].astype(np.uint32)
    codes = few[:, 0] << 16 | few[:, 1] << 8 | few[:, 2]
    colours, parts = np.unique(codes).size, np.unique(few[:, 0]).size
    is_palette = _MIN_PALETTE <= colours <= _MAX_PALETTE and colours > _COLOURS_A_PART * parts
    return (colours, parts) if is_palette and len(few) >= _PIXELS_A_COLOUR * colours else (0, 0)


def _row_step(rows: int) -> int:
    return max(1, rows // _SAMPLED_ROWS)


def _what_it_shows(rgb: np.ndarray) -> str:
    some = rgb[::3, ::3].reshape(-1, 3).astype(np.uint32)
    colours = np.unique(some[:, 0] << 16 | some[:, 1] << 8 | some[:, 2]).size
    if colours <= _MAX_PART_COLOURS:
        return f"a colour map of body parts ({colours} colours)"
    return "a coloured picture"


def _unusable(name: str, reason: str) -> InputError:
    return faults.UNUSABLE_PICTURE.error("densepose", name=name, reason=reason)
