"""Readers of callers' photographs, masks and DensePose maps, from files or bytes.

Every reader raises one :class:`~hdnet.errors.InputError` line that names the picture, whatever is wrong with
it. Training folders have a stricter reader, :mod:`hdnet.data.layout.png`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from hdnet.errors import InputError
from hdnet.pictures import faults
from hdnet.pictures.decoding import MAX_PIXELS as MAX_PIXELS
from hdnet.pictures.decoding import PictureFile, decode

MASK_THRESHOLD = 100  # a mask pixel counts above this value, as in the training data (docs/parity.md, 36)
_OPAQUE = 255
_LOSSY = ("JPEG", "MPO")
LAST_PART = 24  # DensePose numbers body parts 1..24, 0 is background
# Share of part numbers above 24 up to which they are those of a blurred map.
_FEW_ABOVE = 0.1
BLURRED = (
    "it was resized smoothly or stored with loss, which makes part numbers that no pixel had: resize it with nearest "
    "neighbour, and avoid JPEG and video"
)

# The order of an IUV picture's red, green and blue. DensePose maps of the TikTok data set are "vui".
IuvOrder = Literal["vui", "iuv"]


@dataclass(frozen=True, eq=False)
class DecodedPhoto:
    """A decoded photograph.

    Attributes:
        image: (H, W, 3) uint8 RGB, upright, transparency shown on white.
        alpha: (H, W) bool, where a cut-out photograph is more opaque than 100 of 255; None where all of it is opaque.
        shrink: The file has this many times as many pixels along a side.
    """

    image: np.ndarray
    alpha: np.ndarray | None
    shrink: int


@dataclass(frozen=True, eq=False)
class Given:
    """Pictures that a caller gave, decoded and of the caller's sizes.

    Attributes:
        image: (H, W, 3) uint8 RGB, upright, in sRGB.
        mask: (H, W) bool: the mask, else the photograph's transparency; None without either.
        iuv: (H, W, 3) uint8 in the order I, U, V; None without a DensePose map.
        shrink: The photograph was shrunk by this factor while it was read, mask and map with it.
    """

    image: np.ndarray
    mask: np.ndarray | None
    iuv: np.ndarray | None
    shrink: int = 1


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a caller's file.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads a photograph: see :func:`decode_image`."""
    return decode_image(read_bytes(path), str(path), max_pixels)


def read_alpha(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray | None:
    """Reads a photograph's transparency as a mask: see :func:`decode_alpha`."""
    return decode_alpha(read_bytes(path), str(path), max_pixels)


def read_mask(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads a mask: see :func:`decode_mask`."""
    return decode_mask(read_bytes(path), str(path), max_pixels)


def read_iuv(path: str | Path, order: IuvOrder = "vui", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads a DensePose map: see :func:`decode_iuv`."""
    return decode_iuv(read_bytes(path), str(path), order, max_pixels)


def decode_photo(data: PictureFile, name: str, max_pixels: int = MAX_PIXELS) -> DecodedPhoto:
    """A photograph of any kind, upright as its EXIF orientation says, in sRGB.

    Photographs of more than 40 megapixels, and JPEG of more than ``max_pixels``, are shrunk by 2, 4 or 8.

    Args:
        data: The file's bytes: PNG, JPEG, WebP, AVIF, BMP or GIF (first frame); HEIC with the package pillow-heif.
        name: Its name in error lines.
        max_pixels: Larger pictures are refused before they are decompressed, JPEG above 8 times as many.

    Raises:
        InputError: If it is not a picture, truncated or too large.
    """
    decoded = decode(data, name, "image", max_pixels)
    image, alpha = decoded.image, None
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        opacity = np.asarray(rgba.getchannel("A"))
        alpha = None if opacity.min() == _OPAQUE else opacity > MASK_THRESHOLD
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return DecodedPhoto(_as_rgb(image), alpha, decoded.shrink)


def decode_image(data: PictureFile, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The (H, W, 3) uint8 RGB of a photograph: see :func:`decode_photo`."""
    return decode_photo(data, name, max_pixels).image


def decode_alpha(data: PictureFile, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray | None:
    """The transparency of a cut-out photograph as a mask, (H, W) bool or None: see :func:`decode_photo`."""
    return decode_photo(data, name, max_pixels).alpha


def decode_mask(data: PictureFile, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A mask from a black and white, grey or colour picture with equal channels; transparent counts as black.

    It is one of the upright photograph: an EXIF orientation in it, copied from the photograph, says nothing.

    Returns:
        (H, W) bool, True where the value is above 100.

    Raises:
        InputError: If it is not a picture, truncated, too large, has colours, or holds values but none above
            100.
    """
    image = decode(data, name, "mask", max_pixels).image
    if image.mode == "L" and not image.has_transparency_data:
        return mask_from_grey(np.asarray(image), name)
    if image.mode == "CMYK":
        raise _unusable("mask", name, f"a mask of mode {image.mode!r}, expected black and white, grey or RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba)
    shown = np.asarray(image.convert("RGB"))
    if (shown != shown[..., :1]).any():
        raise _unusable("mask", name, "a mask with colours, expected black outside the person and white inside")
    return mask_from_grey(shown[..., 0], name)


def mask_from_grey(grey: np.ndarray, name: str) -> np.ndarray:
    """The pixels above 100; a mask of 0 and 1, which would be empty, is refused (docs/parity.md, 36).

    Args:
        grey: (H, W) uint8.
        name: Its name in the error line.
    """
    largest = int(grey.max(initial=0))
    if 0 < largest <= MASK_THRESHOLD:
        expected = f"expected 255 on the person (above {MASK_THRESHOLD})"
        raise _unusable("mask", name, f"largest value is {largest}, {expected}")
    return grey > MASK_THRESHOLD


def decode_iuv(data: PictureFile, name: str, order: IuvOrder = "vui", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A DensePose map of the upright photograph, whatever its own EXIF orientation.

    Args:
        data: The file's bytes, of a lossless format.
        name: Its name in error lines.
        order: Meaning of red, green and blue: V, U, I as in the TikTok data set, or I, U, V.
        max_pixels: Larger pictures are refused before they are decompressed.

    Returns:
        (H, W, 3) uint8 in the order I, U, V: I = body part 0..24, U and V 0..255.

    Raises:
        InputError: If it is not a picture, truncated, too large, JPEG, not RGB, or its I goes above 24; the
            line then says which channel looks like I.
    """
    decoded = decode(data, name, "densepose", max_pixels)
    image = decoded.image
    if decoded.file_format in _LOSSY:
        raise _unusable("densepose", name, "a DensePose map as JPEG has blurred part numbers, expected a PNG")
    if image.mode not in ("RGB", "RGBA", "P"):
        found = f"a grey DensePose map of mode {image.mode!r}, part numbers without U and V"
        raise _unusable("densepose", name, f"{found}, expected RGB with channels V, U, I")
    rgb = _as_rgb(image)
    if order not in ("vui", "iuv"):
        raise InputError(f"channel order {order!r} is not known, expected 'vui' or 'iuv'")
    if rgb[..., order.index("i")].max() > LAST_PART:
        raise _unusable("densepose", name, wrong_order(rgb, order))
    return rgb[..., ::-1] if order == "vui" else rgb  # a view: few of its pixels are read


def decode_given(
    image: PictureFile,
    mask: PictureFile | None = None,
    densepose: PictureFile | None = None,
    order: IuvOrder = "vui",
    max_pixels: int = MAX_PIXELS,
    names: tuple[str, str, str] = ("image", "mask", "densepose"),
) -> Given:
    """Decodes a photograph and what is given of mask and DensePose map, whatever their sizes.

    :mod:`hdnet.pictures.checks` compares them.

    Args:
        image: The photograph's file, or as Pillow has opened it, like the next two.
        mask: The mask's file; without one the photograph's transparency counts, if it has any.
        densepose: The DensePose map's file.
        order: Channel order of the DensePose map.
        max_pixels: Larger pictures are refused before they are decompressed, larger JPEG photographs shrunk.
        names: Names of the three in error lines.

    Raises:
        InputError: If one cannot be used.
    """
    photo = decode_photo(image, names[0], max_pixels)
    person = photo.alpha if mask is None else decode_mask(mask, names[1], max_pixels)
    iuv = None if densepose is None else decode_iuv(densepose, names[2], order, max_pixels)
    if photo.shrink > 1:
        size = photo.image.shape[:2]
        person, iuv = (None if one is None else shrunk(one, size, photo.shrink) for one in (person, iuv))
    return Given(photo.image, person, iuv, photo.shrink)


def shrunk(picture: np.ndarray, size: tuple[int, ...], shrink: int) -> np.ndarray:
    """A mask or map of the photograph's full size at its reduced size, by nearest neighbour; others as they are."""
    if shrink == 1 or tuple(-(-side // shrink) for side in picture.shape[:2]) != tuple(size[:2]):
        return picture
    rows, columns = (
        (np.arange(side) * shrink + shrink // 2).clip(max=full - 1)
        for side, full in zip(size[:2], picture.shape[:2], strict=True)
    )
    reduced: np.ndarray = picture[rows[:, None], columns]
    return reduced


def read_given(
    image: Path,
    mask: Path | None = None,
    densepose: Path | None = None,
    order: IuvOrder = "vui",
    max_pixels: int = MAX_PIXELS,
) -> tuple[Given, bytes]:
    """Reads the files of :func:`decode_given`; also gives the photograph's bytes, whose EXIF data has its camera."""
    paths = (image, mask, densepose)
    first, second, third = (None if path is None else read_bytes(path) for path in paths)
    names = (str(image), str(mask), str(densepose))
    assert first is not None
    return decode_given(first, second, third, order, max_pixels, names), first


def iuv_from_png_rgb(rgb: np.ndarray) -> np.ndarray:
    """I, U, V from the stored V, U, I. Shape (H, W, 3)."""
    return rgb.take((2, 1, 0), axis=2)  # twice as fast as a copy of the reversed view


def _as_rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8; Pillow would copy a picture that is RGB already."""
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def iuv_to_png_rgb(iuv: np.ndarray) -> np.ndarray:
    """The stored V, U, I from I, U, V. Shape (H, W, 3)."""
    return np.ascontiguousarray(iuv[..., ::-1])


def wrong_order(rgb: np.ndarray, order: IuvOrder) -> str:
    """Describe a DensePose map whose part channel holds other values."""
    largest = rgb.reshape(-1, 3).max(axis=0)
    place = order.index("i")
    channels = ("red", "green", "blue")
    found = f"{channels[place]} goes up to {largest[place]}, expected the body part I = 0..{LAST_PART} there"
    candidates = [i for i in range(3) if 0 < largest[i] <= LAST_PART]
    if not candidates:
        parts = rgb[..., place][rgb[..., place] > 0]
        if np.count_nonzero(parts > LAST_PART) < _FEW_ABOVE * parts.size:
            return f"{found}; {BLURRED}"
        return f"{found}; no channel looks like I: this is not a DensePose IUV map, or one that JPEG or video spoiled"
    best = channels[candidates[0]]
    stated = {"red": "'iuv'", "blue": "'vui'"}
    fix = f"state the channel order {stated[best]}" if best in stated else "reorder it to V, U, I"
    return f"{found} (channel order {order!r}); {best} looks like I: {fix}"


def _unusable(part: str, name: str, reason: str) -> InputError:
    """The error of a picture that can be opened but is of a kind that this part cannot be."""
    return faults.UNUSABLE_PICTURE.error(part, name=name, reason=reason)
