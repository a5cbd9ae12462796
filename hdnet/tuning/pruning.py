"""When to give up a trial.

Optuna's pruners need a single objective: ``Trial.report`` and ``should_prune`` refuse any other study. So measurements
are kept in a user attribute of the trial, and the rule is the median rule for each objective: a trial ends if it is
worse than the median of the others *in every one*. Where it is good at one, it may still belong to the Pareto front.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

MEASURED = "measured"
"""User attribute: step (as text) to the metrics of the objectives."""


def is_hopeless(
    metrics: dict[str, float],
    step: int,
    others: Sequence[FrozenTrial],
    prune_after: int,
    objectives: Callable[[dict[str, float]], tuple[float, ...]],
) -> bool:
    """Whether a trial is worse than the median in every objective at this step.

    Args:
        metrics: Of the trial, after ``step`` steps.
        step: The same step of the others is looked at, so that schedules compare.
        others: Trials of the study; complete and pruned ones count, as far as they came here.
        prune_after: With fewer complete ones nothing is pruned.
        objectives: What the study minimises, of metrics.
    """
    if sum(trial.state == TrialState.COMPLETE for trial in others) < prune_after:
        return False
    rows = [
        objectives(trial.user_attrs[MEASURED][str(step)])
        for trial in others
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and str(step) in trial.user_attrs.get(MEASURED, {})
    ]
    return bool(rows) and bool((np.asarray(objectives(metrics)) > np.median(rows, axis=0)).all())


def report(trial: optuna.Trial, metrics: dict[str, float], step: int) -> None:
    """Keeps a measurement with the trial."""
    measured = {**trial.user_attrs.get(MEASURED, {}), str(step): metrics}
    trial.set_user_attr(MEASURED, measured)
