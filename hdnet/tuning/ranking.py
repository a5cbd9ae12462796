"""Pruning of hopeless trials, and ranking of complete ones.

Optuna's pruners need a single objective: ``Trial.report`` and ``should_prune`` refuse any other study. So measurements
are stored in a user attribute of the trial, and the median rule is applied to each objective: a trial ends if it is
worse than the median of the others *in every one*. If it is good at one, it may still belong to the Pareto front.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from hdnet.tuning.study import OBJECTIVES, POINT, scalar

MEASURED = "measured"
"""User attribute of a trial: metrics of the objectives by step (as text)."""


def is_hopeless(
    metrics: dict[str, float],
    step: int,
    others: Sequence[FrozenTrial],
    prune_after: int,
    objectives: Callable[[dict[str, float]], tuple[float, ...]],
) -> bool:
    """Return whether a trial is worse than the median in every objective at this step.

    Args:
        metrics: The trial's metrics after ``step`` steps.
        step: Step at which trials are compared, so that their schedules agree.
        others: Trials of the study; complete and pruned ones that reached this step count.
        prune_after: Number of complete trials below which nothing is pruned.
        objectives: Returns the study's objectives from metrics.
    """
    if sum(trial.state == TrialState.COMPLETE for trial in others) < prune_after:
        return False
    rows = [
        objectives(trial.user_attrs[MEASURED][str(step)])
        for trial in others
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and str(step) in trial.user_attrs.get(MEASURED, {})
    ]
    return bool(rows) and bool((np.asarray(objectives(metrics)) > np.median(rows, axis=0)).all())


def store_measurement(trial: optuna.Trial, metrics: dict[str, float], step: int) -> None:
    """Store a measurement with the trial."""
    measured = {**trial.user_attrs.get(MEASURED, {}), str(step): metrics}
    trial.set_user_attr(MEASURED, measured)


def metrics_of(trial: FrozenTrial) -> dict[str, float]:
    """Return a complete trial's last measurement."""
    measured: dict[str, dict[str, float]] = trial.user_attrs[MEASURED]
    return measured[max(measured, key=int)]


def complete(study: optuna.Study) -> list[FrozenTrial]:
    """Return the complete trials, by number."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def pareto_ranks(values: Sequence[Sequence[float]]) -> list[int]:
    """Return each point's rank: 0 on the Pareto front, 1 on the front without those, and so on.

    Args:
        values: One row a point; smaller is better.
    """
    rows = np.asarray(values, dtype=np.float64)
    ranks, rest, rank = np.zeros(len(rows), dtype=int), np.ones(len(rows), dtype=bool), 0
    while rest.any():
        is_front = rest.copy()
        for k in np.flatnonzero(rest):
            others = rows[rest]
            is_front[k] = not ((others <= rows[k]).all(axis=1) & (others < rows[k]).any(axis=1)).any()
        ranks[is_front], rest, rank = rank, rest & ~is_front, rank + 1
    return [int(value) for value in ranks]


def best_first(trials: Sequence[FrozenTrial], mm_per_deg: float) -> list[FrozenTrial]:
    """Sort complete trials by Pareto rank, then by the scalar of their metrics."""
    found = [metrics_of(trial) for trial in trials]
    ranks = pareto_ranks([[metrics[name] for name in OBJECTIVES] for metrics in found]) if found else []
    keys = [(rank, scalar(metrics, mm_per_deg)) for rank, metrics in zip(ranks, found, strict=True)]
    return [trials[k] for k in sorted(range(len(trials)), key=keys.__getitem__)]


def candidates(study: optuna.Study, top_k: int, mm_per_deg: float) -> list[FrozenTrial]:
    """Return the best draws, and the complete points that they are compared with."""
    trials = complete(study)
    points = [trial for trial in trials if POINT in trial.user_attrs]
    if study.directions and len(study.directions) == 1:
        draws = sorted((t for t in trials if POINT not in t.user_attrs), key=lambda t: t.values[0])
    else:
        draws = best_first([trial for trial in trials if POINT not in trial.user_attrs], mm_per_deg)
    return points + draws[:top_k]
