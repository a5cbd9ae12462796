"""Opening a study: what it was set up for is kept with it, so that all its trials can be compared."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from hdnet.data.store.packed import PackedFrames, PackedLabelled, PseudoNormals
from hdnet.data.store.pairs import PackedPairs
from hdnet.errors import ModelError, TuningError
from hdnet.files import sha256_of
from hdnet.models import DepthEstimator
from hdnet.models.weights import load_estimator
from hdnet.tracking.provenance import git_tags
from hdnet.training.devices import device_type, faster_cpu_precision
from hdnet.training.settings import Precision
from hdnet.training.stages import digest
from hdnet.tuning.settings import OBJECTIVES, SCALAR, StudySettings
from hdnet.tuning.space import Space
from hdnet.tuning.storage import FIXED, open_storage, storage_errors_explained, without_password

SETUP, KEY, PRECISION, PROVENANCE = "setup", "key", "precision", "provenance"
"""User attributes of a study: what all its trials share, its name in MLflow, and where it was made."""
POINT = "point"
"""User attribute of a trial: name of the point of :meth:`Space.points` that it measures; draws have none."""
PAIR = "pair"
"""User attribute of a trial at full budget: number of the search's trial, seed."""
FAILED = "failed"
"""User attribute of a trial whose own values made it fail: why."""

_SIZE_PX = 256


def open_study(settings: StudySettings) -> optuna.Study:
    """Makes a study, or goes on with it; the known points are queued before anything is drawn.

    Raises:
        TuningError: If the storage cannot be opened, or the study was set up otherwise.
        ParamsError: If ``tune.space`` does not fit params.yaml.
        ModelError: If there is no depth estimator to start from.
    """
    space, setup = Space(settings.params), _setup(settings)
    storage = open_storage(settings.storage, settings.params.tune.stale_after_s)
    with storage_errors_explained(settings.storage):
        study = optuna.create_study(
            storage=storage,
            study_name=settings.name,
            directions=["minimize"] * (1 if settings.is_scalar else len(OBJECTIVES)),
            load_if_exists=True,
        )
        known = study.user_attrs
        if SETUP in known:
            _check_same(settings, known[SETUP], setup)
        else:
            study.set_metric_names([SCALAR] if settings.is_scalar else list(OBJECTIVES))
            study.set_user_attr(PRECISION, _precision(settings))
            study.set_user_attr(KEY, f"tune-{uuid4().hex[:16]}")
            study.set_user_attr(PROVENANCE, git_tags())
            study.set_user_attr(SETUP, setup)
        queued = {trial.user_attrs.get(POINT) for trial in _counting(study)}
        for name, values in space.points().items():
            if name not in queued:
                inside = {key: values[key] for key in space.dimensions}
                study.enqueue_trial(inside, {POINT: name, FIXED: inside})
    return study


def open_full_study(settings: StudySettings, search: optuna.Study, pairs: list[tuple[int, int]]) -> optuna.Study:
    """The study of the best trials again: one trial for each (trial of the search, seed) that is not there yet."""
    storage = open_storage(settings.storage, settings.params.tune.stale_after_s)
    with storage_errors_explained(settings.storage):
        study = optuna.create_study(
            storage=storage,
            study_name=settings.full_name,
            directions=["minimize"] * len(search.directions),
            load_if_exists=True,
        )
        if KEY not in study.user_attrs:
            study.set_metric_names(search.metric_names or [])
            study.set_user_attr(PRECISION, search.user_attrs[PRECISION])
            study.set_user_attr(KEY, search.user_attrs[KEY])
        known = {tuple(trial.user_attrs[PAIR]) for trial in _counting(study)}
        for pair in pairs:
            if pair not in known:
                study.enqueue_trial({}, {PAIR: list(pair)})
    return study


def load_study(settings: StudySettings, name: str) -> optuna.Study:
    """A study that exists.

    Raises:
        TuningError: If it does not, or the storage cannot be opened.
    """
    storage = open_storage(settings.storage, settings.params.tune.stale_after_s)
    with storage_errors_explained(settings.storage):
        names = optuna.get_all_study_names(storage)
        if name not in names:
            raise TuningError(
                f"storage {without_password(settings.storage)} has no study {name!r}, "
                f"only {', '.join(sorted(names)) or 'none at all'}; make it with `hdnet tune`"
            )
        return optuna.load_study(study_name=name, storage=storage)


def is_done(trial: FrozenTrial) -> bool:
    """Whether a trial has told something: a result, that it is hopeless, or that its values cannot be trained with.

    A trial whose worker died, or that somebody stopped, has not.
    """
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or FAILED in trial.user_attrs


def _counting(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that are done or will be."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if is_done(trial) or trial.state in (TrialState.RUNNING, TrialState.WAITING)
    ]


def _check_same(settings: StudySettings, known: dict[str, Any], setup: dict[str, Any]) -> None:
    # JSON made lists of tuples.
    setup = json.loads(json.dumps(setup))
    different = [key for key in setup if known.get(key) != setup[key]]
    if different:
        raise TuningError(
            f"study {settings.name!r} was set up with other {', '.join(different)}, and its trials could not be "
            "compared with new ones; pass --study with a new name, or go back to the old values"
        )


def _setup(settings: StudySettings) -> dict[str, Any]:
    """All that decides what a trial's values lead to."""
    params, work = settings.params, settings.work
    tune = params.tune
    if not work.depth_model.is_file():
        raise ModelError(f"{work.depth_model}: no such file; run stage train_depth first (`dvc repro train_depth`)")
    return {
        "objectives": [SCALAR, tune.scalar_mm_per_deg] if settings.is_scalar else list(OBJECTIVES),
        "tune.space": {key: dimension.model_dump(mode="json") for key, dimension in tune.space.items()},
        "tune.augment_full": tune.augment_full.model_dump(mode="json"),
        "tune.steps": tune.steps,
        "tune.validate_every": tune.validate_every,
        "tune.select_people": tune.select_people,
        "seed": params.seed,
        "model": params.model.model_dump(mode="json"),
        "train_hdnet": params.train_hdnet.model_dump(mode="json"),
        "augment": params.augment.model_dump(mode="json"),
        "data": _digests(settings),
    }


def _digests(settings: StudySettings) -> dict[str, str]:
    work = settings.work
    return {
        "labelled": digest(PackedLabelled(work.labelled)),
        "heldout": digest(PackedLabelled(work.heldout)),
        "frames": digest(PackedFrames(work.frames)),
        "frame_normals": digest(PseudoNormals(work.frame_normals)),
        "pairs": digest(PackedPairs(work.correspondences)),
        "normal_model": sha256_of(work.normal_model),
        "depth_model": sha256_of(work.depth_model),
    }


def _precision(settings: StudySettings) -> Precision:
    """One for all trials: measured anew for each, it would differ with the machine's load."""
    asked = settings.params.runtime.precision
    if asked != "auto":
        return asked
    if device_type(settings.params.runtime.device) == "cuda":
        return "bf16"
    torch.manual_seed(0)
    return faster_cpu_precision(load_estimator(settings.work.depth_model, DepthEstimator), _SIZE_PX, _SIZE_PX)
