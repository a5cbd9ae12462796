"""The hourglass network of both estimators.

One stack of 17 blocks (3 x 3 convolution, normalisation, ReLU) and a 1 x 1 convolution, four poolings deep::

    c0 c1 c2 | c3 | c4 | c5 | c6 c7 c8 | (up, c5) c9 c10 | (up, c4) c11 c12 | (up, c3) c13 c14 | (up, c2) c15 c16 | head

Widths at ``width=64``, the original's: 64 64 64 | 128 | 256 | 512 | 1024 1024 512 | 512 256 | 256 128 | 128 64 | 64 64.
How each device computes the operations is in :mod:`hdnet.models.fast_paths`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from hdnet.errors import ModelError
from hdnet.models.fast_paths import GroupLayers, groups_of, normalise_batch, normalise_images, to_bfloat16
from hdnet.params import ModelParams

InputScale = Literal["raw", "unit"]
Norm = Literal["image", "batch"]
Role = Literal["normal", "depth"]
T = TypeVar("T")

STRIDE = 16  # four 2 x 2 poolings
# Channels into and out of c1 .. c16 in units of `width`; twice the previous output where a skip is joined.
_CHANNELS = (
    *((1, 1), (1, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 16), (16, 8)),
    *((16, 8), (8, 4), (8, 4), (4, 2), (4, 2), (2, 1), (2, 1), (1, 1)),
)


@dataclass(frozen=True)
class HourglassConfig:
    """Configuration that rebuilds a network; stored in every model file.

    Attributes:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        width: Channels of the first block, 64 in the original.
        input_scale: "raw" feeds colours and IUV as 0..255 beside normals in -1..1, as the original does
            (docs/parity.md, 10); "unit" maps the 0..255 channels to -1..1, so that a short training uses the normals.
        initial_output: If not 0, the output of the untrained network. The original starts with noise of a metre
            around 0 although every target's median is 4 m; a short training should not spend its steps on that.
        norm: Statistics that normalise a picture while training: its own ("image"), or its whole batch's ("batch"), as
            in the original. In evaluation mode they are always its own. See :class:`Block`.
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
    shift, no scale, eps 1e-3, no running averages, in training and in inference (docs/parity.md, 1 to 3). One image's
    result is therefore independent of its batch, and equals the original's, which predicts at batch 1.

    The original trains both estimators with batch 8, normalising by the statistics of all 8 pictures together. That is
    another function: two pictures and the same weights give losses 0.2 to 0.4 % apart, and a different Adam step
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
        normalise = normalise_batch if self.norm == "batch" and self.training else normalise_images
        return normalise(self.conv(x_bchw), self.shift)


class Layers(Protocol[T]):
    """The operations of :func:`figure` on some form of a picture: tensors, or nodes of another program's graph."""

    def block(self, index: int, x: T, /) -> T:
        """Convolution, normalisation and ReLU number ``index``."""

    def halve(self, x: T, /) -> T:
        """2 x 2 max pooling."""

    def join(self, x: T, skip: T, /) -> T:
        """``x`` at twice its size (:func:`hdnet.models.fast_paths.upsample`), and the channels of ``skip``."""


def figure(x: T, layers: Layers[T]) -> T:
    """The network up to its head: the wiring of the paper's figure, whatever computes the layers."""
    block, halve, join = layers.block, layers.halve, layers.join
    full = block(2, block(1, block(0, x)))
    half = block(3, halve(full))
    quarter = block(4, halve(half))
    eighth = block(5, halve(quarter))
    x = block(8, block(7, block(6, halve(eighth))))
    x = block(10, block(9, join(x, eighth)))
    x = block(12, block(11, join(x, quarter)))
    x = block(14, block(13, join(x, half)))
    return block(16, block(15, join(x, full)))


class Hourglass(nn.Module):
    """The network.

    Args:
        config: Its shape.
        largest_inputs: Largest value of every input channel, which input_scale "unit" maps to 1 and its 0 to -1; None
            leaves a channel as it is.
    """

    network: ClassVar[str] = "hourglass"
    role: ClassVar[Role]
    """Quantity that it estimates."""
    input_gain: Tensor
    input_offset: Tensor

    def __init__(self, config: HourglassConfig, largest_inputs: tuple[float | None, ...]) -> None:
        super().__init__()
        self.config = config
        channels = [(config.in_channels, config.width), *((i * config.width, o * config.width) for i, o in _CHANNELS)]
        self.blocks = nn.ModuleList(Block(*in_and_out, config.norm) for in_and_out in channels)
        self.head = nn.Conv2d(config.width, config.out_channels, 1)
        scaled = [None] * config.in_channels if config.input_scale == "raw" else largest_inputs
        gain = torch.tensor([1.0 if largest is None else 2 / largest for largest in scaled])
        offset = torch.tensor([0.0 if largest is None else -1.0 for largest in scaled])
        self.register_buffer("input_gain", gain[:, None, None], persistent=False)
        self.register_buffer("input_offset", offset[:, None, None], persistent=False)
        self.reset_parameters()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build a network with random weights from what :meth:`HourglassConfig.to_dict` gives.

        Raises:
            TypeError: A value is missing or unknown.
        """
        raise NotImplementedError

    @classmethod
    def from_params(cls, params: ModelParams) -> Self:
        """Build a network with random weights from section ``model`` of params.yaml."""
        raise NotImplementedError

    @property
    def mixes_pictures(self) -> bool:
        """Return whether the pictures of a batch share their statistics while training."""
        return self.config.norm == "batch"

    def reset_parameters(self) -> None:
        """The original's initialisation: variance scaling, factor 2, fan-in, truncated normal (docs/parity.md, 8)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
                sigma = math.sqrt(1.3 * 2 / fan_in)  # truncation at 2 sigma takes the factor 1.3 of the variance away
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
        self._check(x_bchw)
        x = x_bchw if self.config.input_scale == "raw" else x_bchw * self.input_gain + self.input_offset
        groups = groups_of(x, is_separable=not (self.mixes_pictures and self.training))
        groups = figure(groups, GroupLayers(self.blocks))
        # In float32 also under autocast: bfloat16 cannot tell 4.00 m from 4.01 m.
        with torch.autocast(x.device.type, enabled=False):
            return torch.cat([self.head(group.to(self.head.weight.dtype)) for group in groups])

    def _check(self, x_bchw: Tensor) -> None:
        channels, size = self.config.in_channels, x_bchw.shape[2:]
        fits = len(size) == 2 and all(side % STRIDE == 0 and side >= 2 * STRIDE for side in size)
        if x_bchw.ndim != 4 or x_bchw.shape[1] != channels or not fits:
            raise ValueError(
                f"expected (B, {channels}, H, W) with H and W multiples of {STRIDE} from {2 * STRIDE} on, such as 256, "
                f"got {tuple(x_bchw.shape)}"
            )

    def convolutions_to_bfloat16(self) -> None:
        """Turn all convolutions but the head to bfloat16."""
        to_bfloat16(self.blocks)


class NormalEstimator(Hourglass):
    """Surface normals from a picture of a person on white: (B, 3, 256, 256) RGB 0..255 to (B, 3, 256, 256).

    The output is raw: not of unit length, not masked.
    """

    role = "normal"

    def __init__(self, width: int = 64, input_scale: InputScale = "raw", norm: Norm = "image") -> None:
        super().__init__(HourglassConfig(3, 3, width, input_scale, norm=norm), (255, 255, 255))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """See :class:`Hourglass`."""
        config = HourglassConfig(**values)
        return cls(config.width, config.input_scale, config.norm)

    @classmethod
    def from_params(cls, params: ModelParams) -> Self:
        """See :class:`Hourglass`."""
        return cls(params.width, params.input_scale, params.norm)


class DepthEstimator(Hourglass):
    """Depth from picture, normals and DensePose: (B, 9, 256, 256) to (B, 1, 256, 256).

    Input channels in the reference's order: R, G, B (0..255), normal x, y, z (-1..1), V, U, I (0..255; I = 0..24).
    The output is z in metres, not masked.
    """

    role = "depth"

    def __init__(
        self,
        width: int = 64,
        input_scale: InputScale = "raw",
        initial_depth_m: float = 0.0,
        norm: Norm = "image",
    ) -> None:
        config = HourglassConfig(9, 1, width, input_scale, initial_depth_m, norm)
        super().__init__(config, (255, 255, 255, None, None, None, 255, 255, 24))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """See :class:`Hourglass`."""
        config = HourglassConfig(**values)
        return cls(config.width, config.input_scale, config.initial_output, config.norm)

    @classmethod
    def from_params(cls, params: ModelParams) -> Self:
        """See :class:`Hourglass`."""
        return cls(params.width, params.input_scale, params.initial_depth_m, params.norm)
