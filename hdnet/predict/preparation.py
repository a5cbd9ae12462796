"""A caller's pictures as what the network reads: checked, cut out, resized. Pure NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.errors import InputError
from hdnet.geometry import Camera
from hdnet.pictures.crop import MIN_MASK_PIXELS, Crop, network_inputs
from hdnet.pictures.reading import LAST_PART, covers_nothing, mask_from_grey


@dataclass(frozen=True, eq=False)
class Prepared:
    """One person, ready for the network.

    Attributes:
        inputs_7hw: (7, 256, 256) float32 R, G, B, I, U, V, mask as :meth:`hdnet.models.HDNet.forward` takes it.
        inside: (256, 256) bool, the mask that the network sees.
        square: What of the picture those 256 x 256 pixels are.
        image: (H, W, 3) uint8, the picture as given.
        mask: (H, W) bool.
        camera: The caller's camera of the picture; None if not known.
    """

    inputs_7hw: np.ndarray
    inside: np.ndarray
    square: Crop
    image: np.ndarray
    mask: np.ndarray
    camera: Camera | None


def prepare(
    image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray, camera: Camera | None = None, crop: bool = True
) -> Prepared:
    """Checks a caller's pictures and makes the network's input of them; arguments as of ``Predictor.infer``.

    Raises:
        InputError: If the arrays do not fit together or show no person.
    """
    inside_picture = checked_mask(image, mask, iuv)
    square = Crop.around(inside_picture) if crop else Crop.whole(*inside_picture.shape)
    inputs_7hw, inside = network_inputs(image, inside_picture, iuv, square)
    return Prepared(inputs_7hw, inside, square, image, inside_picture, camera)


def checked_mask(image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray) -> np.ndarray:
    """The mask as (H, W) bool, after everything that the caller may have got wrong.

    Raises:
        InputError: If the arrays do not fit together or show no person.
    """
    if mask is None:
        raise InputError("no mask given, expected one, or a picture whose background is transparent")
    for name, picture in (("image", image), ("mask", mask), ("iuv", iuv)):
        if not isinstance(picture, np.ndarray):
            raise InputError(f"{name} is of type {type(picture).__name__}, expected a NumPy array")
    for name, picture in (("image", image), ("iuv", iuv)):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise InputError(f"{name} is {picture.dtype} of shape {picture.shape}, expected uint8 of shape (H, W, 3)")
    if mask.ndim != 2 or mask.dtype not in (np.bool_, np.uint8):
        raise InputError(f"mask is {mask.dtype} of shape {mask.shape}, expected bool or uint8 of shape (H, W)")
    sizes = {name: f"{p.shape[1]} x {p.shape[0]}" for name, p in (("image", image), ("mask", mask), ("iuv", iuv))}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise InputError(f"sizes differ: {found} pixels, expected three pictures of one size")
    inside = mask if mask.dtype == np.bool_ else mask_from_grey(mask, "mask")
    count = int(inside.sum())
    if count < MIN_MASK_PIXELS:
        found = f"covers {count} pixels" if count else "is empty"
        raise InputError(f"mask {found}, expected the silhouette of a person, at least {MIN_MASK_PIXELS} pixels")
    if covers_nothing(image, inside):
        raise InputError("mask covers nothing of the picture: all pixels under it are white background")
    parts = iuv[..., 0]
    if parts.max() > LAST_PART:
        raise InputError(
            f"iuv has body part {parts.max()}, expected 0..{LAST_PART} in its first channel (order I, U, V)"
        )
    if not ((parts > 0) & inside).any():
        raise InputError("iuv has no body part inside the mask: they show different people, or the map is empty")
    return inside
