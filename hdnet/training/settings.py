"""What the engine is told; plain values, filled from params.yaml by :mod:`hdnet.training.stages`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hdnet.training.hooks import Augmentation, Validator

Precision = Literal["32", "bf16", "64"]


@dataclass(frozen=True)
class Schedule:
    """What a run computes: steps and optimiser; see :class:`hdnet.params.OptimiserParams`."""

    steps: int
    learning_rate: float
    adam_eps: float
    tf_epsilon: bool
    schedule: Literal["constant", "cosine"]
    grad_clip: float | None
    seed: int
    warmup_steps: int = 0
    ema_decay: float | None = None


@dataclass(frozen=True)
class Runtime:
    """How it runs; see :class:`hdnet.params.RuntimeParams`."""

    device: str = "auto"
    precision: Literal["auto", "32", "bf16", "64"] = "auto"
    log_every: int = 10
    panel_every: int = 100
    checkpoint_every: int = 100
    weights_every: int = 500
    loader_workers: int | None = None
    devices: int | Literal["auto"] = 1
    nodes: int = 1
    compile: Literal["auto", "on", "off"] = "auto"
    max_skipped: int = 10


@dataclass(frozen=True)
class Validation:
    """Judging the model on people it does not learn from; see :class:`hdnet.params.ValidationParams`.

    Attributes:
        validator: Measures.
        every: Steps between two measurements; the last step is measured, too.
        metric: The one that says which weights are the best so far.
        higher_is_better: Of the metric.
        use_best: Hand on those instead of the last ones.
    """

    validator: Validator
    every: int
    metric: str
    higher_is_better: bool = False
    use_best: bool = False


@dataclass(frozen=True)
class Hooks:
    """What a run does beside its task; nothing, as the original."""

    augmentation: Augmentation | None = None
    validation: Validation | None = None
