"""The hourglass network of both estimators.

One stack of 17 blocks (3 x 3 convolution, normalisation, ReLU) and a 1 x 1 convolution, four poolings deep::

    c0 c1 c2 | c3 | c4 | c5 | c6 c7 c8 | (up, c5) c9 c10 | (up, c4) c11 c12 | (up, c3) c13 c14 | (up, c2) c15 c16 | head

Widths at ``width=64``, the original's: 64 64 64 | 128 | 256 | 512 | 1024 1024 512 | 512 256 | 256 128 | 128 64 | 64 64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdnet.errors import ModelError

InputScale = Literal["raw", "unit"]
Norm = Literal["image", "batch"]

NORM_EPS = 1e-3
STRIDE = 16  # four 2 x 2 poolings
# Output width of c0 .. c16 in units of `width`.
_WIDTHS = (1, 1, 1, 2, 4, 8, 16, 16, 8, 8, 4, 4, 2, 2, 1, 1, 1)
# Blocks in front of which the picture is halved, and those that take an upsampled input joined with a skip.
POOL_BEFORE = frozenset({3, 4, 5, 6})
SKIP_INTO = {9: 5, 11: 4, 13: 3, 15: 2}
# On a processor, where the pictures of a batch go through together: there the weights outweigh them and would be
# read once a picture. Above, what one layer leaves in the cache is worth more to the next.
_TOGETHER_ON_CPU = range(4, 13)


@dataclass(frozen=True)
class HourglassConfig:
    """What rebuilds a network; stored in every checkpoint.

    Attributes:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        width: Channels of the first block, 64 in the original.
        input_scale: "raw" feeds colours and IUV as 0..255 beside normals in -1..1, as the original does (quirk 10);
            "unit" divides the 0..255 channels by 127.5 and subtracts 1, so that a short training hears the normals.
        initial_output: If not 0, what the untrained network gives everywhere. The original starts with noise of a metre
            around 0 although every target's median is 4 m; a short training should not spend its steps on that.
        norm: Whose mean and variance normalise a picture while training: its own ("image"), or those of its whole
            batch ("batch"), as the original. In use it is always its own. See :class:`Block`.
    """

    in_channels: int
    out_channels: int
    width: int = 64
    input_scale: InputScale = "raw"
    initial_output: float = 0.0
    norm: Norm = "image"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ModelError(f"network width must be at least 1, found {self.width}")
        if self.input_scale not in ("raw", "unit"):
            raise ModelError(f"input_scale must be 'raw' or 'unit', found {self.input_scale!r}")
        if self.norm not in ("image", "batch"):
            raise ModelError(f"norm must be 'image' or 'batch', found {self.norm!r}")

    def to_dict(self) -> dict[str, int | float | str]:
        """Plain values for JSON."""
        return asdict(self)


class Block(nn.Module):
    """3 x 3 convolution, normalisation by the image's own statistics, ReLU.

    The normalisation is the original's batch norm at batch 1: mean and variance of the image's own pixels, a learned
    shift, no scale, eps 1e-3, no running averages, in training and in inference (quirks 1 to 3). So one image's result
    never depends on what else is in its batch, and equals the original's, which predicts at batch 1.

    The original trains both estimators with batch 8, normalising by the statistics of all 8 pictures together. That is
    another function: two pictures and the same weights give losses 0.2 to 0.4 % apart, and an Adam step to elsewhere
    (``tests/parity``). ``norm="batch"`` repeats it while the module is in training mode; in evaluation mode, and at
    batch 1 as in the original's joint stage, both are the same.

    The convolution keeps its bias although the normalisation removes it, because checkpoints of the original hold one.
    """

    def __init__(self, in_channels: int, out_channels: int, norm: Norm) -> None:
        super().__init__()
        self.norm = norm
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.shift = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H, W)."""
        x = self.conv(x_bchw)
        if (self.norm == "batch" and self.training) or (x.shape[0] == 1 and not torch.compiler.is_compiling()):
            # At batch 1 the same numbers as below; unlike instance_norm it keeps channels_last, twice as fast on a CPU.
            return self._normalise_together(x)
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            return torch.cat([self._normalise_together(one) for one in x.chunk(len(x))])
        if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
            # instance_norm asks for NCHW, a copy of the picture there and one back in every block. The compiler fuses
            # these lines into as little, in whichever layout.
            given, x = x.dtype, x.float() if x.dtype.itemsize < 4 else x
            variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
            normalised = (x - mean) * torch.rsqrt(variance + NORM_EPS) + self.shift[:, None, None]
            return F.relu(normalised).to(given)
        ones = torch.ones_like(self.shift)
        return F.relu_(F.instance_norm(x, weight=ones, bias=self.shift, eps=NORM_EPS))

    def _normalise_together(self, x_bchw: Tensor) -> Tensor:
        """By the statistics of all pictures."""
        ones = torch.ones_like(self.shift)
        return F.relu_(F.batch_norm(x_bchw, None, None, ones, self.shift, training=True, eps=NORM_EPS))


def upsample_legacy(x_bchw: Tensor) -> Tensor:
    """Doubles height and width as TensorFlow 1 does by default: [0, 1] becomes [0, .5, 1, 1] (quirk 9).

    Even outputs are the inputs, odd ones the mean of two neighbours, the last one repeated. That is align_corners on
    an input that was extended by its last row and column.
    """
    height, width = x_bchw.shape[-2:]
    extended = F.pad(x_bchw, (0, 1, 0, 1), mode="replicate")
    size = (2 * height + 1, 2 * width + 1)
    return F.interpolate(extended, size=size, mode="bilinear", align_corners=True)[..., : 2 * height, : 2 * width]


class _UpsampleJoin(torch.autograd.Function):
    """:func:`upsample_join` written into the joined picture at once, in either memory layout.

    ``upsample_legacy`` and ``torch.cat`` under autocast go through float32 on a processor and through atomic additions
    on a GPU: a tenth of a training step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, skip: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        shape = (batch, channels + skip.shape[1], 2 * height, 2 * width)
        is_last = x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if is_last else torch.contiguous_format
        joined = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
        joined[:, channels:] = skip
        up = _phases(joined[:, :channels])
        up[:, :, :, 0, :, 0] = x
        torch.lerp(x[..., :-1], x[..., 1:], 0.5, out=up[:, :, :, 0, :-1, 1])
        up[:, :, :, 0, -1, 1] = x[..., -1]
        torch.lerp(up[:, :, :-1, 0], up[:, :, 1:, 0], 0.5, out=up[:, :, :-1, 1])
        up[:, :, -1, 1] = up[:, :, -1, 0]
        ctx.channels = channels
        return joined

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        joined = gradients[0]
        up = _phases(joined[:, : ctx.channels])
        rows = torch.add(up[:, :, :, 0], up[:, :, :, 1], alpha=0.5)
        rows[:, :, 1:].add_(up[:, :, :-1, 1], alpha=0.5)
        rows[:, :, -1].add_(up[:, :, -1, 1], alpha=0.5)
        x = torch.add(rows[..., 0], rows[..., 1], alpha=0.5)
        x[..., 1:].add_(rows[..., :-1, 1], alpha=0.5)
        x[..., -1].add_(rows[..., -1, 1], alpha=0.5)
        return x, joined[:, ctx.channels :]


def _phases(doubled_bchw: Tensor) -> Tensor:
    """A view (B, C, h, 2, w, 2) of (B, C, 2 h, 2 w)."""
    batch, channels, height, width = doubled_bchw.shape
    return doubled_bchw.view(batch, channels, height // 2, 2, width // 2, 2)


def upsample_join(x_bchw: Tensor, skip_bchw: Tensor) -> Tensor:
    """:func:`upsample_legacy`, joined with the channels of a picture of that size."""
    if torch.compiler.is_exporting():
        return torch.cat([upsample_legacy(x_bchw), skip_bchw], dim=1)
    if not torch.compiler.is_compiling():
        joined: Tensor = _UpsampleJoin.apply(x_bchw, skip_bchw)  # type: ignore[no-untyped-call]
        return joined
    # Plain arithmetic on channels_last, which the compiler fuses with the joining, forwards and backwards.
    x_bhwc = x_bchw.permute(0, 2, 3, 1)
    right = torch.cat([x_bhwc[:, :, 1:], x_bhwc[:, :, -1:]], dim=2)
    x_bhwc = torch.stack([x_bhwc, (x_bhwc + right) * 0.5], dim=3).flatten(2, 3)
    below = torch.cat([x_bhwc[:, 1:], x_bhwc[:, -1:]], dim=1)
    x_bhwc = torch.stack([x_bhwc, (x_bhwc + below) * 0.5], dim=2).flatten(1, 2)
    return torch.cat([x_bhwc, skip_bchw.permute(0, 2, 3, 1)], dim=3).permute(0, 3, 1, 2)


class Hourglass(nn.Module):
    """The network; see :class:`HourglassConfig` for the arguments."""

    input_gain: Tensor
    input_offset: Tensor

    def __init__(self, config: HourglassConfig, scaled_channels: tuple[int, ...]) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * factor for factor in _WIDTHS]
        blocks, previous = [], config.in_channels
        for index, out_channels in enumerate(widths):
            joined = previous + (widths[SKIP_INTO[index]] if index in SKIP_INTO else 0)
            blocks.append(Block(joined, out_channels, config.norm))
            previous = out_channels
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(previous, config.out_channels, 1)
        gain, offset = torch.ones(config.in_channels), torch.zeros(config.in_channels)
        if config.input_scale == "unit":
            gain[list(scaled_channels)], offset[list(scaled_channels)] = 1 / 127.5, -1.0
        self.register_buffer("input_gain", gain[:, None, None], persistent=False)
        self.register_buffer("input_offset", offset[:, None, None], persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The original's initialisation: variance scaling, factor 2, fan-in, normal truncated at 2 sigma (quirk 8)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
                sigma = math.sqrt(1.3 * 2 / fan_in)  # 1.3 makes up for the variance that truncation takes
                nn.init.trunc_normal_(module.weight, std=sigma, a=-2 * sigma, b=2 * sigma)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, Block):
                nn.init.zeros_(module.shift)
        if self.config.initial_output and self.head.bias is not None:
            nn.init.zeros_(self.head.weight)
            nn.init.constant_(self.head.bias, self.config.initial_output)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Strict: exactly (B, in_channels, H, W), H and W multiples of 16 from 32 on; made for 256.

        Raises:
            ValueError: On any other shape.
        """
        channels, size = self.config.in_channels, x_bchw.shape[2:]
        fits = len(size) == 2 and all(side % STRIDE == 0 and side >= 2 * STRIDE for side in size)
        if x_bchw.ndim != 4 or x_bchw.shape[1] != channels or not fits:
            raise ValueError(
                f"expected (B, {channels}, H, W) with H and W multiples of {STRIDE} from {2 * STRIDE} on, such as 256, "
                f"got {tuple(x_bchw.shape)}"
            )
        x = x_bchw if self.config.input_scale == "raw" else x_bchw * self.input_gain + self.input_offset
        mixes = self.config.norm == "batch" and self.training
        return self._stack(x, apart=x.device.type == "cpu" and not mixes and not torch.compiler.is_compiling())

    def _stack(self, x: Tensor, apart: bool = False) -> Tensor:
        """All layers. ``apart``: pictures one by one where that is faster; they do not depend on each other."""
        pictures: Sequence[Tensor] = x.chunk(len(x)) if apart else [x]
        skips: dict[int, Sequence[Tensor]] = {}
        for index, block in enumerate(self.blocks):
            if index in POOL_BEFORE:
                pictures = [F.max_pool2d(one, 2) for one in pictures]
            if apart and index == _TOGETHER_ON_CPU.start:
                pictures = [torch.cat(list(pictures))]
            if apart and index == _TOGETHER_ON_CPU.stop:
                pictures = pictures[0].chunk(len(x))
            if index in SKIP_INTO:
                pictures = [
                    upsample_join(one, skip) for one, skip in zip(pictures, skips.pop(SKIP_INTO[index]), strict=True)
                ]
            pictures = [block(one) for one in pictures]
            if index in SKIP_INTO.values():
                skips[index] = pictures
        # In float32 also under autocast: bfloat16 cannot tell 4.00 m from 4.01 m.
        with torch.autocast(x.device.type, enabled=False):
            return torch.cat([self.head(one.to(self.head.weight.dtype)) for one in pictures])


class NormalEstimator(Hourglass):
    """Surface normals from a picture of a person on white: (B, 3, 256, 256) RGB 0..255 to (B, 3, 256, 256).

    The output is raw: not of unit length, not masked.
    """

    def __init__(self, width: int = 64, input_scale: InputScale = "raw", norm: Norm = "image") -> None:
        super().__init__(HourglassConfig(3, 3, width, input_scale, norm=norm), scaled_channels=(0, 1, 2))


class DepthEstimator(Hourglass):
    """Depth from picture, normals and DensePose: (B, 9, 256, 256) to (B, 1, 256, 256).

    Input channels in the reference's order: R, G, B (0..255), normal x, y, z (-1..1), V, U, I (0..255; I = 0..24).
    The output is z in metres, not masked.
    """

    def __init__(
        self,
        width: int = 64,
        input_scale: InputScale = "raw",
        initial_depth_m: float = 0.0,
        norm: Norm = "image",
    ) -> None:
        config = HourglassConfig(9, 1, width, input_scale, initial_depth_m, norm)
        super().__init__(config, scaled_channels=(0, 1, 2, 6, 7))
        if input_scale == "unit":
            # Part numbers end at 24: spread them like the other channels.
            self.input_gain[8], self.input_offset[8] = 1 / 12.0, -1.0
