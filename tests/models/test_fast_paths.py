"""The convolutions' own backward in bfloat16, against PyTorch's in float64."""

import copy

import pytest
import torch
from torch.nn import functional as F

from hdnet.models import fast_paths
from hdnet.models.fast_paths import PreciseConv2d, depthwise, mean_pool

CASES = pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        (3, 1, 1, (9, 12)),
        (5, 1, 2, (9, 12)),
        (3, 2, 0, (9, 13)),
        (5, 2, 0, (11, 15)),
        (3, 2, 0, (10, 12)),
        (3, 2, 1, (8, 8)),
    ],
)
# Of 32 channels, the weights' gradients of large kernels come from groups of 16.
CHANNELS = pytest.mark.parametrize("channels", [24, 32])
ROUNDING = 2**-8  # of bfloat16


def gradients(convolve, x, weight):
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = convolve(x, weight)
    direction = torch.sin(torch.arange(y.numel())).bfloat16().view_as(y)
    (y.double() * direction.double()).sum().backward()
    return y.detach(), x.grad, weight.grad


@CASES
@CHANNELS
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_in_bfloat16_are_those_of_float64(kernel, stride, padding, size, channels, layout):
    # Values that bfloat16 holds: what differs is rounded by the convolution.
    x = torch.randn(2, channels, *size).bfloat16().float().contiguous(memory_format=layout)
    weight = torch.randn(channels, 1, kernel, kernel).bfloat16().float()
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(lambda x, w: depthwise(x, w, None, stride, padding), x, weight)
    exact = gradients(lambda x, w: F.conv2d(x, w, None, stride, padding, groups=channels), x.double(), weight.double())
    assert [tensor.dtype for tensor in found] == [torch.bfloat16, torch.float32, torch.float32]
    for ours, theirs in zip(found, exact, strict=True):
        scale = theirs.abs().max()
        torch.testing.assert_close(ours.double() / scale, theirs / scale, rtol=0, atol=4 * ROUNDING)


@CASES
@CHANNELS
def test_its_formulas_are_exact(kernel, stride, padding, size, channels):
    """Without bfloat16's rounding, of which some processors' kernels add up a little for each term."""
    x, weight = torch.randn(2, channels, *size), torch.randn(channels, 1, kernel, kernel)
    found = gradients(lambda x, w: fast_paths._Depthwise.apply(x, w, stride, padding), x, weight)
    exact = gradients(lambda x, w: F.conv2d(x, w, None, stride, padding, groups=channels), x.double(), weight.double())
    for ours, theirs in zip(found, exact, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-4)


def test_only_a_training_in_bfloat16_on_a_processor_takes_it(monkeypatch):
    taken = []
    monkeypatch.setattr(fast_paths._Depthwise, "apply", lambda *arguments: taken.append(1) or arguments[0])
    x, weight = torch.randn(1, 8, 6, 6), torch.randn(8, 1, 3, 3, requires_grad=True)
    depthwise(x, weight, None, 1, 1)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        depthwise(x, weight, None, 1, 1)
    with torch.autocast("cpu", torch.float16):
        depthwise(x, weight, None, 1, 1)
    assert not taken
    with torch.autocast("cpu", torch.bfloat16):
        depthwise(x, weight, None, 1, 1)
    assert taken


@pytest.mark.parametrize("learns", ["x", "weight"])
def test_what_does_not_learn_gets_no_gradient(learns):
    x, weight = torch.randn(1, 8, 7, 7), torch.randn(8, 1, 3, 3)
    (x if learns == "x" else weight).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        depthwise(x, weight, None, 2, 0).sum().backward()
    assert [x.grad is None, weight.grad is None] == [learns != "x", learns != "weight"]


def test_a_precise_convolution_gives_float32_and_gradients_in_bfloat16():
    convolution, x = PreciseConv2d(16, 24, 3, padding=1), torch.randn(2, 16, 9, 12).bfloat16().requires_grad_()
    exact, exact_x = copy.deepcopy(convolution).double(), x.detach().double().requires_grad_()
    direction = torch.randn(2, 24, 9, 12)
    with torch.autocast("cpu", torch.bfloat16):
        y = convolution(x)
    exact_y = exact(exact_x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.double(), exact_y, rtol=1e-5, atol=1e-5)
    (y * direction).sum().backward()
    (exact_y * direction).sum().backward()
    pairs = [(x, exact_x), (convolution.weight, exact.weight), (convolution.bias, exact.bias)]
    for ours, theirs in pairs:
        scale = theirs.grad.abs().max()
        torch.testing.assert_close(ours.grad.double() / scale, theirs.grad / scale, rtol=0, atol=4 * ROUNDING)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert torch.equal(convolution(x), y)
    # Without autocast, gradients have the weights' precision.
    plain = x.detach().float().requires_grad_()
    (convolution(plain) * direction).sum().backward()
    torch.testing.assert_close(plain.grad.double(), exact_x.grad, rtol=1e-4, atol=1e-4)


def test_mean_pool_gives_means_of_2_by_2_pixels():
    for size in ((8, 6), (9, 7)):
        picture = torch.randn(2, 3, *size)
        torch.testing.assert_close(mean_pool(picture), F.avg_pool2d(picture, 2))
