"""Trackers of a trial's training: one that reports to the study, and the run in MLflow below the study's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError

from hdnet.errors import TrainingError
from hdnet.tracking.tracker import OpenRun, StoppedEarlyError, Tracker, Trackers, opened
from hdnet.tuning.study import OBJECTIVES

STATE_TAG = "trial_state"

_CHECK_S = 1.0


class TrialTakenError(Exception):
    """The trial was given to another worker, because this one had sent no heartbeat for too long."""


class TrialTracker(Tracker):
    """Tracker that passes a training's measurements to the study.

    Args:
        measured: Called with the objectives' metrics and the step; may raise StoppedEarlyError.
        check: Called at reports, at least :data:`_CHECK_S` apart; raises an error to end the training.
    """

    def __init__(self, measured: Callable[[dict[str, float], int], None], check: Callable[[], None]) -> None:
        self.measured, self.check = measured, check
        self._checked = 0.0

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Pass measurements on.

        Raises:
            TrainingError: A metric is not finite: the trial's values are not usable.
            StoppedEarlyError: The trial is pruned.
        """
        if time.monotonic() - self._checked > _CHECK_S:
            self.check()
            self._checked = time.monotonic()
        found = {name: values[f"validation/{name}"] for name in OBJECTIVES if f"validation/{name}" in values}
        if not found:
            return
        if not all(math.isfinite(value) for value in found.values()):
            raise TrainingError(f"the network's answers are not finite after step {step}")
        self.measured(found, step)


class _WithoutWeights(Trackers):
    """Trackers that get no checkpoints: a trial's weights are not worth their space."""

    def log_checkpoint(self, path: Path, step: int) -> None:
        """Ignore the checkpoint."""


def with_tracker(open_run: OpenRun | None, trial_tracker: TrialTracker) -> OpenRun:
    """Open a trial's run with the trial's tracker beside it, and tag it with the trial's end state."""

    @contextmanager
    def open_both(stage: str, params: dict[str, Any], tags: dict[str, str], folder: Path | None) -> Iterator[Tracker]:
        with opened(open_run, stage, params, tags, folder) as remote:
            tracker = _WithoutWeights([remote, trial_tracker])
            state = "complete"
            try:
                yield tracker
            except BaseException as error:
                state = _state_after(error)
                raise
            finally:
                tracker.set_tags({STATE_TAG: state})

    return open_both


def _state_after(error: BaseException) -> str:
    if isinstance(error, StoppedEarlyError):
        return "pruned"
    if isinstance(error, Exception) and not isinstance(error, TrialTakenError | UpdateFinishedTrialError):
        return "failed"
    return "interrupted"


def run_below_study(parent: str, name: str, tune_params: dict[str, Any], tags: dict[str, str]) -> OpenRun:
    """Open a trial's run in MLflow below the study's."""
    from hdnet.tracking import runs  # mlflow takes seconds to import, and may be missing

    def open_run(
        stage: str, params: dict[str, Any], data_tags: dict[str, str], folder: Path | None
    ) -> AbstractContextManager[Tracker]:
        all_tags = {**data_tags, "stage": "tune_trial", "trains": stage, STATE_TAG: "running", **tags}
        return runs.run(name, {**params, "tune": tune_params}, all_tags, folder, parent=parent)

    return open_run
