"""A caller's photograph in Python: a path, a file's bytes, a PIL image or an array."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hdnet.errors import InputError
from hdnet.geometry import Camera
from hdnet.pictures.cameras import CallerCamera, caller_camera, shrunk_camera
from hdnet.pictures.decoding import MAX_PIXELS, PictureFile
from hdnet.pictures.reading import IuvOrder, decode_given, decode_iuv, decode_mask, read_bytes, shrunk

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
        camera: Camera of the upright picture, in the file's pixels where a large one is shrunk.
        fx: Its focal length in pixels instead.
        fov_deg: Its vertical field of view in degrees instead.
        max_pixels: Larger pictures are refused.

    Raises:
        InputError: Something cannot be read, or camera and focal length contradict each other.
    """
    sources = {"image": image, "mask": mask, "densepose": densepose}
    files = {part: _file_of(source, part) for part, source in sources.items()}
    name, mask_name, map_name = (str(one) if isinstance(one, str | Path) else part for part, one in sources.items())
    if files["image"] is not None:
        names = (name, mask_name, map_name)
        given = decode_given(files["image"], files["mask"], files["densepose"], order, max_pixels, names)
        rgb, person, iuv, shrink = given.image, given.mask, given.iuv, given.shrink
    else:
        assert isinstance(image, np.ndarray)
        rgb, person, iuv, shrink = image, None, None, 1
        if files["mask"] is not None:
            person = decode_mask(files["mask"], mask_name, max_pixels)
        if files["densepose"] is not None:
            iuv = decode_iuv(files["densepose"], map_name, order, max_pixels)
    person = shrunk(mask, rgb.shape, shrink) if isinstance(mask, np.ndarray) else person
    iuv = shrunk(densepose, rgb.shape, shrink) if isinstance(densepose, np.ndarray) else iuv
    if camera is not None:
        if fx is not None or fov_deg is not None:
            raise InputError("found a camera and a focal length or field of view; expected one of them")
        known = CallerCamera(shrunk_camera(camera, shrink), "given")
    else:
        height, width = rgb.shape[:2]
        known = caller_camera(files["image"] or b"", width, height, fx=fx, fov_deg=fov_deg)
    return Photograph(rgb, person, iuv, known)


def _file_of(source: PictureSource | None, part: str) -> PictureFile | None:
    """Return a file's bytes, or a PIL image; None of an array.

    Raises:
        InputError: It is something else, or cannot be read.
    """
    if isinstance(source, np.ndarray) or (source is None and part != "image"):
        return None
    if isinstance(source, str | Path):
        return read_bytes(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, Image.Image):
        return source
    raise InputError(f"{part} is of type {type(source).__name__}, expected a path, bytes, a PIL image or an array")
