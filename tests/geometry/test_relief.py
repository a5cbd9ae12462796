"""Relief and the frame of the crop's middle ray, against NumPy and against exact bodies seen by several cameras."""

import math

import numpy as np
import pytest
import torch

from hdnet.geometry import (
    Camera,
    depth_from_relief,
    masked_median,
    relief_from_depth,
    turn_normals,
    unproject,
    view_of,
)

F64 = torch.float64
OFF_AXIS = Camera(520.0, 480.0, 40.0, 300.0, 10.0, -6.0, 1.5)
CAMERAS = {"centred": Camera.centred(300.0, 64), "reference": Camera.reference(), "off axis": OFF_AXIS}


def window(zoom=1.0, turn_deg=0.0, mirror=False, middle=(127.5, 127.5), size=(256, 256)):
    """(1, 2, 3) pixels of a crop to those of the picture; the crop's middle shows the picture's ``middle``."""
    c, s = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    A = zoom * np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if mirror else 1.0, 1.0])
    shift = np.array(middle) - A @ np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    return torch.from_numpy(np.column_stack([A, shift]))[None]


WINDOWS = {
    "none": None,
    "shifted": window(middle=(200.0, 30.0)),
    "zoomed": window(0.4, middle=(90.0, 150.0)),
    "turned": window(1.2, 17.0, middle=(60.0, 180.0)),
    "mirrored": window(0.8, -9.0, mirror=True, middle=(30.0, 220.0)),
}


def rays_of(camera: Camera, size, matrix) -> np.ndarray:
    """(3, H, W) directions of the crop's pixels in the camera's frame, z 1."""
    fx, fy, cx, cy = camera.pixel_intrinsics()
    A = np.eye(2, 3) if matrix is None else matrix[0].numpy()
    v, u = np.mgrid[: size[0], : size[1]]
    x, y = A[:, :1, None] * u + A[:, 1:2, None] * v + A[:, 2:, None]
    return np.stack([(x - cx) / fx, (y - cy) / fy, np.ones(size)])


def as_tensor(camera: Camera) -> torch.Tensor:
    return camera.as_tensor(F64)[None]


@pytest.mark.parametrize("matrix", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_a_view_agrees_with_its_pixels_rays(camera, matrix):
    size = (48, 32)
    rays = rays_of(camera, size, matrix)
    view = view_of(as_tensor(camera), size, matrix)
    R = view.crop_R_camera_b33[0].numpy()
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    mirrored = matrix is not None and np.linalg.det(matrix[0, :, :2].numpy()) < 0
    assert np.linalg.det(R) == pytest.approx(-1 if mirrored else 1)
    middle = rays[:, 23:25, 15:17].mean((1, 2))
    np.testing.assert_allclose(R[2], middle / np.linalg.norm(middle), atol=1e-12)
    np.testing.assert_allclose(view.along_b1hw[0, 0], np.einsum("k,khw->hw", R[2], rays), atol=1e-12)
    # Downwards in the crop is +y alone, to the right mostly +x, also in a mirrored crop.
    down = R @ (rays[:, 24, 15] + rays[:, 24, 16] - rays[:, 23, 15] - rays[:, 23, 16])
    right = R @ (rays[:, 23, 16] - rays[:, 23, 15])
    assert down[1] > 0
    assert down[0] == pytest.approx(0, abs=1e-12)
    assert right[0] > abs(right[1])
    # Pixels a steradian, from the triangles that neighbouring unit rays span about the middle.
    unit = rays / np.linalg.norm(rays, axis=0)
    a, b, c, d = unit[:, 23, 15], unit[:, 23, 16], unit[:, 24, 15], unit[:, 24, 16]
    steradian = (np.linalg.norm(np.cross(b - a, c - a)) + np.linalg.norm(np.cross(b - d, c - d))) / 2
    assert view.focal_b.item() == pytest.approx(steradian**-0.5, rel=1e-4)


def test_focal_is_that_of_the_formula_and_level_is_level():
    f, X, Y, zoom = 400.0, 0.5, -0.3, 0.7
    camera = Camera(f, f, 100.0, 120.0)
    matrix = window(zoom, middle=(100 + f * X, 120 + f * Y), size=(64, 64))
    view = view_of(as_tensor(camera), (64, 64), matrix)
    assert view.focal_b.item() == pytest.approx(f * (1 + X**2 + Y**2) ** 0.75 / zoom, rel=1e-12)
    x, y, z = view.crop_R_camera_b33[0].numpy()
    np.testing.assert_allclose(z, np.array([X, Y, 1]) / np.sqrt(1 + X**2 + Y**2), atol=1e-12)
    np.testing.assert_allclose(x, np.array([1, 0, -X]) / np.sqrt(1 + X**2), atol=1e-12)
    np.testing.assert_allclose(y, np.cross(z, x), atol=1e-12)


def test_a_turned_crop_is_the_level_crop_of_a_rolled_camera():
    """Both show the same rays if the camera's axis passes through the pixel that the picture is turned about."""
    turn, camera = math.radians(25.0), as_tensor(Camera(300.0, 300.0, 127.5, 127.5))
    roll = [[math.cos(turn), math.sin(turn), 0], [-math.sin(turn), math.cos(turn), 0], [0, 0, 1]]
    shift = torch.tensor([[1, 0, 70.0], [0, 1, -40], [0, 0, 1]], dtype=F64)
    level = view_of(camera, (256, 256), window(0.5) @ shift)
    turned = view_of(camera, (256, 256), window(0.5, 25.0) @ shift)
    torch.testing.assert_close(turned.crop_R_camera_b33, level.crop_R_camera_b33 @ torch.tensor(roll, dtype=F64))
    torch.testing.assert_close(turned.along_b1hw, level.along_b1hw)
    torch.testing.assert_close(turned.focal_b, level.focal_b)


@pytest.mark.parametrize("matrix", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_depth_to_relief_and_back(camera, matrix):
    generator = torch.Generator().manual_seed(0)
    depth = 3 + torch.rand(2, 1, 40, 24, dtype=F64, generator=generator)
    mask = torch.rand(2, 1, 40, 24, generator=generator) > 0.3
    cameras = as_tensor(camera).expand(2, 7)
    view = view_of(cameras, (40, 24), None if matrix is None else matrix.expand(2, 2, 3))
    relief = relief_from_depth(depth, mask, view)
    medians = []
    for item in range(2):
        along = depth[item, 0].numpy() * view.along_b1hw[item, 0].numpy()
        inside = mask[item, 0].numpy()
        medians.append(np.quantile(along[inside], 0.5, method="lower"))
        expected = view.focal_b[item].item() * np.log(along / medians[-1]) / 32
        np.testing.assert_allclose(relief[item, 0].numpy(), np.where(inside, expected, 0), atol=1e-10)
    back = depth_from_relief(relief, view, torch.tensor(medians, dtype=F64))
    torch.testing.assert_close(back[mask], depth[mask], atol=1e-9, rtol=0)


def test_round_trip_in_float32():
    view = view_of(OFF_AXIS, (64, 64), WINDOWS["mirrored"].float())
    assert {value.dtype for value in view} == {torch.float32}
    depth = 2 + torch.rand(1, 1, 64, 64)
    mask = torch.ones_like(depth, dtype=torch.bool)
    median = masked_median(depth * view.along_b1hw, mask)
    back = depth_from_relief(relief_from_depth(depth, mask, view), view, median)
    torch.testing.assert_close(back, depth, atol=3e-6, rtol=0)  # a few roundings of 3 m


def test_an_empty_mask_has_no_relief():
    depth = torch.zeros(2, 1, 16, 16)
    mask = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    depth[1], mask[1, 0, 3, 4] = 4.0, True
    relief = relief_from_depth(depth, mask, view_of(Camera.centred(20, 16), (16, 16)))
    assert torch.equal(relief, torch.zeros(2, 1, 16, 16))


@pytest.mark.parametrize("pixels", [0, 1, 2, 7, 200])
def test_median_is_the_lower_one(pixels):
    values, mask = torch.randn(1, 1, 16, 16), torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    mask.flatten()[torch.randperm(256)[:pixels]] = True
    expected = sorted(values[mask].tolist())[(pixels - 1) // 2] if pixels else 0.0
    assert masked_median(values, mask).tolist() == [expected]


def test_far_beyond_the_edge_everything_stays_finite():
    camera = Camera(60.0, 60.0, 127.5, 127.5)  # 130 degrees wide
    view = view_of(as_tensor(camera), (256, 256), window(3.0, middle=(250.0, 127.5)))
    assert view.along_b1hw.min() > 0
    depth = torch.full((1, 1, 256, 256), 2.0, dtype=F64)
    relief = relief_from_depth(depth, depth > 0, view)
    assert relief.isfinite().all()
    median = masked_median(depth * view.along_b1hw, depth > 0)
    torch.testing.assert_close(depth_from_relief(relief, view, median), depth)


@pytest.mark.parametrize("matrix", WINDOWS.values(), ids=WINDOWS)
def test_a_plane_across_the_middle_ray_has_no_relief_and_faces_the_crop(matrix):
    """A plane at right angles to the middle ray: one depth along it; its normal is (0, 0, -1) in the crop's frame."""
    size = (32, 32)
    view = view_of(as_tensor(OFF_AXIS), size, matrix)
    middle = view.crop_R_camera_b33[0, 2].numpy()
    depth = 5 / np.einsum("k,khw->hw", middle, rays_of(OFF_AXIS, size, matrix))
    depth = torch.from_numpy(depth)[None, None]
    torch.testing.assert_close(relief_from_depth(depth, depth > 0, view), torch.zeros_like(depth), atol=1e-12, rtol=0)
    normals = torch.from_numpy(-middle)[None, :, None, None].expand(1, 3, *size)
    turned = turn_normals(normals, view.crop_R_camera_b33)
    torch.testing.assert_close(turned, torch.tensor([0.0, 0, -1], dtype=F64)[:, None, None].expand(1, 3, *size))
    torch.testing.assert_close(turn_normals(turned, view.crop_R_camera_b33.mT), normals)


@pytest.mark.parametrize("matrix", WINDOWS.values(), ids=WINDOWS)
def test_a_sphere_on_the_middle_ray_has_a_relief_of_the_angle_alone(matrix):
    size, distance, radius = (33, 33), 3.0, 0.2
    rays = rays_of(OFF_AXIS, size, matrix)
    view = view_of(as_tensor(OFF_AXIS), size, matrix)
    R = view.crop_R_camera_b33[0].numpy()
    cosine = np.einsum("k,khw->hw", R[2], rays) / np.linalg.norm(rays, axis=0)
    sine = np.sqrt(1 - np.minimum(cosine, 1) ** 2)
    mask = sine < 0.9 * radius / distance
    assert mask.sum() > 300
    length = distance * cosine - np.sqrt(np.where(mask, radius**2 - (distance * sine) ** 2, 0))
    depth = length / np.linalg.norm(rays, axis=0)
    relief = relief_from_depth(torch.from_numpy(depth)[None, None], torch.from_numpy(mask)[None, None], view)[0, 0]
    expected = view.focal_b.item() / 32 * np.log(length * cosine / (distance - radius))
    np.testing.assert_allclose((relief - relief[16, 16])[mask], expected[mask], atol=1e-9)
    # Normals: outwards, (point - centre) / radius in the frame in which the centre is (0, 0, distance).
    points = np.einsum("ij,jhw->ihw", R, rays * depth)
    outwards = (points - np.array([0, 0, distance])[:, None, None]) / radius
    in_camera = (rays * depth - (R[2] * distance)[:, None, None]) / radius
    turned = turn_normals(torch.from_numpy(in_camera)[None], view.crop_R_camera_b33)[0].numpy()
    np.testing.assert_allclose(turned, outwards, atol=1e-9)
    np.testing.assert_allclose(outwards[:, 16, 16], [0, 0, -1], atol=1e-5)


# --- A person of ellipsoids (centre, semi-axes in metres, x right, y down, z away): head, chest, hips, limbs.
BODY = [
    ((0.0, -0.72, 0.0), (0.09, 0.13, 0.11)),
    ((0.0, -0.30, 0.0), (0.22, 0.32, 0.13)),
    ((0.0, 0.05, 0.02), (0.19, 0.16, 0.14)),
    ((-0.29, -0.25, -0.08), (0.06, 0.33, 0.07)),
    ((0.29, -0.25, 0.06), (0.06, 0.33, 0.07)),
    ((-0.10, 0.48, -0.03), (0.09, 0.42, 0.10)),
    ((0.10, 0.48, 0.05), (0.09, 0.42, 0.10)),
]


def render(rays_3n: np.ndarray, place, camera_r_body=None):
    """Depth along each ray (its z is 1), infinite beside the body, and unit normals, of a turned body at ``place``."""
    turn = np.eye(3) if camera_r_body is None else camera_r_body
    depth, normals = np.full(rays_3n.shape[1], np.inf), np.zeros_like(rays_3n)
    for centre, axes in BODY:
        scale = np.diag(1 / np.array(axes)) @ turn.T
        c, r = scale @ (np.array(place) + turn @ np.array(centre)), scale @ rays_3n
        a, b = (r * r).sum(0), c @ r
        root = b * b - a * (c @ c - 1)
        z = np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        n = scale.T @ (r * np.where(root > 0, z, 0) - c[:, None])
        front = z < depth
        depth, normals = np.where(front, z, depth), np.where(front, n / np.linalg.norm(n, axis=0), normals)
    return depth, normals


def crop_of(camera, size, place, camera_r_body=None, matrix=None):
    """(depth, mask, normals in the frame of the middle ray, view) of the body in a crop."""
    rays = rays_of(camera, size, matrix)
    depth, normals = render(rays.reshape(3, -1), place, camera_r_body)
    depth = torch.from_numpy(depth.reshape(1, 1, *size))
    view = view_of(as_tensor(camera), size, matrix)
    mask = depth.isfinite()
    normals = turn_normals(torch.from_numpy(normals.reshape(1, 3, *size)), view.crop_R_camera_b33)
    return torch.where(mask, depth, 0), mask, normals, view


HEIGHT_M = 1.75
PIXELS_A_METRE = 110.0
SIZE = (256, 160)


def seen_from(focal_px: float):
    """The body, 1.75 m and about 190 pixels tall whatever the lens, since its distance is in proportion."""
    camera = Camera(focal_px, focal_px, (SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2)
    return crop_of(camera, SIZE, (0.0, 0.0, focal_px / PIXELS_A_METRE))


@pytest.mark.parametrize(
    ("focal_px", "percent", "slope"), [(250.0, 7, 1.018), (350.0, 3.5, 1.011), (700.0, 2, 0.993), (900.0, 3, 0.989)]
)
def test_one_person_has_one_relief_from_250_to_900_pixels_of_focal_length(focal_px, percent, slope):
    """Mean difference to the relief seen by a lens of 500 px, in percent of the relief's standard deviation.

    The pictures themselves differ by perspective: arms nearer than the chest look larger and stand elsewhere. The
    relief as a whole is larger by at most 2 % (slope of the regression), at 2.3 m, than at 4.5 m.
    """
    depth_500, mask_500, _, view_500 = seen_from(500.0)
    depth, mask, _, view = seen_from(focal_px)
    reference, relief = relief_from_depth(depth_500, mask_500, view_500), relief_from_depth(depth, mask, view)
    both = mask & mask_500
    assert both.sum() > 0.98 * mask_500.sum()
    error = (relief - reference)[both].abs().mean()
    assert error < percent / 100 * reference[both].std()
    assert error * 32 < 0.002 * HEIGHT_M * PIXELS_A_METRE  # 2 per mille of the person's height
    assert (relief * reference)[both].sum() / reference[both].square().sum() == pytest.approx(slope, abs=0.003)


@pytest.mark.parametrize("edge", [(0.55, 0.0), (-0.5, 0.35), (0.0, -0.6)])
def test_a_person_at_the_edge_is_the_person_in_the_middle(edge):
    """The camera turned about its centre: relief and normals in the frame of the middle ray agree where rays do."""
    focal_px, size = 300.0, (200, 140)
    camera = Camera(focal_px, focal_px, 400.0, 300.0)
    middle, at_edge = (window(middle=(400 + focal_px * x, 300 + focal_px * y), size=size) for x, y in ((0, 0), edge))
    place = np.array([0.05, -0.02, 3.4])
    depth_0, mask_0, normals_0, view_0 = crop_of(camera, size, place, matrix=middle)
    R = view_of(as_tensor(camera), size, at_edge).crop_R_camera_b33[0].numpy()
    # The body and its axes, turned with the middle ray; zoomed, so that a radian has as many pixels.
    zoom = (1 + edge[0] ** 2 + edge[1] ** 2) ** 0.75
    at_edge = window(zoom, middle=(400 + focal_px * edge[0], 300 + focal_px * edge[1]), size=size)
    depth_1, mask_1, normals_1, view_1 = crop_of(camera, size, R.T @ place, R.T, at_edge)
    torch.testing.assert_close(view_1.focal_b, view_0.focal_b)
    relief_0, relief_1 = relief_from_depth(depth_0, mask_0, view_0), relief_from_depth(depth_1, mask_1, view_1)
    # Pixel of the middle's crop that looks along the ray of each pixel of the other.
    turned = np.einsum("ij,jhw->ihw", R, rays_of(camera, size, at_edge))
    grid = turned[:2] / turned[2] * focal_px / (np.array([size[1], size[0]])[:, None, None] / 2)
    grid = torch.from_numpy(np.moveaxis(grid, 0, -1))[None]
    both = torch.cat([mask_0.to(F64), relief_0, normals_0], 1)
    seen = torch.nn.functional.grid_sample(both, grid, "bilinear", align_corners=False)
    inside = (seen[:, :1] == 1) & mask_1  # outlines are mixed with the background
    assert inside.sum() > 4000
    # The edge stretches the picture, so that other parts of the body have more pixels and the median moves (by 3 mm).
    difference = (seen[:, 1:2] - relief_1)[inside]
    assert difference.median().abs() < 0.01
    assert (difference - difference.median()).abs().mean() < 0.01 * relief_1[inside].std()
    # Interpolation between pixels, across the edges between limbs too, leaves half a degree.
    angle = torch.rad2deg((seen[:, 2:] - normals_1).norm(dim=1, keepdim=True)[inside])
    assert angle.median() < 0.15
    assert angle.mean() < 0.8


@pytest.mark.parametrize("focal_px", [250.0, 350.0, 700.0, 900.0])
def test_predicted_depth_keeps_the_bodys_proportions_whatever_the_focal_length(focal_px):
    """One relief and one size in pixels, told as other focal lengths: depth to shoulder width stays within 1 %."""
    depth, mask, _, view = seen_from(500.0)
    relief = relief_from_depth(depth, mask, view)
    camera = Camera(focal_px, focal_px, (SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2)
    told = view_of(as_tensor(camera), SIZE)
    found = depth_from_relief(relief, told, told.focal_b / PIXELS_A_METRE)
    assert found[mask].median() == pytest.approx(focal_px / PIXELS_A_METRE, rel=0.01)
    true = depth_to_width(depth, mask, Camera(500.0, 500.0, camera.cx, camera.cy))
    assert true == pytest.approx(0.3, abs=0.01)
    assert depth_to_width(found, mask, camera) == pytest.approx(true, rel=0.01)
    # Metres that know nothing of the focal length, as those of the hourglass, make the body flat or deep.
    assert depth_to_width(depth, mask, camera) == pytest.approx(true * focal_px / 500, rel=0.01)


def depth_to_width(depth, mask, camera) -> float:
    """Depth of the visible body at the shoulders over its width there, in space."""
    points = unproject(depth, camera)[0, :, 85:105][:, mask[0, 0, 85:105]].numpy()
    return float(np.ptp(points[2]) / np.ptp(points[0]))
