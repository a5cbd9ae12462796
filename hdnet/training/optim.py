"""Optimisation: Adam as PyTorch or TensorFlow computes it, learning-rate schedules, averaged weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hdnet.errors import TrainingError
from hdnet.params import OptimiserParams

BETAS = (0.9, 0.999)
# Share of the full rate at the end of the cosine schedule.
_COSINE_FLOOR = 0.05


class _AdamInMemoryOrder(torch.optim.Adam):
    """Adam that steps through weights in their order in memory; the numbers are the same.

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


def make_adam(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], learning_rate: float, eps: float
) -> torch.optim.Adam:
    """Make Adam with the original's betas (docs/parity.md, 7), fused: all weights at once, able to skip a step.

    Args:
        parameters: Weights, or groups {"params": weights, "rate": factor of the learning rate}.
        learning_rate: Learning rate of the first step.
        eps: Epsilon of Adam.
    """
    return _AdamInMemoryOrder(parameters, lr=learning_rate, betas=BETAS, eps=eps, fused=True)


def moments_of(optimiser: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Return Adam's moments by parameter that learns: ``mean.NAME``, ``square.NAME``, and the number of ``steps``."""
    moments: dict[str, Tensor] = {}
    for name, parameter in _learning(model).items():
        state = optimiser.state[parameter]
        moments |= {f"mean.{name}": state["exp_avg"], f"square.{name}": state["exp_avg_sq"], "steps": state["step"]}
    return moments


def set_moments(optimiser: torch.optim.Optimizer, model: nn.Module, moments: Mapping[str, Tensor]) -> None:
    """Set Adam's moments before its first step, the inverse of :func:`moments_of`.

    Raises:
        TrainingError: If the moments belong to another network.
    """
    parameters = _learning(model)
    expected = {"steps", *(f"{kind}.{name}" for name in parameters for kind in ("mean", "square"))}
    unfit = sorted(expected.symmetric_difference(moments))
    unfit += [name for name, p in parameters.items() if not unfit and moments[f"mean.{name}"].shape != p.shape]
    if unfit:
        raise TrainingError(f"Adam's moments belong to another network: {unfit[0]} does not fit (and so on)")
    for name, parameter in parameters.items():
        optimiser.state[parameter] = {
            "step": moments["steps"].to(parameter.device, torch.float32, copy=True),
            "exp_avg": moments[f"mean.{name}"].to(parameter, copy=True),
            "exp_avg_sq": moments[f"square.{name}"].to(parameter, copy=True),
        }


def _learning(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def tensorflow_epsilon(eps: float, step: int) -> float:
    """Return the eps that makes PyTorch's Adam equal TensorFlow's in step ``step`` (0-based, from Adam's first).

    TensorFlow divides by sqrt(v) + eps before bias correction, PyTorch by sqrt(v / (1 - b2^t)) + eps, so PyTorch's eps
    has to grow by 1 / sqrt(1 - b2^t). With eps 0.1, as in the original's joint stage, the plain eps would move the
    weights about 20 times further in the first step (docs/parity.md, 6).
    """
    return eps / math.sqrt(1 - BETAS[1] ** (step + 1))


def learning_rate_factor(
    schedule: Literal["constant", "cosine"], step: int, steps: int, warmup_steps: int = 0
) -> float:
    """Return the share of the full learning rate in step ``step`` of ``steps``; a resumed run needs no state for it.

    During warm-up it grows linearly from 1 / ``warmup_steps`` of the schedule's value to all of it.
    """
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    if schedule == "constant":
        return warmup
    return warmup * (_COSINE_FLOOR + (1 - _COSINE_FLOOR) * 0.5 * (1 + math.cos(math.pi * step / steps)))


def set_rates(optimiser: Any, settings: OptimiserParams, step: int, earlier_steps: int) -> None:
    """Set learning rate and epsilon of step ``step``; Adam took ``earlier_steps`` before this run."""
    factor = learning_rate_factor(settings.schedule, step, settings.steps, settings.warmup_steps)
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * factor * group.get("rate", 1.0)
        if settings.tf_epsilon:
            group["eps"] = tensorflow_epsilon(settings.adam_eps, earlier_steps + step)


class WeightAverage:
    """Exponential moving average of a model's weights, on its device: smoother than the last step's weights.

    Running statistics of a batch norm are averaged with the weights that they belong to.

    Args:
        model: The network that is trained.
        decay: Share of the old average that remains at each step. The first steps use (1 + t) / (10 + t), so that the
            random start does not linger for 1 / (1 - decay) steps.
        state: An average to continue (:meth:`state_dict`); None starts with the model's weights.
    """

    def __init__(self, model: nn.Module, decay: float, state: Mapping[str, Tensor] | None = None) -> None:
        self.model, self.decay = model, decay
        self._weights = {name: weight.detach().clone() for name, weight in _weights(model).items()}
        if state is not None:
            for name, weight in self._weights.items():
                weight.copy_(state[name])

    def update(self, step: int) -> None:
        """Take in the weights after the optimiser's step ``step`` (0-based)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = [weight.detach() for weight in _weights(self.model).values()]
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(list(self._weights.values()), current, step)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averaged weights by name."""
        return dict(self._weights)

    def into(self, model: nn.Module) -> None:
        """Overwrite the weights of a model of the same shape."""
        _overwrite(model, self._weights)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Use the averaged weights in the model; afterwards it has its own again, bit by bit."""
        own = {name: weight.detach().clone() for name, weight in _weights(self.model).items()}
        self.into(self.model)
        try:
            yield
        finally:
            _overwrite(self.model, own)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Return all that a model file holds but counters."""
    return {name: value for name, value in model.state_dict().items() if value.is_floating_point()}


@torch.no_grad()
def _overwrite(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    for name, weight in _weights(model).items():
        weight.copy_(weights[name])
