"""Split of the held-out people: one part selects trials, the other measures the selected ones.

The best of many trials is biased on the people that selected it, so the report uses other people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.data.store.packed import open_people
from hdnet.errors import DataError
from hdnet.params import Params
from hdnet.training.run import held_out_validator, typical_camera
from hdnet.training.validation import HeldOutValidator
from hdnet.tuning.space import stage_params
from hdnet.workspace import Workspace


@dataclass(frozen=True)
class Split:
    """Indices of the held-out people that select trials, and of those that the report uses, ascending."""

    select: tuple[int, ...]
    report: tuple[int, ...]


def split_people(count: int, select: int) -> Split:
    """Return ``select`` of ``count`` people, evenly spread, for the search, and the others for the report.

    Raises:
        DataError: Nobody would be left for the report.
    """
    if select >= count:
        raise DataError(
            f"there are {count} held-out people and tune.select_people is {select}: nobody is left for the report; "
            "lower it, or make more (data.heldout_people)"
        )
    chosen = {int(k) for k in (np.arange(select) * count / select).astype(int)}
    return Split(tuple(sorted(chosen)), tuple(k for k in range(count) if k not in chosen))


@dataclass(frozen=True)
class Validators:
    """Validators of a depth estimator on both parts; ``names`` are the report's people."""

    select: HeldOutValidator
    report: HeldOutValidator
    names: tuple[str, ...]


def open_validators(work: Workspace, params: Params) -> Validators:
    """Return validators like those of the stage that is searched, on the two parts of the held-out people.

    Raises:
        DataError: There are too few people.
    """
    packed, stage = open_people(work.heldout), params.tune.stage
    split = split_people(len(packed), params.tune.select_people)
    camera = typical_camera(open_people(work.labelled))
    normal_model = work.normal_model if takes_predicted_normals(params) else None
    select, report = (
        held_out_validator(params, stage, work.heldout, camera, normal_model, numbers=numbers)
        for numbers in (split.select, split.report)
    )
    return Validators(select, report, tuple(packed.names[k] for k in split.report))


def takes_predicted_normals(params: Params) -> bool:
    """Return whether the searched stage trains a depth estimator that gets its normals from the normal estimator."""
    return params.model.network != "lite" and stage_params(params).input_normals == "predicted"
