"""The camera of a caller's photograph: from intrinsics, a field of view, or the focal length of its EXIF data."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import ExifTags, Image

from hdnet.geometry import Camera
from hdnet.pictures import faults
from hdnet.pictures.decoding import PictureFile, open_header

_FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)
_SHORTEST_MM, _LONGEST_MM = 3.0, 3000.0  # 0 stands for "not known"
_ASPECT_TOLERANCE = 0.02
# Apple's focal lengths of 35 mm include the digital zoom, those of others do not.
_ZOOM_INCLUDED = "apple"
_MOST_ZOOM = 100.0
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Limits of a caller's camera. No lens exceeds them, and beyond them the relief would be turned out of the picture.
_FOCAL_RANGE = (0.2, 100.0)  # in longer sides of the picture: 136 to 0.6 degrees
_FOV_RANGE_DEG = (0.1, 179.9)
_CENTRE_REACH = 1.0  # distance of the principal point from the picture's edge, in sides of the picture

# Origin of a camera: given (intrinsics), fov (field of view), exif (focal length of the photograph), assumed (none).
CameraSource = Literal["given", "fov", "exif", "assumed"]


@dataclass(frozen=True)
class CallerCamera:
    """A photograph's camera, None where the model's default has to do, and its source."""

    camera: Camera | None
    source: CameraSource


def caller_camera(
    data: PictureFile,
    width: int,
    height: int,
    *,
    fx: float | None = None,
    fy: float | None = None,
    cx: float | None = None,
    cy: float | None = None,
    fov_deg: float | None = None,
) -> CallerCamera:
    """The camera of a photograph: the caller's intrinsics or field of view, else that of EXIF, else none.

    Intrinsics are in pixels of the file, whose picture may have been shrunk while it was read.

    Args:
        data: The photograph's file, or as Pillow has opened it.
        width: Of the upright picture in pixels, as it was read.
        height: Of the upright picture in pixels, as it was read.
        fx: Focal length in pixels of the upright picture in the file.
        fy: Focal length along y; that of fx if not given.
        cx: x of the principal point, 0 at the centre of the first pixel; the picture's centre if not given.
        cy: y of the principal point, likewise.
        fov_deg: Vertical field of view in degrees, instead of fx.

    Raises:
        InputError: If the values contradict each other, are incomplete or out of range.
    """
    values = {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "fov_deg": fov_deg}
    given = {name: value for name, value in values.items() if value is not None}
    listed = ", ".join(f"{name} {value:g}" for name, value in given.items())
    if fov_deg is not None:
        if len(given) > 1:
            raise faults.CAMERA_CONFLICT.error(*given, given=listed)
        _check_range(given, width, height, "field of view fov_deg", fov_deg, _FOV_RANGE_DEG, "degrees")
        camera = camera_of_fov(fov_deg, width, height)
        _check_intrinsics(camera.pixel_intrinsics(), width, height, given)
        return CallerCamera(camera, "fov")
    if fx is not None:
        shrink = _shrink(data, width, height)
        middle = ((width - 1) / 2, (height - 1) / 2)
        centre = [_shrunk(given_at, shrink, at) for given_at, at in zip((cx, cy), middle, strict=True)]
        intrinsics = (fx / shrink, (fx if fy is None else fy) / shrink, *centre)
        _check_intrinsics(intrinsics, width, height, given)
        return CallerCamera(Camera(*intrinsics), "given")
    if given:
        raise faults.INCOMPLETE_CAMERA.error(*given, given=listed)
    found = exif_camera(data, width, height)
    return CallerCamera(found, "exif" if found else "assumed")


def _check_intrinsics(intrinsics: Sequence[float], width: int, height: int, given: Mapping[str, float]) -> None:
    """Check that focal lengths and principal point lie within the limits."""
    focal = (_FOCAL_RANGE[0] * max(width, height), _FOCAL_RANGE[1] * max(width, height))
    beyond = ((-_CENTRE_REACH * side, (1 + _CENTRE_REACH) * side) for side in (width, height))
    names = ("focal length fx", "focal length fy", "principal point cx", "principal point cy")
    for name, value, limits in zip(names, intrinsics, (focal, focal, *beyond), strict=True):
        _check_range(given, width, height, name, value, limits, "pixels")


def _check_range(
    given: Mapping[str, float],
    width: int,
    height: int,
    name: str,
    value: float,
    limits: tuple[float, float],
    unit: str,
) -> None:
    low, high = limits
    if not low <= value <= high:  # also refuses NaN
        size = {"width": width, "height": height}
        raise faults.CAMERA_OUT_OF_RANGE.error(*given, name=name, value=value, unit=unit, low=low, high=high, **size)


def camera_of_fov(fov_deg: float, width: int, height: int) -> Camera:
    """A camera with square pixels that looks along the middle of a picture.

    Args:
        fov_deg: Vertical field of view, from the picture's upper to its lower edge, above 0 and below 180.
        width: Of the picture in pixels.
        height: Of the picture in pixels.
    """
    return _centred(height / 2 / math.tan(math.radians(fov_deg) / 2), width, height)


def camera_of_focal_35mm(focal_mm: float, width: int, height: int) -> Camera:
    """The camera of a whole photograph whose focal length is given as of 35 mm film.

    Equivalent focal lengths compare the angle of view along the diagonal (CIPA DCG-001), so the orientation of the
    camera does not matter.

    Args:
        focal_mm: Focal length that gives the same diagonal angle of view on 36 mm x 24 mm.
        width: Of the photograph in pixels.
        height: Of the photograph in pixels.
    """
    return _centred(focal_mm / _FULL_FRAME_DIAGONAL_MM * math.hypot(width, height), width, height)


def exif_camera(data: PictureFile, width: int, height: int) -> Camera | None:
    """The camera of a photograph by its EXIF ``FocalLengthIn35mmFilm`` and ``DigitalZoomRatio``.

    The zoom multiplies the focal length but in pictures of Apple's phones, whose focal length includes it. It holds for
    the whole photograph. Where EXIF's own size has another shape than the picture, it was cropped afterwards, and its
    camera is unknown.

    Args:
        data: The file's bytes, or as Pillow has opened it.
        width: Of the upright picture in pixels.
        height: Of the upright picture in pixels.

    Returns:
        A camera that looks along the middle of the picture; None without a usable focal length.
    """
    tags, maker = _exif_tags(data)
    focal_mm = _number(tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
    zoom = _number(tags.get(ExifTags.Base.DigitalZoomRatio)) or 1.0  # 0 stands for "not used"
    if focal_mm is not None and 1 < zoom <= _MOST_ZOOM and not maker.lower().startswith(_ZOOM_INCLUDED):
        focal_mm *= zoom
    if focal_mm is None or not _SHORTEST_MM <= focal_mm <= _LONGEST_MM:
        return None
    sides = (tags.get(ExifTags.Base.ExifImageWidth), tags.get(ExifTags.Base.ExifImageHeight))
    recorded = [side for side in map(_number, sides) if side]
    if len(recorded) == 2 and not _same_shape(recorded, [float(width), float(height)]):
        return None
    return camera_of_focal_35mm(focal_mm, width, height)


def shrunk_camera(camera: Camera, shrink: float) -> Camera:
    """The camera of a picture of a ``shrink``-th of the pixels along a side."""
    start = (shrink - 1) / 2  # the first pixel lies amid those that it stands for
    return camera if shrink == 1 else camera.crop(start, start, shrink)


def _centred(focal_px: float, width: int, height: int) -> Camera:
    return Camera(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2)


def _shrink(data: PictureFile, width: int, height: int) -> int:
    """Pixels of a file along a side over those of the picture that was read from it."""
    try:
        header = open_header(data)
    except Exception:  # noqa: BLE001 - the picture itself was read, or is given as an array
        return 1
    return max(1, round(max(header.size) / max(width, height)))


def _shrunk(coordinate: float | None, shrink: int, middle: float) -> float:
    """A coordinate of the file's picture in the shrunk one; ``middle`` where there is none."""
    if coordinate is None:
        return middle
    return coordinate if shrink == 1 else (coordinate + 0.5) / shrink - 0.5


def _exif_tags(data: PictureFile) -> tuple[dict[int, object], str]:
    """The photograph's own part of its EXIF data and the camera's maker; empty where there is none or it is damaged."""
    try:
        exif = data.getexif() if isinstance(data, Image.Image) else Image.Exif()
        if isinstance(data, bytes):
            exif.load(_png_exif(data) if data.startswith(_PNG_SIGNATURE) else open_header(data).info.get("exif", b""))
        return dict(exif.get_ifd(ExifTags.IFD.Exif)), str(exif.get(ExifTags.Base.Make, ""))
    except Exception:  # noqa: BLE001 - Pillow's parser raises many kinds of errors on damaged data
        return {}, ""


def _png_exif(data: bytes) -> bytes:
    """The chunk ``eXIf``, which mostly follows the pixels: Pillow would decode them again to find it."""
    place = len(_PNG_SIGNATURE)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"eXIf":
            return data[place + 8 : place + 8 + length]
        place += length + 12  # length, kind and checksum
    return b""


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) else None


def _same_shape(one: list[float], other: list[float]) -> bool:
    """Return whether two sizes have one aspect ratio, whichever side is the longer."""
    ratios = [max(sides) / min(sides) for sides in (one, other)]
    return abs(ratios[0] / ratios[1] - 1) <= _ASPECT_TOLERANCE
