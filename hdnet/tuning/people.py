"""Which held-out people the search looks at, and which its report.

What was chosen from many trials because it did well on some people flatters itself there. So the held-out people are
split: trials are chosen by the one part, and what is said of the chosen ones is measured on the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Subset

from hdnet.data.store.datasets import LabelledDataset
from hdnet.data.store.packed import PackedLabelled
from hdnet.errors import DataError
from hdnet.models import NormalEstimator
from hdnet.models.weights import load_estimator
from hdnet.params import Params
from hdnet.training.stages import typical_camera
from hdnet.training.validation import HeldOutValidator
from hdnet.workspace import Workspace


@dataclass(frozen=True)
class Split:
    """Numbers of the held-out people, ascending."""

    select: tuple[int, ...]
    report: tuple[int, ...]


def split_people(count: int, select: int) -> Split:
    """Takes ``select`` of ``count`` people, evenly spread, for the search; the others for the report.

    Raises:
        DataError: If nobody would be left for the report.
    """
    if select >= count:
        raise DataError(
            f"there are {count} held-out people and tune.select_people is {select}: nobody is left for the report; "
            "lower it, or make more (data.heldout_people)"
        )
    chosen = {int(k) for k in (np.arange(select) * count / select).astype(int)}
    return Split(tuple(sorted(chosen)), tuple(k for k in range(count) if k not in chosen))


@dataclass(frozen=True)
class Judges:
    """Measure a depth estimator on either part; ``names`` are the report's people."""

    select: HeldOutValidator
    report: HeldOutValidator
    names: tuple[str, ...]


def judges(work: Workspace, params: Params) -> Judges:
    """Validators as stage `train_hdnet` has them, on the two parts of the held-out people.

    Raises:
        DataError: If there are too few people.
    """
    packed, people = PackedLabelled(work.heldout), LabelledDataset(PackedLabelled(work.heldout))
    split = split_people(len(packed), params.tune.select_people)
    camera = typical_camera(PackedLabelled(work.labelled))
    predicted = params.train_hdnet.input_normals == "predicted"
    normals = load_estimator(work.normal_model, NormalEstimator) if predicted else None

    def judge(numbers: tuple[int, ...]) -> HeldOutValidator:
        subset: Dataset[dict[str, Any]] = Subset(people, numbers)
        return HeldOutValidator(subset, camera=camera, normal_estimator=normals)  # type: ignore[arg-type]

    names = tuple(packed.names[k] for k in split.report)
    return Judges(judge(split.select), judge(split.report), names)
