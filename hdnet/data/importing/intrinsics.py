"""Cameras of full frames: from the user's file, or by a stated assumption."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hdnet.errors import DataError
from hdnet.files import read_json_object
from hdnet.geometry import Camera
from hdnet.pictures.cameras import camera_of_fov

# The original's camera: 1111.6 pixels for a height of 1080 (docs/parity.md, 21).
DEFAULT_FOV_DEG = math.degrees(2 * math.atan(540 / 1111.6))

_KEYS = ("fx", "fy", "cx", "cy")


@dataclass(frozen=True)
class Intrinsics:
    """Cameras of full frames.

    Attributes:
        fov_deg: Vertical field of view of frames whose camera is not known.
        known: Values of the user's file by sequence name; "" for all others.
        file: That file.
    """

    fov_deg: float = DEFAULT_FOV_DEG
    known: dict[str, dict[str, float]] = field(default_factory=dict)
    file: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.fov_deg <= 170:
            raise DataError(f"--fov-deg {self.fov_deg:g}: expected the vertical field of view, 1 to 170 degrees")

    @classmethod
    def read(cls, file: Path, fov_deg: float = DEFAULT_FOV_DEG) -> Intrinsics:
        """Read ``{"fx": .., "fy": .., "cx": .., "cy": ..}`` in pixels of the full frame, for all sequences.

        With ``"width"`` and ``"height"`` of the frames they belong to, frames of the same shape and another size are
        scaled. ``"sequences": {name: {...}}`` gives single sequences their own; without values beside it, the others
        take ``fov_deg``. Pixel centres have integer coordinates: the middle of a picture W wide is (W - 1) / 2.

        Raises:
            DataError: The file is unreadable or holds anything else.
        """
        content = read_json_object(file)
        sequences = content.pop("sequences", {})
        if not isinstance(sequences, dict):
            raise DataError(f"{file}: sequences must be an object of sequence name: fx, fy, cx, cy")
        named = {"": content, **sequences} if content else dict(sequences)
        known = {name: _values(file, name, values) for name, values in named.items()}
        if not known:
            raise DataError(f"{file}: holds no camera; expected fx, fy, cx, cy in pixels of the full frame")
        return cls(fov_deg, known, str(file))

    def camera(self, sequence: str, width: int, height: int) -> Camera:
        """Return the camera of a full frame.

        Raises:
            DataError: The known values belong to frames of another shape.
        """
        values = self.known.get(sequence, self.known.get(""))
        if values is None:
            return camera_of_fov(self.fov_deg, width, height)
        scale = 1.0
        if "width" in values:
            scale = width / values["width"]
            if abs(values["height"] * scale - height) > 1.5:
                raise DataError(
                    f"{self.file}: intrinsics are for {values['width']:g} x {values['height']:g} pixels, the frames of "
                    f"sequence {sequence} have {width} x {height}; expected frames of the same shape"
                )
        fx, fy, cx, cy = (values[key] for key in _KEYS)
        # Pixel edges, not pixel centres, keep their place when a picture is scaled.
        return Camera(fx * scale, fy * scale, (cx + 0.5) * scale - 0.5, (cy + 0.5) * scale - 0.5)

    def describe(self) -> str:
        """Return one line for the report."""
        if self.file:
            rest = "" if "" in self.known else f"; others {self.fov_deg:.4g} degrees vertical field of view (assumed)"
            return f"intrinsics from {self.file}{rest}"
        return f"not known, assumed: {self.fov_deg:.4g} degrees vertical field of view (--fov-deg, --intrinsics)"


def _values(file: Path, name: str, values: Any) -> dict[str, float]:
    where = f"{file}: sequence {name}" if name else f"{file}"
    if not isinstance(values, dict) or not set(_KEYS) <= values.keys() <= {*_KEYS, "width", "height"}:
        raise DataError(f"{where}: found {values!r}; expected fx, fy, cx, cy, and width and height where known")
    if ("width" in values) != ("height" in values):
        raise DataError(f"{where}: found one of width and height; expected both or none")
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise DataError(f"{where}: {key} is {value!r}; expected a finite number of pixels")
        if key not in ("cx", "cy") and value <= 0:
            raise DataError(f"{where}: {key} is {value!r}; expected a positive number of pixels")
    return {key: float(value) for key, value in values.items()}
