"""DensePose pictures: I, U, V in one of two channel orders, or visualisations, which are refused.

Most DensePose tools draw pictures for viewing (part colours, grey part maps, an overlay on the photograph). They hold
no U and V, and a network trained on them learns nothing; users of the original met each of these forms.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hdnet.data.layout.png import read_rgb
from hdnet.errors import DataError
from hdnet.pictures.reading import LAST_PART, IuvOrder, iuv_from_png_rgb

# A part map has some 25 colours; anti-aliased edges add a few.
_MAX_PART_COLOURS = 64
# Of the pixels at the edge of a part, those whose part no neighbour shares. Measured on made-up maps, also with noisy
# edges: at most 0.5 % (2 % shrunk to 100 pixels by nearest neighbour); resized smoothly 4 % to 30 %, through JPEG 8 %
# or more. Shares between are only noted, since detectors differ.
_NOTED_LONELY, _MAX_LONELY = 0.03, 0.1
_FEW_PIXELS = 300

_WANTED = "expected DensePose data with I = part 0..24, U and V = 0..255, stored without loss in an RGB PNG"
_NOT_DATA = "this is a visualisation, not IUV data; save I, U and V themselves instead of a picture for viewing"


def read_densepose_rgb(file: Path) -> np.ndarray:
    """Read a DensePose PNG in its own channel order.

    Returns:
        (H, W, 3) uint8 as stored. A grey picture is repeated over the channels, for :func:`densepose_order` to name.

    Raises:
        DataError: The file is missing, damaged, no PNG, has 16 bits or transparent pixels.
    """
    try:
        return read_rgb(file)
    except DataError as error:
        if file.suffix.lower() in (".jpg", ".jpeg", ".webp"):
            raise DataError(f"{file}: found lossy storage, which blurs part numbers; {_WANTED}") from error
        raise


def densepose_order(rgb: np.ndarray, file: Path | str) -> IuvOrder | None:
    """Return the channel order of a DensePose picture.

    Args:
        rgb: (H, W, 3) uint8.
        file: Its name in error messages.

    Returns:
        "vui" (the TikTok data's), "iuv" (DensePose's own), or None where both are possible.

    Raises:
        DataError: It is empty, a part map without U and V, a visualisation, or has I in the middle channel.
    """
    largest = [int(rgb[..., channel].max(initial=0)) for channel in range(3)]
    if max(largest) == 0:
        raise DataError(f"{file}: is black, DensePose found nobody; {_WANTED}")
    if np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 0], rgb[..., 2]):
        kind = "a grey map of part numbers" if max(largest) <= LAST_PART else "a grey picture"
        raise DataError(f"{file}: found {kind} without U and V; {_WANTED}; {_NOT_DATA}")
    parts = [channel for channel in range(3) if 0 < largest[channel] <= LAST_PART]
    if not parts:
        raise DataError(f"{file}: found {_what_it_shows(rgb)}, no channel holds part numbers; {_WANTED}; {_NOT_DATA}")
    if sorted(largest)[1] <= 1:
        raise DataError(f"{file}: found U and V of at most 1; expected the scale 0..255; multiply them by 255")
    if parts == [1]:
        raise DataError(f"{file}: part numbers are in the green channel; expected V, U, I or I, U, V; reorder them")
    if 0 in parts and 2 in parts:
        return None
    return "vui" if 2 in parts else "iuv"


def read_densepose(file: Path, order: IuvOrder, advice: str) -> np.ndarray:
    """Read a DensePose PNG of a stated channel order.

    Args:
        file: The picture.
        order: Its order.
        advice: End of the error message if its order is another one, which is put in for ``{found}``.

    Returns:
        (H, W, 3) uint8 I, U, V.

    Raises:
        DataError: As :func:`read_densepose_rgb` and :func:`densepose_order`, or the order is another one.
    """
    rgb = read_densepose_rgb(file)
    found = densepose_order(rgb, file)
    if found not in (None, order):
        channels = ", ".join(str(found).upper())
        expected = ", ".join(order.upper())
        raise DataError(
            f"{file}: channels are in the order {channels}; expected {expected} {advice.format(found=found)}"
        )
    return iuv_from_png_rgb(rgb) if order == "vui" else rgb


def check_sharp(part: np.ndarray, file: Path | str) -> bool:
    """Refuse part numbers that were resized smoothly or stored with loss.

    Args:
        part: (H, W) uint8 part numbers.
        file: Its name in error messages.

    Returns:
        Whether they are sharp beyond doubt: at most 3 % of the pixels at the edges of parts share their number with no
        neighbour.

    Raises:
        DataError: More than 10 % do.
    """
    inside = part > 0
    alike, edge = np.zeros(part.shape, dtype=bool), np.zeros(part.shape, dtype=bool)
    for first, second in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        same = part[first] == part[second]
        for found, where in ((alike, same), (edge, ~same)):
            found[first] |= where
            found[second] |= where
    at_edge = int(np.count_nonzero(inside & edge))
    lonely = int(np.count_nonzero(inside & ~alike))
    if at_edge < _FEW_PIXELS:
        return True
    if lonely > _MAX_LONELY * at_edge:
        raise DataError(
            f"{file}: {lonely / at_edge:.0%} of the pixels at the edges of parts share their number with no neighbour: "
            f"they are blurred; {_WANTED}; resize only with nearest neighbour and avoid JPEG and video"
        )
    return lonely <= _NOTED_LONELY * at_edge


def _what_it_shows(rgb: np.ndarray) -> str:
    some = rgb[::3, ::3].reshape(-1, 3).astype(np.uint32)
    colours = np.unique(some[:, 0] << 16 | some[:, 1] << 8 | some[:, 2]).size
    if colours <= _MAX_PART_COLOURS:
        return f"a colour map of body parts ({colours} colours)"
    return "a coloured picture"
