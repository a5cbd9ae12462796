"""Batch normalisation by the statistics of the whole batch, however many processes share it.

``torch.nn.SyncBatchNorm`` does so on GPUs only. Parameters, buffers and running statistics are PyTorch's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F


class _SharedBatchNorm(torch.autograd.Function):
    """Fused local kernels, with one sum over the processes forward and one backward.

    Backward is that of one process with the joint batch: the input's gradient is that of fixed statistics minus what
    flows back through mean and variance, which is affine in the input.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        scratch = torch.zeros_like(weight), torch.zeros_like(weight)  # in float32: so are then the statistics
        own_mean, own_variance = (s.double() for s in torch.batch_norm_update_stats(x, *scratch, 0.0))
        own_count = x.numel() // x.shape[1]
        sums = torch.cat(
            [own_count * own_mean, own_count * (own_variance + own_mean.square()), x.new_tensor([own_count]).double()]
        )
        dist.all_reduce(sums)
        count = sums[-1]
        mean, mean_square = (sums[:-1] / count).chunk(2)
        variance = mean_square - mean.square()
        ctx.save_for_backward(x, weight, mean.to(weight.dtype), variance.to(weight.dtype), count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, count)
        y = F.batch_norm(x, mean.to(weight.dtype), variance.to(weight.dtype), weight, bias, training=False, eps=eps)
        return y, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, weight, mean, variance, count = ctx.saved_tensors
        # With fixed statistics: gradients of the input, and of this process's weight and bias.
        fixed, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        if not ctx.needs_input_grad[0]:
            return None, by_weight, by_bias, None
        sums = torch.cat([by_weight, by_bias]).double()
        dist.all_reduce(sums)
        gain = weight * torch.rsqrt(variance + ctx.eps)
        slope, offset = ((sums / count).to(weight.dtype) * gain.repeat(2)).chunk(2)
        through = F.batch_norm(x, mean, variance, slope, offset, training=False, eps=ctx.eps)
        return fixed - through, by_weight, by_bias, None


def _normalise_shared(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalised input, and mean, variance and number of values a channel over all processes."""
    found: tuple[Tensor, Tensor, Tensor, Tensor]
    found = _SharedBatchNorm.apply(x, weight, bias, eps)  # type: ignore[no-untyped-call]
    return found


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation; several training processes give the numbers that one gives with their joint batch."""

    momentum: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    _shared = staticmethod(_normalise_shared)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Normalise (B, C, H, W) by channel."""
        if not (self.training and _is_shared()):
            return super().forward(x_bchw)
        y_bchw: Tensor
        y_bchw, mean_c, variance_c, count = self._shared(x_bchw, self.weight, self.bias, self.eps)
        with torch.no_grad():
            unbiased_c = variance_c * (count / (count - 1))
            for running, value in ((self.running_mean, mean_c), (self.running_var, unbiased_c)):
                running.lerp_(value.to(running.dtype), self.momentum)
            self.num_batches_tracked.add_(1)
        return y_bchw

    @classmethod
    def prepare_for_compiler(cls) -> None:
        """Keep what processes share out of ``torch.compile``, which cannot trace collectives in an autograd function.

        To be called before it. As a decorator ``torch.compiler.disable`` would load the compiler at every import of
        this package, in two seconds.
        """
        cls._shared = staticmethod(torch.compiler.disable(_normalise_shared))  # type: ignore[no-untyped-call]

    def as_affine(self) -> tuple[Tensor, Tensor]:
        """Return gain and offset of every channel in evaluation mode, to fold into a convolution before it."""
        gain_c = self.weight * torch.rsqrt(self.running_var + self.eps)
        return gain_c, self.bias - self.running_mean * gain_c


def _is_shared() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
