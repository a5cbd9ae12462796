"""Decoding of callers' pictures: formats, sizes, orientation, 16 bits a channel, colour profiles."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, ImageFile, ImageOps, JpegImagePlugin, UnidentifiedImageError, features

from hdnet.errors import InputError
from hdnet.pictures import faults

MAX_PIXELS = 80_000_000
# Photographs that are larger are shrunk by 2, 4 or 8: a phone's 48, 108 and 200 megapixels are interpolated or binned
# anyway, and depth and normals of 40 take 640 MB.
WORKING_PIXELS = 40_000_000
# JPEG is shrunk while it is decoded, so that more pixels than the limit take no more memory; the coefficients of a
# progressive one are in memory all at once.
_JPEG_REACH, _PROGRESSIVE_REACH = 8, 2
_SHRINKS = (1, 2, 4, 8)

# Pillow reads some forty formats, many of them rarely used and rarely tested: only the usual ones are accepted. TIFF is
# not: its C library writes messages about damaged files to the process's standard error.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", *(("AVIF",) if features.check("avif") else ()))
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2")
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC = "a HEIC or HEIF picture"
# Beginning of a file, what it is, what to do. Kinds that people send; all others are not told apart.
_CONVERT = "save it as PNG or JPEG"
_OTHER_KINDS = (
    (b"%PDF", "a PDF document", "export the page or the picture in it as PNG or JPEG"),
    (b"II*\0", "a TIFF picture or a camera's raw file", f"{_CONVERT} (8 bits)"),
    (b"MM\0*", "a TIFF picture or a camera's raw file", f"{_CONVERT} (8 bits)"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture", _CONVERT),
    (b"\xff\x0a", "a JPEG XL picture", _CONVERT),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", _CONVERT),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _CONVERT),
    (b"8BPS", "a Photoshop file", _CONVERT),
    (b"v/1\x01", "an OpenEXR picture", f"{_CONVERT} (8 bits, sRGB)"),
    (b"#?RADIANCE", "a Radiance HDR picture", f"{_CONVERT} (8 bits, sRGB)"),
    (b"\x93NUMPY", "a NumPy array", "save it as PNG, or hand the array to hdnet.Predictor"),
    (b"PK\x03\x04", "a ZIP archive (also .npz and Office files)", "unpack it"),
    (b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM)", "export the frame as PNG or JPEG; films are for `hdnet video`"),
    (b"<svg", "an SVG drawing", "export it as PNG"),
    (b"<?xml", "an XML file or SVG drawing", "export it as PNG"),
    (b"<!DOCTYPE", "a web page, perhaps of a failed download", "download the picture itself"),
    (b"<html", "a web page, perhaps of a failed download", "download the picture itself"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the picture itself", "run `git lfs pull`"),
)
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
# What Pillow calls the high bytes of 16-bit PNGs, and what gives the low ones, or all four bytes a pixel.
_LOW_BYTES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}
_LARGEST_BYTE = 255
_CMS_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
# A profile that changes no colour by more is sRGB's own, and the picture is left as it is.
_SAME_COLOUR = 3


PictureFile = bytes | Image.Image
"""A picture's file, or the picture as Pillow has opened it."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded picture.

    Attributes:
        image: 8 bits a channel.
        file_format: Of the file, by Pillow's name.
        shrink: The file has this many times as many pixels along a side.
    """

    image: Image.Image
    file_format: str
    shrink: int = 1


def open_header(data: PictureFile) -> Image.Image:
    """A picture of which only the header has been read; an opened one as it is.

    Raises:
        Exception: Any of Pillow's, if it is no picture or of a format that is not read.
    """
    if isinstance(data, Image.Image):
        return data
    if data.startswith(_JPEG_SIGNATURE):
        # Image.open refuses 179 megapixels and more, also of pictures that are shrunk while they are decoded.
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    if _brand(data) in _HEIF_BRANDS:
        return _open_heif(data)
    image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
    return image


def decode(data: PictureFile, name: str, part: str, max_pixels: int) -> Decoded:
    """Decode a picture.

    Photographs (``part`` "image") are turned as EXIF says, converted to sRGB if they have another colour profile, and
    shrunk if they are large. Masks and maps belong to the upright photograph, whatever their own EXIF data says, and
    hold numbers instead of colours.

    Args:
        data: The file's bytes, or an opened picture, which is left as it is.
        name: Its name in error lines.
        part: "image", "mask" or "densepose".
        max_pixels: Larger pictures are refused before they are decompressed; JPEG photographs are shrunk to it.

    Raises:
        InputError: If it is not a picture, truncated or too large.
    """
    if isinstance(data, bytes) and not data:
        raise faults.EMPTY_FILE.error(part, name=name)
    with _telling(data, name, part, max_pixels):
        image = open_header(data)
        shrink = _shrink(image, max_pixels) if part == "image" else 1
        width, height = image.size
        if width * height <= max_pixels * _reach(image, part):
            file_format = str(image.format)
            image = _loaded(image.copy() if image is data else image, data, part, shrink)
            if part != "image":
                return Decoded(image, file_format)
            ImageOps.exif_transpose(image, in_place=True)
            return Decoded(_in_srgb(image), file_format, shrink)
    raise _too_large(name, part, f"{width} x {height} = {width * height / 1e6:.1f} megapixels", max_pixels)


@contextmanager
def _telling(data: PictureFile, name: str, part: str, max_pixels: int) -> Iterator[None]:
    """Turn what Pillow raises into the error of the file."""
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        remedy = f"reading it needs pillow-heif, run `pip install pillow-heif`, or {_CONVERT}"
        raise faults.UNSUPPORTED_FORMAT.error(part, name=name, kind=_HEIC, advice=remedy) from error
    except UnidentifiedImageError as error:
        raise _not_a_picture(data if isinstance(data, bytes) else b"", name, part) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, part, f"too many pixels for a picture ({error})", max_pixels) from error
    except _DECODE_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise faults.DAMAGED_PICTURE.error(part, name=name, reason=reason) from error


def _too_large(name: str, part: str, found: str, max_pixels: int) -> InputError:
    return faults.TOO_MANY_PIXELS.error(part, name=name, found=found, limit=max_pixels / 1e6)


def _not_a_picture(data: bytes, name: str, part: str) -> InputError:
    """The error of a file that Pillow does not read, which names the kinds that people send."""
    brand, begin = _brand(data), data[:64].lstrip()
    kind, advice = "", ""
    if brand in _HEIF_BRANDS or (brand in _AVIF_BRANDS and "AVIF" in _FORMATS):
        return faults.DAMAGED_PICTURE.error(part, name=name, reason=f"{brand.decode().upper()} without a picture in it")
    if brand in _AVIF_BRANDS:
        kind, advice = "an AVIF picture", f"install a Pillow of version 11.3 or later, or {_CONVERT}"
    elif brand:
        kind, advice = (
            "a video (MP4, MOV) or a camera's raw file",
            "export the frame or picture as PNG or JPEG; films are for `hdnet video`",
        )
    for signature, other, remedy in _OTHER_KINDS:
        if begin[: len(signature)].lower() == signature.lower() or data.startswith(signature):
            kind, advice = other, remedy
            break
    if kind:
        return faults.UNSUPPORTED_FORMAT.error(part, name=name, kind=kind, advice=advice)
    return faults.NOT_A_PICTURE.error(part, name=name, size=len(data))


def _brand(data: bytes) -> bytes:
    """Brand of a file of the ISO base media format, b"" for others."""
    return data[8:12] if data[4:8] == b"ftyp" else b""


def _open_heif(data: bytes) -> Image.Image:
    from pillow_heif import register_heif_opener  # an optional package

    register_heif_opener()
    image: Image.Image = Image.open(io.BytesIO(data), formats=("HEIF",))
    return image


def _reach(image: Image.Image, part: str) -> int:
    """Largest number of a file's pixels, in multiples of the limit."""
    if part != "image" or not isinstance(image, JpegImagePlugin.JpegImageFile):
        return 1
    return _PROGRESSIVE_REACH if image.info.get("progressive") else _JPEG_REACH


def _shrink(image: Image.Image, max_pixels: int) -> int:
    """The smallest factor that makes a photograph fit."""
    most = min(max_pixels, WORKING_PIXELS)
    return next((k for k in _SHRINKS if image.width * image.height <= most * k * k), _SHRINKS[-1])


def _loaded(image: Image.Image, data: PictureFile, part: str, shrink: int) -> Image.Image:
    """The decompressed picture, shrunk."""
    if shrink > 1 and isinstance(image, JpegImagePlugin.JpegImageFile):
        image.draft(None, (image.width // shrink, image.height // shrink))
        shrink = 1
    raw_mode = _raw_mode(image)
    image.load()
    if image.mode in ("P", "PA") and image.palette is None:  # Pillow fails only when it is converted
        raise ValueError("its palette is missing")
    if raw_mode in _LOW_BYTES:
        image = _with_low_bytes(image, data, part)
    elif image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint16)
        image = Image.fromarray((deep if deep.max(initial=0) <= _LARGEST_BYTE else deep >> 8).astype(np.uint8))
    if shrink > 1:
        if image.mode not in ("L", "RGB", "RGBA", "CMYK"):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        info = image.info
        image = image.reduce(shrink)
        image.info = info
    return image


def _raw_mode(image: Image.Image) -> str:
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return str(tiles[0][3]) if tiles else ""


def _with_low_bytes(image: Image.Image, data: PictureFile, part: str) -> Image.Image:
    """A picture of 16 bits a channel, of which Pillow keeps the high bytes, with 8-bit numbers read as such.

    Tools that write 0..255 into 16 bits leave the high bytes empty. A map may do so in some of its channels.
    """
    bands = image.split()
    is_empty = [band.getextrema()[1] == 0 for band in bands]
    if part == "image" and not all(is_empty[:3]):  # colours have one scale
        return image
    if not any(is_empty):
        return image
    again = open_header(data)
    assert isinstance(again, ImageFile.ImageFile)
    raw_mode = _raw_mode(again)
    again.tile = [tile._replace(args=_LOW_BYTES[raw_mode]) for tile in again.tile]
    low = again.split()
    if raw_mode == "LA;16B":  # high and low byte of grey, then of alpha
        low = (low[1], low[1], low[1], low[3])
    chosen = [lower if empty else band for band, lower, empty in zip(bands, low, is_empty, strict=True)]
    merged = Image.merge(image.mode, chosen)
    merged.info = image.info
    return merged


def _in_srgb(image: Image.Image) -> Image.Image:
    """The picture in the colours that its profile means, such as those of Display P3; as it is without a usable one."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode.startswith(("I", "F")):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
        mode = {"GRAY": "L", "CMYK": "CMYK", "RGB": "RGB"}[space]
        if (mode == "CMYK") != (image.mode == "CMYK") or (mode == "L" and image.mode not in ("L", "LA", "1")):
            return image  # a profile of something else
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=_CMS_FLAGS
        )
        if mode == "RGB" and _changes_nothing(transform):
            return image
        opaque = image.convert(mode)
        converted = ImageCms.applyTransform(opaque, transform)
    except (ImageCms.PyCMSError, KeyError, OSError, ValueError, TypeError):  # a damaged profile
        return image
    if converted is None:
        return image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether a conversion leaves all colours as they are but for rounding: the profile is sRGB's."""
    levels = np.arange(0, 256, 51, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    changed = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), transform))
    return bool(np.abs(changed.astype(np.int16) - colours).max() <= _SAME_COLOUR)
