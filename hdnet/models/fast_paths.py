"""Operations of the networks as each device and compiler computes them fastest.

Every operation stands here with its plain form first, which ``torch.export`` gets, and variants that give the same
numbers: one for running layer by layer, one that ``torch.compile`` fuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPS = 1e-3
# Blocks that a processor computes for all pictures of a batch at once: their weights outweigh the pictures and would
# be read once a picture. In the others, what one layer leaves in the cache is worth more to the next.
_TOGETHER_ON_CPU = range(4, 13)

# Channels that a dense convolution joins where depthwise kernels are slow: a row of a matrix of AMX or AVX512.
_GROUP = 16

Mode = Literal["export", "eager", "compiled"]


def mode() -> Mode:
    """Return the mode that the network runs in at the moment."""
    if torch.compiler.is_exporting():
        return "export"
    return "compiled" if torch.compiler.is_compiling() else "eager"


# --- Normalisation, shift, ReLU -----------------------------------------------------------------------------------


def normalise_batch(x_bchw: Tensor, shift_c: Tensor) -> Tensor:
    """Normalise all pictures by the mean and variance of the whole batch, add the shift, apply ReLU."""
    ones = torch.ones_like(shift_c)
    return F.relu_(F.batch_norm(x_bchw, None, None, ones, shift_c, training=True, eps=NORM_EPS))


def normalise_images(x_bchw: Tensor, shift_c: Tensor) -> Tensor:
    """Normalise every picture by its own mean and variance, add the shift, apply ReLU."""
    return NORMALISATIONS[mode()](x_bchw, shift_c)


def _normalise_plain(x_bchw: Tensor, shift_c: Tensor) -> Tensor:
    ones = torch.ones_like(shift_c)
    return F.relu_(F.instance_norm(x_bchw, weight=ones, bias=shift_c, eps=NORM_EPS))


def _normalise_eager(x_bchw: Tensor, shift_c: Tensor) -> Tensor:
    # Unlike instance_norm, batch_norm keeps channels_last: twice as fast on a CPU.
    if len(x_bchw) == 1:
        return normalise_batch(x_bchw, shift_c)
    if x_bchw.device.type == "cpu":
        return torch.cat([normalise_batch(one, shift_c) for one in x_bchw.chunk(len(x_bchw))])
    return _normalise_plain(x_bchw, shift_c)


def _normalise_compiled(x_bchw: Tensor, shift_c: Tensor) -> Tensor:
    # instance_norm asks for NCHW: two copies of the picture in every block. The compiler fuses these lines instead.
    x = x_bchw.float() if x_bchw.dtype.itemsize < 4 else x_bchw
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    normalised = (x - mean) * torch.rsqrt(variance + NORM_EPS) + shift_c[:, None, None]
    return F.relu(normalised).to(x_bchw.dtype)


NORMALISATIONS = {"export": _normalise_plain, "eager": _normalise_eager, "compiled": _normalise_compiled}


# --- Halving, upsampling and joining ----------------------------------------------------------------------------------


def mean_pool(x_bchw: Tensor) -> Tensor:
    """Return the means of 2 x 2 pixels; of a few channels, ``avg_pool2d`` takes five times as long on a processor."""
    return F.interpolate(x_bchw, scale_factor=0.5, mode="bilinear", align_corners=False)


def upsample(x_bchw: Tensor) -> Tensor:
    """Double height and width as TensorFlow 1 does by default: [0, 1] becomes [0, .5, 1, 1] (docs/parity.md, 9).

    Even outputs are the inputs, odd ones the mean of two neighbours, the last one repeated. That is align_corners on
    an input that was extended by its last row and column.
    """
    height, width = x_bchw.shape[-2:]
    extended = F.pad(x_bchw, (0, 1, 0, 1), mode="replicate")
    size = (2 * height + 1, 2 * width + 1)
    return F.interpolate(extended, size=size, mode="bilinear", align_corners=True)[..., : 2 * height, : 2 * width]


def join(x_bchw: Tensor, skip_bchw: Tensor) -> Tensor:
    """:func:`upsample`, then the channels of a skip connection of that size."""
    return JOINS[mode()](x_bchw, skip_bchw)


def _join_plain(x_bchw: Tensor, skip_bchw: Tensor) -> Tensor:
    return torch.cat([upsample(x_bchw), skip_bchw], dim=1)


def _join_eager(x_bchw: Tensor, skip_bchw: Tensor) -> Tensor:
    joined: Tensor = _Join.apply(x_bchw, skip_bchw)  # type: ignore[no-untyped-call]
    return joined


class _Join(torch.autograd.Function):
    """Upsampling written straight into the joined picture, in either memory layout.

    Under autocast :func:`upsample` and ``torch.cat`` go through float32 on a CPU and through atomic additions on a
    GPU: a tenth of a training step.
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


def _join_compiled(x_bchw: Tensor, skip_bchw: Tensor) -> Tensor:
    # Plain arithmetic on channels_last, which the compiler fuses with the joining, forwards and backwards.
    x_bhwc = x_bchw.permute(0, 2, 3, 1)
    right = torch.cat([x_bhwc[:, :, 1:], x_bhwc[:, :, -1:]], dim=2)
    x_bhwc = torch.stack([x_bhwc, (x_bhwc + right) * 0.5], dim=3).flatten(2, 3)
    below = torch.cat([x_bhwc[:, 1:], x_bhwc[:, -1:]], dim=1)
    x_bhwc = torch.stack([x_bhwc, (x_bhwc + below) * 0.5], dim=2).flatten(1, 2)
    return torch.cat([x_bhwc, skip_bchw.permute(0, 2, 3, 1)], dim=3).permute(0, 3, 1, 2)


JOINS = {"export": _join_plain, "eager": _join_eager, "compiled": _join_compiled}


# --- Depthwise convolution ----------------------------------------------------------------------------------------


def depthwise(x_bchw: Tensor, weight_c1kk: Tensor, bias_c: Tensor | None, stride: int, padding: int) -> Tensor:
    """Convolve every channel with its own kernel; stride 1 or 2. Trains best without bias."""
    if bias_c is not None or not _is_trained_in_bf16(x_bchw):
        return F.conv2d(x_bchw, weight_c1kk, bias_c, stride, padding, groups=len(weight_c1kk))
    y_bchw: Tensor = _Depthwise.apply(x_bchw.to(torch.bfloat16), weight_c1kk, stride, padding)  # type: ignore[no-untyped-call]
    return y_bchw


def _is_trained_in_bf16(x_bchw: Tensor) -> bool:
    return (
        x_bchw.device.type == "cpu"
        and torch.is_grad_enabled()
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and mode() == "eager"
    )


class _Depthwise(torch.autograd.Function):
    """Depthwise convolution in bfloat16 with a backward of fast kernels only.

    oneDNN has none in bfloat16 for the weights of 5 x 5 kernels and for the input of stride 2: its fallbacks were 4 to
    20 times slower (measured on a processor with AVX512-BF16). The weights' gradient is taken from that of a dense
    convolution of groups of channels, 16 times the products but matrix ones: 2.5 to 5 times as fast as in float32 with
    AMX. The input's goes through float32, or, for 3 x 3 kernels, through a convolution of stride 1 over the gradient
    with zeros in between.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight.to(x.dtype), None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        y_gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        by_x = _by_input(y_gradient, x, weight, ctx.stride, ctx.padding) if ctx.needs_input_grad[0] else None
        by_weight = None
        if ctx.needs_input_grad[1]:
            by_weight = _by_weight(y_gradient, x, weight, ctx.stride, ctx.padding).to(weight.dtype)
        return by_x, by_weight, None, None


def _by_weight(y_gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    channels, _, kernel, _ = weight.shape
    if kernel < 5:
        return _gradient(y_gradient, x, weight, stride, padding, x.dtype, 1)
    if channels % _GROUP:
        return _gradient(y_gradient, x, weight, stride, padding, torch.float32, 1)
    # Of all pairs of channels of a group, those of a channel with itself.
    dense = weight.new_empty(channels, _GROUP, kernel, kernel)
    pairs = _gradient(y_gradient, x, dense, stride, padding, x.dtype, 1)
    own = pairs.view(-1, _GROUP, _GROUP, kernel, kernel).diagonal(dim1=1, dim2=2)
    return own.permute(0, 3, 1, 2).reshape(weight.shape)


def _by_input(y_gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    kernel, (height, width) = weight.shape[-1], y_gradient.shape[-2:]
    fits = x.shape[-2:] == (2 * (height - 1) + kernel, 2 * (width - 1) + kernel)
    if stride == 1 or kernel >= 5 or padding or not fits:
        dtype = x.dtype if stride == 1 else torch.float32
        return _gradient(y_gradient, x, weight, stride, padding, dtype, 0).to(x.dtype)
    spread_size = (len(x), x.shape[1], 2 * height - 1, 2 * width - 1)
    spread = y_gradient.new_zeros(spread_size).contiguous(memory_format=torch.channels_last)
    spread[:, :, ::2, ::2] = y_gradient
    return F.conv2d(spread, weight.to(x.dtype).flip(2, 3), None, 1, kernel - 1, groups=len(weight))


def _gradient(
    y_gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, dtype: torch.dtype, which: int
) -> Tensor:
    """PyTorch's own gradient of the input (``which`` 0) or the weight (1), in ``dtype``; of groups of channels."""
    mask = [which == 0, which == 1, False]
    tensors = (tensor.to(dtype) for tensor in (y_gradient, x, weight))
    sizes = [stride] * 2, [padding] * 2, [1, 1], False, [0, 0]
    groups = len(weight) // weight.shape[1]
    gradient: Tensor = torch.ops.aten.convolution_backward(*tensors, None, *sizes, groups, mask)[which]
    return gradient


# --- Convolution of high precision --------------------------------------------------------------------------------


class PreciseConv2d(nn.Conv2d):
    """Dense convolution of stride 1 in the precision of its weights, also under autocast.

    A training in bfloat16 on a processor has its gradients in bfloat16: in float32 they take three times as long.
    """

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H, W)."""
        weight, padding = self.weight, int(self.padding[0])
        if weight.dtype == torch.float32 and _is_trained_in_bf16(x_bchw):
            y_bchw: Tensor = _Precise.apply(x_bchw, weight, self.bias, padding)  # type: ignore[no-untyped-call]
            return y_bchw
        with torch.autocast(x_bchw.device.type, enabled=False):
            return F.conv2d(x_bchw.to(weight.dtype), weight, self.bias, padding=padding)


class _Precise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(x.float(), weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        low = [tensor.to(torch.bfloat16, memory_format=torch.channels_last) for tensor in (gradients[0], x, weight)]
        sizes = [1, 1], [ctx.padding] * 2, [1, 1], False, [0, 0]
        by_x, by_weight, _ = torch.ops.aten.convolution_backward(*low, None, *sizes, 1, [True, True, False])
        return by_x.to(x.dtype), by_weight.to(weight.dtype), gradients[0].sum((0, 2, 3)), None


# --- Batches ------------------------------------------------------------------------------------------------------


def groups_of(x_bchw: Tensor, is_separable: bool) -> Sequence[Tensor]:
    """Split a batch into the groups of pictures that :class:`GroupLayers` computes one after the other.

    Args:
        x_bchw: The batch.
        is_separable: No picture depends on another one.

    Returns:
        Single pictures on a processor, elsewhere the whole batch.
    """
    is_faster_apart = x_bchw.device.type == "cpu" and mode() == "eager"
    return x_bchw.chunk(len(x_bchw)) if is_separable and is_faster_apart else [x_bchw]


class GroupLayers:
    """The layers of :func:`hdnet.models.hourglass.figure` on groups of pictures."""

    def __init__(self, blocks: nn.ModuleList) -> None:
        self.blocks = blocks

    def block(self, index: int, groups: Sequence[Tensor]) -> Sequence[Tensor]:
        """Block ``index`` of every group."""
        if index == _TOGETHER_ON_CPU.start and len(groups) > 1:
            groups = [torch.cat(list(groups))]
        return [self.blocks[index](group) for group in groups]

    def halve(self, groups: Sequence[Tensor]) -> Sequence[Tensor]:
        """2 x 2 max pooling."""
        return [F.max_pool2d(group, 2) for group in groups]

    def join(self, groups: Sequence[Tensor], skips: Sequence[Tensor]) -> Sequence[Tensor]:
        """:func:`join`; behind the blocks that are computed together, the groups are those of the skips again."""
        if len(groups) < len(skips):
            groups = groups[0].chunk(len(skips))
        return [join(group, skip) for group, skip in zip(groups, skips, strict=True)]


def to_bfloat16(blocks: nn.ModuleList) -> None:
    """Have blocks compute their convolutions in bfloat16: input and weights; sums and normalisation stay float32."""
    for block in blocks:
        block.conv.to(torch.bfloat16)
    blocks[0].register_forward_pre_hook(_input_to_bfloat16)


def _input_to_bfloat16(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
    return tuple(argument.to(torch.bfloat16) for argument in arguments)
