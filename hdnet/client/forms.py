"""Pictures and cameras as a form of the service."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from hdnet.client.answers import Intrinsics
from hdnet.errors import InputError

# A file, its bytes, or pixels: (H, W, 3) uint8, a mask also (H, W) bool or uint8, DensePose in the order I, U, V.
Picture = str | Path | bytes | np.ndarray
Order = Literal["vui", "iuv"]
Files = list[tuple[str, tuple[str, bytes]]]


def make_form(
    images: Sequence[Picture], masks: Sequence[Picture | None], maps: Sequence[Picture], order: Order
) -> tuple[Files, dict[str, str]]:
    """Files and text fields of a request."""
    files = [("image", _file(image, "image", order)) for image in images]
    files += [("mask", _file(mask, "mask", order)) for mask in masks if mask is not None]
    files += [("densepose", _file(iuv, "densepose", order)) for iuv in maps]
    return files, {"densepose_order": order}


def _file(picture: Picture, part: str, order: Order) -> tuple[str, bytes]:
    if isinstance(picture, bytes):
        return part, picture
    if not isinstance(picture, np.ndarray):
        try:
            return Path(picture).name, Path(picture).read_bytes()
        except OSError as error:
            raise InputError(f"{picture}: cannot be read ({error.strerror or error})") from error
    pixels = picture.astype(np.uint8) * 255 if picture.dtype == np.bool_ else picture
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise InputError(f"{part} is {picture.dtype} of shape {picture.shape}, expected uint8 pixels, or a bool mask")
    if part == "densepose" and order == "vui":
        pixels = pixels[..., ::-1]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", compress_level=1)
    return f"{part}.png", buffer.getvalue()


def camera_json(camera: Intrinsics | float | None) -> dict[str, float] | None:
    """A camera, or a vertical field of view in degrees, as the service names them."""
    if camera is None:
        return None
    return asdict(camera) if isinstance(camera, Intrinsics) else {"fov_deg": float(camera)}


def camera_fields(camera: Intrinsics | None, fov_deg: float | None) -> dict[str, str]:
    """The same as text fields; none where neither is given."""
    given = (camera_json(camera) or {}) | (camera_json(fov_deg) or {})
    return {name: repr(float(value)) for name, value in given.items()}
