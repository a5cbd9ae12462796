"""Forms of ``POST /depth`` and ``/depth/batch``: their fields, and the files and values in them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, BinaryIO, TypeVar

from fastapi import File, Form, Request, UploadFile
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema

from hdnet.pictures.reading import IuvOrder
from hdnet.predict.prediction import Box
from serving import problems
from serving.problems import Problem

MAX_PICTURES = 32

ValueT = TypeVar("ValueT")

FocalLength = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]
Coordinate = Annotated[float | None, Field(allow_inf_nan=False)]
FieldOfView = Annotated[float | None, Field(ge=0.1, lt=180, allow_inf_nan=False)]  # a tiny one has no finite camera
Height = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]
# In a batch an empty text stands for a picture without the value: a form cannot hold null.
_BatchOrder = Annotated[IuvOrder, BeforeValidator(lambda value: value or "vui")]
_BatchHeight = Annotated[
    Height,
    BeforeValidator(lambda value: value or None),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]

_IMAGE = "Photograph of a person: PNG, JPEG, WebP, BMP or GIF; any size, upright as EXIF says."
_DENSEPOSE = "DensePose map of the image as PNG, of the same size. Models for photographs do not need it."
_MASK = "White person on black. Without one the image's transparency counts, else the person is found."
_ORDER = "Meaning of R, G, B of the DensePose map: V, U, I (the default) or I, U, V."
_FX = "Focal length in pixels of the upright picture; with it no fov_deg."
_FY = "Focal length along y in pixels; that of fx if not given."
_CX = "x of the principal point in pixels, 0 at the centre of the first; the picture's centre if not given."
_CY = "y of the principal point, likewise."
_FOV = "Vertical field of view of the upright picture in degrees, instead of fx."
_BOX = "The person, of several: left,top,right,bottom in pixels of the upright picture."
_HEIGHT = "Height of the person in metres, from head to sole; sets the distance."
_MODEL = "Id of one of GET /models: a version of the registry, or shipped; the model in service if not given."
_ONE_OR_EACH = "Once for all pictures, or as often as there are pictures, in their order."
_EACH = "As often as there are pictures, in their order; empty where not known."
_EACH_FILE = "Not at all, or as often as there are pictures, in their order; empty where a picture has none."
_CAMERAS = (
    "JSON: one camera for all pictures, an object with fx, fy, cx, cy or fov_deg, or a list with one object or null "
    "for every picture."
)
_EXPECTED_CAMERAS = "an object with fx, fy, cx, cy or fov_deg, or a list of them with null where nothing is known"

ImageField = Annotated[UploadFile, File(description=_IMAGE)]
DensePoseField = Annotated[UploadFile | None, File(description=_DENSEPOSE)]
MaskField = Annotated[UploadFile | None, File(description=_MASK)]
OrderField = Annotated[IuvOrder, Form(description=_ORDER)]
BoxField = Annotated[str, Form(description=_BOX, examples=["120,40,560,900"])]
HeightField = Annotated[Height, Form(description=_HEIGHT, examples=[1.75])]
ModelField = Annotated[str, Form(description=_MODEL, examples=["3"])]
ImagesField = Annotated[list[UploadFile], File(description=f"1 to {MAX_PICTURES} photographs. {_IMAGE}")]
DensePosesField = Annotated[list[UploadFile] | None, File(description=f"{_EACH_FILE} {_DENSEPOSE}")]
MasksField = Annotated[list[UploadFile] | None, File(description=f"{_EACH_FILE} {_MASK}")]
OrdersField = Annotated[list[_BatchOrder], Form(description=f"{_ORDER} {_ONE_OR_EACH}")]
BoxesField = Annotated[list[str] | None, Form(description=f"{_BOX} {_EACH}")]
HeightsField = Annotated[list[_BatchHeight] | None, Form(description=f"{_HEIGHT} {_EACH}")]
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
        mask: The mask, if given.
        densepose: The DensePose map, if given.
        order: Its channel order.
        camera: The caller's statement of the camera.
        box: The chosen person, (left, top, right, bottom) in pixels of the upright picture.
        height_m: Height of the person.
    """

    image: BinaryIO
    mask: BinaryIO | None = None
    densepose: BinaryIO | None = None
    order: IuvOrder = "vui"
    camera: CameraFields = field(default_factory=CameraFields)
    box: Box | None = None
    height_m: float | None = None


@dataclass(frozen=True)
class FormFields:
    """The fields that an address takes.

    Attributes:
        path: The address.
        once: Fields that a form may have once.
        each: Fields that it may have once a picture.
    """

    path: str
    once: tuple[str, ...]
    each: tuple[str, ...] = ()


_PICTURE_FIELDS = ("image", "mask", "densepose", "densepose_order", "box", "height_m")
ONE = FormFields("/depth", (*_PICTURE_FIELDS, *CameraFields.model_fields, "model"))
BATCH = FormFields("/depth/batch", ("cameras", "model"), _PICTURE_FIELDS)


async def check_fields(request: Request, fields: FormFields) -> None:
    """Refuses fields that an address does not take, or takes once; nothing that a caller sends is ignored.

    Raises:
        Problem: 422, which names the field and those that the address takes.
    """
    known = (*fields.once, *fields.each)
    for name in request.query_params:
        raise _unknown(name, "the query", fields)
    given = [name for name, _ in (await request.form()).multi_items()]
    for name in given:
        if name not in known:
            raise _unknown(name, "the form", fields)
    for name in fields.once:
        if (count := given.count(name)) > 1:
            hint = f" ({BATCH.path} takes several pictures)" if name == "image" else ""
            listed = ", ".join(known)
            raise problems.REPEATED_FIELD.problem(name, field=name, count=count, hint=hint, known=listed)


def _unknown(name: str, where: str, fields: FormFields) -> Problem:
    known = (*fields.once, *fields.each)
    hint = ""
    if name in known:
        hint = " there but as a part of the form"
    elif name in ONE.once:
        hint = " (a batch has its cameras in 'cameras')"
    elif name in BATCH.once:
        hint = f" ({BATCH.path} does)"
    shown, listed = _shown(name), ", ".join(known)
    return problems.UNKNOWN_FIELD.problem(shown, field=shown, where=where, path=fields.path, hint=hint, known=listed)


def _shown(name: str) -> str:
    """What the client wrote, on one line and not long."""
    return repr(name[:40])[1:-1]


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


def parse_box(text: str) -> Box | None:
    """The box of a form's field; None where it is empty.

    Raises:
        Problem: 422 if it is not four numbers of a box with an inside.
    """
    if not text.strip():
        return None
    try:
        left, top, right, bottom = (float(value) for value in text.split(","))
    except ValueError:
        left = top = right = bottom = math.nan
    if not (left < right and top < bottom and math.isfinite(right - left) and math.isfinite(bottom - top)):
        reason = f"'{_shown(text)}', expected left,top,right,bottom in pixels of the upright picture: 120,40,560,900"
        raise problems.INVALID_FIELD.problem("box", field="box", reason=reason)
    return left, top, right, bottom


def one_picture(
    image: UploadFile,
    mask: UploadFile | None,
    densepose: UploadFile | None,
    order: IuvOrder,
    camera: CameraFields,
    box: str,
    height_m: float | None,
) -> Parts:
    """The parts of ``POST /depth``.

    Raises:
        Problem: 422 if the box is none.
    """
    return Parts(image.file, _given(mask), _given(densepose), order, camera, parse_box(box), height_m)


def several_pictures(
    images: list[UploadFile],
    masks: list[UploadFile] | None,
    maps: list[UploadFile] | None,
    orders: list[IuvOrder],
    cameras: str,
    boxes: list[str] | None,
    heights: list[float | None] | None,
) -> list[Parts]:
    """The parts of ``POST /depth/batch``, picture by picture.

    Raises:
        Problem: 422 if there are too many pictures, or not one map, mask, camera, box and height for each.
    """
    count = len(images)
    all_cameras = parse_cameras(cameras, count)
    if count > MAX_PICTURES:
        raise problems.TOO_MANY_PICTURES.problem(found=count, most=MAX_PICTURES)
    together = zip(
        images,
        _each("mask", [_given(mask) for mask in masks or []], count, None),
        _each("densepose", [_given(iuv) for iuv in maps or []], count, None),
        _each("densepose_order", orders * count if len(orders) == 1 else orders, count, "vui"),
        all_cameras,
        _each("box", [parse_box(box) for box in boxes or []], count, None),
        _each("height_m", heights or [], count, None),
        strict=True,
    )
    return [Parts(image.file, *others) for image, *others in together]


def _each(name: str, values: Sequence[ValueT], count: int, default: ValueT) -> Sequence[ValueT]:
    """One value a picture, the default where the form has none, or only what a browser sends for an empty field.

    Raises:
        Problem: 422 if there is another number of them.
    """
    if all(value == default for value in values) and len(values) != count:
        return [default] * count
    if len(values) != count:
        found = f"the form has the part 'image' {count} times and '{name}' {len(values)} times"
        raise problems.COUNT_MISMATCH.problem("image", name, found=found)
    return values


def _given(part: UploadFile | None) -> BinaryIO | None:
    """The part's file; None for what a browser's form sends for a file field that was left empty."""
    return None if part is None or (not part.filename and not part.size) else part.file
