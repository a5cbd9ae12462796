import math

import pytest
import torch

from hdnet.errors import ModelError
from hdnet.models import LiteEstimator, PersonMaps
from hdnet.models.lite import LiteConfig
from hdnet.params import ModelParams

SMALL = LiteConfig(decoder=(16, 12, 8, 8, 8))


@pytest.fixture
def network():
    return LiteEstimator(SMALL).eval()


def inputs(batch=2, height=64, width=64):
    colours = torch.rand(batch, 3, height, width) * 255
    hint = torch.randint(-1, 2, (batch, 1, height, width)).float()
    return torch.cat([colours, hint], dim=1)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160), (32, 224)])
def test_sizes_of_the_maps_and_any_aspect(network, height, width):
    maps = network(inputs(2, height, width))
    assert maps._asdict().keys() == PersonMaps.__annotations__.keys()
    sizes = {"b3hw": (3, height, width), "b1hw": (1, height, width), "b1": (1,)}
    quarters = {"parts_b25hw": (25, height // 4, width // 4), "uv_b2hw": (2, height // 4, width // 4)}
    for name, tensor in maps._asdict().items():
        assert tensor.shape == (2, *(quarters.get(name) or sizes[name.rsplit("_", 1)[1]])), name
        assert tensor.dtype == torch.float32


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (4, 64, 64), (1, 4, 64, 80), (1, 4, 16, 64), (1, 4, 0, 64)])
def test_other_shapes_are_refused(network, shape):
    with pytest.raises(ValueError, match=r"expected \(B, 4, H, W\) = R, G, B, hint .* multiples of 32.*got \("):
        network(torch.zeros(shape))


def test_the_shipped_network_has_the_studys_size():
    with torch.device("meta"):
        sizes = {e: sum(p.numel() for p in LiteEstimator(LiteConfig(e)).parameters()) for e in ("lite0", "lite2")}
    assert sizes == {"lite0": 3_317_844, "lite2": 4_722_324}


def test_an_untrained_network_sees_a_person_who_faces_the_camera():
    for size in (64, 256):
        maps = LiteEstimator().eval()(inputs(1, size, size))
        assert torch.nn.functional.normalize(maps.normals_b3hw, dim=1)[:, 2].mean() < -0.7
        # Two thirds of the picture high, 1.7 m tall.
        assert maps.log_scale_b1.exp().item() == pytest.approx(0.4 * size, rel=1e-4)
        assert 0.2 < maps.uv_b2hw.mean() < 0.8


def test_pixels_of_a_shuffle_begin_alike(network):
    normals = network(inputs(1)).normals_b3hw
    torch.testing.assert_close(normals[..., ::2, ::2], normals[..., 1::2, 1::2])


def test_uv_is_limited_where_the_network_is_used(network):
    torch.nn.init.normal_(network.body_head.weight, std=10.0)
    assert network(inputs()).uv_b2hw.aminmax() == (0, 1)
    assert network.train()(inputs()).uv_b2hw.abs().max() > 1


def test_pictures_do_not_depend_on_their_batch(network):
    batch = inputs(3)
    for together, alone in zip(network(batch), network(batch[1:2]), strict=True):
        torch.testing.assert_close(together[1:2], alone, rtol=1e-5, atol=1e-5)
    assert network.mixes_pictures is False


def test_memory_layouts_give_the_same_maps(network):
    batch = inputs()
    expected = network(batch)
    network.to(memory_format=torch.channels_last)
    for one, other in zip(network(batch.contiguous(memory_format=torch.channels_last)), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_heads_stay_in_float32_under_autocast(network):
    seen = []
    for head in (network.pixel_head, network.body_head, network.scale_head):
        head.register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    exact = network(inputs(1))
    seen.clear()
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        maps = network(inputs(1))
    assert seen == [torch.float32] * 3
    assert {tensor.dtype for tensor in maps} == {torch.float32}
    assert network.double()(inputs(1).double()).relief_b1hw.dtype == torch.float64
    assert exact.relief_b1hw.shape == maps.relief_b1hw.shape


def test_gradients_reach_every_parameter_and_the_inputs(network):
    network.train()
    torch.nn.init.normal_(network.scale_head.weight)
    batch = inputs().requires_grad_()
    sum((tensor * torch.randn_like(tensor)).sum() for tensor in network(batch)).backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missing == []
    assert (batch.grad.abs().sum((0, 2, 3)) > 0).all()


@pytest.mark.parametrize("kind", PersonMaps._fields)
def test_every_head_learns_alone(network, kind):
    """Each head by itself trains the encoder's first layer."""
    torch.nn.init.normal_(network.scale_head.weight)
    getattr(network(inputs(1)), kind).square().sum().backward()
    assert network.encoder.stem.conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("blocks", [0, 5, 99])
def test_the_hint_counts_however_much_is_frozen(network, blocks):
    network.freeze(blocks)
    picture = inputs(1)
    picture[:, 3] = 0
    hinted = picture.clone()
    hinted[:, 3, :32] = 1
    network.encoder.stem.conv.weight.data[:, 3] = 0  # as ImageNet's weights begin
    for name, without, with_hint in zip(PersonMaps._fields[:-1], network(picture), network(hinted), strict=False):
        assert not torch.allclose(without, with_hint), name


def test_frozen_blocks_and_groups_of_parameters(network):
    network.freeze(5)
    assert not network.train().encoder.stem.training
    assert network.decoder.training
    encoder, decoder = list(network.encoder_parameters()), list(network.decoder_parameters())
    assert {id(p) for p in encoder + decoder} == {id(p) for p in network.parameters()}
    assert len(encoder) + len(decoder) == len(list(network.parameters()))
    assert sum(not p.requires_grad for p in encoder) == 3 * (1 + 2 + 4 * 3)
    assert all(p.requires_grad for p in decoder)


def test_networks_are_built_from_params():
    random = LiteEstimator.from_params(ModelParams(network="lite", encoder="lite2", encoder_weights="random"))
    assert random.config == LiteConfig("lite2")
    trained = LiteEstimator.from_params(ModelParams(network="lite"))
    assert trained.config == LiteConfig("lite0")
    stem = trained.encoder.stem.conv.weight
    assert stem[:, :3].abs().sum() > 0
    assert stem[:, 3].abs().sum() == 0


def test_a_configuration_survives_json_and_bad_ones_are_refused():
    assert LiteEstimator.from_dict(SMALL.to_dict()).config == SMALL
    assert LiteEstimator.from_dict({}).config == LiteConfig()
    with pytest.raises(TypeError, match="width"):
        LiteEstimator.from_dict({"width": 3})
    with pytest.raises(ModelError, match="encoder must be one of lite0, lite2, found 'lite1'"):
        LiteConfig("lite1")
    for channels in ((8, 8), (8, 8, 8, 8, 0)):
        with pytest.raises(ModelError, match=r"decoder must be 5 numbers of channels, found \(8, 8"):
            LiteConfig(decoder=channels)


def test_export_gives_the_same_maps(network):
    batch = inputs()
    program = torch.export.export(network, (batch,))
    for exported, own in zip(program.module()(batch), network(batch), strict=True):
        torch.testing.assert_close(exported, own, rtol=1e-5, atol=1e-5)


def test_a_few_steps_learn(network):
    """Mask and scale of one picture."""
    network.train()
    batch = inputs(2)
    target = (batch[:, 3:] > 0).float()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(12):
        maps = network(batch)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(maps.mask_b1hw, target)
        loss = loss + (maps.log_scale_b1 - math.log(80)).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
