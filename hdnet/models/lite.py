"""Network for photographs: one encoder, one decoder, and heads for all that is known of a person.

::

    colours, hint -> encoder (strides 2 4 8 16 32)
    decoder:  32 -> 16 -> 8 -> 4 -> 2, each step: bilinear x 2, plus 1 x 1 of the encoder's features and the hint, 3 x 3
    heads:    scale at 32; parts, U, V at 4; normals, confidence, relief, mask at 2, twice as large by pixel shuffle
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdnet.errors import ModelError
from hdnet.geometry import Camera
from hdnet.models.batch_norm import BatchNorm
from hdnet.models.efficientnet import NORM_EPS, NORM_MOMENTUM, STRIDES, VARIANTS, EfficientNetLite
from hdnet.models.fast_paths import PreciseConv2d, mean_pool
from hdnet.params import ModelParams

STRIDE = STRIDES[-1]
# 3 x 3 convolutions of the decoder at strides 16, 8, 4, 2; fewer where pictures are large.
_CONVOLUTIONS = (2, 2, 1, 1)
# Channels of the head at full size: normals, confidence, relief, mask.
PIXEL_CHANNELS = (3, 1, 1, 1)
# Body parts and background; U, V.
BODY_CHANNELS = (25, 2)
# Pixels per metre of the untrained network, as a share of the picture's side: a person fills two thirds of it.
_INITIAL_SCALE = 0.4
_INPUTS = "R, G, B, hint"


@dataclass(frozen=True)
class LiteConfig:
    """Configuration that rebuilds a network; stored in every model file.

    Attributes:
        encoder: EfficientNet-Lite0 or the larger Lite2.
        decoder: Channels of the decoder at strides 32, 16, 8, 4, 2.
        metric: The scale head has learned from people of known size, and tells their distance.
    """

    in_channels: ClassVar[int] = 4
    encoder: Literal["lite0", "lite2"] = "lite0"
    decoder: tuple[int, ...] = (128, 96, 64, 48, 32)
    metric: bool = False

    def __post_init__(self) -> None:
        if self.encoder not in VARIANTS:
            raise ModelError(f"encoder must be one of {', '.join(VARIANTS)}, found {self.encoder!r}")
        if len(self.decoder) != len(STRIDES) or min(self.decoder) < 1:
            raise ModelError(f"decoder must be {len(STRIDES)} numbers of channels, found {self.decoder}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"decoder": list(self.decoder)}


class PersonMaps(NamedTuple):
    """All that the network says about the person in a picture, float32."""

    normals_b3hw: Tensor
    """Normals in the frame of the picture's middle ray, not of unit length."""
    log_kappa_b1hw: Tensor
    """Confidence of the normals: logarithm of the concentration of an angular von Mises-Fisher distribution."""
    relief_b1hw: Tensor
    """Relief, see :mod:`hdnet.geometry.relief`: free of focal length and distance."""
    mask_b1hw: Tensor
    """Logit of the person's mask."""
    parts_b25hw: Tensor
    """Logits of background (0) and the 24 body parts, at a quarter of the size."""
    uv_b2hw: Tensor
    """U and V, at a quarter of the size; 0..1, while training not limited to it."""
    log_scale_b1: Tensor
    """Logarithm of pixels per metre at the person's distance."""


class LiteEstimator(nn.Module):
    """The network, with random weights.

    Args:
        config: Its shape.
    """

    network: ClassVar[str] = "lite"
    role: ClassVar[str] = "person"
    mixes_pictures: ClassVar[bool] = False
    """The pictures of a batch share their statistics, but over all processes: see :mod:`hdnet.models.batch_norm`."""
    input_gain: Tensor
    input_offset: Tensor

    def __init__(self, config: LiteConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LiteConfig()
        self.encoder = EfficientNetLite(config.encoder, in_channels=4)
        self.decoder = Decoder(self.encoder.channels, config.decoder)
        self.scale_head = nn.Linear(config.decoder[0], 1)
        self.body_head = nn.Conv2d(config.decoder[3], sum(BODY_CHANNELS), 1)
        self.pixel_head = PreciseConv2d(config.decoder[4], 4 * sum(PIXEL_CHANNELS), 3, padding=1)
        gain, offset = torch.tensor([1 / 128] * 3 + [1.0]), torch.tensor([-127 / 128] * 3 + [0.0])
        self.register_buffer("input_gain", gain[:, None, None], persistent=False)
        self.register_buffer("input_offset", offset[:, None, None], persistent=False)
        self._reset_heads()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build a network with random weights from what :meth:`LiteConfig.to_dict` gives.

        Raises:
            TypeError: A value is missing or unknown.
        """
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(LiteConfig(**given))

    @classmethod
    def from_params(cls, params: ModelParams) -> Self:
        """Build an untrained network from section ``model`` of params.yaml, its encoder with ImageNet weights if asked.

        Raises:
            ModelError: The package with the ImageNet weights is missing or altered.
        """
        estimator = cls(LiteConfig(params.encoder))
        if params.encoder_weights == "imagenet":
            estimator.encoder.load_imagenet()
        return estimator

    def forward(self, inputs_b4hw: Tensor) -> PersonMaps:
        """Compute all maps.

        Args:
            inputs_b4hw: R, G, B (0..255, with the background; 127 beyond the picture's edge) and the hint: +1 where
                a given mask has the person, -1 where it has not and beyond the picture's edge, 0 where nothing is
                known. H and W multiples of 32; made for 256.

        Returns:
            Maps of the size H x W or a quarter of it, and the scale.

        Raises:
            ValueError: On any other shape.
        """
        _check(inputs_b4hw)
        features = self.encoder(inputs_b4hw * self.input_gain + self.input_offset)
        deepest, quarter, half = self.decoder(features, inputs_b4hw[:, 3:])
        # In float32 also under autocast: bfloat16 has 8 bits, too few for a relief of millimetres.
        pixels = F.pixel_shuffle(self.pixel_head(half), 2)
        with torch.autocast(inputs_b4hw.device.type, enabled=False):
            deepest, quarter = (x.to(self.body_head.weight.dtype) for x in (deepest, quarter))
            normals, log_kappa, relief, mask = torch.split(pixels, [*PIXEL_CHANNELS], dim=1)
            parts, uv = torch.split(self.body_head(quarter), [*BODY_CHANNELS], dim=1)
            height, width = inputs_b4hw.shape[-2:]  # the scale is learned relative to them, for training at many sizes
            log_scale = self.scale_head(deepest.mean((2, 3))) + math.log(math.sqrt(height * width))
        return PersonMaps(normals, log_kappa, relief, mask, parts, uv if self.training else uv.clamp(0, 1), log_scale)

    def freeze(self, blocks: int) -> None:
        """Take the encoder's stem and first blocks out of training, see :meth:`EfficientNetLite.freeze`.

        What they hand on is then the same for every hint: the decoder gets the hint itself.
        """
        self.encoder.freeze(blocks)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """All parameters of the encoder, frozen ones too."""
        return self.encoder.parameters()

    def decoder_parameters(self) -> Iterator[nn.Parameter]:
        """All other parameters."""
        return (parameter for name, parameter in self.named_parameters() if not name.startswith("encoder."))

    def _reset_heads(self) -> None:
        state = {name: tensor for name, tensor in self.named_parameters() if "_head." in name}
        with torch.no_grad():
            for name, tensor in state.items():
                if name.endswith("bias"):
                    tensor.zero_()
            state["scale_head.weight"].zero_()
            state["scale_head.bias"].fill_(math.log(_INITIAL_SCALE))
            state["body_head.bias"][BODY_CHANNELS[0] :] = 0.5
            # The four pixels of a shuffle begin alike, and normals face the camera.
            weight = state["pixel_head.weight"]
            weight.copy_(0.3 * weight[::4].repeat_interleave(4, dim=0))
            state["pixel_head.bias"][8:12] = -1.0


class Decoder(nn.Module):
    """U-Net decoder over features of strides 2 to 32.

    Args:
        encoder: Channels of the features at :data:`STRIDES`.
        channels: Of the decoder at strides 32, 16, 8, 4, 2.
    """

    def __init__(self, encoder: list[int], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.top = _convolution(encoder[-1], channels[0], 1)
        ins_and_outs = zip(channels, channels[1:], encoder[-2::-1], _CONVOLUTIONS, strict=False)
        self.levels = nn.ModuleList(Level(*numbers) for numbers in ins_and_outs)

    def forward(self, features: list[Tensor], hint_b1hw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decode the encoder's features, strides 2 to 32; gives those of the decoder at strides 32, 4 and 2."""
        hints = []
        for _ in self.levels:
            hint_b1hw = mean_pool(hint_b1hw)
            hints.append(hint_b1hw)
        x = self.top(features[-1])
        decoded = [x]
        for level, skip, hint in zip(self.levels, features[-2::-1], hints[::-1], strict=True):
            x = level(x, skip, hint)
            decoded.append(x)
        return decoded[0], decoded[-2], decoded[-1]


class Level(nn.Module):
    """One step of the decoder to twice the size."""

    def __init__(self, in_channels: int, out_channels: int, skip_channels: int, convolutions: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        # The hint enters here, too, as a frozen encoder does not know it.
        self.lateral = nn.Conv2d(skip_channels + 1, out_channels, 1, bias=False)
        self.norm = BatchNorm(out_channels, NORM_EPS, NORM_MOMENTUM)
        self.convolutions = nn.Sequential(*(_convolution(out_channels, out_channels, 3) for _ in range(convolutions)))

    def forward(self, x_bchw: Tensor, skip_bchw: Tensor, hint_b1hw: Tensor) -> Tensor:
        """Twice the size of ``x``, with the features of the encoder and the hint at that size."""
        reduced = self.reduce(x_bchw)
        # Autocast would take both through float32.
        with torch.autocast(x_bchw.device.type, enabled=False):
            up = F.interpolate(reduced, scale_factor=2, mode="bilinear", align_corners=False)
            joined = torch.cat([skip_bchw, hint_b1hw.to(skip_bchw.dtype)], dim=1)
        y_bchw = F.relu(self.norm(up + self.lateral(joined)), inplace=True)
        convolved: Tensor = self.convolutions(y_bchw)
        return convolved


def _convolution(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, BatchNorm(out_channels, NORM_EPS, NORM_MOMENTUM), nn.ReLU(inplace=True))


def _check(inputs_b4hw: Tensor) -> None:
    size = inputs_b4hw.shape[2:]
    fits = len(size) == 2 and all(side % STRIDE == 0 and side > 0 for side in size)
    if inputs_b4hw.ndim != 4 or inputs_b4hw.shape[1] != 4 or not fits:
        raise ValueError(
            f"expected (B, 4, H, W) = {_INPUTS} with H and W multiples of {STRIDE}, such as 256, "
            f"got {tuple(inputs_b4hw.shape)}"
        )


class PersonModel(nn.Module):
    """The network and the camera that its pictures had in training; this is saved, registered and served.

    Args:
        estimator: The network.
        camera: Camera of the 256 x 256 training pictures.
    """

    def __init__(self, estimator: LiteEstimator, camera: Camera) -> None:
        super().__init__()
        self.estimator = estimator
        self.camera = camera

    def forward(self, inputs_b4hw: Tensor) -> PersonMaps:
        """See :meth:`LiteEstimator.forward`."""
        maps: PersonMaps = self.estimator(inputs_b4hw)
        return maps
