import numpy as np
import pytest
import torch

from hdnet.geometry import Camera, depth_to_normals, expected_angle_deg, unproject

CAMERAS = [Camera.reference(), Camera.centred(), Camera(300.0, 310.0, 20.0, 18.0, 3.0, -2.0, 0.5)]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


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
    with pytest.raises(ValueError, match="rule"):
        depth_to_normals(depth, depth, Camera.centred(), rule="best")


@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0, 4.0, 20.0, 300.0])
def test_expected_angle_is_the_integral_over_the_sphere(kappa):
    angle = np.linspace(0, np.pi, 2_000_001)
    density = np.exp(-kappa * angle) * np.sin(angle)  # of the angle: that of the sphere times its circle
    expected = np.rad2deg((angle * density).sum() / density.sum())
    assert expected_angle_deg(torch.tensor(kappa, dtype=torch.float64)).item() == pytest.approx(expected, rel=1e-6)
    assert expected_angle_deg(torch.tensor([[kappa]])).item() == pytest.approx(expected, rel=1e-5)
