"""The supervised losses and their gradients against the original's; see ``parity_figures``."""

from functools import partial

import numpy as np
import pytest
import torch
from parity_figures import assert_close, load, tensor

from hdnet import losses

FIGURES = load("losses")
DEPTH_LOSSES = {
    "depth_mse": losses.depth_mse,
    "scale_invariant": partial(losses.scale_invariant, rule="original"),
}
# What the rest of the pictures holds must not matter: something that would show.
OUTSIDE_DEPTH_M, OUTSIDE_NORMAL = 9.0, 0.5
# dtype, then largest relative error of the value, the gradient and the gradient's norm.
DTYPES = pytest.mark.parametrize(
    ("dtype", "value_tolerance", "grad_tolerance", "norm_tolerance"),
    [(torch.float64, 1e-12, 1e-11, 1e-11), (torch.float32, 1e-5, 1e-4, 1e-4)],
    ids=["float64", "float32"],
)


def picture(case, name, outside):
    mask = FIGURES[f"{case}/mask"]
    values = FIGURES[f"{case}/{name}"].reshape(-1, mask.sum())
    maps = np.full((len(values), *mask.shape), outside, np.float32)
    maps[:, mask] = values
    return maps.swapaxes(0, 1)


def check(case, name, loss, pred, value_tolerance, grad_tolerance, norm_tolerance):
    assert loss.item() == pytest.approx(FIGURES[f"{case}/{name}"].item(), rel=value_tolerance)
    loss.backward()
    assert torch.isfinite(pred.grad).all()
    index = torch.from_numpy(FIGURES[f"{case}/{name}_grad_index"]).long()
    assert_close(pred.grad.movedim(1, -1).flatten()[index], FIGURES[f"{case}/{name}_grad"], grad_tolerance)
    assert pred.grad.norm().item() == pytest.approx(FIGURES[f"{case}/{name}_grad_norm"].item(), rel=norm_tolerance)


@DTYPES
@pytest.mark.parametrize("name", sorted(DEPTH_LOSSES))
@pytest.mark.parametrize("case", ["ordinary", "negative"])
def test_depth_losses(case, name, dtype, value_tolerance, grad_tolerance, norm_tolerance):
    pred = tensor(picture(case, "depth_pred", OUTSIDE_DEPTH_M), dtype)
    target = torch.tensor(picture(case, "depth_target", 0), dtype=dtype)
    mask = torch.from_numpy(FIGURES[f"{case}/mask"])[:, None]
    if case == "negative":  # float32 figures
        grad_tolerance = norm_tolerance = 1e-5
    loss = DEPTH_LOSSES[name](pred, target, mask)
    check(case, name, loss, pred, value_tolerance, grad_tolerance, norm_tolerance)


def test_our_own_scale_invariant_is_the_originals_where_the_prediction_is_ordinary():
    pred = tensor(picture("ordinary", "depth_pred", OUTSIDE_DEPTH_M))
    target = torch.tensor(picture("ordinary", "depth_target", 0)).double()
    mask = torch.from_numpy(FIGURES["ordinary/mask"])[:, None]
    loss = losses.scale_invariant(pred, target, mask)
    check("ordinary", "scale_invariant", loss, pred, 1e-12, 1e-11, 1e-11)


@DTYPES
def test_normal_angle(dtype, value_tolerance, grad_tolerance, norm_tolerance):
    pred = tensor(picture("ordinary", "normal_pred", OUTSIDE_NORMAL), dtype)
    target = torch.tensor(picture("ordinary", "normal_target", 0), dtype=dtype)
    mask = torch.from_numpy(FIGURES["ordinary/mask"])[:, None]
    if dtype == torch.float32:  # the slope of acos near 1; the original's own float32 gradient is off by 1.3e-4, too
        grad_tolerance = 5e-4
    loss = losses.normal_angle(pred, target, mask)
    check("ordinary", "normal_angle", loss, pred, value_tolerance, grad_tolerance, norm_tolerance)
