import numpy as np
import pytest
import torch

from hdnet.errors import DataError
from hdnet.geometry import Camera, depth_to_normals, fit_rigid, project, unproject

CAMERAS = [Camera.reference(), Camera.centred(), Camera(300.0, 310.0, 20.0, 18.0, 3.0, -2.0, 0.5)]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def rotation(seed: int) -> torch.Tensor:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.sign(np.linalg.det(q))
    return torch.from_numpy(q)


def test_reference_camera_is_the_originals():
    fx, fy, cx, cy = Camera.reference().pixel_intrinsics()
    assert fx == fy == pytest.approx(314.094, abs=1e-3)
    assert (cx, cy) == pytest.approx((34.47, 139.02), abs=0.01)


def test_centred_camera_looks_along_the_middle():
    assert Camera.centred(300.0, size=64).pixel_intrinsics() == (300.0, 300.0, 31.5, 31.5)


@pytest.mark.parametrize("bad", [{"fx": 0.0}, {"fy": -1.0}, {"scale": 0.0}, {"cx": float("nan")}])
def test_impossible_cameras_are_refused(bad):
    with pytest.raises(DataError, match="camera"):
        Camera(**{**Camera.centred().to_dict(), **bad})


def test_camera_survives_its_dictionary_and_refuses_others():
    camera = Camera.reference()
    assert Camera.from_dict(camera.to_dict()) == camera
    with pytest.raises(DataError, match="focal"):
        Camera.from_dict({"focal": 3})


def test_crop_of_a_crop_sees_the_same_point_in_the_same_place():
    camera = CAMERAS[2]
    point = torch.tensor([[[0.3], [-0.2], [3.0]]], dtype=torch.float64)
    x, y = project(point, camera)[0, :, 0]
    x_crop, y_crop = project(point, camera.crop(left=5, top=7, zoom=2))[0, :, 0]
    torch.testing.assert_close(torch.stack([5 + 2 * x_crop, 7 + 2 * y_crop]), torch.stack([x, y]))


@pytest.mark.parametrize("camera", CAMERAS)
def test_unproject_agrees_with_a_numpy_oracle_and_projects_back(camera):
    depth = torch.rand(2, 1, 12, 16, dtype=torch.float64) + 2
    points = unproject(depth, camera)
    K = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    for item, row, column in [(0, 0, 0), (1, 11, 15), (1, 4, 9)]:
        pixel = [camera.scale * column + camera.origin_x, camera.scale * row + camera.origin_y, 1]
        expected = depth[item, 0, row, column].item() * np.linalg.solve(K, pixel)
        np.testing.assert_allclose(points[item, :, row, column], expected, rtol=1e-12)
    x, y = project(points.flatten(2), camera)[0]
    torch.testing.assert_close(x, torch.arange(16, dtype=torch.float64).repeat(12))
    torch.testing.assert_close(y, torch.arange(12, dtype=torch.float64).repeat_interleave(16))


def test_every_item_of_a_batch_has_its_own_camera():
    depth = torch.rand(3, 1, 8, 8, dtype=torch.float64) + 3
    batch = unproject(depth, torch.stack([camera.as_tensor(torch.float64) for camera in CAMERAS]))
    for index, camera in enumerate(CAMERAS):
        torch.testing.assert_close(batch[index : index + 1], unproject(depth[index : index + 1], camera))


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("normal", [(0.0, 0.0, -1.0), (0.4, -0.3, -0.8), (-0.2, 0.6, -0.7)])
def test_normals_of_a_plane_are_the_planes_everywhere(camera, normal):
    normal = torch.tensor(normal, dtype=torch.float64)
    normal = normal / normal.norm()
    ray = unproject(torch.ones(1, 1, 20, 24, dtype=torch.float64), camera)
    depth = 4 * normal[2] / (ray * normal[:, None, None]).sum(1, keepdim=True)
    mask = torch.zeros(1, 1, 20, 24, dtype=torch.bool)
    mask[..., 3:15, 5:20] = True
    normals = depth_to_normals(depth, mask, camera)
    inside = normals.movedim(1, -1)[mask[:, 0]]
    torch.testing.assert_close(inside, normal.expand_as(inside), atol=1e-9, rtol=0)
    assert normals.movedim(1, -1)[~mask[:, 0]].abs().max() == 0


def test_normals_of_a_sphere_point_outwards():
    camera, centre, radius = Camera.centred(300, 128), torch.tensor([0.0, 0.0, 4.0], dtype=torch.float64), 0.5
    ray = unproject(torch.ones(1, 1, 128, 128, dtype=torch.float64), camera)
    a, b, c = (ray * ray).sum(1), (ray * centre[:, None, None]).sum(1), centre @ centre - radius**2
    inside = (b * b - a * c > 1e-3)[:, None]
    depth = torch.where(inside, ((b - (b * b - a * c).clamp(min=0).sqrt()) / a)[:, None], 0.0)
    expected = (unproject(depth, camera) - centre[:, None, None]) / radius
    core = -torch.nn.functional.max_pool2d(-inside.double(), 5, 1, 2) > 0.5
    cosine = (depth_to_normals(depth, inside, camera) * expected).sum(1, keepdim=True)[core]
    assert torch.rad2deg(torch.acos(cosine.clamp(max=1))).mean() < 2.0  # one-sided differences on 37 pixels of radius


@DTYPES
@pytest.mark.parametrize("pixels", [0, 1], ids=["empty", "lonely"])
def test_an_empty_mask_or_a_lonely_pixel_has_no_normal_and_no_gradient(pixels, dtype):
    depth = torch.full((1, 1, 6, 6), 4.0, dtype=dtype, requires_grad=True)
    mask = torch.zeros(1, 1, 6, 6, dtype=torch.bool)
    mask[..., 2, 2 : 2 + pixels] = True
    normals = depth_to_normals(depth, mask, Camera.centred(size=6))
    assert normals.abs().max() == 0
    normals.sum().backward()
    assert (depth.grad == 0).all()


@pytest.mark.parametrize("rule", ["exact", "original"])
def test_normals_of_a_float32_map_are_those_of_its_numbers(rule):
    """Neighbours are centimetres apart, metres away: with differences in float32, normals are off by up to 3e-5."""
    depth = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(0)) * 0.02 + 4
    mask = torch.ones_like(depth, dtype=torch.bool)
    found = depth_to_normals(depth, mask, Camera.reference(), rule)
    expected = depth_to_normals(depth.double(), mask, Camera.reference(), rule)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=1e-7, rtol=0)


@DTYPES
@pytest.mark.parametrize("depth_m", [0.0, 1e-20, 4.0])
def test_the_originals_normals_and_their_gradient_are_finite(depth_m, dtype):
    for mask in (torch.zeros(1, 1, 6, 6, dtype=torch.bool), torch.ones(1, 1, 6, 6, dtype=torch.bool)):
        depth = torch.full((1, 1, 6, 6), depth_m, dtype=dtype, requires_grad=True)
        normals = depth_to_normals(depth, mask, Camera.centred(size=6), rule="original")
        torch.testing.assert_close(normals.norm(dim=1), torch.ones(1, 6, 6, dtype=dtype))
        normals.sum().backward()
        assert depth.grad.isfinite().all()
        if not mask.any():
            torch.testing.assert_close(normals, torch.full_like(normals, 3**-0.5))


def test_normals_gradient_is_the_numerical_one():
    camera = Camera.centred(30.0, 6)
    mask = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    mask[..., 0, :2] = False
    depth = (torch.rand(1, 1, 6, 6, dtype=torch.float64) + 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: depth_to_normals(d, mask, camera), depth)


def test_the_originals_rule_repeats_its_flaws():
    """A frontal plane at 4 m comes out tilted by 5 degrees, and the border wraps (docs/parity.md, 22, 23)."""
    depth = torch.full((1, 1, 256, 256), 4.0, dtype=torch.float64)
    normals = depth_to_normals(depth, torch.ones_like(depth, dtype=torch.bool), Camera.reference(), rule="original")
    torch.testing.assert_close(
        normals[0, :, 100, 100], torch.tensor([0.0614, 0.0614, -0.9962], dtype=torch.float64), atol=1e-4, rtol=0
    )
    assert normals[0, 2, 0, 100] > 0.9


def test_wrong_shapes_and_rules_are_refused():
    depth, mask = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 5)
    with pytest.raises(ValueError, match="mask has shape"):
        depth_to_normals(depth, mask, Camera.centred())
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        unproject(torch.ones(4, 4), Camera.centred())
    with pytest.raises(ValueError, match="rule"):
        depth_to_normals(depth, depth, Camera.centred(), rule="best")


def test_rigid_fit_recovers_known_motions():
    points = torch.randn(4, 30, 3, dtype=torch.float64)
    j_R_i = torch.stack([rotation(seed) for seed in range(4)])
    j_t_i = torch.randn(4, 3, dtype=torch.float64)
    found_R, found_t = fit_rigid(points, points @ j_R_i.mT + j_t_i[:, None])
    torch.testing.assert_close(found_R, j_R_i)
    torch.testing.assert_close(found_t, j_t_i)


def test_weights_of_zero_leave_points_out():
    points = torch.randn(1, 20, 3, dtype=torch.float64)
    moved = points @ rotation(5).mT + 1
    moved[:, 12:] += 10
    weights = torch.ones(1, 20, dtype=torch.float64)
    weights[:, 12:] = 0
    torch.testing.assert_close(fit_rigid(points, moved, weights)[0][0], rotation(5))


def test_mirrored_sets_are_rotated_unless_reflection_is_allowed():
    points = torch.randn(1, 40, 3, dtype=torch.float64)
    mirrored = points * torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    assert torch.linalg.det(fit_rigid(points, mirrored)[0]) == pytest.approx(1)
    reflected, shift = fit_rigid(points, mirrored, allow_reflection=True)
    assert torch.linalg.det(reflected) == pytest.approx(-1)
    torch.testing.assert_close(points @ reflected.mT + shift[:, None], mirrored)


@pytest.mark.parametrize("allow_reflection", [False, True])
@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_rigid_fit_gradient_is_the_numerical_one(allow_reflection, mirror):
    generator = torch.Generator().manual_seed(3)
    i, j = (torch.randn(2, 8, 3, dtype=torch.float64, generator=generator) for _ in range(2))
    j = i @ rotation(1).mT * torch.tensor([mirror, 1, 1], dtype=torch.float64) + 0.1 * j
    assert torch.autograd.gradcheck(
        lambda a, b: fit_rigid(a, b, None, allow_reflection), (i.requires_grad_(), j.requires_grad_())
    )


@pytest.mark.parametrize("kind", ["none", "one", "two", "coincident", "collinear", "planar"])
@pytest.mark.parametrize("allow_reflection", [False, True])
@DTYPES
def test_degenerate_sets_have_finite_results_and_gradients(kind, allow_reflection, dtype):
    sets = {
        "none": torch.zeros(0, 3),
        "one": torch.tensor([[1.0, 2, 3]]),
        "two": torch.tensor([[1.0, 2, 3], [2, 2, 3]]),
        "coincident": torch.ones(5, 3),
        "collinear": torch.arange(6.0)[:, None] * torch.tensor([[1.0, 2, -1]]),
        "planar": torch.randn(9, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1, 0]),
    }
    i = sets[kind].to(dtype)[None].requires_grad_()
    j = (sets[kind].double() @ rotation(2).mT + 0.5)[None].to(dtype).requires_grad_()
    j_R_i, j_t_i = fit_rigid(i, j, allow_reflection=allow_reflection)
    torch.testing.assert_close(i @ j_R_i.mT + j_t_i[:, None], j)
    if kind in ("none", "one", "coincident"):
        torch.testing.assert_close(j_R_i[0], torch.eye(3, dtype=dtype))
    (j_R_i.sum() + j_t_i.sum()).backward()
    assert i.grad.isfinite().all()
    assert j.grad.isfinite().all()
