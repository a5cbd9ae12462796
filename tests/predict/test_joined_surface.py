"""Depth and normals that learn of each other: surfaces whose depth and normals are known in closed form."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from hdnet.geometry import Camera
from hdnet.geometry.normals import depth_to_normals
from hdnet.predict.surface import agreed_normals, joined_depth

CAMERA = Camera(300.0, 300.0, 63.5, 63.5)


def rays():
    y, x = np.mgrid[:128, :128]
    return (x - 63.5) / 300, (y - 63.5) / 300


def sphere(centre_z=3.0, radius=0.5):
    """Depth, normals and mask of a sphere before the camera, by the intersection of rays."""
    x, y = rays()
    square = x**2 + y**2 + 1
    root = centre_z**2 - square * (centre_z**2 - radius**2)
    mask = ndimage.binary_erosion(root > 0, iterations=2)
    z = np.where(root > 0, (centre_z - np.sqrt(np.maximum(root, 0))) / square, 1)
    points = np.stack([x * z, y * z, z], -1)
    normals = (points - [0, 0, centre_z]) / radius
    return z, np.where(mask[..., None], normals, 0), mask


def slope_error_deg(depth_m, normals, mask):
    x, y = rays()
    points = np.stack([x * depth_m, y * depth_m, depth_m], -1)
    across, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    found = np.cross(down, across)
    found /= np.linalg.norm(found, axis=-1, keepdims=True)
    inner = ndimage.binary_erosion(mask, iterations=2)
    return np.degrees(np.arccos((found * normals).sum(-1)[inner].clip(-1, 1))).mean()


def test_what_agrees_stays():
    depth_m, normals, mask = sphere()
    joined = joined_depth(depth_m, normals, mask, CAMERA)
    np.testing.assert_allclose(joined[mask], depth_m[mask], atol=1e-3)
    assert np.array_equal(joined[~mask], depth_m[~mask].astype(np.float32))


def test_noise_of_the_depth_goes_and_its_middle_stays():
    depth_m, normals, mask = sphere()
    noisy = depth_m * np.exp(np.random.default_rng(0).normal(0, 0.003, depth_m.shape))
    joined = joined_depth(noisy, normals, mask, CAMERA)
    assert slope_error_deg(joined, normals, mask) < 0.35 * slope_error_deg(noisy, normals, mask)
    error, before = (np.abs(one - depth_m)[mask].mean() for one in (joined, noisy))
    assert error < 0.45 * before
    assert np.median(joined[mask]) == pytest.approx(np.median(depth_m[mask]), rel=1e-3)


def test_it_is_the_minimum_of_the_sum_of_squares():
    """Against a dense solution of the normal equations of a small map, written down pixel by pixel."""
    rng = np.random.default_rng(3)
    camera, mask = Camera(40.0, 50.0, 3.0, 2.5), rng.random((7, 8)) > 0.2
    depth_m = 2 * np.exp(rng.normal(0, 0.02, mask.shape))
    normals = rng.normal(0, 0.3, (*mask.shape, 3)) - [0, 0, 1]
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    number = {pixel: k for k, pixel in enumerate(zip(*np.nonzero(mask), strict=True))}
    rows, wanted = [], []
    for (r, c), k in number.items():
        row = np.zeros(len(number))
        row[k] = np.sqrt(0.01)
        rows.append(row)
        wanted.append(np.sqrt(0.01) * np.log(depth_m[r, c]))
        for axis, focal, other in ((0, 40.0, (r, c + 1)), (1, 50.0, (r + 1, c))):
            if other not in number:
                continue
            slopes, cosines = [], []
            for row_, column in ((r, c), other):
                ray = np.array([(column - 3.0) / 40, (row_ - 2.5) / 50, 1])
                n = normals[row_, column]
                slopes.append(-n[axis] / (focal * (n @ ray)))
                cosines.append(-(n @ ray) / np.linalg.norm(ray))
            step, cosine = np.mean(slopes), min(cosines)
            off = np.sqrt(40 * 50) * (np.log(depth_m[other]) - np.log(depth_m[r, c]) - step)
            root = np.sqrt(cosine**2 * np.exp(-((off / 5) ** 2)))
            row = np.zeros(len(number))
            row[number[other]], row[k] = root, -root
            rows.append(row)
            wanted.append(root * step)
    expected = np.exp(np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0])
    np.testing.assert_allclose(joined_depth(depth_m, normals, mask, camera)[mask], expected, rtol=2e-4)


def test_a_step_stays_a_step():
    """A plane before another one, both facing the camera: nothing between them."""
    depth_m = np.full((128, 128), 3.0)
    depth_m[:, 64:] = 3.3
    # Both planes z = constant.
    normals = np.broadcast_to([0.0, 0.0, -1.0], (128, 128, 3))
    joined = joined_depth(depth_m, normals, np.ones((128, 128), bool), CAMERA)
    np.testing.assert_allclose(joined, depth_m, atol=2e-3)


def test_an_empty_mask_changes_nothing():
    depth_m, normals, mask = sphere()
    assert np.array_equal(joined_depth(depth_m, normals, mask & False, CAMERA), depth_m.astype(np.float32))


def angle_deg(normals, truth, mask):
    return np.degrees(np.arccos((normals * truth).sum(-1)[mask].clip(-1, 1)))


def turned(normals, mask, by_deg, rng):
    """Normals turned in random directions, alike in blocks of 8 pixels, as a network errs."""
    shift = rng.normal(0, np.tan(np.deg2rad(by_deg)) / 2**0.5, (*(side // 8 for side in mask.shape), 3))
    wrong = normals + shift.repeat(8, 0).repeat(8, 1)
    return np.where(mask[..., None], wrong / np.linalg.norm(wrong, axis=-1, keepdims=True), 0)


def test_right_normals_stay_beside_a_right_depth():
    depth_m, normals, mask = sphere()
    agreed = agreed_normals(depth_m, normals, mask, CAMERA)
    inner = ndimage.binary_erosion(mask, iterations=3)
    assert angle_deg(agreed, normals, inner).max() < 1.0
    np.testing.assert_allclose(np.linalg.norm(agreed[mask], axis=-1), 1, atol=1e-6)
    assert np.array_equal(agreed[~mask], normals[~mask])


def test_wrong_normals_come_nearer_to_those_of_the_depth():
    depth_m, normals, mask = sphere()
    wrong = turned(normals, mask, 20.0, np.random.default_rng(1))
    agreed = agreed_normals(depth_m, wrong, mask, CAMERA)
    inner = ndimage.binary_erosion(mask, iterations=3)
    assert angle_deg(agreed, normals, inner).mean() < 0.8 * angle_deg(wrong, normals, inner).mean()


def test_it_is_the_weighted_mean_with_the_normals_of_the_blurred_depth():
    """Against the geometry's own normals of a depth map, whose differences are one-sided."""
    depth_m, normals, mask = sphere()
    rng = np.random.default_rng(2)
    depth_m = depth_m * np.exp(ndimage.gaussian_filter(rng.normal(0, 0.02, depth_m.shape), 4))
    share = ndimage.gaussian_filter(mask.astype(float), 1)
    blurred = np.exp(ndimage.gaussian_filter(np.where(mask, np.log(depth_m), 0), 1) / np.maximum(share, 1e-3))
    tensors = (torch.from_numpy(one)[None, None] for one in (blurred, mask))
    own = depth_to_normals(*tensors, CAMERA)[0].permute(1, 2, 0).numpy()
    angle = angle_deg(own, normals, mask)
    weight = 0.4 * np.exp(-0.5 * (angle / 30) ** 2)[:, None]
    expected = np.zeros_like(normals)
    expected[mask] = (1 - weight) * normals[mask] + weight * own[mask]
    expected /= np.maximum(np.linalg.norm(expected, axis=-1, keepdims=True), 1e-9)
    found = agreed_normals(depth_m, normals, mask, CAMERA)
    inner = ndimage.binary_erosion(mask, iterations=4)
    assert np.median(angle_deg(found, expected, inner)) < 0.5
    assert np.median(angle_deg(found, normals, inner)) > 1.0


def test_a_step_of_the_depth_turns_no_normals():
    depth_m, mask = np.full((64, 64), 2.0), np.ones((64, 64), bool)
    depth_m[:, 32:] = 2.3
    normals = np.zeros((64, 64, 3))
    normals[..., 2] = -1
    agreed = agreed_normals(depth_m, normals, mask, CAMERA)
    assert angle_deg(agreed, normals, mask).max() < 5.0  # the depth's own are turned by 80


def test_no_normals_stay_none_and_an_empty_mask_changes_nothing():
    depth_m, normals, mask = sphere()
    assert not agreed_normals(depth_m, np.zeros_like(normals), mask, CAMERA).any()
    assert np.array_equal(agreed_normals(depth_m, normals, np.zeros_like(mask), CAMERA), normals)
