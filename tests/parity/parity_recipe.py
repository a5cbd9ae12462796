"""The weights that the original was run with, made from its variables' names on both sides."""

import zlib

import numpy as np
import torch
from torch import Tensor, nn

from hdnet.models import DepthEstimator, NormalEstimator

NETWORKS = {
    "normal": (NormalEstimator, "hourglass_normal_prediction"),
    "depth": (DepthEstimator, "hourglass_stack_fused_depth_prediction"),
}


@torch.no_grad()
def network(name: str, dtype: torch.dtype, norm: str = "image") -> NormalEstimator | DepthEstimator:
    """ "normal" or "depth" at the original's width, in evaluation mode."""
    kind, scope = NETWORKS[name]
    model = kind(norm=norm).to(dtype)
    for number, block in enumerate(model.blocks, start=1):
        _set_convolution(block.conv, f"{scope}/conv{number}")
        block.shift.copy_((_noise(f"{scope}/conv{number}/beta", (len(block.shift),)) * 0.1).float())
    _set_convolution(model.head, f"{scope}/conv18")
    return model.eval()


def as_variables(model: NormalEstimator | DepthEstimator, values: dict[nn.Parameter, Tensor]) -> dict[str, Tensor]:
    """A value for every parameter by the original's names without scope; flat, in its order (h, w, in, out)."""
    named = {}
    for number, conv in enumerate([*(block.conv for block in model.blocks), model.head], start=1):
        named[f"conv{number}/weights"] = values[conv.weight].permute(2, 3, 1, 0).flatten()
        named[f"conv{number}/biases"] = values[conv.bias]
    for number, block in enumerate(model.blocks, start=1):
        named[f"conv{number}/beta"] = values[block.shift]
    return named


def _noise(variable: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers seeded by the original's name of the variable."""
    return torch.from_numpy(np.random.default_rng(zlib.crc32(variable.encode())).standard_normal(shape))


def _set_convolution(conv: nn.Conv2d, variable: str) -> None:
    out_channels, in_channels, height, width = conv.weight.shape
    # Drawn in TensorFlow's order (height, width, in, out) and rounded to float32 there.
    hwio = _noise(f"{variable}/weights", (height, width, in_channels, out_channels))
    conv.weight.copy_((hwio * (2 / (height * width * in_channels)) ** 0.5).float().permute(3, 2, 0, 1))
    conv.bias.copy_((_noise(f"{variable}/biases", (out_channels,)) * 0.1).float())
