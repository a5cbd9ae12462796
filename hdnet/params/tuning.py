"""Section ``tune`` of params.yaml: what the search for better training parameters tries, and how it judges."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hdnet.params.base import Positive, Section
from hdnet.params.training import AugmentParams


class Range(Section):
    """Numbers from ``low`` to ``high``, both included; ``log`` draws their logarithm evenly.

    Whole numbers where the parameter and both ends are whole.
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


class TuneParams(Section):
    """The search that `hdnet tune` runs over parameters of stage `train_hdnet`; no stage depends on it.

    Attributes:
        study: Name of the study in the storage.
        trials: Trainings to have finished; those of an earlier command count.
        steps: Optimiser steps of one. The schedule of the learning rate fits into them.
        validate_every: Steps between two measurements, at which a trial may be pruned.
        select_people: How many of the held-out people the search looks at; the others are for the final report only.
        sampler: "tpe" (tree of Parzen estimators), "nsga2" (evolution) or "random".
        startup_trials: Trials at random before "tpe" learns from them; the population of "nsga2".
        prune_after: Trials that must be complete before one can be pruned.
        scalar_mm_per_deg: One degree of normals counts as so many millimetres of depth, where one number is asked for:
            with ``--scalar``, and when one trial of the Pareto front has to be named the best.
        top_k: So many of the best are trained again with all the steps of ``train_hdnet.steps``; 0 for none.
        top_seeds: With so many seeds each: ``seed``, ``seed`` + 1, ...
        stale_after_s: A worker that gives no sign of life for so long counts as dead; its trial is tried again.
        augment_full: Values of section ``augment`` at strength 1, for the key ``augment`` of ``space``.
        space: What is varied: keys of `train_hdnet` with dots, and ``augment``, the strength of the augmentation.
    """

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    trials: Positive
    steps: Positive
    validate_every: Positive
    select_people: Positive
    sampler: Literal["tpe", "nsga2", "random"]
    startup_trials: Annotated[int, Field(ge=2)]
    prune_after: Positive
    scalar_mm_per_deg: Annotated[float, Field(gt=0)]
    top_k: Annotated[int, Field(ge=0)]
    top_seeds: Positive
    stale_after_s: Annotated[int, Field(ge=2)]
    augment_full: AugmentParams
    space: Annotated[dict[str, Range | Choices], Field(min_length=1)]
