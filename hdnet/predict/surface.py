"""One surface of a depth map and its normals, which two heads of a network tell apart."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from hdnet.geometry import Camera

# Weight of the depth's own values against the slopes: what lies farther apart than about 1 / sqrt(weight) = 6 pixels
# is the depth's to say, what lies closer the normals'. Measured on 26 real people: the normals gain 1.0 to 1.2 degrees,
# the depth loses 0.1 to 0.7 %; with 0.001 no better normals, and a depth worse by 3 to 5 % (benchmarks/joining.py).
_DATA_WEIGHT = 0.03
# Pixels of relief by which depth and normals may differ from one pixel to the next: where they differ by more, one
# surface ends before another.
_STEP_PX = 5.0
# Cosine of the view's angle below which a normal tells no slope.
_LEAST_COSINE = 0.1
_MOST_STEPS, _ACCURACY = 150, 1e-4


def joined_depth(depth_m: np.ndarray, normals: np.ndarray, mask: np.ndarray, camera: Camera) -> np.ndarray:
    """Return the depth that agrees best with a depth map and the normals beside it.

    Least squares over the pixels of the mask in l = ln z: l is near the given one, and its differences between
    neighbours near the slopes -nx / (fx n.r) and -ny / (fy n.r) of the surface with normal n on the ray r = (x, y, 1).
    A slope counts with (n.r)^2, as it is uncertain on surfaces seen from the side, and with exp(-(d / 5 px)^2), d the
    difference of the given depth and the slope in pixels of relief: at the outline of an arm before the body they
    contradict each other, and the step stays. By conjugate gradients.

    Args:
        depth_m: (H, W) z in metres, above 0 in the mask.
        normals: (H, W, 3) unit vectors in the same camera.
        mask: (H, W) bool.
        camera: Camera of the picture.

    Returns:
        (H, W) float32; outside the mask as given.
    """
    joined = depth_m.astype(np.float32, copy=True)
    if not mask.any():
        return joined
    fx, fy, cx, cy = camera.pixel_intrinsics()
    rows, columns = np.nonzero(mask)
    ray_x, ray_y = (columns - cx) / fx, (rows - cy) / fy
    normal = normals[rows, columns].astype(np.float64)
    facing = normal[:, 0] * ray_x + normal[:, 1] * ray_y + normal[:, 2]
    cosine = -facing / np.sqrt(ray_x**2 + ray_y**2 + 1)
    safe = np.minimum(facing, -_LEAST_COSINE)
    slopes = {1: -normal[:, 0] / (fx * safe), 0: -normal[:, 1] / (fy * safe)}
    log_z = np.log(depth_m[rows, columns].astype(np.float64))
    number = np.full(mask.shape, -1)
    number[rows, columns] = np.arange(len(rows))
    relief_px = float(np.sqrt(fx * fy))
    firsts, seconds, weights, wanted = [], [], [], []
    for axis, slope in slopes.items():
        first = number[:, :-1] if axis else number[:-1]
        second = number[:, 1:] if axis else number[1:]
        both = (first >= 0) & (second >= 0)
        a, b = first[both], second[both]
        step = (slope[a] + slope[b]) / 2
        off_px = relief_px * (log_z[b] - log_z[a] - step)
        seen = np.minimum(cosine[a], cosine[b]).clip(0)
        firsts.append(a)
        seconds.append(b)
        wanted.append(step)
        weights.append(np.where(seen > _LEAST_COSINE, seen**2, 0) * np.exp(-((off_px / _STEP_PX) ** 2)))
    a, b, weight, step = (np.concatenate(one) for one in (firsts, seconds, weights, wanted))
    count = len(rows)
    matrix = sparse.csr_array(
        (np.concatenate([-weight, -weight]), (np.concatenate([a, b]), np.concatenate([b, a]))), shape=(count, count)
    )
    diagonal = _DATA_WEIGHT - matrix.sum(axis=1)
    matrix = matrix + sparse.diags_array(diagonal)
    # Solved for the change of l, which is small.
    off = weight * (step - (log_z[b] - log_z[a]))
    right = np.bincount(b, off, count) - np.bincount(a, off, count)
    by_diagonal = LinearOperator((count, count), matvec=lambda x: x / diagonal, dtype=np.float64)
    change, _ = cg(matrix, right, rtol=_ACCURACY, maxiter=_MOST_STEPS, M=by_diagonal)
    joined[rows, columns] = np.exp(log_z + change)
    return joined
