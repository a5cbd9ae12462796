"""Study: its settings and set-up, opened or continued.

The set-up is stored with the study, so that all its trials can be compared.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from hdnet.data.store.packed import PackedFrames, PseudoNormals, open_people
from hdnet.data.store.pairs import PackedPairs
from hdnet.errors import ModelError, TuningError
from hdnet.files import sha256_of
from hdnet.models import DepthEstimator, LiteEstimator
from hdnet.params import Params
from hdnet.tracking.provenance import git_tags
from hdnet.training.devices import Precision, device_type, faster_cpu_precision
from hdnet.training.person_stages import start_of
from hdnet.tuning.heldout import takes_predicted_normals
from hdnet.tuning.space import Space, stage_params
from hdnet.tuning.storage import FIXED, open_storage, storage_errors_explained, without_password
from hdnet.workspace import Workspace

SETUP, KEY, PRECISION, PROVENANCE = "setup", "key", "precision", "provenance"
"""User attributes of a study: the set-up that all its trials share, its key in MLflow, precision, and git commit."""
POINT = "point"
"""User attribute of a trial: name of its point of :meth:`Space.points`; draws have none."""
PAIR = "pair"
"""User attribute of a trial with all steps: number of the search's trial, seed."""
FAILED = "failed"
"""User attribute of a trial whose own values made it fail: the reason."""

_SIZE_PX = 256

OBJECTIVES = ("depth_mae_mm", "normal_mean_deg")
"""Objectives of the trials: metrics of :class:`hdnet.training.validation.HeldOutValidator`. Of a depth estimator, the
normals are those of its depth: the complete model's own are the normal estimator's, which these stages do not train."""

ESTIMATORS: dict[str, type[DepthEstimator | LiteEstimator]] = {"hourglass": DepthEstimator, "lite": LiteEstimator}
"""Network that the searched stages train, by ``model.network``."""

SCALAR = "depth_mae_mm + mm_per_deg * normal_mean_deg"
"""Single objective of ``--scalar``."""


@dataclass(frozen=True)
class StudySettings:
    """Settings that every worker of a study needs; plain values, which can be sent to other processes.

    Attributes:
        work: Workspace; its models and packed data are read, ``reports/tune`` is written.
        params: The whole params.yaml.
        storage: URL of the SQL database.
        name: Name of the study.
        is_scalar: One objective, :data:`SCALAR`, instead of two.
        is_tracked: Whether trials are runs in MLflow.
    """

    work: Workspace
    params: Params
    storage: str
    name: str
    is_scalar: bool = False
    is_tracked: bool = True

    @property
    def folder(self) -> Path:
        """Folder of the study's report."""
        return self.work.report("tune") / self.name

    @property
    def full_name(self) -> str:
        """Name of the study that trains the best trials again, with all steps."""
        return f"{self.name}-full"

    def work_folder(self, study: str, trial: int) -> Path:
        """Return the folder of a running trial's checkpoints."""
        return self.work.checkpoints / "tune" / study / f"trial_{trial:05d}"

    def values(self, metrics: dict[str, float]) -> tuple[float, ...]:
        """Return the values of the study's objectives."""
        if self.is_scalar:
            return (scalar(metrics, self.params.tune.scalar_mm_per_deg),)
        return tuple(metrics[name] for name in OBJECTIVES)


def scalar(metrics: dict[str, float], mm_per_deg: float) -> float:
    """Return :data:`SCALAR`, in millimetres."""
    return metrics["depth_mae_mm"] + mm_per_deg * metrics["normal_mean_deg"]


def open_study(settings: StudySettings) -> optuna.Study:
    """Create a study or continue it; the known points are queued before anything is drawn.

    Raises:
        TuningError: The storage cannot be opened, or the study has another set-up.
        ParamsError: ``tune.space`` does not fit params.yaml.
        ModelError: There is no network to start from.
    """
    space = Space(settings.params)
    setup = _setup(settings, space)
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
        counting = _counting(study)
        queued = {trial.user_attrs.get(POINT) for trial in counting}
        for name, values in space.points().items():
            if name not in queued:
                inside = space.stored(values)
                study.enqueue_trial(inside, {POINT: name, FIXED: inside})
        fixed = [trial.user_attrs.get(FIXED) for trial in counting]
        for inside in map(space.stored, space.changes()):
            if inside not in fixed:
                study.enqueue_trial(inside, {FIXED: inside})
    return study


def open_full_study(settings: StudySettings, search: optuna.Study, pairs: list[tuple[int, int]]) -> optuna.Study:
    """Open the study of the best trials with all steps, and queue each (trial of the search, seed) that is missing."""
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
    """Load an existing study.

    Raises:
        TuningError: It does not exist, or the storage cannot be opened.
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
    """Return whether a trial is complete, pruned, or failed because of its values.

    A trial whose worker died or was stopped is not done.
    """
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or FAILED in trial.user_attrs


def _counting(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that are done or will be."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if is_done(trial) or trial.state in (TrialState.RUNNING, TrialState.WAITING)
    ]


def _check_same(settings: StudySettings, known: dict[str, Any], setup: dict[str, Any]) -> None:
    # JSON turns tuples into lists.
    setup = json.loads(json.dumps(setup))
    different = [key for key in setup if known.get(key) != setup[key]]
    if different:
        raise TuningError(
            f"study {settings.name!r} was set up with other {', '.join(different)}, and its trials could not be "
            "compared with new ones; pass --study with a new name, or go back to the old values"
        )


def _setup(settings: StudySettings, space: Space) -> dict[str, Any]:
    """Return everything besides a trial's values that determines its result."""
    params, tune = settings.params, settings.params.tune
    photo = {"photo": params.photo.model_dump(mode="json")} if params.model.network == "lite" else {}
    return {
        "objectives": [SCALAR, tune.scalar_mm_per_deg] if settings.is_scalar else list(OBJECTIVES),
        "tune.space": {key: dimension.model_dump(mode="json") for key, dimension in space.dimensions.items()},
        "tune.augment_full": tune.augment_full.model_dump(mode="json"),
        "tune.steps": tune.steps,
        "tune.validate_every": tune.validate_every,
        "tune.select_people": tune.select_people,
        "seed": params.seed,
        "model": params.model.model_dump(mode="json"),
        tune.stage: stage_params(params).model_dump(mode="json"),
        **photo,
        "augment": params.augment.model_dump(mode="json"),
        "data": _digests(settings, space),
    }


def searched(setup: dict[str, Any]) -> dict[str, str]:
    """Return "stage" and "network" of a study's set-up."""
    stage = "train_hdnet" if "train_hdnet" in setup else "train_depth"
    return {"stage": stage, "network": setup["model"].get("network", "hourglass")}


def _digests(settings: StudySettings, space: Space) -> dict[str, str]:
    """Return hashes of all that the trials read.

    Raises:
        ModelError: A model file is missing.
    """
    work, params = settings.work, settings.params
    found = {"labelled": open_people(work.labelled).digest, "heldout": open_people(work.heldout).digest}
    models = {"normal_model": work.normal_model, "depth_model": work.depth_model}
    if space.stage == "train_hdnet":
        found["frames"] = PackedFrames(work.frames).digest
        found["frame_normals"] = PseudoNormals(work.frame_normals).digest
        found["pairs"] = PackedPairs(work.correspondences).digest
    else:
        lite = params.model.network == "lite"
        start = start_of("train_depth", work, params) if lite else work.pretrained(params.train_depth.start_from)
        models = {"normal_model": work.normal_model} if takes_predicted_normals(params) else {}
        models |= {"start": start} if start and not space.is_fresh else {}
    for path in models.values():
        if not path.is_file():
            stage = {work.normal_model: "train_normal", work.depth_model: "train_depth"}.get(path)
            remedy = f"run stage {stage} first (`dvc repro {stage}`)" if stage else "see train_depth.start_from"
            raise ModelError(f"{path}: no such file; {remedy}")
    return found | {name: sha256_of(path) for name, path in models.items()}


def _precision(settings: StudySettings) -> Precision:
    """Return the precision of all trials; measured for each, it would vary with the machine's load."""
    asked, model = settings.params.runtime.precision, settings.params.model
    if asked != "auto":
        return asked
    if device_type(settings.params.runtime.device) == "cuda":
        return "bf16"
    torch.manual_seed(0)
    untrained = model.model_copy(update={"encoder_weights": "random"})  # as fast as a trained one
    return faster_cpu_precision(ESTIMATORS[model.network].from_params(untrained), _SIZE_PX, _SIZE_PX)
