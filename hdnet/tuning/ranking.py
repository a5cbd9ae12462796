"""Which trials are the best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from hdnet.tuning.pruning import MEASURED
from hdnet.tuning.settings import OBJECTIVES, scalar
from hdnet.tuning.study import POINT


def metrics_of(trial: FrozenTrial) -> dict[str, float]:
    """A complete trial's last measurement."""
    measured: dict[str, dict[str, float]] = trial.user_attrs[MEASURED]
    return measured[max(measured, key=int)]


def complete(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that have a result, by number."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def pareto_ranks(values: Sequence[Sequence[float]]) -> list[int]:
    """0 for points that no other is better than in one objective and as good in all others; 1 without those; ...

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
    """Complete trials by Pareto rank, then by the scalar of their metrics."""
    found = [metrics_of(trial) for trial in trials]
    ranks = pareto_ranks([[metrics[name] for name in OBJECTIVES] for metrics in found]) if found else []
    keys = [(rank, scalar(metrics, mm_per_deg)) for rank, metrics in zip(ranks, found, strict=True)]
    return [trials[k] for k in sorted(range(len(trials)), key=keys.__getitem__)]


def candidates(study: optuna.Study, top_k: int, mm_per_deg: float) -> list[FrozenTrial]:
    """The best draws, and the points that they are compared with, as far as these are complete."""
    trials = complete(study)
    points = [trial for trial in trials if POINT in trial.user_attrs]
    if study.directions and len(study.directions) == 1:
        draws = sorted((t for t in trials if POINT not in t.user_attrs), key=lambda t: t.values[0])
    else:
        draws = best_first([trial for trial in trials if POINT not in trial.user_attrs], mm_per_deg)
    return points + draws[:top_k]
