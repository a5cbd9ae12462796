"""Relief of a person: depth about the crop's middle ray, free of focal length and distance.

One picture shows neither. A body of which the surface lies d before or behind the middle distance D is seen alike by a
short lens from near and a long lens from far, with about f d / D pixels of relief, f in pixels a radian. The relief
t = f ln(z / D) / 32 equals that up to the next order, d / (2 D), and inverts exactly: z = D exp(32 t / f) with the
caller's f, and D = f / (pixels per metre) or from the person's height.

Depth and normals are told in the frame of the crop's middle ray, since a network sees a crop, not where in the picture
it lies: a person at the edge of a wide picture then has the labels of the same person in the middle.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hdnet.geometry.camera import CameraLike, camera_columns, check_map

RELIEF_UNIT_PX = 32.0
"""Pixels that a relief of 1 stands for: a person of 200 pixels has a relief of about -1 to 1."""

# Rays nearly at right angles to the middle ray, which only crops far beyond the picture's edge have.
_MIN_ALONG = 0.05


class View(NamedTuple):
    """Crop of a picture, described about its middle ray.

    Attributes:
        crop_R_camera_b33: Orthogonal, takes the frame of the stored picture's camera to that of the crop's middle ray.
            Rows: x, as level as possible; y, the crop's downward direction at its middle; the middle ray.
            The determinant of a mirrored crop is -1.
        along_b1hw: Depth along the middle ray of a surface point whose camera z is 1.
        focal_b: Pixels of the crop a radian about the middle ray.
    """

    crop_R_camera_b33: Tensor
    along_b1hw: Tensor
    focal_b: Tensor


def view_of(camera: CameraLike, size: tuple[int, int], window_b23: Tensor | None = None) -> View:
    """Describe a crop about its middle ray.

    With rays H (u, v, 1) of the crop's pixels, H = K^-1 W, the solid angle of a pixel is |det H| / |H (u, v, 1)|^3.
    ``focal_b`` is the inverse of its root at the middle: for one focal length and the middle ray (X, Y, 1) of the
    camera, f (1 + X^2 + Y^2)^0.75 / zoom, the geometric mean of the radial and the tangential scale; for two focal
    lengths, f is the root of their product.

    Args:
        camera: Camera of the stored picture, or ``camera_b7``.
        size: Height and width of the crop.
        window_b23: Pixel (u, v, 1) of the crop to pixel (x, y) of the stored picture: zoom, turn, mirror. None: the
            crop is the picture.

    Returns:
        The view, with device and type of the window, else of ``camera_b7``, else float32. ``along_b1hw`` is at least
        0.05, so that its logarithm is finite beyond the picture's edge, too.
    """
    height, width = size
    like = window_b23 if window_b23 is not None else camera if isinstance(camera, Tensor) else torch.empty(0)
    rays_b33 = _pixel_homography(camera, like.new_empty(0, dtype=torch.float64), window_b23)
    # By scalars and by hand: new tensors of numbers and LAPACK would wait for the GPU.
    middle_b3 = rays_b33[:, :, 0] * ((width - 1) / 2) + rays_b33[:, :, 1] * ((height - 1) / 2) + rays_b33[:, :, 2]
    length_b1 = middle_b3.norm(dim=1, keepdim=True)
    determinant_b = rays_b33[:, 0, 0] * rays_b33[:, 1, 1] - rays_b33[:, 0, 1] * rays_b33[:, 1, 0]
    crop_R_camera_b33 = _frame_about(middle_b3 / length_b1, rays_b33[:, :, 1], determinant_b.sign())
    # The third row times H (u, v, 1) is linear in u and v.
    along_b3 = (crop_R_camera_b33[:, 2:] @ rays_b33)[:, 0].to(like)
    u_1w = torch.arange(width, device=like.device, dtype=like.dtype)[None, :]
    v_h1 = torch.arange(height, device=like.device, dtype=like.dtype)[:, None]
    by_u, by_v, constant = (value[:, None, None, None] for value in along_b3.unbind(1))
    along_b1hw = (by_u * u_1w + (by_v * v_h1 + constant)).clamp(min=_MIN_ALONG)
    focal_b = (length_b1[:, 0] ** 3 / determinant_b.abs()).sqrt()
    return View(crop_R_camera_b33.to(like), along_b1hw, focal_b.to(like))


def relief_from_depth(depth_b1hw: Tensor, mask_b1hw: Tensor, view: View) -> Tensor:
    """Return the relief of a depth map: focal ln(zc / median of zc over the mask) / 32, zc along the middle ray.

    Args:
        depth_b1hw: Camera z in metres, above 0 in the mask.
        mask_b1hw: True on the person.
        view: The crop that the map belongs to.

    Returns:
        relief_b1hw, 0 outside the mask. Of an even number of pixels, the lower of the two middle values is the median.
    """
    check_map(depth_b1hw, 1)
    mask_b1hw = mask_b1hw.bool()
    log_b1hw = torch.where(mask_b1hw, depth_b1hw * view.along_b1hw, 1).log()
    median_b = masked_median(log_b1hw, mask_b1hw)
    scale_b = view.focal_b / RELIEF_UNIT_PX
    return torch.where(mask_b1hw, (log_b1hw - _as_map(median_b)) * _as_map(scale_b), 0)


def depth_from_relief(relief_b1hw: Tensor, view: View, median_m_b: Tensor) -> Tensor:
    """Return the depth of a relief: camera z = median exp(32 t / focal) / along.

    Args:
        relief_b1hw: Relief, in units of 32 pixels.
        view: The crop that the map belongs to, with the camera that the depth is wanted for.
        median_m_b: Distance along the middle ray of relief 0, in metres: ``focal_b`` / (pixels per metre).

    Returns:
        depth_b1hw, camera z in metres.
    """
    check_map(relief_b1hw, 1)
    log_b1hw = relief_b1hw * _as_map(RELIEF_UNIT_PX / view.focal_b)
    return log_b1hw.exp() * _as_map(median_m_b) / view.along_b1hw


def turn_normals(normals_b3hw: Tensor, rotation_b33: Tensor) -> Tensor:
    """Turn vectors of a map: ``crop_R_camera_b33`` from the camera into a crop's frame, its transpose back.

    Args:
        normals_b3hw: Vectors of any length.
        rotation_b33: One orthogonal matrix an item, or (1, 3, 3) for all.

    Returns:
        (B, 3, H, W) R n.
    """
    check_map(normals_b3hw, 3)
    return (rotation_b33 @ normals_b3hw.flatten(2)).view_as(normals_b3hw)


def masked_median(values_b1hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Return the median of every item over its mask, (B,), without gradient.

    The lower one of two middle values, 0 for an empty mask.
    """
    if mask_b1hw.shape != values_b1hw.shape:
        raise ValueError(f"mask has shape {tuple(mask_b1hw.shape)}, values {tuple(values_b1hw.shape)}")
    values_b1hw, mask_b1hw = values_b1hw.detach(), mask_b1hw.bool()
    if values_b1hw.device.type == "cpu":  # NumPy selects ten times as fast
        items = zip(values_b1hw.numpy(), mask_b1hw.numpy(), strict=True)
        return values_b1hw.new_tensor([_lower_median(values[mask]) for values, mask in items])
    inside_bn = torch.where(mask_b1hw, values_b1hw, torch.nan).flatten(1)
    return inside_bn.nanmedian(dim=1).values.nan_to_num(nan=0.0)


def _lower_median(values: np.ndarray) -> float:
    middle = (len(values) - 1) // 2
    return float(np.partition(values, middle)[middle]) if len(values) else 0.0


def _pixel_homography(camera: CameraLike, like: Tensor, window_b23: Tensor | None) -> Tensor:
    """(B, 3, 3) H of rays H (u, v, 1), z = 1, of the crop's pixels in the camera's frame."""
    fx, fy, cx, cy, origin_x, origin_y, scale = camera_columns(camera, like)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    xu, xv, x0, yu, yv, y0 = one, zero, zero, zero, one, zero
    if window_b23 is not None:
        if window_b23.ndim != 3 or window_b23.shape[1:] != (2, 3):
            raise ValueError(f"expected windows of shape (B, 2, 3), got {tuple(window_b23.shape)}")
        xu, xv, x0, yu, yv, y0 = window_b23.to(like).flatten(1).unbind(1)
    row_x = (scale * xu / fx, scale * xv / fx, (scale * x0 + origin_x - cx) / fx)
    row_y = (scale * yu / fy, scale * yv / fy, (scale * y0 + origin_y - cy) / fy)
    batch = max(len(xu), len(fx))
    return torch.stack([value.expand(batch) for value in (*row_x, *row_y, zero, zero, one)], 1).view(-1, 3, 3)


def _frame_about(axis_b3: Tensor, down_b3: Tensor, handed_b: Tensor) -> Tensor:
    """(B, 3, 3) rows x, y, axis: y as near to ``down`` as a right angle to the axis allows, det = ``handed``."""
    y_b3 = down_b3 - (down_b3 * axis_b3).sum(1, keepdim=True) * axis_b3
    y_b3 = y_b3 / y_b3.norm(dim=1, keepdim=True)
    x_b3 = handed_b[:, None] * torch.linalg.cross(y_b3, axis_b3, dim=1)
    return torch.stack([x_b3, y_b3, axis_b3], 1)


def _as_map(values_b: Tensor) -> Tensor:
    return values_b[:, None, None, None]
