"""Pinhole camera, pixel rays, projection and unprojection; conventions: :mod:`hdnet.geometry`."""

from __future__ import annotations

import math
from dataclasses import asdict, astuple, dataclass
from typing import Any

import torch
from torch import Tensor

from hdnet.errors import DataError

MEDIAN_DEPTH_M = 4.0
"""Median depth over the mask to which people are shifted in training data, and the distance of a person whose size is
not known."""


@dataclass(frozen=True)
class Camera:
    """Pinhole camera of a crop that was cut out of a larger frame.

    ``frame_x = scale * x + origin_x`` maps crop pixels to frame pixels, in which the intrinsics are given.

    Attributes:
        fx: Focal length in frame pixels, along x.
        fy: Focal length in frame pixels, along y.
        cx: Principal point in frame pixels, x.
        cy: Principal point in frame pixels, y.
        origin_x: Frame x of the crop's pixel (0, 0).
        origin_y: Frame y of the crop's pixel (0, 0).
        scale: Frame pixels per crop pixel.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    origin_x: float = 0.0
    origin_y: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in astuple(self)):
            raise DataError(f"camera has a value that is not finite: {self}; expected seven finite numbers")
        if self.fx <= 0 or self.fy <= 0 or self.scale <= 0:
            raise DataError(f"camera needs fx, fy and scale above 0, found {self.fx}, {self.fy}, {self.scale}")

    @classmethod
    def reference(cls) -> Camera:
        """The original's fixed camera (docs/parity.md, 21), off axis: its principal point is crop pixel (34.5, 139)."""
        return cls(1111.6, 1111.6, 960.0, 540.0, 838.0, 48.0, 3.5390625)

    @classmethod
    def centred(cls, focal_px: float = 314.09, size: int = 256) -> Camera:
        """A camera whose axis passes through the middle of a square picture of ``size`` pixels.

        The default focal length is the reference camera's, in crop pixels.
        """
        centre = (size - 1) / 2
        return cls(focal_px, focal_px, centre, centre)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Camera:
        """Read what :meth:`to_dict` gives; missing crop values mean "no crop"."""
        try:
            return cls(**{key: float(value) for key, value in values.items()})
        except (TypeError, ValueError) as error:
            expected = "expected fx, fy, cx, cy, origin_x, origin_y, scale"
            raise DataError(f"not a camera: {values!r} ({error}); {expected}") from error

    def to_dict(self) -> dict[str, float]:
        """Return the seven numbers by name, for JSON."""
        return asdict(self)

    def crop(self, left: float, top: float, zoom: float) -> Camera:
        """Return the camera of a crop of this picture.

        Args:
            left: x in this picture of the crop's pixel 0.
            top: y in this picture of the crop's pixel 0.
            zoom: Pixels of this picture per pixel of the crop.
        """
        return Camera(
            self.fx,
            self.fy,
            self.cx,
            self.cy,
            self.origin_x + self.scale * left,
            self.origin_y + self.scale * top,
            self.scale * zoom,
        )

    def pixel_intrinsics(self) -> tuple[float, float, float, float]:
        """Return (fx, fy, cx, cy) in the crop's own pixels."""
        return (
            self.fx / self.scale,
            self.fy / self.scale,
            (self.cx - self.origin_x) / self.scale,
            (self.cy - self.origin_y) / self.scale,
        )

    def as_tensor(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the seven numbers in field order, shape (7,); a stack of them is a batch ``camera_b7``."""
        return torch.tensor(astuple(self), dtype=dtype)


# One camera for the whole batch, or a row of Camera.as_tensor() per item.
CameraLike = Camera | Tensor


def camera_columns(camera: CameraLike, like: Tensor) -> tuple[Tensor, ...]:
    """Return (fx, fy, cx, cy, origin_x, origin_y, scale), each (B,) or (1,), with device and dtype of ``like``."""
    camera_b7 = camera.as_tensor(torch.float64)[None] if isinstance(camera, Camera) else camera
    if camera_b7.ndim != 2 or camera_b7.shape[1] != 7:
        raise ValueError(f"expected a camera batch of shape (B, 7), got {tuple(camera_b7.shape)}")
    return camera_b7.to(like).unbind(1)


def pixel_rays(height: int, width: int, camera: CameraLike, like: Tensor) -> Tensor:
    """Return directions K^-1 (x, y, 1) of all pixels: z is 1, so that ray times depth is the point.

    Returns:
        (B, 3, H, W), or (1, 3, H, W) for a single camera.
    """
    fx, fy, cx, cy, origin_x, origin_y, scale = (c[:, None, None] for c in camera_columns(camera, like))
    y_h1 = torch.arange(height, device=like.device, dtype=like.dtype)[:, None]
    x_1w = torch.arange(width, device=like.device, dtype=like.dtype)[None, :]
    ray_x = ((scale * x_1w + origin_x) - cx) / fx
    ray_y = ((scale * y_h1 + origin_y) - cy) / fy
    shape = (len(ray_x), height, width)
    return torch.stack([ray_x.expand(shape), ray_y.expand(shape), like.new_ones(shape)], dim=1)


def unproject(depth_b1hw: Tensor, camera: CameraLike) -> Tensor:
    """Return camera-frame points of a depth map: p = z K^-1 (x', y', 1).

    Args:
        depth_b1hw: Depth z in metres.
        camera: One camera, or ``camera_b7``.

    Returns:
        points_b3hw in metres.
    """
    check_map(depth_b1hw, 1)
    return depth_b1hw * pixel_rays(depth_b1hw.shape[-2], depth_b1hw.shape[-1], camera, depth_b1hw)


def project(points_b3n: Tensor, camera: CameraLike, *, frame: bool = False) -> Tensor:
    """Project camera-frame points to pixels.

    Args:
        points_b3n: Points in metres, z > 0.
        camera: One camera, or ``camera_b7``.
        frame: Return pixels of the uncropped frame instead of the crop's.

    Returns:
        (B, 2, N): x, y.
    """
    fx, fy, cx, cy, origin_x, origin_y, scale = (c[:, None] for c in camera_columns(camera, points_b3n))
    x, y, z = points_b3n.unbind(1)
    frame_x, frame_y = fx * x / z + cx, fy * y / z + cy
    if frame:
        return torch.stack([frame_x, frame_y], dim=1)
    return torch.stack([(frame_x - origin_x) / scale, (frame_y - origin_y) / scale], dim=1)


def check_map(map_bchw: Tensor, channels: int) -> None:
    """Raise a ValueError unless the shape is (B, channels, H, W)."""
    if map_bchw.ndim != 4 or map_bchw.shape[1] != channels:
        raise ValueError(f"expected shape (B, {channels}, H, W), got {tuple(map_bchw.shape)}")
