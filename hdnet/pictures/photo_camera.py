"""The camera of a photograph: from a field of view that is known, or from what its EXIF data says."""

from __future__ import annotations

import io
import math
import struct

from PIL import ExifTags, Image

from hdnet.geometry import Camera

_FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)
_SHORTEST_MM, _LONGEST_MM = 3.0, 3000.0  # 0 stands for "not known"
_ASPECT_TOLERANCE = 0.02
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


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

    Equivalent focal lengths compare the angle of view along the diagonal (CIPA DCG-001), so it does not matter
    which way the camera was held.

    Args:
        focal_mm: Focal length that gives the same diagonal angle of view on 36 mm x 24 mm.
        width: Of the photograph in pixels.
        height: Of the photograph in pixels.
    """
    return _centred(focal_mm / _FULL_FRAME_DIAGONAL_MM * math.hypot(width, height), width, height)


def exif_camera(data: bytes, width: int, height: int) -> Camera | None:
    """The camera of a photograph by its EXIF ``FocalLengthIn35mmFilm``.

    The focal length holds for the whole photograph. Where EXIF's own size has another shape than the picture,
    it was cut afterwards, and nothing is known about what is left.

    Args:
        data: The file's bytes, which can be opened.
        width: Of the upright picture in pixels.
        height: Of the upright picture in pixels.

    Returns:
        A camera that looks along the middle of the picture; None without a usable focal length.
    """
    tags = _exif_tags(data)
    focal_mm = _number(tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
    if focal_mm is None or not _SHORTEST_MM <= focal_mm <= _LONGEST_MM:
        return None
    sides = (tags.get(ExifTags.Base.ExifImageWidth), tags.get(ExifTags.Base.ExifImageHeight))
    recorded = [side for side in map(_number, sides) if side]
    if len(recorded) == 2 and not _same_shape(recorded, [float(width), float(height)]):
        return None
    return camera_of_focal_35mm(focal_mm, width, height)


def _centred(focal_px: float, width: int, height: int) -> Camera:
    return Camera(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2)


def _exif_tags(data: bytes) -> dict[int, object]:
    """The photograph's own part of its EXIF data; empty where there is none or it is damaged."""
    try:
        exif = Image.Exif()
        exif.load(_png_exif(data) if data.startswith(_PNG_SIGNATURE) else _exif_of_header(data))
        return dict(exif.get_ifd(ExifTags.IFD.Exif))
    except Exception:  # noqa: BLE001 - a stranger's bytes; Pillow's parser raises whatever it stumbles over
        return {}


def _exif_of_header(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        raw: bytes = image.info.get("exif", b"")
    return raw


def _png_exif(data: bytes) -> bytes:
    """The chunk ``eXIf``, which mostly lies behind the pixels: Pillow would decode them again to find it."""
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
    """Whether two sizes have one aspect ratio, whichever side is the longer."""
    ratios = [max(sides) / min(sides) for sides in (one, other)]
    return abs(ratios[0] / ratios[1] - 1) <= _ASPECT_TOLERANCE
