"""Adam as PyTorch or as TensorFlow computes it, and the learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn

BETAS = (0.9, 0.999)
# Where the cosine schedule ends, as a share of the full rate.
_COSINE_FLOOR = 0.05


def make_adam(parameters: Iterable[nn.Parameter], learning_rate: float, eps: float) -> torch.optim.Adam:
    """Adam with the original's betas (quirk 7)."""
    return torch.optim.Adam(parameters, lr=learning_rate, betas=BETAS, eps=eps)


def tensorflow_epsilon(eps: float, step: int) -> float:
    """The eps that makes PyTorch's Adam equal TensorFlow's in step ``step`` (0-based).

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
