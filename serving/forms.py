"""Forms of ``POST /depth`` and ``/depth/batch``: their fields, and the pictures and cameras in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, BinaryIO

from fastapi import File, Form, UploadFile
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hdnet.pictures.cameras import CallerCamera, caller_camera
from hdnet.pictures.checks import Pictures, check_pictures, decode_pictures
from hdnet.pictures.reading import IuvOrder
from serving import problems

MAX_PICTURES = 32

FocalLength = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]
Coordinate = Annotated[float | None, Field(allow_inf_nan=False)]
FieldOfView = Annotated[float | None, Field(ge=0.1, lt=180, allow_inf_nan=False)]  # a tiny one has no finite camera

_IMAGE = "Photograph of one person: PNG, JPEG, WebP, BMP or GIF; any size, upright as EXIF says."
_DENSEPOSE = "DensePose map of the image as PNG, of the same size. The network needs it."
_MASK = "White person on black. Not needed if the image is transparent around the person."
_ORDER = "Meaning of R, G, B of the DensePose map: V, U, I (the default) or I, U, V."
_FX = "Focal length in pixels of the upright picture; with it no fov_deg."
_FY = "Focal length along y in pixels; that of fx if not given."
_CX = "x of the principal point in pixels, 0 at the centre of the first; the picture's centre if not given."
_CY = "y of the principal point, likewise."
_FOV = "Vertical field of view of the upright picture in degrees, instead of fx."
_CAMERAS = (
    "JSON: one camera for all pictures, an object with fx, fy, cx, cy or fov_deg, or a list with one object or null "
    "for every picture."
)
_EXPECTED_CAMERAS = "an object with fx, fy, cx, cy or fov_deg, or a list of them with null where nothing is known"

ImageField = Annotated[UploadFile, File(description=_IMAGE)]
DensePoseField = Annotated[UploadFile, File(description=_DENSEPOSE)]
MaskField = Annotated[UploadFile | None, File(description=_MASK)]
OrderField = Annotated[IuvOrder, Form(description=_ORDER)]
ImagesField = Annotated[list[UploadFile], File(description=f"1 to {MAX_PICTURES} photographs. {_IMAGE}")]
DensePosesField = Annotated[list[UploadFile], File(description=f"As many, in the same order. {_DENSEPOSE}")]
MasksField = Annotated[list[UploadFile] | None, File(description=f"As many, in the same order, or none. {_MASK}")]
CamerasField = Annotated[str, Form(description=_CAMERAS, examples=['{"fov_deg": 55}', '[{"fx": 1480}, null]'])]


class CameraFields(BaseModel):
    """A caller's statement of a picture's camera: intrinsics, a field of view, or nothing.

    Pixels are those of the upright picture; integer coordinates lie at pixel centres.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fx: FocalLength = None
    fy: FocalLength = None
    cx: Coordinate = None
    cy: Coordinate = None
    fov_deg: FieldOfView = None


_CAMERAS_JSON: TypeAdapter[list[CameraFields | None]] = TypeAdapter(list[CameraFields | None])


@dataclass(frozen=True, eq=False)
class Parts:
    """Files and fields of one picture.

    Attributes:
        image: The photograph.
        mask: The mask; without one the photograph's transparency is the mask.
        densepose: The DensePose map.
        order: Its channel order.
        camera: The caller's statement of the camera.
    """

    image: BinaryIO
    mask: BinaryIO | None
    densepose: BinaryIO
    order: IuvOrder
    camera: CameraFields


def decode_parts(parts: Parts, max_pixels: int) -> tuple[Pictures, CallerCamera]:
    """Reads and checks the pictures and the camera of a form.

    Args:
        parts: Of one picture.
        max_pixels: Larger pictures are refused before they are decompressed.

    Raises:
        InputError: With the code and the parts at fault.
    """
    image = parts.image.read()
    mask = None if parts.mask is None else parts.mask.read()
    pictures = check_pictures(*decode_pictures(image, mask, parts.densepose.read(), parts.order, max_pixels))
    height, width = pictures.mask.shape
    return pictures, caller_camera(image, width, height, **parts.camera.model_dump())


def camera_form(
    fx: Annotated[FocalLength, Form(description=_FX, examples=[1480.0])] = None,
    fy: Annotated[FocalLength, Form(description=_FY, examples=[1480.0])] = None,
    cx: Annotated[Coordinate, Form(description=_CX, examples=[539.5])] = None,
    cy: Annotated[Coordinate, Form(description=_CY, examples=[959.5])] = None,
    fov_deg: Annotated[FieldOfView, Form(description=_FOV)] = None,
) -> CameraFields:
    """The camera of ``POST /depth``, from the form's fields."""
    return CameraFields(fx=fx, fy=fy, cx=cx, cy=cy, fov_deg=fov_deg)


def parse_cameras(text: str, count: int) -> list[CameraFields]:
    """The cameras of a batch, one a picture.

    Args:
        text: The form's field ``cameras``; empty if it has none.
        count: Of the pictures.

    Raises:
        Problem: 422 if it is not JSON, holds something else, or another number of cameras than pictures.
    """
    if not text.strip():
        return [CameraFields()] * count
    try:
        value = json.loads(text)
        cameras = _CAMERAS_JSON.validate_python(value if isinstance(value, list) else [value] * count)
    except (ValueError, RecursionError) as error:  # pydantic's errors are ValueErrors
        reason = f"{_camera_fault(error)}; expected {_EXPECTED_CAMERAS}"
        raise problems.INVALID_FIELD.problem("cameras", field="cameras", reason=reason) from error
    if len(cameras) != count:
        found = f"the part 'cameras' lists {len(cameras)} for {count} pictures"
        raise problems.COUNT_MISMATCH.problem("cameras", found=found)
    return [camera or CameraFields() for camera in cameras]


def _camera_fault(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"not understood at {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"not JSON ({' '.join(str(error).split())})"


def one_picture(
    image: UploadFile, densepose: UploadFile, mask: UploadFile | None, order: IuvOrder, camera: CameraFields
) -> Parts:
    """The parts of ``POST /depth``."""
    return Parts(image.file, _given(mask), densepose.file, order, camera)


def several_pictures(
    images: list[UploadFile], maps: list[UploadFile], masks: list[UploadFile] | None, order: IuvOrder, cameras: str
) -> list[Parts]:
    """The parts of ``POST /depth/batch``, picture by picture.

    Raises:
        Problem: 422 if there are too many pictures, or not one map, mask and camera for each.
    """
    count = len(images)
    all_cameras = parse_cameras(cameras, count)
    given = [_given(mask) for mask in masks or []]
    if not any(given):  # a browser's form sends one for a field that was left empty
        given = [None] * count
    if count > MAX_PICTURES:
        raise problems.TOO_MANY_PICTURES.problem(found=count, most=MAX_PICTURES)
    for name, number in (("densepose", len(maps)), ("mask", len(given))):
        if number != count:
            found = f"the form has the part 'image' {count} times and '{name}' {number} times"
            raise problems.COUNT_MISMATCH.problem("image", name, found=found)
    together = zip(images, given, maps, all_cameras, strict=True)
    return [Parts(image.file, mask, iuv.file, order, camera) for image, mask, iuv, camera in together]


def _given(part: UploadFile | None) -> BinaryIO | None:
    """The part's file; None for what a browser's form sends for a file field that was left empty."""
    return None if part is None or (not part.filename and not part.size) else part.file
