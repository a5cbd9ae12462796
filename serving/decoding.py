"""The parts of a request as pictures; what is wrong with them as problems with codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import UnidentifiedImageError

from hdnet.errors import InputError, TooManyPixelsError
from hdnet.pictures.reading import IuvOrder, covers_nothing, decode_alpha, decode_image, decode_iuv, decode_mask
from hdnet.predict.people import count_people
from serving.cameras import CallerCamera, CameraFields, camera_of
from serving.problems import Problem, part_problem

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, eq=False)
class Parts:
    """What a caller sent of one picture.

    Attributes:
        image: The photograph.
        mask: The mask; without one the photograph's transparency is the mask.
        densepose: The DensePose map.
        order: Its channel order.
        camera: What the caller says about the camera.
    """

    image: BinaryIO
    mask: BinaryIO | None
    densepose: BinaryIO
    order: IuvOrder
    camera: CameraFields


@dataclass(frozen=True, eq=False)
class Pictures:
    """One picture's input, all of one size.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, not empty.
        iuv: (H, W, 3) uint8 in the order I, U, V, with body parts inside the mask.
        camera: The picture's camera and where it is known from.
    """

    image: np.ndarray
    mask: np.ndarray
    iuv: np.ndarray
    camera: CallerCamera


def decode_parts(parts: Parts, max_pixels: int) -> Pictures:
    """Reads the parts and checks that they belong together.

    Args:
        parts: Of one picture.
        max_pixels: Larger pictures are refused before they are decompressed.

    Raises:
        Problem: 422 with a code and the name of the part.
    """
    image_data, densepose_data = parts.image.read(), parts.densepose.read()
    rgb = _decode("image", image_data, lambda data: decode_image(data, "image", max_pixels))
    if parts.mask is not None:
        person = _decode("mask", parts.mask.read(), lambda data: decode_mask(data, "mask", max_pixels))
    else:
        person = _mask_of_alpha(image_data, max_pixels)
    iuv = _decode(
        "densepose",
        densepose_data,
        lambda data: decode_iuv(data, "densepose", parts.order, max_pixels),
    )
    _check(rgb, person, iuv)
    height, width = person.shape
    return Pictures(rgb, person, iuv, camera_of(parts.camera, image_data, width, height))


def _decode(part: str, data: bytes, decode: Callable[[bytes], ResultT]) -> ResultT:
    try:
        return decode(data)
    except InputError as error:
        raise Problem(422, _code(error, data), str(error), fields=[part]) from error


def _code(error: InputError, data: bytes) -> str:
    if isinstance(error, TooManyPixelsError):
        return "too_many_pixels"
    if isinstance(error.__cause__, UnidentifiedImageError):
        return "not_a_picture" if data else "empty_part"
    # Without a cause the picture could be opened: it is of a kind that this part cannot be.
    return "unusable_picture" if error.__cause__ is None else "damaged_picture"


def _mask_of_alpha(image_data: bytes, max_pixels: int) -> np.ndarray:
    alpha = decode_alpha(image_data, "image", max_pixels)
    if alpha is None:
        errors = [{"type": "missing", "loc": ("body", "mask")}]
        raise part_problem(errors, ["densepose", "image"])
    return alpha


def _check(image: np.ndarray, mask: np.ndarray, iuv: np.ndarray) -> None:
    sizes = {name: array.shape[:2] for name, array in (("image", image), ("mask", mask), ("densepose", iuv))}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {width} x {height}" for name, (height, width) in sizes.items())
        differing = [name for name, size in sizes.items() if size != sizes["image"]]
        detail = f"the pictures differ in size: {found}; expected one size (after EXIF rotation)"
        raise Problem(422, "size_mismatch", detail, fields=differing)
    if not mask.any():
        detail = "the mask is empty: no pixel is above 100; expected the person in white (255) on black"
        raise Problem(422, "empty_mask", detail, fields=["mask"])
    if covers_nothing(image, mask):
        detail = "the mask covers nothing of the picture: all pixels under it are white background"
        raise Problem(422, "mask_covers_nothing", detail, fields=["image", "mask"])
    if not (iuv[..., 0] > 0).any():
        detail = "the DensePose map has no body part (I is 0 everywhere); expected parts 1..24 on the person"
        raise Problem(422, "no_densepose_parts", detail, fields=["densepose"])
    if not (iuv[..., 0][mask] > 0).any():
        detail = "no body part of the DensePose map lies inside the mask; expected both to show the same person"
        raise Problem(422, "mask_misses_person", detail, fields=["mask", "densepose"])
    people = count_people(iuv[..., 0], mask)
    if people > 1:
        detail = (
            f"the DensePose map shows {people} people inside the mask; expected one: send a mask of one person at a "
            "time, with the same image and map"
        )
        raise Problem(422, "several_people", detail, fields=["mask", "densepose"])
