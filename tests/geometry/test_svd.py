import numpy as np
import pytest
import torch

from hdnet.geometry.svd import handedness, svd_3x3

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def matrices(dtype):
    """Ordinary ones; graded, of equal values, of rank 2, 1 and 0; very large and very small."""
    generator = torch.Generator().manual_seed(0)
    some = torch.randn(64, 3, 3, generator=generator, dtype=torch.float64)
    left, _, right = torch.linalg.svd(some[:8])
    values = torch.tensor(
        [[3, 2, 1], [1, 1, 1], [2, 2, 1], [1, 1e-3, 1e-6], [2, 1, 0], [1, 0, 0], [0, 0, 0], [5, 5, 0]]
    )
    special = left @ torch.diag_embed(values.double()) @ right
    return torch.cat([some, special, torch.diag_embed(values.double()), 1e-18 * some[:4], 1e15 * some[4:8]]).to(dtype)


@DTYPES
def test_equals_lapack_and_puts_the_matrix_together_again(dtype):
    given = matrices(dtype)
    u, s, vt = svd_3x3(given)
    size = given.abs().amax((1, 2), keepdim=True)
    precision = 20 * torch.finfo(dtype).eps
    expected = torch.from_numpy(np.linalg.svd(given.double().numpy(), compute_uv=False))
    assert ((s.double() - expected).abs() <= precision * size[..., 0]).all()
    assert ((u @ torch.diag_embed(s) @ vt - given).abs() <= precision * size).all()
    for basis in (u, vt):
        torch.testing.assert_close(basis @ basis.mT, torch.eye(3, dtype=dtype).expand_as(basis), atol=precision, rtol=0)
        torch.testing.assert_close(handedness(basis), torch.linalg.det(basis))


def test_nothing_at_all():
    u, s, vt = svd_3x3(torch.zeros(2, 3, 3))
    assert torch.equal(u, torch.eye(3).expand(2, 3, 3))
    assert torch.equal(vt, u)
    assert torch.equal(s, torch.zeros(2, 3))
    assert svd_3x3(torch.zeros(0, 3, 3))[0].shape == (0, 3, 3)


def test_each_matrix_alone():
    given = matrices(torch.float64)
    together = svd_3x3(given)
    for k in (0, 5, 70):
        for one, all_of_them in zip(svd_3x3(given[k : k + 1]), together, strict=True):
            assert torch.equal(one[0], all_of_them[k])
