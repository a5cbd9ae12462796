"""Both networks against the original's, with weights that both sides generate; see ``parity_figures``."""

import zlib

import numpy as np
import pytest
import torch
from parity_figures import assert_close, load
from torch import Tensor, nn

from hdnet.models import DepthEstimator, NormalEstimator
from hdnet.models.hourglass import Hourglass

FIGURES = load("networks")
NETWORKS = {
    "normal": (NormalEstimator, "hourglass_normal_prediction"),
    "depth": (DepthEstimator, "hourglass_stack_fused_depth_prediction"),
}


def noise(variable: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers seeded by the original's name of the variable."""
    return torch.from_numpy(np.random.default_rng(zlib.crc32(variable.encode())).standard_normal(shape))


def set_convolution(conv: nn.Conv2d, variable: str) -> None:
    out_channels, in_channels, height, width = conv.weight.shape
    # Drawn in TensorFlow's order (height, width, in, out) and rounded to float32 there.
    hwio = noise(f"{variable}/weights", (height, width, in_channels, out_channels))
    conv.weight.copy_((hwio * (2 / (height * width * in_channels)) ** 0.5).float().permute(3, 2, 0, 1))
    conv.bias.copy_((noise(f"{variable}/biases", (out_channels,)) * 0.1).float())


@torch.no_grad()
def network(name: str, dtype: torch.dtype) -> Hourglass:
    kind, scope = NETWORKS[name]
    model = kind().to(dtype)
    for number, block in enumerate(model.blocks, start=1):
        set_convolution(block.conv, f"{scope}/conv{number}")
        block.shift.copy_((noise(f"{scope}/conv{number}/beta", (len(block.shift),)) * 0.1).float())
    set_convolution(model.head, f"{scope}/conv18")
    return model.eval()


def network_input(name: str, dtype: torch.dtype) -> Tensor:
    normals = FIGURES["normals_times127"].astype(np.float32) / np.float32(127)
    channels = np.concatenate([FIGURES["image"], normals, FIGURES["densepose_vui"]], axis=-1, dtype=np.float32)
    inputs_19hw = torch.from_numpy(channels).permute(2, 0, 1)[None].to(dtype)
    return inputs_19hw[:, :3] if name == "normal" else inputs_19hw


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [
        ("depth", torch.float64, 1e-10),
        # The original's own float32 output is up to 6e-3 away from these float64 figures.
        ("depth", torch.float32, 1e-4),
        ("normal", torch.float32, 1e-4),
    ],
    ids=["depth-float64", "depth-float32", "normal-float32"],
)
def test_network_output(name, dtype, tolerance):
    with torch.inference_mode():
        output_hwc = network(name, dtype)(network_input(name, dtype))[0].permute(1, 2, 0).double()
    rows, columns = (torch.from_numpy(FIGURES[f"{name}/{axis}"]).long() for axis in ("rows", "columns"))
    assert_close(output_hwc[rows, columns], FIGURES[f"{name}/output"], tolerance)
    summary = [output_hwc.mean(), output_hwc.std(correction=0), output_hwc.norm()]
    assert [value.item() for value in summary] == pytest.approx(FIGURES[f"{name}/mean_std_norm"], rel=tolerance)
