"""Least-squares rigid motion between two sets of points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hdnet.geometry.svd import handedness, svd_3x3


def fit_rigid(
    points_i_bn3: Tensor, points_j_bn3: Tensor, weights_bn: Tensor | None = None, allow_reflection: bool = False
) -> tuple[Tensor, Tensor]:
    """Fit the least-squares rigid motion of points i onto points j (Kabsch).

    Args:
        points_i_bn3: Points in frame i.
        points_j_bn3: The same points in frame j.
        weights_bn: Weight of each point, at least 0; a set of total weight 0 gives the identity.
        allow_reflection: Accept det R = -1 where that fits better, as the original does (docs/parity.md, 30).

    Returns:
        (j_R_i_b33, j_t_i_b3), points_j = R points_i + t. Sets that do not determine the rotation (fewer than three
        points, collinear, coincident) give one of the optimal rotations with a finite gradient (terms that would
        divide by about 0 are dropped). No points, one point or coincident points give the identity, and the
        translation between the means.
    """
    if points_i_bn3.shape != points_j_bn3.shape or points_i_bn3.shape[-1] != 3:
        raise ValueError(f"expected two (B, N, 3), got {tuple(points_i_bn3.shape)} and {tuple(points_j_bn3.shape)}")
    weights_bn1 = torch.ones_like(points_i_bn3[..., :1]) if weights_bn is None else weights_bn[..., None]
    total_b11 = weights_bn1.sum(1, keepdim=True)
    share_bn1 = weights_bn1 / torch.where(total_b11 > 0, total_b11, 1)
    mean_i_b13 = (share_bn1 * points_i_bn3).sum(1, keepdim=True)
    mean_j_b13 = (share_bn1 * points_j_bn3).sum(1, keepdim=True)
    covariance_b33 = ((points_i_bn3 - mean_i_b13) * share_bn1).transpose(1, 2) @ (points_j_bn3 - mean_j_b13)
    j_R_i_b33 = rotation_from_covariance(covariance_b33, allow_reflection)
    j_t_i_b3 = mean_j_b13[:, 0] - (j_R_i_b33 @ mean_i_b13.transpose(1, 2))[..., 0]
    return j_R_i_b33, j_t_i_b3


def rotation_from_covariance(covariance_b33: Tensor, allow_reflection: bool = False) -> Tensor:
    """Return the rotation R that maximises trace(R H) for the covariance H = sum p_i p_j^T; its gradient is finite."""
    rotation_b33: Tensor = _KabschRotation.apply(covariance_b33, allow_reflection)  # type: ignore[no-untyped-call]
    return rotation_b33


class _KabschRotation(torch.autograd.Function):
    """R = V D U^T of H = U S V^T, D = diag(1, 1, +-1).

    The derivative of R needs only 1 / (d_a s_a + d_b s_b), not the 1 / (s_a^2 - s_b^2) of the SVD's own, so equal
    singular values are harmless; pairs whose sum vanishes (rank <= 1, or a reflection's tie) contribute 0.
    """

    @staticmethod
    def forward(ctx: Any, covariance_b33: Tensor, allow_reflection: bool) -> Tensor:
        u, s, vt = svd_3x3(covariance_b33)
        d = torch.ones_like(s)
        if not allow_reflection:
            d[:, 2] = torch.where(handedness(u) * handedness(vt) < 0, -1, 1)
        rotation: Tensor = vt.mT @ (d[..., None] * u.mT)
        ctx.save_for_backward(u, s * d, vt, d)
        return rotation

    @staticmethod
    def backward(ctx: Any, grad_b33: Tensor) -> tuple[Tensor, None]:
        u, signed, vt, d = ctx.saved_tensors
        # With V' = V D: R = V' U^T and H = U (S D) V'^T. dR = V' W U^T, W antisymmetric,
        # W_ab = (X_ba - X_ab) / (s_a + s_b) for X = U^T dH V'.
        v = vt.mT * d[..., None, :]
        sums = signed[..., :, None] + signed[..., None, :]
        limit = signed.abs().amax(-1)[..., None, None] * torch.finfo(signed.dtype).eps * 16
        safe = sums.abs() > limit
        inverse = torch.where(safe, 1 / torch.where(safe, sums, 1), 0)
        g = v.mT @ grad_b33 @ u
        w = (g - g.mT) * inverse
        return u @ w.mT @ v.mT, None
