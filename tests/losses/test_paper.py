from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

from hdnet import losses
from hdnet.geometry import Camera, fit_rigid, original_normalise, unproject

CAMERA = Camera.centred(40.0, 24)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@dataclass(frozen=True)
class Rows:
    rows: np.ndarray


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, 1, 10, 12, dtype=torch.float64, generator=generator) + 3.5
    pred = target + 0.2 * torch.randn(target.shape, dtype=torch.float64, generator=generator)
    mask = torch.rand(target.shape, generator=generator) > 0.4
    return pred, target, mask


@pytest.fixture
def normals():
    generator = torch.Generator().manual_seed(1)
    pred, target = (torch.randn(2, 3, 8, 9, dtype=torch.float64, generator=generator) for _ in range(2))
    mask = torch.rand(2, 1, 8, 9, generator=generator) > 0.3
    return pred, torch.nn.functional.normalize(target, dim=1), mask


def test_depth_mse_agrees_with_numpy(maps):
    pred, target, mask = (value.numpy() for value in maps)
    expected = np.mean([np.mean((p[m] - t[m]) ** 2) for p, t, m in zip(pred, target, mask, strict=True)])
    assert losses.depth_mse(*maps).item() == pytest.approx(expected, rel=1e-12)


def test_scale_invariant_agrees_with_numpy_by_both_rules(maps):
    pred, target, mask = (value.numpy() for value in maps)

    def oracle(p, t, m):
        scaled = (p * m - (p * m).min()) / ((p * m).max() - (p * m).min()) * t[m].max()
        d = (scaled - t)[m]
        return (d**2).mean() - 0.5 * d.mean() ** 2

    expected = np.mean([oracle(*one) for one in zip(pred, target, mask, strict=True)])
    assert losses.scale_invariant(*maps, rule="original").item() == pytest.approx(expected, rel=1e-12)
    # With background and a positive prediction, the rules are one.
    assert losses.scale_invariant(*maps).item() == pytest.approx(expected, rel=1e-12)


def test_scale_invariant_ignores_the_scale_of_the_prediction(maps):
    pred, target, mask = maps
    assert losses.scale_invariant(3 * pred, target, mask).item() == pytest.approx(
        losses.scale_invariant(pred, target, mask).item()
    )


def test_scale_invariant_rules_part_on_a_full_mask():
    """The original stretches the person from 0 m on (docs/parity.md, 16); a right prediction then costs metres."""
    target = torch.linspace(3.8, 4.2, 30, dtype=torch.float64).view(1, 1, 5, 6)
    mask = torch.ones_like(target, dtype=torch.bool)
    assert losses.scale_invariant(target, target, mask).item() == pytest.approx(0, abs=1e-12)
    assert losses.scale_invariant(target, target, mask, rule="original").item() > 1


def test_normal_angle_agrees_with_numpy(normals):
    pred, target, mask = (value.movedim(1, -1).numpy() for value in normals)
    pred, target = pred[mask[..., 0]], target[mask[..., 0]]
    pred = pred / np.linalg.norm(pred, axis=1, keepdims=True)
    expected = np.arccos((pred * target).sum(1) / (1 + 1e-5)).mean()
    assert losses.normal_angle(*normals).item() == pytest.approx(expected, rel=1e-9)


def test_a_perfect_normal_leaves_the_originals_floor():
    normal = torch.nn.functional.normalize(torch.rand(1, 3, 4, 4, dtype=torch.float64) + 0.1, dim=1)
    floor = losses.normal_angle(normal, normal, torch.ones(1, 1, 4, 4))
    assert floor.item() == pytest.approx(0.00447, abs=1e-5)


@pytest.mark.parametrize("loss", [losses.depth_mse, losses.scale_invariant])
def test_depth_gradients_are_numerical_and_stay_in_the_mask(loss, maps):
    pred, target, mask = maps
    pred = pred[:1, :, :4, :4].contiguous().requires_grad_()
    target, mask = target[:1, :, :4, :4], mask[:1, :, :4, :4]
    assert torch.autograd.gradcheck(lambda p: loss(p, target, mask), pred)
    loss(pred, target, mask).backward()
    assert pred.grad[~mask].abs().max() == 0


def test_normal_gradient_is_numerical(normals):
    pred, target, mask = normals
    pred = pred[:, :, :3, :3].contiguous().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: losses.normal_angle(p, target[..., :3, :3], mask[..., :3, :3]), pred)


DEPTH_LOSSES = {
    "depth_mse": losses.depth_mse,
    "scale_invariant": losses.scale_invariant,
    "scale_invariant_original": partial(losses.scale_invariant, rule="original"),
}


@DTYPES
@pytest.mark.parametrize("name", sorted(DEPTH_LOSSES))
@pytest.mark.parametrize("case", ["all_empty", "one_empty", "constant_full", "constant", "negative", "zero"])
def test_depth_losses_stay_finite(name, case, dtype, maps):
    pred, target, mask = (value.clone() for value in maps)
    if case == "all_empty":
        mask[:] = False
    elif case == "one_empty":
        mask[0] = False
    else:
        pred[:] = {"negative": -1.0, "zero": 0.0}.get(case, 4.125)
        mask[:] = mask | (case == "constant_full")
    pred, target = pred.to(dtype).requires_grad_(), target.to(dtype)
    value = DEPTH_LOSSES[name](pred, target, mask)
    value.backward()
    assert value.isfinite()
    assert value.dtype == dtype
    assert pred.grad.isfinite().all()
    assert (pred.grad[~mask] == 0).all()
    if case == "all_empty":
        assert value == 0
    elif case == "one_empty":  # counts 0 in the mean over the batch
        rest = DEPTH_LOSSES[name](pred[1:], target[1:], mask[1:])
        assert value.item() == pytest.approx(2 / 3 * rest.item(), rel=1e-6)


def test_a_constant_prediction_on_a_full_mask_is_compared_unscaled_by_the_originals_rule(maps):
    """Nothing to stretch: the original divides 0 by 0 there (docs/parity.md, 16)."""
    _, target, _ = maps
    error = (4.125 - target).numpy()
    expected = np.mean([(e**2).mean() - 0.5 * e.mean() ** 2 for e in error])
    everywhere = torch.ones_like(target, dtype=torch.bool)
    found = losses.scale_invariant(torch.full_like(target, 4.125), target, everywhere, rule="original")
    assert found.item() == pytest.approx(expected, rel=1e-12)


@DTYPES
@pytest.mark.parametrize(
    "case", ["empty", "one_empty", "perfect", "opposite", "zero_target", "long_target", "zero_pred"]
)
def test_normal_angle_stays_finite(case, dtype, normals):
    pred, target, mask = (value.clone() for value in normals)
    if case == "empty":
        mask[:] = False
    elif case == "one_empty":
        mask[0] = False
    elif case in ("perfect", "opposite"):
        pred = target.clone() * (1 if case == "perfect" else -1)
    elif case == "zero_target":
        target[:] = 0
    elif case == "long_target":
        pred, target = target.clone(), target * 1.01
    else:
        pred[:] = 0
    pred, target = pred.to(dtype).requires_grad_(), target.to(dtype)
    value = losses.normal_angle(pred, target, mask)
    value.backward()
    assert value.isfinite()
    assert value.dtype == dtype
    assert pred.grad.isfinite().all()
    if case == "zero_target":
        assert value.item() == pytest.approx(np.pi / 2)
    elif case in ("empty", "zero_pred"):
        assert pred.grad.abs().max() == 0
    elif case == "one_empty":  # the mean is over the pixels of the batch
        assert value.item() == pytest.approx(losses.normal_angle(pred[1:], target[1:], mask[1:]).item(), rel=1e-6)
    if case == "empty":
        assert value == 0


@DTYPES
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("excess", [0.0, 1e-12, 1e-6, 0.1])
def test_a_cosine_of_one_or_beyond_is_no_angle_and_no_gradient(sign, excess, dtype):
    """The slope of acos is infinite there, and the original is NaN (docs/parity.md, 17)."""
    direction = original_normalise(torch.tensor([0.3, -0.4, -0.8], dtype=torch.float64).view(1, 3, 1, 1))
    target = sign * direction * (1 + 1e-5 + excess)  # the loss divides by 1 + 1e-5
    pred = direction.to(dtype).requires_grad_()
    value = losses.normal_angle(pred, target, torch.ones(1, 1, 1, 1))
    value.backward()
    assert value.item() == pytest.approx(0 if sign > 0 else np.pi, abs=1e-3 if excess < 1e-6 else 1e-6)
    # At 1 itself, rounding decides: no gradient, or the slope of an angle, which is 1.
    assert pred.grad.norm() <= (1.01 if excess < 1e-6 else 0)


def matches(generator: np.random.Generator, parts: dict[int, int], size: int = 24) -> np.ndarray:
    return np.concatenate(
        [np.column_stack([np.full(n, part), generator.integers(1, size + 1, (n, 4))]) for part, n in parts.items()]
    )


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(5)
    depth_i, depth_j = (torch.rand(2, 1, 24, 24, dtype=torch.float64, generator=generator) + 3.5 for _ in range(2))
    rng = np.random.default_rng(5)
    sets = [Rows(matches(rng, {1: 20, 5: 9, 24: 30})), Rows(matches(rng, {2: 15, 24: 6}))]
    return depth_i, depth_j, sets


def warp_oracle(depth_i, depth_j, rows, camera):
    """One pair, one part at a time, in NumPy."""
    points_i, points_j = (unproject(d, camera)[0].movedim(0, -1).numpy() for d in (depth_i, depth_j))
    fx, fy, cx, cy = camera.fx, camera.fy, camera.cx, camera.cy
    metres, pixels = [], []
    for part in np.unique(rows[:, 0]):
        r = rows[rows[:, 0] == part] - 1
        p, q = points_i[r[:, 1], r[:, 2]], points_j[r[:, 3], r[:, 4]]
        u, _, vt = np.linalg.svd((p - p.mean(0)).T @ (q - q.mean(0)))
        flip = np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))])
        moved = (p - p.mean(0)) @ (vt.T @ flip @ u.T).T + q.mean(0)
        metres.append(np.linalg.norm(moved - q, axis=1))
        a, b = (np.stack([fx * v[:, 0] / v[:, 2] + cx, fy * v[:, 1] / v[:, 2] + cy], 1) for v in (moved, q))
        pixels.append(np.linalg.norm(a - b, axis=1))
    return np.concatenate(metres).mean(), np.concatenate(pixels).mean()


@pytest.mark.parametrize("camera", [CAMERA, Camera.reference()])
def test_batched_warp_agrees_with_a_loop_over_pairs_and_parts(pair, camera):
    depth_i, depth_j, sets = pair
    expected = [warp_oracle(depth_i[b : b + 1], depth_j[b : b + 1], sets[b].rows, camera) for b in range(2)]
    loss_3d, loss_2d = losses.warp(depth_i, depth_j, sets, camera)
    assert loss_3d.item() == pytest.approx(np.mean([e[0] for e in expected]), rel=1e-9)
    assert loss_2d.item() == pytest.approx(np.mean([e[1] for e in expected]), rel=1e-9)


def test_packed_and_listed_correspondences_are_one(pair):
    depth_i, depth_j, sets = pair
    assert losses.warp(depth_i, depth_j, losses.pack_correspondences(sets), CAMERA) == losses.warp(
        depth_i, depth_j, sets, CAMERA
    )


def test_a_rigidly_moved_part_costs_nothing():
    """Two frames of one plane patch that was turned and pushed: matches along rays make the fit exact."""
    rows = np.array([[7, r, c, r, c] for r in range(4, 20) for c in range(4, 20)])
    depth = torch.full((1, 1, 24, 24), 4.0, dtype=torch.float64)
    loss_3d, loss_2d = losses.warp(depth, depth * 1.0, [Rows(rows)], CAMERA)
    assert loss_3d.item() == pytest.approx(0, abs=1e-9)
    assert loss_2d.item() == pytest.approx(0, abs=1e-6)


def test_frames_may_have_cameras_of_their_own(pair):
    depth_i, depth_j, sets = pair
    other = Camera.centred(55.0, 24)
    rows = sets[0].rows[sets[0].rows[:, 0] == 24]
    loss_3d, _ = losses.warp(depth_i[:1], depth_j[:1], [Rows(rows)], CAMERA, camera_j=other)
    p = unproject(depth_i[:1], CAMERA)[0][:, rows[:, 1] - 1, rows[:, 2] - 1].T[None]
    q = unproject(depth_j[:1], other)[0][:, rows[:, 3] - 1, rows[:, 4] - 1].T[None]
    j_R_i, j_t_i = fit_rigid(p, q)
    assert loss_3d.item() == pytest.approx((p @ j_R_i.mT + j_t_i[:, None] - q).norm(dim=2).mean().item())


def test_warp_gradient_is_numerical_for_both_maps(pair):
    depth_i, depth_j, sets = pair
    inputs = (depth_i.requires_grad_(), depth_j.requires_grad_())
    rows = losses.pack_correspondences([Rows(sets[0].rows[::4]), Rows(sets[1].rows[::3])])
    assert torch.autograd.gradcheck(lambda a, b: losses.warp(a, b, rows, CAMERA), inputs, fast_mode=True)


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((0, 5), int),
        np.array([[3, 5, 5, 6, 6]]),
        np.array([[3, 5, 5, 6, 6], [3, 7, 5, 8, 6]]),
        np.array([[3, 5, 5, 6, 6]] * 4),
        np.array([[9, r, 8, r, 8] for r in range(1, 9)]),
    ],
    ids=["none", "one", "two", "coincident", "collinear"],
)
@DTYPES
@pytest.mark.parametrize("allow_reflection", [False, True])
@pytest.mark.parametrize("others", [False, True], ids=["alone", "among_others"])
@pytest.mark.parametrize("same", [False, True], ids=["rough", "identical"])
def test_degenerate_parts_have_finite_losses_and_gradients(rows, same, others, allow_reflection, dtype, pair):
    depth_i, depth_j, sets = pair
    depth_i, depth_j = depth_i[:1].to(dtype).requires_grad_(), (depth_i if same else depth_j)[:1].to(dtype).clone()
    depth_j.requires_grad_()
    if others:
        rows = np.concatenate([rows, sets[0].rows[sets[0].rows[:, 0] != 9]])
    loss_3d, loss_2d = losses.warp(depth_i, depth_j, [Rows(rows)], CAMERA, allow_reflection)
    (loss_3d + loss_2d).backward()
    assert loss_3d.isfinite()
    assert loss_2d.isfinite()
    assert loss_3d.dtype == loss_2d.dtype == dtype
    for depth in (depth_i, depth_j):
        assert depth.grad.isfinite().all()
    if len(rows) <= 1 or len(rows) == 4:  # no match, or all of them coincide: they fit, and nothing can be better
        assert loss_3d.item() == pytest.approx(0, abs=1e-12)
        assert depth_i.grad.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("row", "named"),
    [([0, 1, 1, 1, 1], "part"), ([25, 1, 1, 1, 1], "part"), ([1, 0, 1, 1, 1], "row i"), ([1, 1, 1, 1, 25], "column j")],
)
def test_indices_outside_are_refused_by_name(row, named):
    depth = torch.ones(1, 1, 24, 24)
    with pytest.raises(ValueError, match=named):
        losses.warp(depth, depth, [Rows(np.array([row]))], CAMERA)


def test_a_set_is_needed_for_every_pair():
    depth = torch.ones(2, 1, 24, 24)
    with pytest.raises(ValueError, match="1 sets of correspondences for a batch of 2"):
        losses.warp(depth, depth, [Rows(np.zeros((0, 5), int))], CAMERA)


def test_a_matched_depth_of_zero_keeps_the_gradient_of_both_warps_finite():
    depth_i, depth_j = (torch.full((1, 1, 8, 8), 4.0, requires_grad=True) for _ in range(2))
    with torch.no_grad():
        depth_j[0, 0, 2, 2] = 0.0
    cells = [(r, c) for r in range(1, 5) for c in range(1, 5)]
    rows = torch.tensor([[0, 1, r, c, r, c] for r, c in cells])
    loss_3d, loss_2d = losses.warp(depth_i, depth_j, rows, Camera.centred(10.0, 8))
    (loss_3d + loss_2d).backward()
    assert loss_2d.isfinite()
    assert depth_i.grad.isfinite().all()
    assert depth_j.grad.isfinite().all()
