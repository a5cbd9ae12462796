"""One surface of a depth map and its normals, which two heads of a network tell apart."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import LinearOperator, cg

from hdnet.geometry import Camera
from hdnet.pictures.crop import bounds
from hdnet.predict.mesh import MAX_JUMP_M

# Weight of the depth's own values against the slopes: what lies farther apart than about 1 / sqrt(weight) = 10 pixels
# is the depth's to say, what lies closer the normals'. Measured (benchmarks/joining.py) on 97 synthetic people: the
# depth's own normals gain 2.9 degrees, with 0.03 2.4, the depth loses 0.1 %; on 17 real ones found alone they gain 1.5,
# with 0.03 1.3, and the depth loses 0.2 %.
_DATA_WEIGHT = 0.01
STEP_PX = 5.0
"""Pixels of relief by which depth and normals may differ from one pixel to the next: where they differ by more, one
surface ends before another."""
# Cosine of the view's angle below which a normal tells no slope.
_LEAST_COSINE = 0.1
_MOST_STEPS, _ACCURACY = 150, 1e-4
# Blur of the depth before its own normals are taken; their weight where they are the same as the network's, and the
# angle between both at which it is .6 of that.
_BLUR_PX, _OWN_WEIGHT, _AGREE_DEG = 1.0, 0.4, 30.0
_LEAST_SHARE = 1e-3


def largest_step_m(distance_m: float, camera: Camera) -> float:
    """Return by how much depths of neighbouring pixels of one surface differ at most, in metres.

    Of somebody near the pixels are small: the limit for people seen whole would bridge chin and chest.

    Args:
        distance_m: Distance of the person.
        camera: Camera of those pixels.
    """
    return min(MAX_JUMP_M, STEP_PX * distance_m / camera.pixel_intrinsics()[0])


def unit(vectors: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return vectors along an axis, of length 1; zero stays zero."""
    normed: np.ndarray = vectors / np.linalg.norm(vectors, axis=axis, keepdims=True).clip(1e-6)
    return normed


def agreed_normals(depth_m: np.ndarray, normals: np.ndarray, mask: np.ndarray, camera: Camera) -> np.ndarray:
    """Return normals averaged with those of the depth map beside them, which count less the more they differ.

    Both heads err, and not alike: found alone, 17 real people have normals of 22.5 instead of 22.9 degrees, 95
    synthetic ones 23.4 instead of 23.6, though the depth's own are worse. At the outline of an arm before the body
    those mean nothing, and differ; at the person's own outline the blur makes them too flat, and they count less.

    Args:
        depth_m: (H, W) z in metres, above 0 in the mask.
        normals: (H, W, 3) unit vectors in the same camera; zero vectors stay so.
        mask: (H, W) bool.
        camera: Camera of the picture.

    Returns:
        (H, W, 3) unit vectors; outside the mask as given.
    """
    agreed = normals.copy()
    if not mask.any():
        return agreed
    (top, bottom), (left, right) = bounds(mask)
    part = slice(top, bottom), slice(left, right)
    mask = mask[part]
    fx, fy, cx, cy = camera.pixel_intrinsics()
    share = gaussian_filter(mask.astype(np.float64), _BLUR_PX)
    log_z = gaussian_filter(np.log(np.where(mask, depth_m[part], 1.0)), _BLUR_PX) / np.maximum(share, _LEAST_SHARE)
    by_x, by_y = (f * _slope(log_z, mask, axis)[mask] for f, axis in ((fx, 1), (fy, 0)))
    rows, columns = np.nonzero(mask)
    ray_x, ray_y = (columns + left - cx) / fx, (rows + top - cy) / fy
    own_3n = unit(np.stack([by_x, by_y, -1 - by_x * ray_x - by_y * ray_y]), axis=0)
    given_3n = normals[part][mask].T
    angle_deg = np.degrees(np.arccos((own_3n * given_3n).sum(axis=0).clip(-1, 1)))
    weight = _OWN_WEIGHT * np.exp(-0.5 * (angle_deg / _AGREE_DEG) ** 2) * given_3n.any(axis=0) * share[mask] ** 2
    agreed[part][mask] = unit(given_3n + weight * (own_3n - given_3n), axis=0).T
    return agreed


def _slope(values: np.ndarray, mask: np.ndarray, axis: int) -> np.ndarray:
    """Mean difference to the neighbours in the mask along an axis, (H, W); 0 where there is none."""
    first, second = ((slice(-1), slice(None)), (slice(1, None), slice(None)))
    if axis == 1:
        first, second = first[::-1], second[::-1]
    both = mask[first] & mask[second]
    step = np.where(both, values[second] - values[first], 0)
    total, count = np.zeros_like(values), np.zeros_like(values)
    for one in (first, second):
        total[one] += step
        count[one] += both
    slope: np.ndarray = total / np.maximum(count, 1)
    return slope


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
        weights.append(np.where(seen > _LEAST_COSINE, seen**2, 0) * np.exp(-((off_px / STEP_PX) ** 2)))
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
