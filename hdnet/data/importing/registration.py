"""``registration.json``: cameras, units and file names of a raw release of colour and depth.

What is known of Tang et al.'s release (ICCV 2019, "A Neural Network for Detailed Human Depth Estimation from a Single
Image"; repository sfu-gruvi-3dv/deep_human): its training code reads ``SUBJECT/**/NNNN_rgb.png`` with
``NNNN_depth.png`` beside it, 16 bit, millimetres, above 100 where measured, or ``NNNN_depth.npy`` in metres; its code
for normals has fx 1066.01, fy 1068.87, cx 945, cy 520 (as of 1920 x 1080), divided by 2.22 and cut by 100 columns on
the left. ``*_final_depth.npy``, which the first download held (issue 2 there), is a preprocessed form, shifted by its
median, from which no metric depth can be had. The download is gone (issue 12 there) and no calibration file of it is
known, so the registration is the user's to state, in this one file::

    {
      "color": "{frame}_rgb.png", "depth": "{frame}_depth.png",
      "densepose": "densepose/{frame}.png", "mask": "mask/{frame}.png", "iuv_order": "vui",
      "depth_unit_m": 0.001,
      "color_camera": {"width": 1920, "height": 1080, "fx": 1066.01, "fy": 1068.87, "cx": 945, "cy": 520},
      "depth_camera": {"width": 512, "height": 424, "fx": 365.2, "fy": 365.2, "cx": 257.9, "cy": 206.1},
      "depth_to_color": [[1, 0, 0, 0.052], [0, 1, 0, 0], [0, 0, 1, 0]], "translation_unit_m": 1.0
    }

The first two lines and ``translation_unit_m`` are the defaults, the rest must be given. ``{frame}`` may hold folders,
the first of which is the person. ``"mask": null`` means that the person is where the depth is; ``depth_to_color`` is
3 x 4 or 4 x 4, or the name of a text file of every frame.

Assumed: pinhole cameras without distortion, pixel centres at integer coordinates, x right, y down, z forward, depth is
z, ``p_color = R p_depth + t``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hdnet.data.layout.text import read_text
from hdnet.errors import DataError
from hdnet.files import read_json_object
from hdnet.geometry import Camera
from hdnet.pictures.reading import IuvOrder

REGISTRATION_FILE = "registration.json"

_REQUIRED = ("depth_unit_m", "color_camera", "depth_camera", "depth_to_color")
_NAMES = {
    "color": "{frame}_rgb.png",
    "depth": "{frame}_depth.png",
    "densepose": "densepose/{frame}.png",
    "mask": "mask/{frame}.png",
}
_KNOWN = (*_NAMES, "iuv_order", *_REQUIRED, "translation_unit_m")
_CAMERA_KEYS = ("width", "height", "fx", "fy", "cx", "cy")
_RIGID_TOLERANCE = 1e-3
_MAX_BASELINE_M = 1.0


@dataclass(frozen=True)
class SizedCamera:
    """A camera and the size of its pictures.

    Attributes:
        camera: Pinhole camera.
        width: Pixels.
        height: Pixels.
    """

    camera: Camera
    width: int
    height: int


@dataclass(frozen=True)
class Registration:
    """Content of ``registration.json``.

    Attributes:
        names: Member name by kind ("color", "depth", "densepose", "mask", "depth_to_color"), with ``{frame}`` in it;
            no "mask" where the person is where the depth is, no "depth_to_color" where one matrix holds for all.
        iuv_order: Channels of the DensePose pictures.
        depth_unit_m: Metres per unit of depth.
        translation_unit_m: Metres per unit of the matrices' translation.
        color_camera: Camera of the colour pictures.
        depth_camera: Camera of the depth maps.
        color_T_depth: (4, 4) as nested tuples, for all frames; None where every frame has its own.
    """

    names: Mapping[str, str]
    iuv_order: IuvOrder
    depth_unit_m: float
    translation_unit_m: float
    color_camera: SizedCamera
    depth_camera: SizedCamera
    color_T_depth: tuple[tuple[float, ...], ...] | None

    @classmethod
    def read(cls, file: Path) -> Registration:
        """Read the file, JSON, or YAML where its name says so.

        Raises:
            DataError: It is unreadable, lacks a key, has an unknown one or a value out of range.
        """
        content = _read_object(file)
        unknown, missing = set(content) - set(_KNOWN), [key for key in _REQUIRED if key not in content]
        if unknown or missing:
            found = f"unknown key {sorted(map(str, unknown))[0]!r}" if unknown else f"{missing[0]} is missing"
            raise DataError(f"{file}: {found}; expected {', '.join(_REQUIRED)}, and as needed {', '.join(_NAMES)}")
        order, motion = content.get("iuv_order", "vui"), content["depth_to_color"]
        if order not in ("vui", "iuv"):
            raise DataError(f"{file}: iuv_order is {order!r}; expected vui or iuv")
        unit_m = _positive(file, "translation_unit_m", content.get("translation_unit_m", 1.0))
        one_for_all = None if isinstance(motion, str) else rigid_motion(file, motion, unit_m)
        return cls(
            _names(file, content),
            order,
            _positive(file, "depth_unit_m", content["depth_unit_m"]),
            unit_m,
            _camera(file, "color_camera", content["color_camera"]),
            _camera(file, "depth_camera", content["depth_camera"]),
            None if one_for_all is None else tuple(tuple(row) for row in one_for_all.tolist()),
        )

    def motion(self, file: Path | None) -> np.ndarray:
        """Return the (4, 4) motion of a frame: the one for all, or the frame's own from a text file.

        Raises:
            DataError: The file is missing or holds no rigid motion.
        """
        if self.color_T_depth is not None:
            return np.array(self.color_T_depth)
        if file is None:
            raise DataError("depth_to_color names a file of every frame, and this frame has none")
        rows = [line.replace(",", " ").split() for line in read_text(file).splitlines() if line.strip()]
        return rigid_motion(file, rows, self.translation_unit_m)


def rigid_motion(file: Path, rows: Any, translation_unit_m: float) -> np.ndarray:
    """Return a checked 3 x 4 or 4 x 4 rigid motion.

    Returns:
        (4, 4) float64, translation in metres.

    Raises:
        DataError: It has another shape, or is no rotation with a translation.
    """
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: depth_to_color is no matrix of numbers; expected 3 x 4 or 4 x 4") from error
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0, 0, 0, 1]])
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], [0, 0, 0, 1]):
        found = " x ".join(map(str, matrix.shape))
        raise DataError(f"{file}: depth_to_color is {found}; expected a finite 3 x 4, or 4 x 4 with 0 0 0 1 below")
    rotation = matrix[:3, :3]
    off, determinant = float(np.abs(rotation @ rotation.T - np.eye(3)).max()), float(np.linalg.det(rotation))
    if off > _RIGID_TOLERANCE or determinant < 0:
        raise DataError(
            f"{file}: the first three columns of depth_to_color are no rotation (off by {off:.2g}, determinant "
            f"{determinant:.3g}); expected p_color = R p_depth + t without intrinsics"
        )
    matrix[:3, 3] *= translation_unit_m
    baseline_m = float(np.linalg.norm(matrix[:3, 3]))
    if baseline_m > _MAX_BASELINE_M:
        raise DataError(
            f"{file}: depth_to_color moves by {baseline_m:.3g} m; expected two cameras less than "
            f"{_MAX_BASELINE_M:g} m apart; if it is in millimetres set translation_unit_m to 0.001"
        )
    return matrix


def _read_object(file: Path) -> dict[str, Any]:
    if file.suffix.lower() not in (".yaml", ".yml"):
        return read_json_object(file)
    try:
        content = yaml.safe_load(read_text(file))
    except yaml.YAMLError as error:
        raise DataError(f"{file}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: found no object; expected {', '.join(_REQUIRED)}")
    return content


def _names(file: Path, content: dict[str, Any]) -> dict[str, str]:
    names = {key: content.get(key, default) for key, default in _NAMES.items()}
    if names["mask"] is None:
        del names["mask"]
    if isinstance(content["depth_to_color"], str):
        names["depth_to_color"] = content["depth_to_color"]
    for key, name in names.items():
        if not isinstance(name, str) or name.count("{frame}") != 1 or re.search("[{}]", name.replace("{frame}", "")):
            raise DataError(f"{file}: {key} is {name!r}; expected a file name with {{frame}} once in it")
    return names


def _positive(file: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise DataError(f"{file}: {key} is {value!r}; expected a number above 0")
    return float(value)


def _camera(file: Path, key: str, values: Any) -> SizedCamera:
    if not isinstance(values, dict) or set(values) != set(_CAMERA_KEYS):
        raise DataError(f"{file}: {key} is {values!r}; expected {', '.join(_CAMERA_KEYS)}, in pixels")
    numbers = [_positive(file, f"{key}.{name}", values[name]) for name in _CAMERA_KEYS]
    width, height, *intrinsics = numbers
    return SizedCamera(Camera(*intrinsics), int(width), int(height))
