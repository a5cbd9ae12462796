"""Report of a study: trials, importance of the parameters, and the best trials on people that did not select them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from hdnet.evaluation.confidence import Interval, paired_difference
from hdnet.tuning.ranking import MEASURED, complete, metrics_of, pareto_ranks
from hdnet.tuning.storage import RETRIES
from hdnet.tuning.study import FAILED, OBJECTIVES, PAIR, POINT, is_done, scalar
from hdnet.tuning.trials import PEOPLE, VALUES

# Complete trials below which the importance is not computed.
_ENOUGH = 6


@dataclass(frozen=True)
class TrialRow:
    """One trial of the search; ``state`` is complete, pruned, failed, waiting, running or interrupted.

    ``metrics`` are the last measurement, after ``steps`` steps, on the people of the search.
    """

    number: int
    point: str | None
    state: str
    steps: int
    metrics: dict[str, float]
    is_pareto: bool
    values: dict[str, Any]
    retries: int
    reason: str


@dataclass(frozen=True)
class FullRow:
    """One of the best trials with all steps, means over seeds.

    Attributes:
        trial: Number in the search.
        point: Name of its point; None for a draw.
        seeds: Seeds of its trainings.
        select: Metrics on the people of the search.
        report: Metrics on the people of the report.
        seed_sd: Standard deviation of ``report`` over the seeds; nan for a single one.
        differences: By name of a point and metric: this trial minus the point on the report's people, with the
            interval of the paired bootstrap over people, each the mean of the seeds; below 0 is better.
        values: Values that it trained with.
    """

    trial: int
    point: str | None
    seeds: tuple[int, ...]
    select: dict[str, float]
    report: dict[str, float]
    seed_sd: dict[str, float]
    differences: dict[str, dict[str, Interval]]
    values: dict[str, Any]


@dataclass(frozen=True)
class StudyReport:
    """Report of a study."""

    study: str
    storage: str
    mm_per_deg: float
    trials: tuple[TrialRow, ...]
    importance: dict[str, dict[str, float]]
    full: tuple[FullRow, ...]
    provenance: dict[str, Any]

    def to_json(self) -> str:
        """Return the whole report as JSON, with nan as null."""
        return json.dumps(_without_nan(asdict(self)), indent=1, allow_nan=False) + "\n"

    @property
    def chosen(self) -> FullRow | TrialRow | None:
        """Best draw: of those with all steps, if there are any, else of the search.

        The scalar on the people of the search decides, never the one on the report's.
        """
        full = [row for row in self.full if row.point is None]
        if full:
            return min(full, key=lambda row: scalar(row.select, self.mm_per_deg))
        draws = [row for row in self.trials if row.state == "complete" and row.point is None]
        return min(draws, key=lambda row: scalar(row.metrics, self.mm_per_deg)) if draws else None


def report_of(
    search: optuna.Study, full: optuna.Study | None, storage: str, mm_per_deg: float, provenance: dict[str, Any]
) -> StudyReport:
    """Build the report of both studies; ``storage`` is a URL without password."""
    return StudyReport(
        search.study_name,
        storage,
        mm_per_deg,
        _trial_rows(search),
        _importance(search),
        () if full is None else _full_rows(search, full),
        provenance,
    )


def _trial_rows(study: optuna.Study) -> tuple[TrialRow, ...]:
    finished = complete(study)
    rows = [[metrics_of(trial)[name] for name in OBJECTIVES] for trial in finished]
    front = {t.number for t, rank in zip(finished, pareto_ranks(rows) if rows else [], strict=True) if rank == 0}
    return tuple(_trial_row(trial, trial.number in front) for trial in study.get_trials(deepcopy=False))


def _trial_row(trial: FrozenTrial, is_pareto: bool) -> TrialRow:
    attributes = trial.user_attrs
    steps = max((int(step) for step in attributes.get(MEASURED, {})), default=0)
    state = trial.state.name.lower()
    if trial.state == TrialState.FAIL:
        state = "failed" if is_done(trial) else "interrupted"
    return TrialRow(
        trial.number,
        attributes.get(POINT),
        state,
        steps,
        attributes[MEASURED][str(steps)] if steps else {},
        is_pareto,
        attributes.get(VALUES, trial.params),
        attributes.get(RETRIES, 0),
        attributes.get(FAILED, ""),
    )


def _importance(study: optuna.Study) -> dict[str, dict[str, float]]:
    """Return each parameter's share in the variance of each metric (fANOVA) over complete trials."""
    if len(complete(study)) < _ENOUGH:
        return {}
    found = {}
    for name in OBJECTIVES:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)

        def target(trial: FrozenTrial, name: str = name) -> float:
            return metrics_of(trial)[name]

        found[name] = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target)
    return found


def _full_rows(search: optuna.Study, full: optuna.Study) -> tuple[FullRow, ...]:
    by_trial: dict[int, list[FrozenTrial]] = {}
    for trial in complete(full):
        by_trial.setdefault(trial.user_attrs[PAIR][0], []).append(trial)
    trials = search.get_trials(deepcopy=False)
    points = {trials[number].user_attrs[POINT]: number for number in by_trial if POINT in trials[number].user_attrs}
    return tuple(
        _full_row(trials[number], by_trial, {name: other for name, other in points.items() if other != number})
        for number in sorted(by_trial)
    )


def _full_row(trial: FrozenTrial, by_trial: dict[int, list[FrozenTrial]], points: dict[str, int]) -> FullRow:
    runs = sorted(by_trial[trial.number], key=lambda run: run.user_attrs[PAIR][1])
    by_seed = {name: [np.mean(run.user_attrs[PEOPLE][name]) for run in runs] for name in OBJECTIVES}
    return FullRow(
        trial.number,
        trial.user_attrs.get(POINT),
        tuple(run.user_attrs[PAIR][1] for run in runs),
        {name: float(np.mean([metrics_of(run)[name] for run in runs])) for name in OBJECTIVES},
        {name: float(np.mean(values)) for name, values in by_seed.items()},
        {name: float(np.std(values, ddof=1)) if len(runs) > 1 else float("nan") for name, values in by_seed.items()},
        {
            point: {name: paired_difference(*_paired(runs, by_trial[other], name)) for name in OBJECTIVES}
            for point, other in points.items()
        },
        trial.user_attrs[VALUES],
    )


def _paired(ours: Sequence[FrozenTrial], theirs: Sequence[FrozenTrial], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return every person's mean over the seeds, of both."""

    def means(runs: Sequence[FrozenTrial]) -> np.ndarray:
        return np.asarray(np.mean([run.user_attrs[PEOPLE][metric] for run in runs], axis=0))

    return means(ours), means(theirs)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
