"""The pictures of a form, decoded, with the source of each."""

from __future__ import annotations

from dataclasses import dataclass

from hdnet.pictures.cameras import CallerCamera, caller_camera
from hdnet.pictures.reading import Given, decode_given
from hdnet.predict.prediction import Box
from serving.forms import Parts
from serving.schemas import InputsBody, MaskSource


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a caller sent of one picture.

    Attributes:
        pictures: Photograph, mask and DensePose map, as far as given.
        camera: Camera of the photograph.
        inputs: Origins of mask and map.
        box: The chosen person, in pixels of the decoded photograph.
        height_m: The person's height.
    """

    pictures: Given
    camera: CallerCamera
    inputs: InputsBody
    box: Box | None
    height_m: float | None


def decode_parts(parts: Parts, max_pixels: int) -> Decoded:
    """Decodes the pictures of a form and its camera; whether they fit together, the predictor checks.

    Args:
        parts: Of one picture.
        max_pixels: Larger pictures are refused before they are decompressed, larger JPEG photographs shrunk.

    Raises:
        InputError: With the code and the parts at fault.
    """
    data = parts.image.read()
    mask, iuv = (None if file is None else file.read() for file in (parts.mask, parts.densepose))
    pictures = decode_given(data, mask, iuv, parts.order, max_pixels)
    source: MaskSource = "given" if mask else "found" if pictures.mask is None else "transparency"
    height, width = pictures.image.shape[:2]
    camera = caller_camera(data, width, height, **parts.camera.model_dump())
    inputs = InputsBody(mask=source, densepose="given" if iuv else "found")
    box = None if parts.box is None else box_in(parts.box, 1 / pictures.shrink)
    return Decoded(pictures, camera, inputs, box, parts.height_m)


def box_in(box: Box, zoom: float) -> Box:
    """A box in a picture of another size; integer coordinates lie at pixel centres."""
    left, top, right, bottom = ((side + 0.5) * zoom - 0.5 for side in box)
    return left, top, right, bottom
