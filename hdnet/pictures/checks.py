"""The check of a caller's pictures: the same for Python, the command line and HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hdnet.errors import InputError
from hdnet.pictures import faults
from hdnet.pictures.crop import MIN_MASK_PIXELS
from hdnet.pictures.people import count_people
from hdnet.pictures.reading import (
    LAST_PART,
    MAX_PIXELS,
    IuvOrder,
    decode_alpha,
    decode_image,
    decode_iuv,
    decode_mask,
    mask_from_grey,
    read_bytes,
)
from hdnet.visualize import WHITE, strips

# A person on fewer pixels is a blob.
MIN_SIDE = 32


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one person, of one size, that passed :func:`check_pictures`.

    Attributes:
        image: (H, W, 3) uint8 RGB, with any background.
        mask: (H, W) bool, the person.
        iuv: (H, W, 3) uint8 DensePose in the order I, U, V, with body parts inside the mask.
    """

    image: np.ndarray
    mask: np.ndarray
    iuv: np.ndarray


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph and what is known about its person, that passed :func:`check_photo`.

    Attributes:
        image: (H, W, 3) uint8 RGB, with its background.
        mask: (H, W) bool, the person; None where the person is to be found.
    """

    image: np.ndarray
    mask: np.ndarray | None


def check_photo(image: np.ndarray, mask: np.ndarray | None) -> Photo:
    """Checks a photograph and, if given, the mask of the person in it.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, or uint8 of which values above 100 count; None where the person is to be found.

    Raises:
        InputError: With a code of :mod:`hdnet.pictures.faults`.
    """
    _check_image(image, "image")
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise faults.PICTURE_TOO_SMALL.error(name="image", width=width, height=height, least=MIN_SIDE)
    if mask is None:
        return Photo(image, None)
    _check_mask(mask)
    if mask.shape != image.shape[:2]:
        sizes = f"image {width} x {height}, mask {mask.shape[1]} x {mask.shape[0]}"
        raise faults.SIZE_MISMATCH.error(sizes=sizes)
    person = mask if mask.dtype == np.bool_ else mask_from_grey(mask, "mask")
    if not person.any():
        raise faults.EMPTY_MASK.error()
    count = int(person.sum())
    if count < MIN_MASK_PIXELS:
        raise faults.UNUSABLE_INPUT.error(count=count, least=MIN_MASK_PIXELS)
    return Photo(image, person)


def check_pictures(image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray) -> Pictures:
    """Checks that the pictures are of the right kind, fit together and show one person.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, or uint8 of which values above 100 count.
        iuv: (H, W, 3) uint8 in the order I, U, V.

    Raises:
        InputError: With a code of :mod:`hdnet.pictures.faults`.
    """
    if mask is None:
        raise faults.MISSING_MASK.error()
    for name, picture in (("image", image), ("iuv", iuv)):
        _check_image(picture, name)
    _check_mask(mask)
    named = {"image": image, "mask": mask, "densepose": iuv}
    sizes = {name: f"{picture.shape[1]} x {picture.shape[0]}" for name, picture in named.items()}
    differing = [name for name, size in sizes.items() if size != sizes["image"]]
    if differing:
        raise faults.SIZE_MISMATCH.error(*differing, sizes=", ".join(map(" ".join, sizes.items())))
    person = mask if mask.dtype == np.bool_ else mask_from_grey(mask, "mask")
    if not person.any():
        raise faults.EMPTY_MASK.error()
    if covers_nothing(image, person):
        raise faults.MASK_COVERS_NOTHING.error()
    _check_parts(iuv[..., 0], person)
    return Pictures(image, person, iuv)


def _check_image(picture: np.ndarray, name: str) -> None:
    _check_type(picture, name)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise InputError(f"{name} is {picture.dtype} of shape {picture.shape}, expected uint8 of shape (H, W, 3)")


def _check_mask(mask: np.ndarray) -> None:
    _check_type(mask, "mask")
    if mask.ndim != 2 or mask.dtype not in (np.bool_, np.uint8):
        raise InputError(f"mask is {mask.dtype} of shape {mask.shape}, expected bool or uint8 of shape (H, W)")


def _check_type(picture: np.ndarray, name: str) -> None:
    if not isinstance(picture, np.ndarray):
        raise InputError(f"{name} is of type {type(picture).__name__}, expected a NumPy array")


def _check_parts(parts: np.ndarray, mask: np.ndarray) -> None:
    """Checks the (H, W) body parts of a DensePose map against a mask that is not empty."""
    parts = np.ascontiguousarray(parts)
    if parts.max() > LAST_PART:
        found = f"iuv has body part {parts.max()}, expected 0..{LAST_PART} in its first channel (order I, U, V)"
        raise InputError(found, parts=("densepose",))
    if not parts.any():
        raise faults.NO_DENSEPOSE_PARTS.error()
    if not (parts.astype(bool) & mask).any():
        raise faults.MASK_MISSES_PERSON.error()
    count = int(np.count_nonzero(mask))
    if count < MIN_MASK_PIXELS:
        raise faults.UNUSABLE_INPUT.error(count=count, least=MIN_MASK_PIXELS)
    people = count_people(parts, mask)
    if people > 1:
        raise faults.SEVERAL_PEOPLE.error(people=people)


def covers_nothing(image: np.ndarray, mask: np.ndarray) -> bool:
    """Return whether all pixels under a mask are white background.

    The first rows with a person settle the matter.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool.
    """
    return not any(
        ((image[strip, :, channel] != WHITE) & mask[strip]).any() for strip in strips(len(mask)) for channel in range(3)
    )


def read_photo(image: Path, mask: Path | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a photograph and the mask of the person in it; without a mask its transparency counts, if it has any.

    Returns:
        Image (H, W, 3) uint8 and mask (H, W) bool or None.

    Raises:
        InputError: If one cannot be used.
    """
    content = read_bytes(image)
    rgb = decode_image(content, str(image), MAX_PIXELS)
    if mask is None:
        return rgb, decode_alpha(content, str(image), MAX_PIXELS)
    return rgb, decode_mask(read_bytes(mask), str(mask), MAX_PIXELS)


def decode_pictures(
    image: bytes,
    mask: bytes | None,
    densepose: bytes,
    order: IuvOrder = "vui",
    max_pixels: int = MAX_PIXELS,
    names: tuple[str, str, str] = ("image", "mask", "densepose"),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decodes photograph, mask and DensePose map, whatever their sizes; :func:`check_pictures` compares them.

    Args:
        image: The photograph's file.
        mask: The mask's file; None if the photograph's transparency is the mask.
        densepose: The DensePose map's file.
        order: Channel order of the DensePose map.
        max_pixels: Larger pictures are refused before they are decompressed.
        names: Names of the three in error lines.

    Returns:
        Image (H, W, 3) uint8, mask (H, W) bool and I, U, V (H, W, 3) uint8.

    Raises:
        InputError: If one cannot be used, or there is neither a mask nor transparency.
    """
    rgb = decode_image(image, names[0], max_pixels)
    if mask is None:
        person = decode_alpha(image, names[0], max_pixels)
    else:
        person = decode_mask(mask, names[1], max_pixels)
    if person is None:
        raise faults.MISSING_MASK.error()
    return rgb, person, decode_iuv(densepose, names[2], order, max_pixels)


def read_pictures(
    image: Path, mask: Path | None, densepose: Path, order: IuvOrder = "vui"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads photograph, mask and DensePose map from files; see :func:`decode_pictures`."""
    files = read_bytes(image), None if mask is None else read_bytes(mask), read_bytes(densepose)
    return decode_pictures(*files, order, names=(str(image), str(mask), str(densepose)))
