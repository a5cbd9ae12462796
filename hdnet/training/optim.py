"""Adam as PyTorch or as TensorFlow computes it, and the learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hdnet.errors import TrainingError
from hdnet.params import OptimiserParams

BETAS = (0.9, 0.999)
# Where the cosine schedule ends, as a share of the full rate.
_COSINE_FLOOR = 0.05


class _AdamInMemoryOrder(torch.optim.Adam):
    """Adam that steps through weights in the order in which they lie in memory; the numbers are the same.

    The fused step of a processor copies weights that are not contiguous, such as channels_last ones: at width 64 that
    takes four times as long as the step itself.
    """

    def _init_group(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        exp_avgs: list[Tensor],
        exp_avg_sqs: list[Tensor],
        *others: Any,
    ) -> Any:
        found = super()._init_group(group, params, grads, exp_avgs, exp_avg_sqs, *others)  # type: ignore[no-untyped-call]
        permuted = [one.ndim == 4 and not one.is_contiguous() for one in params]
        for tensors in (params, grads, exp_avgs, exp_avg_sqs):
            # Views for this step only: state and checkpoints keep their shapes.
            tensors[:] = [
                one.permute(0, 2, 3, 1) if is_permuted else one
                for one, is_permuted in zip(tensors, permuted, strict=True)
            ]
        return found


def make_adam(parameters: Iterable[nn.Parameter], learning_rate: float, eps: float) -> torch.optim.Adam:
    """Adam with the original's betas (quirk 7), all parameters in one operation, which can be told to skip a step."""
    return _AdamInMemoryOrder(parameters, lr=learning_rate, betas=BETAS, eps=eps, fused=True)


def moments_of(optimiser: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Adam's memory by the names of the parameters: ``mean.NAME``, ``square.NAME``, and the number of ``steps``."""
    moments: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        state = optimiser.state[parameter]
        moments |= {f"mean.{name}": state["exp_avg"], f"square.{name}": state["exp_avg_sq"], "steps": state["step"]}
    return moments


def set_moments(optimiser: torch.optim.Optimizer, model: nn.Module, moments: Mapping[str, Tensor]) -> None:
    """The inverse of :func:`moments_of`, before the first step.

    Raises:
        TrainingError: If the moments belong to another network.
    """
    parameters = dict(model.named_parameters())
    expected = {"steps", *(f"{kind}.{name}" for name in parameters for kind in ("mean", "square"))}
    strange = sorted(expected.symmetric_difference(moments))
    strange += [name for name, p in parameters.items() if not strange and moments[f"mean.{name}"].shape != p.shape]
    if strange:
        raise TrainingError(f"Adam's moments belong to another network: {strange[0]} does not fit (and so on)")
    for name, parameter in parameters.items():
        optimiser.state[parameter] = {
            "step": moments["steps"].to(parameter.device, torch.float32, copy=True),
            "exp_avg": moments[f"mean.{name}"].to(parameter, copy=True),
            "exp_avg_sq": moments[f"square.{name}"].to(parameter, copy=True),
        }


def tensorflow_epsilon(eps: float, step: int) -> float:
    """The eps that makes PyTorch's Adam equal TensorFlow's in step ``step`` (0-based, counted from Adam's first).

    TensorFlow divides by sqrt(v) + eps before bias correction, PyTorch by sqrt(v / (1 - b2^t)) + eps, so PyTorch's eps
    has to grow by 1 / sqrt(1 - b2^t). With eps 0.1, as in the original's joint stage, the plain one would move the
    weights about 20 times further in the first step (quirk 6).
    """
    return eps / math.sqrt(1 - BETAS[1] ** (step + 1))


def learning_rate_factor(
    schedule: Literal["constant", "cosine"], step: int, steps: int, warmup_steps: int = 0
) -> float:
    """Share of the full learning rate in step ``step`` of ``steps``; a pure function, so resuming needs no state.

    Over the first ``warmup_steps`` it grows from 1 / ``warmup_steps`` of the schedule's value to all of it.
    """
    warmth = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    if schedule == "constant":
        return warmth
    return warmth * (_COSINE_FLOOR + (1 - _COSINE_FLOOR) * 0.5 * (1 + math.cos(math.pi * step / steps)))


def set_rates(optimiser: Any, settings: OptimiserParams, step: int, earlier_steps: int) -> None:
    """Learning rate and epsilon of step ``step``, ``earlier_steps`` after Adam's first."""
    factor = learning_rate_factor(settings.schedule, step, settings.steps, settings.warmup_steps)
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * factor
        if settings.tf_epsilon:
            group["eps"] = tensorflow_epsilon(settings.adam_eps, earlier_steps + step)
