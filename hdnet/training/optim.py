"""Adam as PyTorch or as TensorFlow computes it, and the learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from hdnet.errors import TrainingError

BETAS = (0.9, 0.999)
# Where the cosine schedule ends, as a share of the full rate.
_COSINE_FLOOR = 0.05


def make_adam(parameters: Iterable[nn.Parameter], learning_rate: float, eps: float) -> torch.optim.Adam:
    """Adam with the original's betas (quirk 7)."""
    return torch.optim.Adam(parameters, lr=learning_rate, betas=BETAS, eps=eps)


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
            "step": moments["steps"].float().clone(),
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


def learning_rate_factor(schedule: Literal["constant", "cosine"], step: int, steps: int) -> float:
    """Share of the full learning rate in step ``step`` of ``steps``; a pure function, so resuming needs no state."""
    if schedule == "constant":
        return 1.0
    return _COSINE_FLOOR + (1 - _COSINE_FLOOR) * 0.5 * (1 + math.cos(math.pi * step / steps))
