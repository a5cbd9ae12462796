"""Section ``tune`` of params.yaml: the hyperparameter search."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hdnet.params.base import Positive, Section
from hdnet.params.training import AugmentParams


class Range(Section):
    """Numbers from ``low`` to ``high``, both included; with ``log``, uniform in the logarithm.

    Whole numbers if the parameter and both ends are whole.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}: write the smaller number as low")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}: with log: true it has to be above 0")
        return self


class Choices(Section):
    """One of a few values."""

    choices: Annotated[tuple[bool | int | float | str, ...], Field(min_length=2)]


_SPACE: dict[str, Range | Choices] = {
    "train_hdnet.weights.depth": Range(low=2.0, high=50.0, log=True),
    "train_hdnet.weights.scale_invariant": Range(low=1.0, high=30.0, log=True),
    "train_hdnet.weights.normal": Range(low=0.1, high=5.0, log=True),
    "train_hdnet.weights.unlabelled_normal": Range(low=0.05, high=5.0, log=True),
    "train_hdnet.weights.warp": Range(low=0.5, high=50.0, log=True),
    "train_hdnet.learning_rate": Range(low=1e-4, high=3e-3, log=True),
    "augment": Range(low=0.0, high=1.0),
}


class TuneParams(Section):
    """Search of `hdnet tune` over parameters of stage `train_hdnet`; no stage depends on it."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "hdnet"
    """Name of the study in the storage."""
    trials: Positive = 24
    """Finished trials in the end, those of earlier commands included."""
    steps: Positive = 100
    """Optimiser steps of a trial, from models/depth.safetensors on."""
    validate_every: Positive = 25
    """Steps between two measurements, after each of which a trial may be pruned."""
    select_people: Positive = 16
    """Held-out people that the search measures; the others are for the final report."""
    sampler: Literal["tpe", "nsga2", "random"] = "tpe"
    """Search: `tpe` (tree of Parzen estimators), `nsga2` (evolution) or `random`."""
    startup_trials: Annotated[int, Field(ge=2)] = 8
    """Random trials before `tpe` learns from them; population of `nsga2`."""
    prune_after: Positive = 5
    """Complete trials before one may be pruned."""
    scalar_mm_per_deg: Annotated[float, Field(gt=0)] = 5.0
    """Millimetres of depth that one degree of normals is worth, where a single number is needed.

    Used by ``--scalar``, and to name the best trial of the Pareto front.
    """
    top_k: Annotated[int, Field(ge=0)] = 3
    """Best trials to train again with train_hdnet.steps; 0 for none."""
    top_seeds: Positive = 3
    """Seeds of each, `seed` and those after it."""
    stale_after_s: Annotated[int, Field(ge=2)] = 60
    """Seconds without a heartbeat after which a worker counts as dead and its trial is retried."""
    augment_full: AugmentParams = AugmentParams(
        brightness=0.2,
        contrast=0.15,
        saturation=0.25,
        hue_deg=6.0,
        white_balance=0.06,
        gamma=0.15,
        blur_px=0.7,
        noise=4.0,
        flip=0.5,
        zoom=0.15,
        shift=0.04,
        iuv_drop=0.05,
        iuv_part_drop=0.03,
        iuv_patches=2,
        mask_shift_px=2,
        mask_holes=1,
    )
    """Section augment at strength 1, for the key `augment` of space."""
    space: Annotated[dict[str, Range | Choices], Field(min_length=1)] = _SPACE
    """Parameters searched, keys of train_hdnet and augment (a strength): {low, high, log} or {choices: [...]}."""
