"""Surface normals of depth maps."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from hdnet.geometry.camera import CameraLike, check_map, unproject

NormalRule = Literal["exact", "original"]

# The original replaces components below this magnitude by it (docs/parity.md, 17 and 23).
ORIGINAL_CLAMP = 1e-5


def depth_to_normals(depth_b1hw: Tensor, mask_b1hw: Tensor, camera: CameraLike, rule: NormalRule = "exact") -> Tensor:
    """Compute surface normals of a depth map by one-sided differences: n = (p[x+1] - p) x (p[y-1] - p).

    ``rule="exact"`` takes the left or lower neighbour where the right or upper one is outside the mask or the picture.
    Pixels where both are missing, and those outside the mask, get 0.
    ``rule="original"`` repeats the original bit by bit, flaws included: neighbours wrap around the border
    (docs/parity.md, 22), components of the un-normalised product below 1e-5 become 1e-5, which tilts a frontal plane
    at 4 m by 5 degrees (23), and neighbours outside the mask are the camera's origin (24).

    Args:
        depth_b1hw: Depth z in metres.
        mask_b1hw: True where the depth counts.
        camera: One camera, or ``camera_b7``.
        rule: "exact" or "original".

    Returns:
        normals_b3hw, unit vectors in the camera frame, computed in float64 (neighbours are millimetres apart, metres
        away) and returned in the type of the depth. The gradient is finite everywhere; an empty mask gives zeros
        ("exact") or, as in the original, (0.577, 0.577, 0.577) everywhere outside the mask ("original").
    """
    check_map(depth_b1hw, 1)
    if mask_b1hw.shape != depth_b1hw.shape:
        raise ValueError(f"mask has shape {tuple(mask_b1hw.shape)}, depth {tuple(depth_b1hw.shape)}")
    mask_b1hw = mask_b1hw.bool()
    if rule not in ("exact", "original"):
        raise ValueError(f"rule must be 'exact' or 'original', got {rule!r}")
    points_b3hw = unproject(depth_b1hw.double(), camera)
    normals_of = _exact_normals if rule == "exact" else _original_normals
    return normals_of(points_b3hw, mask_b1hw).to(depth_b1hw.dtype)


def unit_vectors(vectors_b3hw: Tensor) -> Tensor:
    """Scale vectors to unit length, in a tenth of the time that F.normalize takes on a processor.

    A zero vector stays 0, with a gradient of 0.
    """
    return vectors_b3hw / vectors_b3hw.square().sum(1, keepdim=True).clamp(min=1e-24).sqrt()


def _exact_normals(points_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    to_right, has_x = _tangent(points_b3hw, mask_b1hw, dim=-1, forward=True)
    to_up, has_y = _tangent(points_b3hw, mask_b1hw, dim=-2, forward=False)
    product_b3hw = torch.linalg.cross(to_right, to_up, dim=1)
    squared = (product_b3hw * product_b3hw).sum(1, keepdim=True)
    valid = has_x & has_y & (squared > 0)
    # The inner `where` keeps 0 out of rsqrt, whose gradient there is infinite even if the result is unused.
    return torch.where(valid, product_b3hw * torch.where(valid, squared, 1).rsqrt(), 0)


def _tangent(points_b3hw: Tensor, mask_b1hw: Tensor, dim: int, forward: bool) -> tuple[Tensor, Tensor]:
    """Difference to the next point along ``dim`` (backward: to the previous one), else the opposite one negated."""
    size = points_b3hw.shape[dim]
    step = points_b3hw.narrow(dim, 1, size - 1) - points_b3hw.narrow(dim, 0, size - 1)
    both = mask_b1hw.narrow(dim, 1, size - 1) & mask_b1hw.narrow(dim, 0, size - 1)
    end_step, end_both = torch.zeros_like(points_b3hw.narrow(dim, 0, 1)), torch.zeros_like(mask_b1hw.narrow(dim, 0, 1))
    after, has_after = torch.cat([step, end_step], dim), torch.cat([both, end_both], dim)
    before, has_before = torch.cat([end_step, step], dim), torch.cat([end_both, both], dim)
    if forward:
        return torch.where(has_after, after, before), has_after | has_before
    return -torch.where(has_before, before, after), has_after | has_before


def _original_normals(points_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    points_b3hw = torch.where(mask_b1hw, points_b3hw, 0)
    to_right = points_b3hw.roll(-1, dims=-1) - points_b3hw
    to_up = points_b3hw.roll(1, dims=-2) - points_b3hw
    normals = original_normalise(torch.linalg.cross(to_right, to_up, dim=1))
    # The original rotates by the identity here and then clamps and normalises once more.
    return original_normalise(normals)


def original_normalise(vectors_b3hw: Tensor) -> Tensor:
    """Set components below 1e-5 in magnitude to +1e-5 (their gradient is 0), then normalise to unit length."""
    clamped = torch.where(vectors_b3hw.abs() < ORIGINAL_CLAMP, ORIGINAL_CLAMP, vectors_b3hw)
    return clamped / clamped.square().sum(1, keepdim=True).sqrt()


def expected_angle_deg(kappa: Tensor) -> Tensor:
    """Return the mean angle error of a confidence, in degrees.

    That of the angular von Mises-Fisher distribution (Bae, Budvytis and Cipolla, ICCV 2021), whose density on the
    sphere is (kappa^2 + 1) exp(-kappa angle) / (2 pi (1 + exp(-kappa pi))):

        2 kappa / (kappa^2 + 1) + pi / (1 + exp(kappa pi)) radians,

    90 degrees for kappa = 0, about 2 / kappa radians for large ones.

    Args:
        kappa: Concentration, at least 0, of any shape.
    """
    return torch.rad2deg(2 * kappa / (kappa.square() + 1) + math.pi * torch.sigmoid(-math.pi * kappa))
