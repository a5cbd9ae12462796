import numpy as np
import pytest
import torch

from hdnet.geometry import fit_rigid

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def rotation(seed: int) -> torch.Tensor:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.sign(np.linalg.det(q))
    return torch.from_numpy(q)


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
