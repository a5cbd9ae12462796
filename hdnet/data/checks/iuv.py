"""Checks of DensePose pictures: order and scale of the channels, body parts, placement on the person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from hdnet.data.checks.findings import Findings
from hdnet.data.checks.shapes import check_placement, outside, read_charts
from hdnet.data.layout.correspondences import PARTS
from hdnet.pictures.reading import iuv_from_png_rgb

_EXPECTED = f"channels V, U, I with I = 0..{PARTS} last"
# Share of side by side pixels of equal value: part numbers 0.85 and more, U and V below 0.6 at any size up to 400.
_FLAT = 0.7
# A real IUV map has nearly as many colours as pixels, a colour map at most 256.
_PIXELS_A_COLOUR = 8
# Pixels whose part no neighbour shares: at most 1 % in rendered fingers, 6 % and more after bilinear resizing.
_MAX_ISOLATED, _MANY_PIXELS = 0.03, 300
_MIN_COVERED = 0.3
_MAX_OUTSIDE = 0.05


def check_encoding(found: Findings, file: Path, rgb: np.ndarray) -> np.ndarray | None:
    """The IUV map of a picture as stored, or None where its channels are not V, U, I (docs/parity.md, 10).

    Only part numbers are at most 24 and constant over whole areas. That tells the channels apart even where U and V are
    small, and identifies other orders, grey part maps, multiplied part numbers and coloured visualisations.

    Returns:
        (H, W, 3) uint8 in the order I, U, V.
    """
    drawn = np.asarray((rgb[..., 0] | rgb[..., 1] | rgb[..., 2]) > 0)
    if not drawn.any():
        return iuv_from_png_rgb(rgb)
    pixels = rgb[drawn]
    channel = _part_channel(rgb, drawn)
    largest = pixels.max(axis=0)
    if channel is not None and (pixels == pixels[:, :1]).all():
        complaint = (
            f"three equal channels with values up to {largest[0]}, a map of part numbers alone",
            "export the IUV array with all three channels, not only its parts",
        )
    elif channel == 2:
        iuv = iuv_from_png_rgb(rgb)
        _check_scale(found, file, iuv)
        colours = len(np.unique(pixels.astype(np.int64) @ [65536, 256, 1]))
        if max(largest[:2]) > 1 and colours <= min(256, len(pixels) / _PIXELS_A_COLOUR):
            found.warning(
                file,
                "IUV colours",
                f"only {colours} different I, U, V on {len(pixels)} pixels; expected nearly as many as pixels; "
                "store all three channels in full, not as a palette",
            )
        return iuv
    elif channel is not None:
        complaint = (
            f"part numbers (0..{largest[channel]}) in channel {'RGB'[channel]}: order {_order(rgb, channel)}, "
            f"and values up to {largest[2]} in the last channel",
            "reorder the channels to V, U, I (DensePose's own array is I, U, V: reverse it)",
        )
    else:
        complaint = _without_parts(rgb, drawn)
    found.error(file, "IUV channels", f"{complaint[0]}; expected {_EXPECTED}; {complaint[1]}")
    return None


def _flatness(plane: np.ndarray, drawn: np.ndarray) -> float:
    """Share of pixels that equal their right neighbour, of those where both are drawn."""
    both = drawn[:, 1:] & drawn[:, :-1]
    return float((plane[:, 1:] == plane[:, :-1])[both].mean()) if both.any() else 1.0


def _part_channel(rgb: np.ndarray, drawn: np.ndarray) -> int | None:
    """The channel whose values are flat and at most 24; the last one where several are."""
    candidates = [k for k in (2, 0, 1) if 0 < rgb[..., k].max() <= PARTS]
    if not candidates:
        return None
    # U and V on the scale 0..1 are flat and small too, but hold two values.
    several = [k for k in candidates if len(np.unique(rgb[..., k][drawn])) > 3]
    if len(several) > 1:
        return max(several, key=lambda k: (_flatness(rgb[..., k], drawn), k == 2))
    return (several or candidates)[0]


def _order(rgb: np.ndarray, channel: int) -> str:
    first, second = (k for k in range(3) if k != channel)
    along = read_charts(rgb[..., [channel, first, second]]).along
    names = {channel: "I", first: "U" if along >= 0 else "V", second: "V" if along >= 0 else "U"}
    order = ", ".join(names[k] for k in range(3))
    if abs(along) > 0.3:
        return order
    return f"{order} or {order.translate(str.maketrans('UV', 'VU'))}"


def _without_parts(rgb: np.ndarray, drawn: np.ndarray) -> tuple[str, str]:
    """(found, fix) of a picture none of whose channels holds part numbers."""
    pixels = rgb[drawn].astype(np.int64)
    values = np.unique(pixels[:, 2])
    step = int(np.gcd.reduce(values[values > 0])) if values.any() else 1
    colours = len(np.unique(pixels @ [65536, 256, 1]))
    if (pixels == pixels[:, :1]).all():
        return (
            f"three equal channels with values up to {values[-1]}, a grey picture",
            "export the IUV array with all three channels",
        )
    if step > 1 and 3 <= np.count_nonzero(values) <= PARTS and values[-1] // step <= PARTS:
        return f"part numbers that are multiples of {step}, up to {values[-1]}", f"divide the last channel by {step}"
    if colours <= min(256, len(pixels) / _PIXELS_A_COLOUR):
        return (
            f"a coloured drawing ({colours} colours on {len(pixels)} pixels), such as detectron2's visualiser makes",
            "save the IUV array itself, its numbers as channels V, U, I",
        )
    if _flatness(rgb[..., 2], drawn) > _FLAT and drawn.mean() < 0.95:
        return (
            f"part numbers up to {values[-1]} ({(pixels[:, 2] > PARTS).mean():.1%} of the pixels above {PARTS})",
            "resize DensePose pictures with nearest neighbour and store them without loss",
        )
    return (
        f"no channel that holds part numbers (largest values {', '.join(str(k) for k in pixels.max(axis=0))})",
        "save the IUV array itself as a PNG, without resizing it smoothly and never as JPEG or drawn over a picture",
    )


def _check_scale(found: Findings, file: Path, iuv: np.ndarray) -> None:
    largest_u, largest_v = (int(k) for k in iuv[..., 1:].reshape(-1, 2).max(axis=0))
    if max(largest_u, largest_v) <= 1:
        found.error(
            file,
            "IUV scale",
            f"U and V of at most {max(largest_u, largest_v)}; expected U and V on the scale 0..255; multiply "
            "U and V by 255 before they are rounded to whole numbers",
        )
    elif min(largest_u, largest_v) <= 1:
        name, value = ("U", largest_u) if largest_u <= 1 else ("V", largest_v)
        found.warning(
            file, "IUV scale", f"{name} of at most {value}; expected U and V on the scale 0..255; export both"
        )


def check_parts(found: Findings, file: Path, iuv: np.ndarray, mask: np.ndarray, min_parts: int) -> dict[str, float]:
    """Body parts: on the mask, whole numbers of one person, and at least ``min_parts``.

    Returns:
        part_coverage (share of the mask with a body part), parts_outside (share of the parts beyond the mask),
        body_parts (their number).
    """
    part = iuv[..., 0]
    inside = part[mask]
    covered, spilt = float((inside > 0).mean()), outside(part > 0, mask)
    distinct = len(np.unique(inside[inside > 0]))
    figures = {"part_coverage": covered, "parts_outside": spilt, "body_parts": float(distinct)}
    if not part.any():
        found.error(
            file,
            "no body part",
            f"no body part at all; expected I = 1..{PARTS} in the last channel on the person; run DensePose "
            "on this frame again, or remove the frame",
        )
        return figures
    _check_cover(found, file, part, mask, covered, spilt)
    if inside.any():
        _check_numbers(found, file, part, distinct, min_parts)
    return figures


def _check_cover(found: Findings, file: Path, part: np.ndarray, mask: np.ndarray, covered: float, spilt: float) -> None:
    lie = "the body parts lie", "body parts on the person", "IUV placement"
    if spilt > _MAX_OUTSIDE and check_placement(found, file, part > 0, mask, *lie):
        return
    if not part[mask].any():
        found.error(
            file,
            "no body part",
            f"no body part inside the mask; expected I = 1..{PARTS} in the last channel on the person; check "
            "that the DensePose picture belongs to this frame",
        )
    elif covered < _MIN_COVERED:
        found.warning(
            file,
            "IUV coverage",
            f"body parts on {covered:.0%} of the mask; expected {_MIN_COVERED:.0%} or more; check that mask "
            "and DensePose show the same person",
        )
    elif spilt > 2 * _MAX_OUTSIDE:
        found.warning(
            file,
            "IUV coverage",
            f"{spilt:.0%} of the body parts lie outside the mask; expected at most {2 * _MAX_OUTSIDE:.0%}; "
            "check the mask, or DensePose for a second person",
        )


def _check_numbers(found: Findings, file: Path, part: np.ndarray, distinct: int, min_parts: int) -> None:
    if distinct < min_parts:
        found.warning(
            file,
            "few body parts",
            f"{distinct} body parts; expected {min_parts} or more; pairs with this frame will not be usable",
        )
    isolated = _isolated(part)
    if isolated > _MAX_ISOLATED and np.count_nonzero(part) >= _MANY_PIXELS:
        found.warning(
            file,
            "IUV blended",
            f"{isolated:.0%} of the body pixels have a part number that no neighbour shares; expected whole "
            "areas of one number; resize DensePose pictures with nearest neighbour, not smoothly: in between "
            "two numbers lies a third part",
        )
    heads = _separate_heads(part)
    if heads > 1:
        found.warning(
            file,
            "IUV of several people",
            f"{heads} heads far apart; expected DensePose of one person; keep the detection that overlaps the "
            "mask most",
        )


def _isolated(part: np.ndarray) -> float:
    """Share of the body's pixels that differ from all four neighbours."""
    padded = np.pad(part, 1)
    alone = part > 0
    alone &= (part != padded[1:-1, 2:]) & (part != padded[1:-1, :-2])
    alone &= (part != padded[2:, 1:-1]) & (part != padded[:-2, 1:-1])
    return float(alone.sum()) / float((part > 0).sum())


def _separate_heads(part: np.ndarray) -> int:
    """Number of heads (parts 23 and 24) that are alike in size and lie two head widths or more apart."""
    rows, columns = np.nonzero(part >= 23)
    if not len(rows):
        return 0
    box = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    pieces, count = ndimage.label(part[box] >= 23)
    if count < 2:
        return int(count)
    sizes = np.bincount(pieces.ravel())[1:]
    large = np.flatnonzero(sizes > 0.3 * sizes.max()) + 1
    centres = np.array(ndimage.center_of_mass(pieces > 0, pieces, large))
    apart = np.hypot(*(centres - centres[np.argmax(sizes[large - 1])]).T)
    return 1 + int((apart > 2.5 * np.sqrt(sizes.max())).sum())


def check_directions(found: Findings, file: Path, iuv: np.ndarray) -> None:
    """Check U against V and left against right, by the direction of U and V over the parts."""
    fault = read_charts(iuv).fault()
    if fault == "exchanged":
        found.error(
            file,
            "IUV channels",
            "V runs along arms and legs and U around them: U and V are exchanged (order U, V, I); expected "
            f"{_EXPECTED}; exchange the first two channels",
        )
    elif fault == "sides":
        found.warning(
            file,
            "IUV left and right",
            "U and V of arms and legs run as those of the other side: left and right part numbers are "
            "exchanged; expected DensePose's numbers (for example 15 left, 16 right upper arm); exchange the "
            "numbers of the two sides, or export DensePose again",
        )
    elif fault == "mirrored":
        found.warning(
            file,
            "IUV left and right",
            "U and V run mirrored over the whole body; expected U and V as DensePose lays them on an "
            "unmirrored body; mirror pictures before DensePose sees them, never its result",
        )
