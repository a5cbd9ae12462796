"""DensePose pictures of imported frames: I, U, V in one of two channel orders, or visualisations, which are refused.

What is refused, and why, is that of callers' pictures (:mod:`hdnet.pictures.densepose`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hdnet.data.layout.png import read_rgb
from hdnet.errors import DataError, InputError
from hdnet.pictures import densepose
from hdnet.pictures.densepose import MAX_BETWEEN, MAX_LONELY, WANTED
from hdnet.pictures.reading import IuvOrder, iuv_from_png_rgb

_NOTED_LONELY = 0.03
_FEW_PIXELS = 300


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
            raise DataError(f"{file}: found lossy storage, which blurs part numbers; {WANTED}") from error
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
    try:
        return densepose.densepose_order(rgb, str(file))
    except InputError as error:
        raise DataError(str(error)) from error


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
    blur = densepose.blur_of(part)
    if blur.edge < _FEW_PIXELS:
        return True
    if blur.lonely > MAX_LONELY:
        raise DataError(
            f"{file}: {blur.lonely:.0%} of the pixels at the edges of parts share their number with no neighbour: "
            f"they are blurred; {WANTED}; resize only with nearest neighbour and avoid JPEG and video"
        )
    return blur.lonely <= _NOTED_LONELY and blur.between <= MAX_BETWEEN
