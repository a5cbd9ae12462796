"""Losses of the network for photographs against loops in NumPy, hand-computed cases and numerical gradients."""

import math

import numpy as np
import pytest
import torch

from hdnet.geometry import masked_median
from hdnet.losses import person

F64 = torch.float64
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["float32", "float64"])
B, H, W = 2, 16, 24


@pytest.fixture
def batch():
    """Predictions and targets in float64; the second person is smaller, some pixels lack a normal or a part."""
    g = torch.Generator().manual_seed(3)

    def randn(*shape):
        return torch.randn(*shape, dtype=F64, generator=g)

    mask = torch.rand(B, 1, H, W, generator=g) > 0.3
    mask[1, :, :, 10:] = False
    within = torch.ones(B, 1, H, W, dtype=torch.bool)
    within[0, :, :3] = False
    target = torch.nn.functional.normalize(randn(B, 3, H, W), dim=1)
    target[0, :, 4:6] = 0
    vui = torch.randint(0, 256, (B, 3, H, W), generator=g).to(F64)
    vui[:, 2] = torch.randint(0, 25, (B, H, W), generator=g) * (torch.rand(B, H, W, generator=g) > 0.3)
    return {
        "mask": mask,
        "within": within,
        "normals": (randn(B, 3, H, W), target),
        "log_kappa": randn(B, 1, H, W),
        "relief": (randn(B, 1, H, W), randn(B, 1, H, W)),
        "vui": vui,
        "logits": randn(B, 25, H // 4, W // 4),
        "uv": torch.rand(B, 2, H // 4, W // 4, dtype=F64, generator=g),
        "mask_logit": 3 * randn(B, 1, H, W),
        "log_scale": randn(B, 1),
        "scale": torch.tensor([1.3, math.nan], dtype=F64),
    }


def all_losses(batch):
    """name: (loss of the predictions, predictions)."""
    normals, target = batch["normals"]
    relief, true_relief = batch["relief"]
    mask, within, vui = batch["mask"], batch["within"], batch["vui"]
    return {
        "normal_cosine": (lambda n: person.normal_cosine(n, target, mask), (normals,)),
        "normal_l1": (lambda n: person.normal_l1(n, target, mask), (normals,)),
        "normal_nll": (lambda n, k: person.normal_nll(n, k, target, mask), (normals, batch["log_kappa"])),
        "relief_l1": (lambda r: person.relief_l1(r, true_relief, mask), (relief,)),
        "relief_gradient": (lambda r: person.relief_gradient(r, true_relief, mask), (relief,)),
        "parts_cross_entropy": (lambda x: person.parts_cross_entropy(x, vui, mask), (batch["logits"],)),
        "uv_l1": (lambda x: person.uv_l1(x, vui, mask), (batch["uv"],)),
        "mask_bce": (lambda x: person.mask_bce(x, mask, within), (batch["mask_logit"],)),
        "mask_dice": (lambda x: person.mask_dice(x, mask, within), (batch["mask_logit"],)),
        "scale_l1": (lambda x: person.scale_l1(x, batch["scale"]), (batch["log_scale"],)),
    }


LOSSES = (
    *("normal_cosine", "normal_l1", "normal_nll", "relief_l1", "relief_gradient"),
    *("parts_cross_entropy", "uv_l1", "mask_bce", "mask_dice", "scale_l1"),
)
NAMES = pytest.mark.parametrize("name", LOSSES)


def pixels(batch):
    """(item, row, column) of the mask, one after the other."""
    return [tuple(where) for where in np.argwhere(batch["mask"][:, 0].numpy())]


def test_normal_losses_agree_with_numpy(batch):
    pred, target = (maps.numpy() for maps in batch["normals"])
    cosines, differences, nlls = [], [], []
    for b, r, c in pixels(batch):
        n, t, kappa = pred[b, :, r, c], target[b, :, r, c], math.exp(batch["log_kappa"][b, 0, r, c])
        if not t.any():
            continue
        n = n / np.linalg.norm(n)
        cosines.append(1 - n @ t)
        differences.append(np.abs(n - t).mean())
        density = (kappa**2 + 1) * math.exp(-kappa * math.acos(n @ t)) / (1 + math.exp(-kappa * math.pi))
        nlls.append(-math.log(density))
    assert 0 < len(cosines) < batch["mask"].sum()
    mask = batch["mask"]
    assert person.normal_cosine(*batch["normals"], mask).item() == pytest.approx(np.mean(cosines), rel=1e-12)
    assert person.normal_l1(*batch["normals"], mask).item() == pytest.approx(np.mean(differences), rel=1e-12)
    nll = person.normal_nll(batch["normals"][0], batch["log_kappa"], batch["normals"][1], mask)
    assert nll.item() == pytest.approx(np.mean(nlls), abs=1e-5)  # acos is exact here, the loss softens its kink
    assert person.known_normals(batch["normals"][1], mask).sum() == len(cosines)


def test_the_confidence_that_costs_least_is_the_one_expected_of_the_angle():
    """At an angle of 20 degrees throughout, d nll / d kappa = 0 where 2 k / (k^2 + 1) + pi / (1 + e^(k pi)) = angle."""
    angle = math.radians(20.0)
    n = torch.tensor([math.sin(angle), 0, -math.cos(angle)], dtype=F64)[None, :, None, None]
    t = torch.tensor([0, 0, -1.0], dtype=F64)[None, :, None, None]
    log_kappa = torch.linspace(-1, 4, 5001, dtype=F64)
    nll = [person.normal_nll(n, k.view(1, 1, 1, 1), t, torch.ones(1, 1, 1, 1)).item() for k in log_kappa[::50]]
    best = log_kappa[::50][int(np.argmin(nll))].exp().item()
    assert math.degrees(2 * best / (best**2 + 1) + math.pi / (1 + math.exp(best * math.pi))) == pytest.approx(20, abs=1)


@DTYPES
@pytest.mark.parametrize("degrees", [0.0, 1.0, 60.0, 90.0, 179.0, 180.0])
def test_the_angle_by_hand_with_a_finite_gradient_where_acos_has_none(degrees, dtype):
    """With kappa = 1, the loss is the angle and a constant; its slope in a unit normal is at most 1."""
    a = math.radians(degrees)
    n = torch.tensor([math.sin(a), 0, -math.cos(a)], dtype=dtype)[None, :, None, None].requires_grad_()
    t = torch.tensor([0.0, 0, -1], dtype=dtype)[None, :, None, None]
    one = torch.ones(1, 1, 1, 1, dtype=dtype)
    loss = person.normal_nll(n, 0 * one, t, one)
    angle_deg = math.degrees(loss.item() + math.log(2) - math.log(1 + math.exp(-math.pi)))
    assert angle_deg == pytest.approx(degrees, abs=0.06)
    loss.backward()
    assert n.grad.isfinite().all()
    assert n.grad.norm() < 1.001


def test_selected_pixels_give_the_same_normal_losses(batch):
    mask = batch["mask"]
    normals, target = batch["normals"]
    log_kappa = batch["log_kappa"]
    normals.requires_grad_()
    losses = [
        torch.stack([person.normal_cosine(n, t, m), person.normal_l1(n, t, m), person.normal_nll(n, k, t, m)])
        for m, n, k, t in (
            (mask, normals, log_kappa, target),
            person.select_pixels(mask, normals, log_kappa, target),
        )
    ]
    torch.testing.assert_close(losses[1], losses[0])
    gradients = [torch.autograd.grad(found.sum(), normals)[0] for found in losses]
    torch.testing.assert_close(gradients[1], gradients[0])
    selected = person.select_pixels(mask, target)
    assert [tuple(map_.shape) for map_ in selected] == [(1, 1, 1, mask.sum()), (1, 3, 1, mask.sum())]
    none = person.select_pixels(torch.zeros_like(mask), normals, log_kappa, target)
    assert person.normal_nll(*none[1:], none[0]).item() == 0


def test_relief_losses_agree_with_numpy(batch):
    pred, target = (maps[:, 0].numpy() for maps in batch["relief"])
    mask = batch["mask"][:, 0].numpy()
    residuals = [(p - t)[m] for p, t, m in zip(pred, target, mask, strict=True)]
    centred = np.concatenate([r - np.quantile(r, 0.5, method="lower") for r in residuals])
    found = person.relief_l1(*batch["relief"], batch["mask"])
    assert found.item() == pytest.approx(np.abs(centred).mean(), rel=1e-12)
    total = 0.0
    for b, r, c in pixels(batch):
        for s in (1, 2, 4, 8):
            for r2, c2 in ((r + s, c), (r, c + s)):
                if r % s or c % s or r2 >= H or c2 >= W or not mask[b, r2, c2]:
                    continue
                step = 32 / s * abs((pred - target)[b, r2, c2] - (pred - target)[b, r, c])
                total += s * s * step / (1 + step / 3)
    found = person.relief_gradient(*batch["relief"], batch["mask"])
    assert found.item() == pytest.approx(total / 8 / mask.sum(), rel=1e-12)


def test_relief_losses_by_hand():
    """An offset costs nothing; a slope of one pixel a pixel costs 1 / (1 + 1 / 3) at every stride."""
    target = torch.randn(1, 1, 32, 32, dtype=F64)
    mask = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    assert person.relief_l1(target + 5, target, mask) == pytest.approx(0, abs=1e-12)
    assert person.relief_gradient(target + 5, target, mask) == pytest.approx(0, abs=1e-12)
    slope = target + torch.arange(32, dtype=F64) / 32
    # Along x alone; 31, 30, 28 and 24 of 32 columns have a step at strides 1, 2, 4, 8.
    expected = 0.75 * (31 + 30 + 28 + 24) / 32 / 8
    assert person.relief_gradient(slope, target, mask).item() == pytest.approx(expected, rel=1e-9)
    assert person.relief_l1(slope, target, mask).item() == pytest.approx(8 / 32, rel=1e-9)


def test_body_losses_agree_with_numpy(batch):
    vui, mask = batch["vui"].numpy(), batch["mask"].numpy()
    entropies, differences = [], []
    for b in range(B):
        for r in range(H // 4):
            for c in range(W // 4):
                inside, (v, u, part) = mask[b, 0, 4 * r, 4 * c], vui[b, :, 4 * r, 4 * c]
                if inside and part == 0:
                    continue
                scores = batch["logits"][b, :, r, c].numpy()
                entropies.append(np.log(np.exp(scores).sum()) - scores[int(part) if inside else 0])
                if inside:
                    differences += [abs(float(batch["uv"][b, i, r, c]) - x / 255) for i, x in enumerate((u, v))]
    assert 0 < len(differences) < 2 * len(entropies) < 2 * B * H * W // 16
    found = person.parts_cross_entropy(batch["logits"], batch["vui"], batch["mask"])
    assert found.item() == pytest.approx(np.mean(entropies), rel=1e-12)
    found = person.uv_l1(batch["uv"], batch["vui"], batch["mask"])
    assert found.item() == pytest.approx(np.mean(differences), rel=1e-12)
    labels = person.part_labels(batch["vui"], batch["mask"], (H // 4, W // 4))
    assert (labels != person.UNKNOWN).sum() == len(entropies)
    assert 2 * (labels > 0).sum() == len(differences)


def test_mask_losses_agree_with_numpy(batch):
    p = 1 / (1 + np.exp(-batch["mask_logit"].numpy()))
    m, within = batch["mask"].numpy(), batch["within"].numpy()
    entropy = -np.where(m, np.log(p), np.log(1 - p))[within].mean()
    found = person.mask_bce(batch["mask_logit"], batch["mask"], batch["within"])
    assert found.item() == pytest.approx(entropy, rel=1e-12)
    dice = []
    for b in range(B):
        q, t = p[b][within[b]], m[b][within[b]]
        dice.append(1 - (2 * q[t].sum() + 50) / (q.sum() + t.sum() + 50))
    found = person.mask_dice(batch["mask_logit"], batch["mask"], batch["within"])
    assert found.item() == pytest.approx(np.mean(dice), rel=1e-12)


def test_scale_by_hand_and_unknown_sizes():
    log_scale = torch.tensor([[1.0], [2.0], [4.0]], requires_grad=True)
    loss = person.scale_l1(log_scale, torch.tensor([1.5, math.nan, 3.0]))
    assert loss.item() == pytest.approx(0.75)
    loss.backward()
    assert log_scale.grad.tolist() == [[-0.5], [0.0], [0.5]]
    unknown = person.scale_l1(log_scale, torch.full((3,), math.nan))
    assert unknown.item() == 0
    (gradient,) = torch.autograd.grad(unknown, log_scale)
    assert torch.equal(gradient, torch.zeros(3, 1))


@NAMES
def test_gradients_are_numerical_and_stay_where_something_counts(name, batch):
    loss, predictions = all_losses(batch)[name]
    predictions = [value.clone().requires_grad_() for value in predictions]
    if name == "relief_l1":
        # The median has no gradient by design: held still, it is the numerical one.
        pred, target = predictions[0], batch["relief"][1]
        median = masked_median(pred - target, batch["mask"])[:, None, None, None]
        held = lambda r: ((r - target - median).abs() * batch["mask"]).sum() / batch["mask"].sum()  # noqa: E731
        assert torch.autograd.gradcheck(held, (pred,), fast_mode=True)
        expected, found = (torch.autograd.grad(f(pred), pred)[0] for f in (held, loss))
        torch.testing.assert_close(found, expected)
    else:
        assert torch.autograd.gradcheck(loss, predictions, fast_mode=True)
    gradients = torch.autograd.grad(loss(*predictions), predictions)
    counts = {"mask": batch["within"], "scale": batch["scale"].isfinite()[:, None]}.get(
        name.split("_")[0], batch["mask"]
    )
    if name.startswith(("parts", "uv")):
        labels = person.part_labels(batch["vui"], batch["mask"], (H // 4, W // 4))[:, None]
        counts = labels > 0 if name == "uv_l1" else labels != person.UNKNOWN
    for gradient in gradients:
        assert (gradient[~counts.expand_as(gradient)] == 0).all()
        assert (gradient != 0).any()


@DTYPES
@NAMES
def test_nothing_to_compare_is_0_with_a_zero_gradient(name, dtype, batch):
    batch["mask"][:] = False
    batch["within"][:] = False
    batch["vui"] = batch["vui"].to(dtype)
    batch["scale"] = torch.full((B,), math.nan, dtype=dtype)
    for key in ("normals", "relief"):
        pred, target = batch[key]
        batch[key] = (pred.to(dtype), torch.full_like(target, 0 if key == "normals" else math.nan).to(dtype))
    loss, predictions = all_losses(batch)[name]
    predictions = [value.to(dtype).requires_grad_() for value in predictions]
    if name == "parts_cross_entropy":  # an empty mask has class 0 everywhere; without any known pixel there is nothing
        batch["mask"][:], batch["vui"][:, 2] = True, 0
    found = loss(*predictions)
    assert found.item() == 0
    assert found.dtype == dtype
    for gradient in torch.autograd.grad(found, predictions):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@DTYPES
@NAMES
@pytest.mark.parametrize("size", [0.0, 1e-6, 1e6])
def test_extreme_predictions_have_finite_losses_and_gradients(name, size, dtype, batch):
    for key in ("normals", "relief"):
        batch[key] = tuple(value.to(dtype) for value in batch[key])
    batch["vui"], batch["scale"] = batch["vui"].to(dtype), batch["scale"].to(dtype)
    loss, predictions = all_losses(batch)[name]
    if name == "normal_nll":
        predictions = (predictions[0] * size, predictions[1].clamp(-1, 1) * min(size, 30))  # kappa from e^-30 to e^30
    else:
        predictions = tuple(value * size for value in predictions)
    predictions = [value.to(dtype).requires_grad_() for value in predictions]
    found = loss(*predictions)
    assert found.isfinite()
    for gradient in torch.autograd.grad(found, predictions):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", [n for n in LOSSES if not n.startswith(("mask", "scale"))])
def test_what_does_not_count_is_never_read(name, batch):
    """Labels outside the mask, however wild, change no loss."""
    loss, predictions = all_losses(batch)[name]
    expected = loss(*predictions)
    for labels in (batch["normals"][1], batch["relief"][1], batch["vui"]):
        labels[(~batch["mask"]).expand_as(labels)] = 1e9
    torch.testing.assert_close(loss(*predictions), expected)


def test_means_of_parts_of_a_batch_weighted_by_what_counts_are_the_batchs(batch):
    """What processes that share a batch rely on: the counts that the docstrings name."""
    mask, labels = batch["mask"], person.part_labels(batch["vui"], batch["mask"], (H // 4, W // 4))
    known = person.known_normals(batch["normals"][1], mask)
    counts = {
        "normal": known,
        "relief": mask,
        "parts": labels != person.UNKNOWN,
        "uv": labels > 0,
        "mask_bce": batch["within"],
        "mask_dice": torch.ones(B),
        "scale": batch["scale"].isfinite(),
    }

    def one(value, item):
        return tuple(v[item : item + 1] for v in value) if isinstance(value, tuple) else value[item : item + 1]

    items = [all_losses({key: one(value, item) for key, value in batch.items()}) for item in range(B)]
    for name, (loss, predictions) in all_losses(batch).items():
        (count,) = (value for key, value in counts.items() if name.startswith(key))
        weights = count.flatten(1).sum(1).to(F64) if count.ndim > 1 else count.to(F64)
        parts = torch.stack([f(*p) for f, p in (item[name] for item in items)])
        torch.testing.assert_close((parts * weights).sum() / weights.sum(), loss(*predictions), msg=name)


def test_sizes_that_do_not_fit_are_refused_by_name(batch):
    for size in ((8, 8), (5, 6), (4, 5), (32, 48)):
        with pytest.raises(ValueError, match=r"labels are \(16, 24\), the body map is"):
            person.uv_l1(torch.zeros(B, 2, *size), batch["vui"], batch["mask"])
    with pytest.raises(ValueError, match="mask has shape"):
        person.relief_l1(*batch["relief"], batch["mask"][..., 1:])
    with pytest.raises(ValueError, match="mask has shape"):
        person.mask_bce(batch["mask_logit"], batch["mask"], batch["within"][:1])
