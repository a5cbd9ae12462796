"""One trial: a training of stage `train_hdnet` with the trial's values, judged by people."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from hdnet.errors import TrainingError
from hdnet.models.weights import load_hdnet
from hdnet.params import Params, with_runtime
from hdnet.tracking.tracker import StoppedEarlyError
from hdnet.training.settings import Validation
from hdnet.training.stages import train_hdnet
from hdnet.tuning.people import Judges, judges
from hdnet.tuning.pruning import MEASURED, is_hopeless, report
from hdnet.tuning.settings import OBJECTIVES, StudySettings
from hdnet.tuning.space import Space
from hdnet.tuning.storage import origin, retry, without_password
from hdnet.tuning.study import FAILED, KEY, PAIR, POINT, PRECISION, load_study
from hdnet.tuning.watching import Alive, Watch, trial_run, watched

VALUES = "values"
"""User attribute of a trial: what it trained with, by key, as rounded."""
PEOPLE = "people"
"""User attribute of a trial at full budget: metrics of every person of the report, and their names."""

MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Bench:
    """What the trials of one worker share."""

    settings: StudySettings
    space: Space
    judges: Judges
    precision: str
    key: str
    alive: Alive

    @classmethod
    def of(cls, settings: StudySettings, study: optuna.Study, alive: Alive) -> Bench:
        """For a study that is open."""
        people, attributes = judges(settings.work, settings.params), study.user_attrs
        return cls(settings, Space(settings.params), people, attributes[PRECISION], attributes[KEY], alive)

    def params(self, values: dict[str, Any], steps: int, seed: int) -> Params:
        """params.yaml with a trial's values, steps and seed, on one device and in the study's precision."""
        params = with_runtime(
            self.space.applied(values), {"devices": 1, "nodes": 1, "precision": self.precision, "panel_every": steps}
        )
        stage = params.train_hdnet.model_copy(update={"steps": steps})
        last = params.validation.model_copy(update={"use_best": False})
        return params.model_copy(update={"train_hdnet": stage, "validation": last, "seed": seed})


def search_trial(bench: Bench, study: optuna.Study, trial: optuna.Trial) -> tuple[float, ...]:
    """A trial of the search: few steps, given up where it is hopeless.

    Raises:
        optuna.TrialPruned: If it is hopeless.
        TrainingError: If it cannot be trained with these values; the search goes on.
        KeyboardInterrupt: If somebody stopped it; its values are queued again.
    """
    settings, tune = bench.settings, bench.settings.params.tune
    values, point = bench.space.suggest(trial), trial.user_attrs.get(POINT)
    if point is not None:
        values = bench.space.points()[point]

    def heard(metrics: dict[str, float], step: int) -> None:
        report(trial, metrics, step)
        if point is None and step < tune.steps and _is_hopeless(bench, study, trial, step):
            raise StoppedEarlyError(f"worse than the median after {step} steps")

    trial.set_user_attr(VALUES, values)
    params = bench.params(values, tune.steps, settings.params.seed)
    tags = {POINT: point} if point else {}
    with _trial_folder(bench, study, trial) as folder:
        _train(bench, trial, params, Watch(heard, bench.alive), tune.validate_every, folder, {**values, **tags})
    return settings.values(_result(trial, tune.steps))


def full_trial(bench: Bench, study: optuna.Study, trial: optuna.Trial) -> tuple[float, ...]:
    """A trial of the search again, with all steps and its own seed, measured on the report's people, too.

    Raises:
        TrainingError: If it cannot be trained with these values.
        KeyboardInterrupt: If somebody stopped it; it is queued again.
    """
    settings = bench.settings
    number, seed = trial.user_attrs[PAIR]
    values = load_study(settings, settings.name).get_trials(deepcopy=False)[number].user_attrs[VALUES]
    steps = settings.params.train_hdnet.steps
    params = bench.params(values, steps, seed)
    watch = Watch(lambda metrics, step: report(trial, metrics, step), bench.alive)
    about = {**values, "of_trial": number, "seed": seed}
    with _trial_folder(bench, study, trial) as folder:
        _train(bench, trial, params, watch, steps, folder, about)
        estimator = load_hdnet(folder / MODEL_FILE).depth_estimator.eval()
        rows = bench.judges.report.each(estimator)
    people = {name: [row[name] for row in rows] for name in OBJECTIVES}
    trial.set_user_attr(PEOPLE, {"names": list(bench.judges.names), **people})
    return settings.values(_result(trial, steps))


@contextmanager
def _trial_folder(bench: Bench, study: optuna.Study, trial: optuna.Trial) -> Iterator[Path]:
    """Of the trial's checkpoints. It stays for the retry if the trial is stopped, and goes in any other case."""
    folder = bench.settings.work_folder(study.study_name, origin(trial))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except KeyboardInterrupt:
        retry(study, trial, was_killed=False)
        raise
    except StoppedEarlyError as error:
        shutil.rmtree(folder)
        raise optuna.TrialPruned(str(error)) from error
    except TrainingError as error:
        trial.set_user_attr(FAILED, str(error))
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _train(
    bench: Bench,
    trial: optuna.Trial,
    params: Params,
    watch: Watch,
    validate_every: int,
    folder: Path,
    about: dict[str, Any],
) -> None:
    settings, work = bench.settings, bench.settings.work
    study = trial.study.study_name
    tags = {
        "optuna.study": study,
        "optuna.trial": str(trial.number),
        "optuna.storage": without_password(settings.storage),
    }
    name = f"{study} trial {origin(trial)}"
    open_run = trial_run(bench.key, name, about, tags) if settings.is_tracked else None
    train_hdnet(
        work.labelled,
        work.labelled_normals,
        work.frames,
        work.frame_normals,
        work.correspondences,
        work.normal_model,
        work.depth_model,
        folder / MODEL_FILE,
        folder / "report",
        folder / "checkpoints",
        params,
        watched(open_run, watch),
        validation=Validation(bench.judges.select, validate_every, OBJECTIVES[0]),
    )


def _result(trial: optuna.Trial, steps: int) -> dict[str, float]:
    metrics: dict[str, float] = trial.user_attrs[MEASURED][str(steps)]
    return metrics


def _is_hopeless(bench: Bench, study: optuna.Study, trial: optuna.Trial, step: int) -> bool:
    others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
    measured = trial.user_attrs[MEASURED][str(step)]
    return is_hopeless(measured, step, others, bench.settings.params.tune.prune_after, bench.settings.values)
