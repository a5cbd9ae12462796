"""The supervised losses and their gradients against the original's; see ``parity_figures``."""

from functools import partial

import numpy as np
import pytest
import torch
from parity_figures import assert_close, assert_gradient_close, load, original_camera, picture, tensor

from hdnet import losses
from hdnet.geometry import Camera
from hdnet.params import LabelledWeights
from hdnet.training.tasks import labelled_loss, labelled_terms

FIGURES, COMBINED = load("losses"), load("combined")
DEPTH_LOSSES = {
    "depth_mse": losses.depth_mse,
    "scale_invariant": partial(losses.scale_invariant, rule="original"),
}
# What the rest of the pictures holds must not matter: something that would show.
OUTSIDE_DEPTH_M, OUTSIDE_NORMAL = 9.0, 0.5
# dtype, then largest relative error of the value and of the gradient.
DTYPES = pytest.mark.parametrize(
    ("dtype", "tolerance", "grad_tolerance"),
    [(torch.float64, 1e-12, 1e-11), (torch.float32, 1e-5, 1e-4)],
    ids=["float64", "float32"],
)


def check(case, name, loss, pred, tolerance, grad_tolerance):
    assert loss.item() == pytest.approx(FIGURES[f"{case}/{name}"].item(), rel=tolerance)
    loss.backward()
    assert torch.isfinite(pred.grad).all()
    grad = pred.grad.movedim(1, -1).flatten()
    index = torch.from_numpy(FIGURES[f"{case}/{name}_grad_index"]).long()
    assert_gradient_close(grad[index], FIGURES[f"{case}/{name}_grad"], grad_tolerance)
    assert pred.grad.norm().item() == pytest.approx(FIGURES[f"{case}/{name}_grad_norm"].item(), rel=grad_tolerance)


def depth_maps(case, dtype):
    mask = FIGURES[f"{case}/mask"]
    pred = tensor(picture(FIGURES[f"{case}/depth_pred"], mask, OUTSIDE_DEPTH_M), dtype)
    target = torch.tensor(picture(FIGURES[f"{case}/depth_target"], mask, 0), dtype=dtype)
    return pred, target, torch.tensor(mask)[:, None]


def normal_maps(dtype):
    mask = FIGURES["ordinary/mask"]
    pred = tensor(picture(FIGURES["ordinary/normal_pred"], mask, OUTSIDE_NORMAL), dtype)
    target = torch.tensor(picture(FIGURES["ordinary/normal_target"], mask, 0), dtype=dtype)
    return pred, target, torch.tensor(mask)[:, None]


@DTYPES
@pytest.mark.parametrize("name", sorted(DEPTH_LOSSES))
@pytest.mark.parametrize("case", ["ordinary", "uneven", "full", "negative"])
def test_depth_losses(case, name, dtype, tolerance, grad_tolerance):
    pred, target, mask = depth_maps(case, dtype)
    if case == "negative":  # float32 figures
        grad_tolerance = 1e-5
    check(case, name, DEPTH_LOSSES[name](pred, target, mask), pred, tolerance, grad_tolerance)
    index = torch.from_numpy(FIGURES[f"{case}/{name}_largest_index"]).long()
    assert_gradient_close(pred.grad.flatten()[index], FIGURES[f"{case}/{name}_largest"], max(grad_tolerance, 1e-5))


@pytest.mark.parametrize("case", ["ordinary", "uneven"])
def test_our_own_scale_invariant_is_the_originals_where_the_prediction_is_ordinary(case):
    pred, target, mask = depth_maps(case, torch.float64)
    check(case, "scale_invariant", losses.scale_invariant(pred, target, mask), pred, 1e-12, 1e-11)


def test_our_own_scale_invariant_on_a_full_mask():
    """The original stretches the first prediction from 0 m on (docs/parity.md, 16): 2.29 m^2 for it, ours 0.0009."""
    pred, target, mask = depth_maps("full", torch.float64)
    first, second = (losses.scale_invariant(pred[b : b + 1], target[b : b + 1], mask[b : b + 1]) for b in (0, 1))
    # The second picture has a background, where both rules agree, although its prediction is constant.
    assert 2 * FIGURES["full/scale_invariant"] - second.item() == pytest.approx(2.2883, rel=1e-4)
    assert first.item() == pytest.approx(0.00090, rel=0.01)


@DTYPES
def test_normal_angle(dtype, tolerance, grad_tolerance):
    pred, target, mask = normal_maps(dtype)
    check("ordinary", "normal_angle", losses.normal_angle(pred, target, mask), pred, tolerance, grad_tolerance)


def test_a_perfect_normal_costs_what_it_costs_the_original():
    _, target, mask = normal_maps(torch.float64)
    # A float32 figure, of an acos next to 1.
    expected = FIGURES["edge/perfect/normal_angle"].item()
    assert losses.normal_angle(target, target, mask).item() == pytest.approx(expected, rel=2e-3)


NAN_IN_THE_ORIGINAL = [
    ("one_empty", "depth_mse"),
    ("one_empty", "scale_invariant"),
    ("all_empty", "depth_mse"),
    ("all_empty", "scale_invariant"),
    ("all_empty", "normal_angle"),
    ("full_constant", "scale_invariant"),
    ("long_target", "normal_angle"),
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("edge", "name"), NAN_IN_THE_ORIGINAL)
def test_ours_is_finite_where_the_original_is_nan(edge, name, dtype):
    """docs/parity.md, 15 to 17, on our own maps, whose losses ``tests/losses`` checks."""
    assert np.isnan(FIGURES[f"edge/{edge}/{name}"])
    pred, target, mask = normal_maps(dtype) if name == "normal_angle" else depth_maps("ordinary", dtype)
    if edge == "full_constant":
        mask = torch.ones_like(mask)
        pred = torch.full_like(target, 4.125).requires_grad_()
    elif edge == "long_target":
        target = target * 1.0001
        pred = target.clone().requires_grad_()
    else:
        mask[: 2 if edge == "all_empty" else 1] = False
    loss = ({"normal_angle": losses.normal_angle} | DEPTH_LOSSES)[name](pred, target, mask)
    loss.backward()
    assert loss.isfinite()
    assert (loss.item() == 0) == (edge == "all_empty")
    assert pred.grad.isfinite().all()


@pytest.mark.parametrize(
    ("dtype", "camera", "tolerance", "grad_tolerance"),
    [
        (torch.float64, original_camera(), 1e-12, 1e-9),
        (torch.float64, Camera.reference(), 1e-7, 1e-5),
        (torch.float32, Camera.reference(), 1e-5, 1e-4),
    ],
    ids=["float64-rounded", "float64-reference", "float32"],
)
def test_labelled_loss_of_the_joint_training(dtype, camera, tolerance, grad_tolerance):
    """2 x depth + scale-invariant + angle between the depth's own normals and the true ones."""
    mask = COMBINED["mask"]
    depth = tensor(picture(COMBINED["depth"], mask, OUTSIDE_DEPTH_M), dtype)
    people = {
        "depth": torch.tensor(picture(COMBINED["depth_target"], mask, 0), dtype=dtype),
        "normals": torch.tensor(picture(COMBINED["normal_target"], mask, 0), dtype=dtype),
        "mask": torch.from_numpy(mask)[:, None],
        "camera": camera,
    }
    loss = labelled_loss(
        labelled_terms(depth, people, "original"), LabelledWeights(depth=2, scale_invariant=1, normal=1)
    )
    assert_close(loss, COMBINED["loss"], tolerance)
    loss.backward()
    index = torch.from_numpy(COMBINED["grad_index"]).long()
    assert_gradient_close(depth.grad.flatten()[index], COMBINED["grad"], grad_tolerance)
    assert depth.grad.norm().item() == pytest.approx(COMBINED["grad_norm"].item(), rel=grad_tolerance)
    assert (depth.grad[~people["mask"]] == 0).all()
