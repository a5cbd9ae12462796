"""The pictures of a form, decoded, with the source of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.pictures.cameras import CallerCamera, caller_camera
from hdnet.pictures.reading import decode_alpha, decode_image, decode_iuv, decode_mask
from serving.forms import Parts
from serving.schemas import InputsBody, MaskSource


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a caller sent of one picture.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool; None without a mask or transparency.
        iuv: (H, W, 3) uint8 in the order I, U, V; None without a DensePose map.
        camera: Camera of the picture.
        inputs: Origins of mask and map.
    """

    image: np.ndarray
    mask: np.ndarray | None
    iuv: np.ndarray | None
    camera: CallerCamera
    inputs: InputsBody


def decode_parts(parts: Parts, max_pixels: int) -> Decoded:
    """Decodes the pictures of a form and its camera; whether they fit together, the predictor checks.

    Args:
        parts: Of one picture.
        max_pixels: Larger pictures are refused before they are decompressed.

    Raises:
        InputError: With the code and the parts at fault.
    """
    data = parts.image.read()
    image = decode_image(data, "image", max_pixels)
    mask: np.ndarray | None
    source: MaskSource = "given"
    if parts.mask is not None:
        mask = decode_mask(parts.mask.read(), "mask", max_pixels)
    else:
        mask = decode_alpha(data, "image", max_pixels)
        source = "found" if mask is None else "transparency"
    iuv = None
    if parts.densepose is not None:
        iuv = decode_iuv(parts.densepose.read(), "densepose", parts.order, max_pixels)
    height, width = image.shape[:2]
    camera = caller_camera(data, width, height, **parts.camera.model_dump())
    return Decoded(image, mask, iuv, camera, InputsBody(mask=source, densepose="found" if iuv is None else "given"))
