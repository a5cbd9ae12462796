"""Which camera a request's picture was taken with: stated by the caller, by EXIF, or assumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Form
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hdnet.geometry import Camera
from hdnet.pictures.photo_camera import camera_of_fov, exif_camera
from serving.problems import Problem
from serving.schemas import CameraSource

# Beyond these no lens is, and the networks' relief would be turned out of the picture.
_FOCAL_RANGE = (0.2, 100.0)  # in longer sides of the picture: 136 to 0.6 degrees
_MIDDLE_REACH = 1.0  # how many sides the principal point may lie beyond the picture's edge

FocalLength = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]
Coordinate = Annotated[float | None, Field(allow_inf_nan=False)]
FieldOfView = Annotated[float | None, Field(ge=0.1, lt=180, allow_inf_nan=False)]  # a tiny one has no finite camera


class CameraFields(BaseModel):
    """What a caller says about the camera of a picture: intrinsics, a field of view, or nothing.

    Pixels are those of the upright picture; integer coordinates lie at pixel centres.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fx: FocalLength = None
    fy: FocalLength = None
    cx: Coordinate = None
    cy: Coordinate = None
    fov_deg: FieldOfView = None


_FX = "Focal length in pixels of the upright picture; with it no fov_deg."
_FY = "Focal length along y in pixels; that of fx if not given."
_CX = "x of the principal point in pixels, 0 at the centre of the first; the picture's middle if not given."
_CY = "y of the principal point, likewise."
_FOV = "Vertical field of view of the upright picture in degrees, instead of fx."
_CAMERAS = (
    "JSON: one camera for all pictures, an object with fx, fy, cx, cy or fov_deg, or a list with one object or null "
    "for every picture."
)


def camera_form(
    fx: Annotated[FocalLength, Form(description=_FX, examples=[1480.0])] = None,
    fy: Annotated[FocalLength, Form(description=_FY, examples=[1480.0])] = None,
    cx: Annotated[Coordinate, Form(description=_CX, examples=[539.5])] = None,
    cy: Annotated[Coordinate, Form(description=_CY, examples=[959.5])] = None,
    fov_deg: Annotated[FieldOfView, Form(description=_FOV)] = None,
) -> CameraFields:
    """The camera of ``POST /depth``, from the form's fields."""
    return CameraFields(fx=fx, fy=fy, cx=cx, cy=cy, fov_deg=fov_deg)


CamerasField = Annotated[str, Form(description=_CAMERAS, examples=['{"fov_deg": 55}', '[{"fx": 1480}, null]'])]
_CAMERAS_JSON: TypeAdapter[list[CameraFields | None]] = TypeAdapter(list[CameraFields | None])


def parse_cameras(text: str, count: int) -> list[CameraFields]:
    """The cameras of a batch, one a picture.

    Args:
        text: The form's field ``cameras``; empty if it has none.
        count: Of the pictures.

    Raises:
        Problem: 422 if it is not JSON, holds something else, or as many as there are not pictures.
    """
    if not text.strip():
        return [CameraFields()] * count
    expected = "expected an object with fx, fy, cx, cy or fov_deg, or a list of them with null where nothing is known"
    try:
        value = json.loads(text)
        cameras = _CAMERAS_JSON.validate_python(value if isinstance(value, list) else [value] * count)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        detail = f"the part 'cameras' is not understood at {place}: {first['msg']}; {expected}"
        raise Problem(422, "invalid_field", detail, fields=["cameras"]) from error
    except (ValueError, RecursionError) as error:
        detail = f"the part 'cameras' is not JSON ({' '.join(str(error).split())}); {expected}"
        raise Problem(422, "invalid_field", detail, fields=["cameras"]) from error
    if len(cameras) != count:
        detail = f"the part 'cameras' lists {len(cameras)} for {count} pictures, expected one or null for each"
        raise Problem(422, "count_mismatch", detail, fields=["cameras"])
    return [camera or CameraFields() for camera in cameras]


@dataclass(frozen=True)
class CallerCamera:
    """A picture's camera, None where the model's assumption has to do, and where it is known from."""

    camera: Camera | None
    source: CameraSource


def camera_of(fields: CameraFields, image_data: bytes, width: int, height: int) -> CallerCamera:
    """The camera of one picture: the caller's, else that of EXIF, else none.

    Args:
        fields: What the caller says.
        image_data: The photograph's bytes.
        width: Of the upright picture.
        height: Of the upright picture.

    Raises:
        Problem: 422 if the fields contradict each other, are incomplete or out of range.
    """
    given = {name: value for name, value in fields.model_dump().items() if value is not None}
    if fields.fov_deg is not None:
        if len(given) > 1:
            raise _refusal("camera_conflict", f"{_listed(given)}: expected either fov_deg or fx, fy, cx, cy", given)
        return CallerCamera(_checked(camera_of_fov(fields.fov_deg, width, height), width, height, given), "fov")
    if fields.fx is not None:
        camera = Camera(
            fields.fx,
            fields.fy or fields.fx,
            (width - 1) / 2 if fields.cx is None else fields.cx,
            (height - 1) / 2 if fields.cy is None else fields.cy,
        )
        return CallerCamera(_checked(camera, width, height, given), "given")
    if given:
        raise _refusal("incomplete_camera", f"{_listed(given)} without fx: expected the focal length fx too", given)
    found = exif_camera(image_data, width, height)
    return CallerCamera(found, "exif") if found else CallerCamera(None, "assumed")


def _checked(camera: Camera, width: int, height: int, given: Mapping[str, Any]) -> Camera:
    low, high = (bound * max(width, height) for bound in _FOCAL_RANGE)
    for name, focal_px in (("fx", camera.fx), ("fy", camera.fy)):
        if not low <= focal_px <= high:
            detail = f"focal length {name} is {focal_px:.6g} pixels of a {width} x {height} picture"
            raise _refusal("camera_out_of_range", f"{detail}, expected {low:.6g} to {high:.6g}", given)
    for name, place, side in (("cx", camera.cx, width), ("cy", camera.cy, height)):
        low, high = -_MIDDLE_REACH * side, (1 + _MIDDLE_REACH) * side
        if not low <= place <= high:
            detail = f"principal point {name} is {place:.6g} in a {width} x {height} picture"
            raise _refusal("camera_out_of_range", f"{detail}, expected {low:.6g} to {high:.6g}", given)
    return camera


def _listed(given: Mapping[str, Any]) -> str:
    return "the form has " + ", ".join(f"{name} {value:g}" for name, value in given.items())


def _refusal(code: str, detail: str, given: Mapping[str, Any]) -> Problem:
    return Problem(422, code, detail, fields=list(given))
