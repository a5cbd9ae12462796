"""Singular value decomposition of 3 x 3 matrices without waiting for the device.

``torch.linalg.svd`` waits for the GPU to see whether it converged, in every step of the joint training. A fixed number
of one-sided Jacobi rotations needs no such check.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Jacobi converges quadratically: after four sweeps 3 x 3 matrices are at float32's precision, after five at float64's.
_SWEEPS = 6
_PAIRS = ((0, 1), (0, 2), (1, 2))


def svd_3x3(matrix_b33: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Decompose every matrix into A = U diag(s) V^T.

    Args:
        matrix_b33: Real matrices.

    Returns:
        (u_b33, s_b3, v_transposed_b33) as of ``torch.linalg.svd``: s descends, U and V are orthogonal even where
        singular values vanish, and the identity for a zero matrix. Without gradient.
    """
    with torch.no_grad():
        # The largest element becomes 1, so that squares of lengths neither overflow nor vanish.
        size_b11 = matrix_b33.abs().amax((1, 2), keepdim=True)
        scaled_b33 = matrix_b33 / torch.where(size_b11 > 0, size_b11, 1)
        identity_b33 = torch.eye(3, dtype=matrix_b33.dtype, device=matrix_b33.device).expand_as(matrix_b33)
        # Each column of A on top of the column of V that the same rotations produce.
        columns_b6 = list(torch.cat([scaled_b33, identity_b33], 1).unbind(2))
        for _ in range(_SWEEPS):
            for p, q in _PAIRS:
                columns_b6[p], columns_b6[q] = _orthogonal(columns_b6[p], columns_b6[q])
        both_b63 = torch.stack(columns_b6, 2)
        s_b3, order_b3 = both_b63[:, :3].square().sum(1).sqrt().sort(descending=True, stable=True)
        both_b63 = both_b63.gather(2, order_b3[:, None].expand(-1, 6, -1))
        return _left(both_b63[:, :3], s_b3), s_b3 * size_b11[..., 0], both_b63[:, 3:].mT


def _orthogonal(p_b6: Tensor, q_b6: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate two columns so that their upper halves are orthogonal."""
    product = (p_b6[:, :3] * q_b6[:, :3]).sum(1, keepdim=True)
    difference = (q_b6[:, :3].square() - p_b6[:, :3].square()).sum(1, keepdim=True)
    # tan of the smaller of the two angles; if both are 0 the columns stay.
    root = (difference.square() + 4 * product.square()).sqrt()
    denominator = difference.abs() + root
    tangent = 2 * product * torch.where(difference < 0, -1, 1) / torch.where(denominator > 0, denominator, 1)
    cosine = (1 + tangent.square()).rsqrt()
    sine = cosine * tangent
    return cosine * p_b6 - sine * q_b6, sine * p_b6 + cosine * q_b6


def _left(scaled_b33: Tensor, s_b3: Tensor) -> Tensor:
    """Return U of A V = U diag(s): columns of length 1; vanishing ones are completed to a basis."""
    axes_33 = torch.eye(3, dtype=s_b3.dtype, device=s_b3.device)
    largest_b1, precision = s_b3[:, :1], torch.finfo(s_b3.dtype).eps
    first, second, third = scaled_b33.unbind(2)
    first = torch.where(largest_b1 > 0, first / torch.where(largest_b1 > 0, largest_b1, 1), axes_33[0])
    # A vanishing second column: any direction but the first will do, so take the axis furthest from it.
    furthest = axes_33[first.abs().argmin(1)]
    second = torch.where(s_b3[:, 1:2] > 4 * precision * largest_b1, second, furthest)
    second = second - (first * second).sum(1, keepdim=True) * first
    second = second / second.norm(dim=1, keepdim=True)
    cross = torch.linalg.cross(first, second, dim=1)
    sign = torch.where((third * cross).sum(1, keepdim=True) < 0, -1, 1)
    return torch.stack([first, second, sign * cross], 2)


def handedness(basis_b33: Tensor) -> Tensor:
    """Return the determinants of orthogonal matrices, (B,): 1 or -1, within rounding."""
    first, second, third = basis_b33.unbind(2)
    determinant_b: Tensor = (torch.linalg.cross(first, second, dim=1) * third).sum(1)
    return determinant_b
