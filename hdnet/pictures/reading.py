"""Readers of callers' photographs, masks and DensePose maps, from files or bytes.

Every reader raises one :class:`~hdnet.errors.InputError` line that names the picture, whatever is wrong with
it. Training folders have a stricter reader, :mod:`hdnet.data.layout.png`.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hdnet.errors import InputError
from hdnet.pictures import faults

MAX_PIXELS = 40_000_000
MASK_THRESHOLD = 100  # a mask pixel counts above this value, as in the training data (docs/parity.md, 36)
LAST_PART = 24  # DensePose numbers body parts 1..24, 0 is background

# The order of an IUV picture's red, green and blue. DensePose maps of the TikTok data set are "vui".
IuvOrder = Literal["vui", "iuv"]

# Pillow reads some forty formats, many of them rarely used and rarely tested: only the usual ones are accepted. TIFF is
# not: its C library writes messages about damaged files to the process's standard error.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
# Exceptions of Pillow's decoders on damaged files.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    NotImplementedError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)


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


def decode_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A photograph of any kind as RGB, upright as its EXIF orientation says, transparency shown on white.

    Args:
        data: The file's bytes: PNG, JPEG, WebP, BMP or GIF (first frame).
        name: Its name in error lines.
        max_pixels: Larger pictures are refused before they are decompressed.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InputError: If it is not a picture, truncated or too large.
    """
    image = _open(data, name, "image", max_pixels)
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(white, rgba)
    return _as_rgb(image)


def decode_alpha(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray | None:
    """The transparency of a cut-out photograph as a mask: True where it is more opaque than 100 of 255.

    Returns:
        (H, W) bool, or None where the picture has no transparent pixel.

    Raises:
        InputError: As :func:`decode_image`.
    """
    image = _open(data, name, "image", max_pixels)
    if not image.has_transparency_data:
        return None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    return None if alpha.min() == 255 else alpha > MASK_THRESHOLD


def decode_mask(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A mask from a black and white, grey or colour picture with equal channels; transparent counts as black.

    Returns:
        (H, W) bool, True where the value is above 100.

    Raises:
        InputError: If it is not a picture, truncated, too large, has colours, or holds values but none above
            100.
    """
    image = _open(data, name, "mask", max_pixels)
    if image.mode.startswith("I;16"):
        return mask_from_grey((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8), name)
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


def decode_iuv(data: bytes, name: str, order: IuvOrder = "vui", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A DensePose map.

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
    image = _open(data, name, "densepose", max_pixels)
    if image.format in ("JPEG", "MPO"):
        raise _unusable("densepose", name, "a DensePose map as JPEG has blurred part numbers, expected a PNG")
    if image.mode not in ("RGB", "RGBA", "P"):
        found = f"a DensePose map of mode {image.mode!r}"
        raise _unusable("densepose", name, f"{found}, expected RGB with channels V, U, I")
    rgb = _as_rgb(image)
    if order not in ("vui", "iuv"):
        raise InputError(f"channel order {order!r} is not known, expected 'vui' or 'iuv'")
    if rgb[..., order.index("i")].max() > LAST_PART:
        raise _unusable("densepose", name, _wrong_order(rgb, order))
    return rgb[..., ::-1] if order == "vui" else rgb  # a view: few of its pixels are read


def iuv_from_png_rgb(rgb: np.ndarray) -> np.ndarray:
    """I, U, V from the stored V, U, I. Shape (H, W, 3)."""
    return rgb.take((2, 1, 0), axis=2)  # twice as fast as a copy of the reversed view


def _as_rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8; Pillow would copy a picture that is RGB already."""
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def iuv_to_png_rgb(iuv: np.ndarray) -> np.ndarray:
    """The stored V, U, I from I, U, V. Shape (H, W, 3)."""
    return np.ascontiguousarray(iuv[..., ::-1])


def _wrong_order(rgb: np.ndarray, order: IuvOrder) -> str:
    """Describe a DensePose map whose part channel holds other values."""
    largest = rgb.reshape(-1, 3).max(axis=0)
    place = order.index("i")
    channels = ("red", "green", "blue")
    found = f"{channels[place]} goes up to {largest[place]}, expected the body part I = 0..{LAST_PART} there"
    candidates = [i for i in range(3) if 0 < largest[i] <= LAST_PART]
    if not candidates:
        return f"{found}; no channel looks like I: this is not a DensePose IUV map"
    best = channels[candidates[0]]
    stated = {"red": "'iuv'", "blue": "'vui'"}
    fix = f"state the channel order {stated[best]}" if best in stated else "reorder it to V, U, I"
    return f"{found} (channel order {order!r}); {best} looks like I: {fix}"


def _unusable(part: str, name: str, reason: str) -> InputError:
    """The error of a picture that can be opened but is of a kind that this part cannot be."""
    return faults.UNUSABLE_PICTURE.error(part, name=name, reason=reason)


def _open(data: bytes, name: str, part: str, max_pixels: int) -> Image.Image:
    """The decoded picture, turned as EXIF says; its ``format`` is kept."""
    if not data:
        raise faults.EMPTY_FILE.error(part, name=name)
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
        width, height = image.size
        if width * height <= max_pixels:
            image.load()
            if image.mode in ("P", "PA") and image.palette is None:  # Pillow fails only when it is converted
                raise ValueError("its palette is missing")
            ImageOps.exif_transpose(image, in_place=True)
            return image
    except UnidentifiedImageError as error:
        raise faults.NOT_A_PICTURE.error(part, name=name, size=len(data)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = f"too many pixels for a picture ({error})"
        raise faults.TOO_MANY_PIXELS.error(part, name=name, found=found, limit=max_pixels / 1e6) from error
    except _DECODE_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise faults.DAMAGED_PICTURE.error(part, name=name, reason=reason) from error
    found = f"{width} x {height} = {width * height / 1e6:.1f} megapixels"
    raise faults.TOO_MANY_PIXELS.error(part, name=name, found=found, limit=max_pixels / 1e6)
