import math

import numpy as np
import pytest
import torch

from hdnet.errors import ModelError
from hdnet.models import DepthEstimator, NormalEstimator, fast_paths, hourglass
from hdnet.models.fast_paths import JOINS, NORMALISATIONS, join, upsample
from hdnet.models.hourglass import Block, HourglassConfig


@pytest.mark.parametrize(
    ("kind", "channels", "count"), [(NormalEstimator, 3, 28_360_579), (DepthEstimator, 9, 28_363_905)]
)
def test_width_64_has_the_originals_parameters(kind, channels, count):
    with torch.device("meta"):
        model = kind(width=64)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert model.config.in_channels == channels


def test_output_shapes_and_the_order_of_widths():
    assert NormalEstimator(width=2)(torch.rand(2, 3, 32, 48)).shape == (2, 3, 32, 48)
    assert DepthEstimator(width=2)(torch.rand(1, 9, 32, 32)).shape == (1, 1, 32, 32)
    widths = [block.conv.out_channels for block in NormalEstimator(width=1).blocks]
    assert widths == [1, 1, 1, 2, 4, 8, 16, 16, 8, 8, 4, 4, 2, 2, 1, 1, 1]


@pytest.mark.parametrize("shape", [(1, 4, 32, 32), (3, 32, 32), (1, 3, 32, 40), (1, 3, 100, 32), (1, 3, 16, 16)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="multiples of 16"):
        NormalEstimator(width=1)(torch.zeros(shape))


def test_upsampling_is_tensorflow_1s():
    x = torch.tensor([[0.0, 1.0], [4.0, 8.0]])[None, None]
    expected = [[0, 0.5, 1, 1], [2, 3.25, 4.5, 4.5], [4, 6, 8, 8], [4, 6, 8, 8]]
    np.testing.assert_allclose(upsample(x)[0, 0], expected)
    assert upsample(torch.tensor([[[[0.0, 1.0]]]]))[0, 0, 0].tolist() == [0, 0.5, 1, 1]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_joining_is_upsampling_and_concatenation(layout):
    x = torch.randn(2, 3, 4, 2, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    skip = torch.randn(2, 2, 8, 4, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    joined = join(x, skip)
    torch.testing.assert_close(joined, torch.cat([upsample(x), skip], dim=1))
    assert joined.is_contiguous(memory_format=layout)
    assert torch.autograd.gradcheck(join, (x, skip))


def pictures(batch, layout, dtype=torch.float64):
    """A batch that its parts are taken from below, in either layout."""
    return torch.randn(batch, 3, 4, 6, dtype=dtype).to(memory_format=layout).requires_grad_()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_variants_of_an_operation_give_the_same_numbers_and_gradients(mode, batch, layout):
    shift = torch.randn(3, dtype=torch.float64, requires_grad=True)
    skip = torch.randn(batch, 2, 8, 12, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    for variants, other in ((NORMALISATIONS, shift), (JOINS, skip)):
        x = pictures(batch, layout)
        plain, fast = (variants[name](x, other) for name in ("export", mode))
        weights = torch.randn_like(plain)
        torch.testing.assert_close(fast, plain)
        wanted = torch.autograd.grad((plain * weights).sum(), (x, other))
        torch.testing.assert_close(torch.autograd.grad((fast * weights).sum(), (x, other)), wanted)


@pytest.mark.parametrize("operation", [fast_paths.normalise_images, fast_paths.join])
def test_the_eager_variant_is_taken_unless_a_compiler_is_at_work(monkeypatch, operation):
    variants = NORMALISATIONS if operation is fast_paths.normalise_images else JOINS
    taken = {name: (lambda *_, name=name: name) for name in variants}
    for name, function in taken.items():
        monkeypatch.setitem(variants, name, function)
    assert operation(None, None) == "eager"
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert operation(None, None) == "compiled"
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert operation(None, None) == "export"


@pytest.mark.parametrize("batch", [1, 2])
def test_pictures_of_a_batch_go_apart_through_the_outer_blocks_only(batch):
    model, seen = NormalEstimator(width=1), []
    for block in model.blocks:
        block.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    model(torch.rand(batch, 3, 32, 32))
    outer = [1] * batch
    assert seen == [*outer * 4, *[batch] * 9, *outer * 4]


@pytest.mark.parametrize("flag", ["is_compiling", "is_exporting"])
def test_the_compilers_path_computes_the_same(monkeypatch, flag):
    model, x = DepthEstimator(width=2).double(), torch.rand(2, 9, 32, 48, dtype=torch.float64)
    for block in model.blocks:
        torch.nn.init.normal_(block.shift)
    parameters = list(model.parameters())
    weights = torch.randn(2, 1, 32, 48, dtype=torch.float64)
    expected, gradients = model(x), torch.autograd.grad((model(x) * weights).sum(), parameters)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: flag == "is_exporting")
    found = model(x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad((found * weights).sum(), parameters), gradients)


def test_block_agrees_with_numpy():
    block = Block(2, 3, "image").double()
    torch.nn.init.normal_(block.shift)
    x = torch.randn(2, 2, 5, 6, dtype=torch.float64)
    conv = torch.nn.functional.conv2d(x, block.conv.weight, block.conv.bias, padding=1).detach().numpy()
    mean, variance = conv.mean((2, 3), keepdims=True), conv.var((2, 3), keepdims=True)
    expected = np.maximum((conv - mean) / np.sqrt(variance + 1e-3) + block.shift.detach().numpy()[:, None, None], 0)
    np.testing.assert_allclose(block(x).detach(), expected, atol=1e-12)
    np.testing.assert_allclose(block(x[1:]).detach(), expected[1:], atol=1e-12)


def test_an_image_does_not_depend_on_its_batch(monkeypatch):
    model = DepthEstimator(width=2).double()
    x = torch.rand(3, 9, 32, 32, dtype=torch.float64)
    alone, together = model(x[1:2]), model(torch.cat([x[1:2], 100 * x[:1], x[2:]]))
    torch.testing.assert_close(alone[0], together[0])
    # Batches that other devices compute all together give the same.
    expected = model(x)
    monkeypatch.setattr(hourglass, "groups_of", lambda batch, **_: [batch])
    torch.testing.assert_close(model(x), expected)


def test_batch_statistics_while_training_only():
    """The original's normalisation over the whole batch, against NumPy; in use the image's own, as ever."""
    block = Block(2, 3, "batch").double()
    x = torch.randn(2, 2, 5, 6, dtype=torch.float64)
    conv = torch.nn.functional.conv2d(x, block.conv.weight, block.conv.bias, padding=1).detach().numpy()
    mean, variance = conv.mean((0, 2, 3), keepdims=True), conv.var((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(
        block.train()(x).detach(), np.maximum((conv - mean) / np.sqrt(variance + 1e-3), 0), atol=1e-12
    )
    torch.testing.assert_close(block.eval()(x)[1:], block(x[1:]))

    batch, image = DepthEstimator(width=2, norm="batch").double(), DepthEstimator(width=2).double()
    image.load_state_dict(batch.state_dict())
    x = torch.rand(2, 9, 32, 32, dtype=torch.float64) * torch.tensor([1.0, 50.0])[:, None, None, None]
    torch.testing.assert_close(batch.eval()(x), image(x))
    torch.testing.assert_close(batch.train()(x[:1]), image(x[:1]))
    assert (batch(x) - image(x)).abs().max() > 1e-3


def test_training_and_evaluation_mode_are_one():
    model, x = NormalEstimator(width=2), torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(model.train()(x), model.eval()(x), rtol=0, atol=0)


def test_initialisation_is_variance_scaling_truncated_at_two_sigma():
    torch.manual_seed(0)
    weights = NormalEstimator(width=16).blocks[6].conv.weight
    expected = math.sqrt(2 / (weights.shape[1] * 9))
    assert weights.std().item() == pytest.approx(expected, rel=0.02)
    assert weights.abs().max() <= 2 * math.sqrt(1.3) * expected


def test_untrained_depth_starts_where_it_is_told():
    torch.manual_seed(0)
    depth = DepthEstimator(width=2, initial_depth_m=4.0)
    assert depth(torch.rand(1, 9, 32, 32)).detach().unique().tolist() == [4.0]


def test_unit_scale_brings_all_channels_to_minus_one_to_one():
    model = DepthEstimator(width=1, input_scale="unit")
    top = torch.tensor([255.0, 255, 255, 1, 1, 1, 255, 255, 24])[:, None, None]
    zero = torch.zeros(9, 1, 1)
    torch.testing.assert_close(top * model.input_gain + model.input_offset, torch.ones(9, 1, 1))
    low = (zero * model.input_gain + model.input_offset).flatten().tolist()
    assert low == [-1, -1, -1, 0, 0, 0, -1, -1, -1]


def test_bad_configurations_are_refused():
    with pytest.raises(ModelError, match="norm must be"):
        HourglassConfig(3, 3, norm="group")
    with pytest.raises(ModelError, match="width"):
        HourglassConfig(3, 3, width=0)
    with pytest.raises(ModelError, match="input_scale"):
        NormalEstimator(width=1, input_scale="half")
