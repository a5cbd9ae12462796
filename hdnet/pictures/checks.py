"""The check of a caller's pictures: the same for Python, the command line and HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hdnet.errors import InputError
from hdnet.pictures import faults
from hdnet.pictures.crop import MIN_MASK_PIXELS, NETWORK_SIZE, Crop
from hdnet.pictures.decoding import MAX_PIXELS
from hdnet.pictures.densepose import (
    NEIGHBOUR_NOTE,
    WELL_COVERED,
    Overlap,
    check_cover,
    check_inverted,
    check_iuv,
    check_not_all_white,
    own_parts,
)
from hdnet.pictures.people import count_people, count_silhouettes
from hdnet.pictures.reading import (
    LAST_PART,
    IuvOrder,
    decode_given,
    mask_from_grey,
    read_bytes,
    read_given,
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
        iuv: (H, W, 3) uint8 DensePose in the order I, U, V, with body parts inside the mask and none of somebody else.
        notes: What was repaired or looks doubtful, a line each.
    """

    image: np.ndarray
    mask: np.ndarray
    iuv: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph and what is known about its person, that passed :func:`check_photo`.

    Attributes:
        image: (H, W, 3) uint8 RGB, with its background.
        mask: (H, W) bool, the person; None where the person is to be found.
        notes: As of :class:`Pictures`.
    """

    image: np.ndarray
    mask: np.ndarray | None
    notes: tuple[str, ...] = ()


def check_photo(image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray | None = None) -> Photo:
    """Checks a photograph and, if given, the mask and the DensePose map of the person in it.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, or uint8 of which values above 100 count; None where the person is to be found.
        iuv: (H, W, 3) uint8 in the order I, U, V, which only tells whether the mask is of one person; None without.

    Raises:
        InputError: With a code of :mod:`hdnet.pictures.faults`.
    """
    _check_image(image, "image")
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise faults.PICTURE_TOO_SMALL.error(name="image", width=width, height=height, least=MIN_SIDE)
    if mask is not None:
        _check_mask(mask)
    if iuv is not None:
        _check_image(iuv, "iuv")
    _check_sizes(image, mask, iuv)
    person = None if mask is None else _person(mask)
    parts = None if iuv is None else _check_map(iuv)
    if person is None:
        return Photo(image, None)
    count = int(person.sum())
    if count < MIN_MASK_PIXELS:
        raise faults.UNUSABLE_INPUT.error(count=count, least=MIN_MASK_PIXELS)
    if parts is not None:
        return Photo(image, person, _check_parts(parts, person))
    check_not_all_white(person)
    silhouettes = count_silhouettes(person)
    if silhouettes > 1:
        raise faults.SEVERAL_SILHOUETTES.error(parts=silhouettes)
    return Photo(image, person)


def check_pictures(image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray, keep_all: bool = False) -> Pictures:
    """Checks that the pictures are of the right kind, fit together and show one person.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, or uint8 of which values above 100 count.
        iuv: (H, W, 3) uint8 in the order I, U, V.
        keep_all: Leave body parts of somebody else beside the mask in the map, as the original does.

    Raises:
        InputError: With a code of :mod:`hdnet.pictures.faults`.
    """
    if mask is None:
        raise faults.MISSING_MASK.error()
    for name, picture in (("image", image), ("iuv", iuv)):
        _check_image(picture, name)
    _check_mask(mask)
    _check_sizes(image, mask, iuv)
    person = _person(mask)
    if covers_nothing(image, person):
        raise faults.MASK_COVERS_NOTHING.error()
    notes = _check_parts(_check_map(iuv), person)
    if keep_all:
        return Pictures(image, person, iuv, notes)
    own, is_foreign = own_parts(iuv, person, Crop.around(person).zoom * NETWORK_SIZE)
    return Pictures(image, person, own, notes + (NEIGHBOUR_NOTE,) * is_foreign)


def _check_sizes(image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray | None) -> None:
    given = {"image": image, "mask": mask, "densepose": iuv}
    sizes = {name: f"{one.shape[1]} x {one.shape[0]}" for name, one in given.items() if one is not None}
    differing = [name for name, size in sizes.items() if size != sizes["image"]]
    if differing:
        raise faults.SIZE_MISMATCH.error(*differing, sizes=", ".join(map(" ".join, sizes.items())))


def _person(mask: np.ndarray) -> np.ndarray:
    """The (H, W) bool mask, if it is not empty."""
    person = mask if mask.dtype == np.bool_ else mask_from_grey(mask, "mask")
    if not person.any():
        raise faults.EMPTY_MASK.error()
    return person


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


def _check_map(iuv: np.ndarray) -> np.ndarray:
    """The (H, W) part numbers of a DensePose map that is one by itself."""
    largest = iuv[..., 0].max()
    if largest > LAST_PART:
        found = f"iuv has body part {largest}, expected 0..{LAST_PART} in its first channel (order I, U, V)"
        raise InputError(found, parts=("densepose",))
    return check_iuv(iuv)


def _check_parts(parts: np.ndarray, mask: np.ndarray) -> tuple[str, ...]:
    """Checks the part numbers of a DensePose map against a mask that is not empty, and returns notes."""
    overlap = Overlap.of(parts, mask)
    check_inverted(overlap, mask)
    if not overlap.both:
        raise faults.MASK_MISSES_PERSON.error()
    if overlap.mask < MIN_MASK_PIXELS:
        raise faults.UNUSABLE_INPUT.error(count=overlap.mask, least=MIN_MASK_PIXELS)
    covered = check_cover(overlap, mask)
    people = count_people(parts, mask)
    if people > 1:
        raise faults.SEVERAL_PEOPLE.error(people=people)
    return (f"body parts cover {covered:.0%} of the mask; expected 30% or more",) * (covered < WELL_COVERED)


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
    given, _ = read_given(image, mask)
    return given.image, given.mask


def decode_pictures(
    image: bytes,
    mask: bytes | None,
    densepose: bytes,
    order: IuvOrder = "vui",
    max_pixels: int = MAX_PIXELS,
    names: tuple[str, str, str] = ("image", "mask", "densepose"),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decodes photograph, mask and DensePose map, none of which may be missing; arguments as of :func:`decode_given`.

    Returns:
        Image (H, W, 3) uint8, mask (H, W) bool and I, U, V (H, W, 3) uint8.

    Raises:
        InputError: If one cannot be used, or there is neither a mask nor transparency.
    """
    given = decode_given(image, mask, densepose, order, max_pixels, names)
    if given.mask is None:
        raise faults.MISSING_MASK.error()
    assert given.iuv is not None
    return given.image, given.mask, given.iuv


def read_pictures(
    image: Path, mask: Path | None, densepose: Path, order: IuvOrder = "vui"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads photograph, mask and DensePose map from files; see :func:`decode_pictures`."""
    files = read_bytes(image), None if mask is None else read_bytes(mask), read_bytes(densepose)
    return decode_pictures(*files, order, names=(str(image), str(mask), str(densepose)))
