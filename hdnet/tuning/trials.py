"""One trial: a training of the searched stage with the trial's values, measured on held-out people."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from hdnet.errors import TrainingError
from hdnet.files import locked
from hdnet.models.weights import load_estimator
from hdnet.params import Params, with_runtime
from hdnet.tracking.tracker import StoppedEarlyError
from hdnet.training.run import Outputs
from hdnet.training.validation import Validation
from hdnet.tuning.heldout import Validators, open_validators
from hdnet.tuning.ranking import MEASURED, is_hopeless, store_measurement
from hdnet.tuning.space import Space, stage_params
from hdnet.tuning.storage import origin, retry, without_password
from hdnet.tuning.study import ESTIMATORS, FAILED, KEY, OBJECTIVES, PAIR, POINT, PRECISION, StudySettings, load_study
from hdnet.tuning.tracking import TrialTakenError, TrialTracker, run_below_study, with_tracker
from pipelines.train_depth import train_depth
from pipelines.train_hdnet import train_hdnet

VALUES = "values"
"""User attribute of a trial: the values it trained with, by key, as rounded."""
PEOPLE = "people"
"""User attribute of a trial with all steps: metrics of every person of the report, and their names."""

MODEL_FILE = "model.safetensors"

_POLL_S = 0.5


@dataclass(frozen=True)
class Worker:
    """State that the trials of one worker share.

    Attributes:
        settings: Settings of the study.
        space: Search space.
        validators: Validators on both parts of the held-out people.
        precision: Precision of all trials of the study.
        key: Key of the study's run in MLflow.
        check_parent: Called seconds apart; raises KeyboardInterrupt when the worker must stop.
    """

    settings: StudySettings
    space: Space
    validators: Validators
    precision: str
    key: str
    check_parent: Callable[[], None]

    @classmethod
    def of(cls, settings: StudySettings, study: optuna.Study, check_parent: Callable[[], None]) -> Worker:
        """Return a worker on an open study."""
        validators, attributes = open_validators(settings.work, settings.params), study.user_attrs
        return cls(settings, Space(settings.params), validators, attributes[PRECISION], attributes[KEY], check_parent)

    def params(self, values: dict[str, Any], steps: int, seed: int) -> Params:
        """Return params.yaml with a trial's values, steps and seed, on one device and in the study's precision."""
        params = with_runtime(
            self.space.applied(values), {"devices": 1, "nodes": 1, "precision": self.precision, "panel_every": steps}
        )
        stage = stage_params(params).model_copy(update={"steps": steps})
        last = params.validation.model_copy(update={"use_best": False})
        return params.model_copy(update={self.space.stage: stage, "validation": last, "seed": seed})


def search_trial(worker: Worker, study: optuna.Study, trial: optuna.Trial) -> tuple[float, ...]:
    """Train a trial of the search: few steps, pruned if it is hopeless.

    Raises:
        optuna.TrialPruned: The trial is hopeless.
        TrainingError: The values cannot be trained with; the search goes on.
        TrialTakenError: Another worker has the trial now.
        KeyboardInterrupt: The command was stopped; the trial's values are queued again.
    """
    settings, tune = worker.settings, worker.settings.params.tune
    values, point = worker.space.suggest(trial), trial.user_attrs.get(POINT)
    if point is not None:
        values = worker.space.points()[point]

    def measured(metrics: dict[str, float], step: int) -> None:
        store_measurement(trial, metrics, step)
        if point is None and step < tune.steps and _is_hopeless(worker, study, trial, step):
            raise StoppedEarlyError(f"worse than the median after {step} steps")

    trial.set_user_attr(VALUES, values)
    params = worker.params(values, tune.steps, settings.params.seed)
    tags = {POINT: point} if point else {}
    with _trial_folder(worker, study, trial) as folder:
        _train(worker, study, trial, params, measured, tune.validate_every, folder, {**values, **tags})
    return settings.values(_result(trial, tune.steps))


def full_trial(worker: Worker, study: optuna.Study, trial: optuna.Trial) -> tuple[float, ...]:
    """Train a trial of the search again, with all steps and its own seed, and measure it on the report's people, too.

    Raises:
        TrainingError: The values cannot be trained with.
        TrialTakenError: Another worker has the trial now.
        KeyboardInterrupt: The command was stopped; the trial is queued again.
    """
    settings = worker.settings
    number, seed = trial.user_attrs[PAIR]
    values = load_study(settings, settings.name).get_trials(deepcopy=False)[number].user_attrs[VALUES]
    steps = stage_params(settings.params).steps
    params = worker.params(values, steps, seed)

    def measured(metrics: dict[str, float], step: int) -> None:
        store_measurement(trial, metrics, step)

    about = {**values, "of_trial": number, "seed": seed}
    with _trial_folder(worker, study, trial) as folder:
        _train(worker, study, trial, params, measured, steps, folder, about)
        estimator = load_estimator(folder / MODEL_FILE, ESTIMATORS[params.model.network]).eval()
        rows = worker.validators.report.each(estimator)
        people = {name: [row[name] for row in rows] for name in OBJECTIVES}
        trial.set_user_attr(PEOPLE, {"names": list(worker.validators.names), **people})
    return settings.values(_result(trial, steps))


@contextmanager
def _trial_folder(worker: Worker, study: optuna.Study, trial: optuna.Trial) -> Iterator[Path]:
    """Lock the folder of the trial's checkpoints, which a retry shares.

    It is kept if the trial is interrupted or taken by another worker, and removed in any other case.
    """
    folder = worker.settings.work_folder(study.study_name, origin(trial))
    folder.mkdir(parents=True, exist_ok=True)
    with _locked_when_free(worker, folder):
        try:
            yield folder
            check_not_taken(study, trial)
        except UpdateFinishedTrialError as error:
            raise TrialTakenError(str(error)) from error
        except KeyboardInterrupt:
            with suppress(TrialTakenError):  # then it is queued again already
                check_not_taken(study, trial)
                retry(study, trial, was_killed=False)
            raise
        except StoppedEarlyError as error:
            check_not_taken(study, trial)
            shutil.rmtree(folder)
            raise optuna.TrialPruned(str(error)) from error
        except TrainingError as error:
            check_not_taken(study, trial)
            trial.set_user_attr(FAILED, str(error))
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


@contextmanager
def _locked_when_free(worker: Worker, folder: Path) -> Iterator[None]:
    """Hold the lock of a trial's folder. A worker that lost the trial but still trains releases it at its next step."""
    lock_file = folder.with_name(f"{folder.name}.lock")
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(lock_file, lambda _: BlockingIOError(), _POLL_S))
                break
            except BlockingIOError:
                worker.check_parent()
        yield


def check_not_taken(study: optuna.Study, trial: optuna.Trial) -> None:
    """Check that this worker still has the trial.

    Raises:
        TrialTakenError: Another worker has it now.
    """
    if study.get_trials(deepcopy=False)[trial.number].state != TrialState.RUNNING:
        raise TrialTakenError(f"trial {trial.number} was given to another worker")


def _train(
    worker: Worker,
    study: optuna.Study,
    trial: optuna.Trial,
    params: Params,
    measured: Callable[[dict[str, float], int], None],
    validate_every: int,
    folder: Path,
    about: dict[str, Any],
) -> None:
    settings, work = worker.settings, worker.settings.work
    tags = {
        "optuna.study": study.study_name,
        "optuna.trial": str(trial.number),
        "optuna.storage": without_password(settings.storage),
    }
    name = f"{study.study_name} trial {origin(trial)}"
    open_run = run_below_study(worker.key, name, about, tags) if settings.is_tracked else None

    def check() -> None:
        worker.check_parent()
        check_not_taken(study, trial)

    train = partial(train_depth, is_fresh=worker.space.is_fresh) if params.tune.stage == "train_depth" else train_hdnet
    train(
        work,
        params,
        with_tracker(open_run, TrialTracker(measured, check)),
        outputs=Outputs(folder / MODEL_FILE, folder / "report", folder / "checkpoints"),
        validation=Validation(worker.validators.select, validate_every, OBJECTIVES[0]),
    )


def _result(trial: optuna.Trial, steps: int) -> dict[str, float]:
    metrics: dict[str, float] = trial.user_attrs[MEASURED][str(steps)]
    return metrics


def _is_hopeless(worker: Worker, study: optuna.Study, trial: optuna.Trial, step: int) -> bool:
    others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
    measured = trial.user_attrs[MEASURED][str(step)]
    return is_hopeless(measured, step, others, worker.settings.params.tune.prune_after, worker.settings.values)
