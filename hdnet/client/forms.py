"""Pictures and cameras as a form of the service."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

from hdnet.client.answers import Intrinsics
from hdnet.errors import InputError

# A path, an open binary file, a file's bytes, a PIL image, or pixels: (H, W, 3) uint8, of a mask also (H, W) bool or
# uint8, of a DensePose map in the order I, U, V.
Picture = str | Path | bytes | bytearray | memoryview | BinaryIO | Image.Image | np.ndarray
Order = Literal["vui", "iuv"]
# Left, top, right, bottom in pixels of the upright photograph.
Box = tuple[float, float, float, float]
Files = list[tuple[str, tuple[str, bytes]]]
Fields = dict[str, str | list[str]]

_NO_FILE = ("", b"")  # what a browser sends for a file field that was left empty
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
_EXPECTED = "a path, an open binary file, bytes, a PIL image or a NumPy array"


def make_form(
    images: Sequence[Picture], masks: Sequence[Picture | None], maps: Sequence[Picture | None], order: Order
) -> tuple[Files, Fields]:
    """Files and text fields of a request; an empty file stands for a picture without mask or map.

    Raises:
        InputError: If a picture cannot be read, or is of another type.
    """
    files = [("image", _file(image, "image", order)) for image in images]
    for part, pictures in (("mask", masks), ("densepose", maps)):
        if any(picture is not None for picture in pictures):
            files += [(part, _NO_FILE if one is None else _file(one, part, order)) for one in pictures]
    return files, {"densepose_order": order}


def _file(picture: Picture, part: str, order: Order) -> tuple[str, bytes]:
    if isinstance(picture, bytes | bytearray | memoryview):
        return part, bytes(picture)
    if isinstance(picture, str | Path):
        try:
            return Path(picture).name, Path(picture).read_bytes()
        except OSError as error:
            raise InputError(f"{picture}: cannot be read ({error.strerror or error})") from error
    if isinstance(picture, Image.Image):
        return f"{part}.png", _png(picture if picture.mode in _PNG_MODES else picture.convert("RGB"))
    if isinstance(picture, np.ndarray):
        return f"{part}.png", _png(Image.fromarray(_pixels(picture, part, order)))
    return part, _content(picture, part)


def _content(file: object, part: str) -> bytes:
    """The rest of an open file."""
    try:
        data = file.read()  # type: ignore[attr-defined]
    except AttributeError:
        raise InputError(f"{part} is of type {type(file).__name__}, expected {_EXPECTED}") from None
    except (OSError, ValueError) as error:  # a closed file is a ValueError, a picture read as text too
        raise InputError(f"{part}: cannot be read ({error})") from error
    if not isinstance(data, bytes):
        raise InputError(f"{part}: the file gives {type(data).__name__}, expected bytes: open it with mode 'rb'")
    return data


def _pixels(picture: np.ndarray, part: str, order: Order) -> np.ndarray:
    pixels = picture.astype(np.uint8) * 255 if picture.dtype == np.bool_ else picture
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise InputError(f"{part} is {picture.dtype} of shape {picture.shape}, expected uint8 pixels, or a bool mask")
    if part == "densepose" and order == "vui":
        pixels = pixels[..., ::-1]
    return np.ascontiguousarray(pixels)


def _png(image: Image.Image) -> bytes:
    """A PNG with the picture's EXIF data, which tell its orientation and camera."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1, exif=image.getexif())
    return buffer.getvalue()


def model_field(model: str | None) -> Fields:
    """The chosen model as a text field; none where the service chooses."""
    return {} if model is None else {"model": str(model)}


def person_fields(box: Box | None, height_m: float | None) -> Fields:
    """The person as text fields; none where nothing is known."""
    fields: Fields = {"box": box_text(box), "height_m": number_text(height_m)}
    return {name: value for name, value in fields.items() if value}


def box_text(box: Box | None) -> str:
    """A box as the service reads it; empty for None."""
    return "" if box is None else ",".join(map(number_text, box))


def number_text(value: float | None) -> str:
    """A number in full precision; empty for None."""
    return "" if value is None else repr(float(value))


def camera_json(camera: Intrinsics | float | None) -> dict[str, float] | None:
    """A camera, or a vertical field of view in degrees, as the service names them."""
    if camera is None:
        return None
    return asdict(camera) if isinstance(camera, Intrinsics) else {"fov_deg": float(camera)}


def camera_fields(camera: Intrinsics | None, fov_deg: float | None) -> Fields:
    """The same as text fields; none where neither is given."""
    given = (camera_json(camera) or {}) | (camera_json(fov_deg) or {})
    return {name: number_text(value) for name, value in given.items()}
