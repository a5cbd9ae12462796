"""A caller's photograph in Python: a path, a file's bytes, a PIL image or an array."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from hdnet.errors import InputError
from hdnet.geometry import Camera
from hdnet.pictures.cameras import CallerCamera, caller_camera
from hdnet.pictures.decoding import MAX_PIXELS
from hdnet.pictures.reading import (
    MASK_THRESHOLD,
    IuvOrder,
    decode_given,
    decode_iuv,
    decode_mask,
    iuv_from_png_rgb,
    read_bytes,
)

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
    sources = {"image": image, "mask": mask, "densepose": densepose}
    files = {part: _file_of(source) for part, source in sources.items()}
    names = [str(source) if isinstance(source, str | Path) else part for part, source in sources.items()]
    person, iuv = _mask_of(mask, files["mask"], names[1], max_pixels), None
    if files["image"] is not None:
        given = decode_given(
            files["image"], files["mask"], files["densepose"], order, max_pixels, (names[0], names[1], names[2])
        )
        rgb, iuv = given.image, given.iuv
        person = given.mask if mask is None or files["mask"] is not None else person
    else:
        rgb = _array_of(image, "RGB", "image")
        person = _alpha_of(image) if mask is None else person
        if files["densepose"] is not None:
            iuv = decode_iuv(files["densepose"], names[2], order, max_pixels)
    if densepose is not None and files["densepose"] is None:
        found = _array_of(densepose, "RGB", "densepose")
        iuv = iuv_from_png_rgb(found) if isinstance(densepose, Image.Image) and order == "vui" else found
    height, width = rgb.shape[:2]
    if camera is not None:
        if fx is not None or fov_deg is not None:
            raise InputError("found a camera and a focal length or field of view; expected one of them")
        known = CallerCamera(camera, "given")
    else:
        known = caller_camera(files["image"] or b"", width, height, fx=fx, fov_deg=fov_deg)
    return Photograph(rgb, person, iuv, known)


def _file_of(source: PictureSource | None) -> bytes | None:
    """Return a file's bytes; None of a picture that is no file."""
    if isinstance(source, str | Path):
        return read_bytes(source)
    return bytes(source) if isinstance(source, bytes | bytearray | memoryview) else None


def _array_of(source: PictureSource, mode: str, name: str) -> np.ndarray:
    """Return a PIL image, upright, or an array, as an array."""
    if isinstance(source, Image.Image):
        return np.array(ImageOps.exif_transpose(source).convert(mode))
    if isinstance(source, np.ndarray):
        return source
    raise InputError(f"{name} is of type {type(source).__name__}, expected a path, bytes, a PIL image or an array")


def _mask_of(source: PictureSource | None, file: bytes | None, name: str, max_pixels: int) -> np.ndarray | None:
    if source is None:
        return None
    return _array_of(source, "L", "mask") if file is None else decode_mask(file, name, max_pixels)


def _alpha_of(source: PictureSource) -> np.ndarray | None:
    """Return the mask that a PIL image's transparency is, if it has any."""
    if not isinstance(source, Image.Image) or not source.has_transparency_data:
        return None
    opacity = np.asarray(ImageOps.exif_transpose(source).convert("RGBA").getchannel("A"))
    return None if opacity.min() == 255 else opacity > MASK_THRESHOLD
