"""A caller's photograph in Python: a path, a file's bytes, a PIL image or an array."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from hdnet.errors import InputError
from hdnet.geometry import Camera
from hdnet.pictures.cameras import CallerCamera, caller_camera
from hdnet.pictures.reading import MAX_PIXELS, IuvOrder, decode_alpha, decode_image, decode_iuv, decode_mask, read_bytes

PictureSource = str | Path | bytes | Image.Image | np.ndarray
"""A picture: the path of a file, its bytes, a PIL image, or an array."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph as arrays, and its camera as far as it is known.

    Attributes:
        image: (H, W, 3) uint8 RGB, upright.
        mask: (H, W) bool; None without a mask or transparency.
        iuv: (H, W, 3) uint8 DensePose I, U, V; None without one.
        camera: From the caller, or from EXIF.
    """

    image: np.ndarray
    mask: np.ndarray | None
    iuv: np.ndarray | None
    camera: CallerCamera


def read_photograph(
    image: PictureSource,
    mask: PictureSource | None = None,
    densepose: PictureSource | None = None,
    *,
    order: IuvOrder = "vui",
    camera: Camera | None = None,
    fx: float | None = None,
    fov_deg: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Photograph:
    """Read a photograph and what comes with it.

    Args:
        image: The photograph. EXIF orientation and focal length count; an array is RGB and upright.
        mask: Mask of the person; without one the photograph's transparency is the mask, if it has any.
        densepose: DensePose map; an array is I, U, V.
        order: Channel order of a DensePose map in a file.
        camera: Camera of the upright picture.
        fx: Its focal length in pixels instead.
        fov_deg: Its vertical field of view in degrees instead.
        max_pixels: Larger pictures are refused.

    Raises:
        InputError: Something cannot be read, or camera and focal length contradict each other.
    """
    data, name = _bytes_of(image, "image")
    rgb = decode_image(data, name, max_pixels) if data else _array_of(image, "RGB", "image")
    alpha = None
    if mask is None and data:
        alpha = decode_alpha(data, name, max_pixels)
    elif mask is None and isinstance(image, Image.Image) and image.has_transparency_data:
        opaque = np.asarray(ImageOps.exif_transpose(image).convert("RGBA").getchannel("A"))
        alpha = None if opaque.min() == 255 else opaque > 100
    person = alpha if mask is None else _mask_of(mask, max_pixels)
    iuv = None if densepose is None else _iuv_of(densepose, order, max_pixels)
    height, width = rgb.shape[:2]
    if camera is not None:
        if fx is not None or fov_deg is not None:
            raise InputError("found a camera and a focal length or field of view; expected one of them")
        known = CallerCamera(camera, "given")
    else:
        known = caller_camera(data or b"", width, height, fx=fx, fov_deg=fov_deg)
    return Photograph(rgb, person, iuv, known)


def _bytes_of(source: PictureSource, name: str) -> tuple[bytes | None, str]:
    """Return a file's bytes and its name; None of a picture that is no file."""
    if isinstance(source, str | Path):
        return read_bytes(source), str(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), name
    return None, name


def _array_of(source: PictureSource, mode: str, name: str) -> np.ndarray:
    """Return a PIL image, upright, or an array, as an array."""
    if isinstance(source, Image.Image):
        return np.array(ImageOps.exif_transpose(source).convert(mode))
    if isinstance(source, np.ndarray):
        return source
    raise InputError(f"{name} is of type {type(source).__name__}, expected a path, bytes, a PIL image or an array")


def _mask_of(source: PictureSource, max_pixels: int) -> np.ndarray:
    data, name = _bytes_of(source, "mask")
    return decode_mask(data, name, max_pixels) if data else _array_of(source, "L", "mask")


def _iuv_of(source: PictureSource, order: IuvOrder, max_pixels: int) -> np.ndarray:
    data, name = _bytes_of(source, "densepose")
    if data:
        return decode_iuv(data, name, order, max_pixels)
    found = _array_of(source, "RGB", "densepose")
    is_stored = isinstance(source, Image.Image) and order == "vui"
    return np.ascontiguousarray(found[..., ::-1]) if is_stored else found
