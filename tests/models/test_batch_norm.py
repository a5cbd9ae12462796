"""Statistics of the whole batch, in one process and in two (gloo, on the processor)."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes

from hdnet.models.batch_norm import BatchNorm
from hdnet.models.lite import LiteConfig, LiteEstimator

PRECISION = {"float32": 1e-5, "bfloat16": 1e-2}
SHARES = (slice(0, 1), slice(1, 3))  # unequal


def lone_layer():
    torch.manual_seed(1)
    layer = BatchNorm(5, eps=1e-3, momentum=0.1)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    return layer


def batch(channels, size):
    torch.manual_seed(2)
    return 30 + 3 * torch.randn(3, channels, size, size)  # a mean of ten deviations tests the sums


def layer_step(layer, share, dtype):
    """Output, gradients and statistics after a step on a share of a batch."""
    x = batch(5, 4)[share].to(dtype).requires_grad_()
    y = layer(x)
    weights = torch.linspace(-1, 1, 3 * 5 * 16).view(3, 5, 4, 4)[share]
    (y.float() * weights).sum().backward()
    return {
        "y": y.detach(),
        "x": x.grad,
        **{n: p.grad for n, p in layer.named_parameters()},
        **dict(layer.named_buffers()),
    }


def network_step(network, share):
    """Gradients and statistics of a whole network; a loss that is a sum over the batch."""
    torch.manual_seed(3)
    inputs = 60 * torch.randn(3, 4, 64, 64, dtype=torch.float64)
    weights = torch.randn(3, 6, 64, 64, dtype=torch.float64)
    maps = network(inputs[share])
    joined = torch.cat([maps.normals_b3hw, maps.log_kappa_b1hw, maps.relief_b1hw, maps.mask_b1hw], dim=1)
    ((joined * weights[share]).sum() + maps.parts_b25hw.square().sum()).backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return gradients | {name: b.clone() for name, b in network.named_buffers() if "input_" not in name}


def small_network():
    torch.manual_seed(4)
    network = LiteEstimator(LiteConfig(decoder=(8, 8, 8, 8, 8))).double().train()
    network.freeze(2)
    return network


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = {dtype: layer_step(lone_layer(), SHARES[rank], getattr(torch, dtype)) for dtype in PRECISION}
    found["network"] = network_step(small_network(), SHARES[rank])
    found["evaluated"] = {"y": lone_layer().eval()(batch(5, 4)).detach()}
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes found with its share."""
    folder = tmp_path_factory.mktemp("two")
    processes.spawn(one_of_two, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def equal_to_one(two, kind, one, rtol):
    for name, expected in one.items():
        if name in ("x", "y"):
            found = torch.cat([rank[kind][name] for rank in two])
        elif name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            found = two[0][kind][name]
            assert torch.equal(found, two[1][kind][name]), name
        else:  # gradients of weights, which the processes add up
            found = two[0][kind][name] + two[1][kind][name]
        scale = max(expected.abs().max().item(), 1.0)  # some biases have no gradient but rounding
        torch.testing.assert_close(
            found, expected, rtol=rtol, atol=rtol * scale, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", PRECISION)
def test_two_processes_normalise_as_one(two, dtype):
    one = layer_step(lone_layer(), slice(None), getattr(torch, dtype))
    equal_to_one(two, dtype, one, PRECISION[dtype])


@pytest.mark.slow
def test_two_processes_train_a_network_as_one(two):
    one = network_step(small_network(), slice(None))
    assert any(name.startswith("encoder.blocks.2.") for name in one)
    equal_to_one(two, "network", one, 1e-9)


@pytest.mark.slow
def test_evaluation_takes_the_running_statistics(two):
    x, layer = batch(5, 4), lone_layer().eval()
    expected = x / (1 + 1e-3) ** 0.5 * layer.weight[:, None, None] + layer.bias[:, None, None]
    torch.testing.assert_close(layer(x), expected)
    for rank in two:
        torch.testing.assert_close(rank["evaluated"]["y"], expected)


def test_one_process_is_pytorchs():
    ours, theirs = lone_layer(), torch.nn.BatchNorm2d(5, 1e-3, 0.1)
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(batch(5, 4)), theirs(batch(5, 4)))
    assert torch.equal(ours.running_var, theirs.running_var)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
