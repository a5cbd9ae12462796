"""Options of the warp loss: Huber, weighted pairs, matches that do not count, and the loss in pixels."""

import numpy as np
import pytest
import torch

from hdnet import losses
from hdnet.geometry import Camera, unproject

CAMERA = Camera.centred(40.0, 24)
BATCH = 3


@pytest.fixture
def pairs():
    generator, rng = torch.Generator().manual_seed(5), np.random.default_rng(5)
    depth_i, depth_j = (torch.rand(BATCH, 1, 24, 24, dtype=torch.float64, generator=generator) + 3.5 for _ in range(2))
    rows = [
        np.column_stack([np.full(n, item), np.full(n, part), rng.integers(1, 25, (n, 4))])
        for item, part, n in [(0, 1, 20), (0, 5, 9), (0, 24, 30), (2, 2, 15), (2, 24, 6)]  # item 1 has no matches
    ]
    return depth_i, depth_j, torch.from_numpy(np.concatenate(rows))


def residuals(depth_i, depth_j, rows):
    """Metres and pixels of every match, by item, one part after the other in NumPy."""
    points_i, points_j = (unproject(d, CAMERA).movedim(1, -1).numpy() for d in (depth_i, depth_j))
    metres, pixels = {b: [] for b in range(BATCH)}, {b: [] for b in range(BATCH)}
    for item, part in sorted(set(map(tuple, rows[:, :2].tolist()))):
        r = rows[(rows[:, 0] == item) & (rows[:, 1] == part)].numpy() - 1
        p, q = points_i[item, r[:, 2], r[:, 3]], points_j[item, r[:, 4], r[:, 5]]
        u, _, vt = np.linalg.svd((p - p.mean(0)).T @ (q - q.mean(0)))
        sign = np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))])
        moved = (p - p.mean(0)) @ (vt.T @ sign @ u.T).T + q.mean(0)
        metres[item].extend(np.linalg.norm(moved - q, axis=1))
        a, b = (40.0 * v[:, :2] / v[:, 2:] for v in (moved, q))
        pixels[item].extend(np.linalg.norm(a - b, axis=1))
    return metres, pixels


def huber(distances, limit):
    d = np.asarray(distances)
    return np.where(d <= limit, d**2 / (2 * limit), d - limit / 2)


@pytest.mark.parametrize("robust_m", [None, 0.05, 0.3, 10.0])
@pytest.mark.parametrize("weights", [None, [0.5, 7.0, 2.0], [0.0, 1.0, 3.0]])
def test_robust_and_weighted_warp_agree_with_numpy(pairs, robust_m, weights):
    metres, pixels = residuals(*pairs)
    if robust_m is not None:
        metres = {item: huber(values, robust_m) for item, values in metres.items()}
    present = [0, 2]
    w = [1.0 if weights is None else weights[item] for item in present]
    found = losses.warp(
        *pairs, CAMERA, robust_m=robust_m, pair_weights_b=None if weights is None else torch.tensor(weights)
    )
    for loss, values in zip(found, (metres, pixels), strict=True):
        expected = np.average([np.mean(values[item]) for item in present], weights=w)
        assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_equal_weights_and_a_tiny_limit_are_the_plain_loss(pairs):
    plain = losses.warp(*pairs, CAMERA)
    for weight in (1.0, 0.25):
        weighted = losses.warp(*pairs, CAMERA, pair_weights_b=torch.full((BATCH,), weight))
        torch.testing.assert_close(weighted, plain, rtol=1e-14, atol=0)
    tiny = losses.warp(*pairs, CAMERA, robust_m=1e-9)
    assert tiny[0].item() == pytest.approx(plain[0].item(), rel=1e-8)
    assert tiny[1] == plain[1]


OPTIONS = [{}, {"robust_m": 0.2}, {"pair_weights_b": torch.tensor([0.3, 1.0, 2.0])}]


@pytest.mark.parametrize("which", [0, 1], ids=["metres", "pixels"])
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "robust", "weighted"])
def test_gradients_of_both_losses_are_numerical(pairs, which, options):
    depth_i, depth_j, rows = pairs
    inputs = (depth_i.requires_grad_(), depth_j.requires_grad_())
    few = rows[::3]
    assert torch.autograd.gradcheck(
        lambda a, b: losses.warp(a, b, few, CAMERA, **options)[which], inputs, fast_mode=True
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", ["no_rows", "none_counts", "no_weight", "weight_elsewhere", "perfect", "zero_depth"])
def test_nothing_to_compare_is_0_with_a_finite_gradient(pairs, case, dtype):
    depth_i, depth_j, rows = pairs
    depth_i, depth_j, weights = depth_i.to(dtype), depth_j.to(dtype), torch.ones(BATCH)
    if case == "no_rows":
        rows = rows[:0]
    elif case == "none_counts":
        rows = torch.cat([torch.full_like(rows[:, :1], -1), rows[:, 1:]], 1)
    elif case == "no_weight":
        weights = torch.zeros(BATCH)
    elif case == "weight_elsewhere":
        weights = torch.tensor([0.0, 1.0, 0.0])
    elif case == "perfect":
        rows = torch.cat([rows[:, :4], rows[:, 2:4]], 1)
        depth_j = depth_i.clone()
    else:
        depth_j = torch.zeros_like(depth_j)
    depth_i, depth_j = depth_i.requires_grad_(), depth_j.requires_grad_()
    found = losses.warp(depth_i, depth_j, rows, CAMERA, robust_m=0.1, pair_weights_b=weights)
    sum(found).backward()
    assert all(loss.isfinite() and loss.dtype == dtype for loss in found)
    assert depth_i.grad.isfinite().all()
    assert depth_j.grad.isfinite().all()
    if case == "perfect":
        assert found[0].item() == pytest.approx(0, abs=1e-9)
    elif case != "zero_depth":
        assert found[0] == found[1] == 0
        assert depth_i.grad.abs().max() == 0


def test_matches_of_item_minus_one_are_absent(pairs):
    depth_i, depth_j, rows = pairs
    kept = torch.rand(len(rows), generator=torch.Generator().manual_seed(1)) > 0.4
    marked = torch.where(kept[:, None] | (torch.arange(6) > 0), rows, -1)
    results = []
    for given in (marked, rows[kept]):
        inputs = [depth.clone().requires_grad_() for depth in (depth_i, depth_j)]
        found = losses.warp(*inputs, given, CAMERA, robust_m=0.1, pair_weights_b=torch.tensor([1.0, 2.0, 3.0]))
        sum(found).backward()
        results.append([*found, *(one.grad for one in inputs)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


def test_pairs_with_matches(pairs):
    rows = pairs[2]
    assert losses.pairs_with_matches(rows, BATCH).tolist() == [True, False, True]
    marked = torch.where((rows[:, :1] == 2) & (torch.arange(6) == 0), -1, rows)
    assert losses.pairs_with_matches(marked, BATCH).tolist() == [True, False, False]
    assert losses.pairs_with_matches(rows[:0], BATCH).tolist() == [False] * 3


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"robust_m": 0.0}, "robust_m is 0.0; expected metres above 0"),
        ({"robust_m": float("nan")}, "robust_m is nan"),
        ({"pair_weights_b": torch.ones(2)}, "one weight for each of 3 pairs"),
    ],
)
def test_bad_options_are_refused_by_name(pairs, options, named):
    with pytest.raises(ValueError, match=named):
        losses.warp(*pairs, CAMERA, **options)
