"""Exponential moving average of the weights: a smoother model than the last step's, at next to no cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Averaged weights of a model, on its device.

    Args:
        model: The network that is trained.
        decay: Share of the old average that stays at each step. The first steps forget faster, (1 + t) / (10 + t), so
            that the random beginning does not linger for 1 / (1 - decay) steps.
        state: To go on from (:meth:`state_dict`); None begins with the model's weights.
    """

    def __init__(self, model: nn.Module, decay: float, state: Mapping[str, Tensor] | None = None) -> None:
        self.model, self.decay = model, decay
        self._weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        if state is not None:
            for name, weight in self._weights.items():
                weight.copy_(state[name])

    def update(self, step: int) -> None:
        """After the optimiser's step ``step`` (0-based)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = [parameter.detach() for parameter in self.model.parameters()]
        torch._foreach_lerp_(list(self._weights.values()), current, 1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        return dict(self._weights)

    def into(self, model: nn.Module) -> None:
        """Overwrites the weights of a model of the same shape."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self._weights[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with the averaged weights; afterwards it has its own again, bit by bit."""
        own = {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}
        self.into(self.model)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    parameter.copy_(own[name])
