"""A trial's training as the study sees it: a tracker that reports measurements and ends what is hopeless."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from hdnet.errors import TrainingError
from hdnet.tracking.tracker import OpenRun, StoppedEarlyError, Tracker, Trackers, opened
from hdnet.tuning.settings import OBJECTIVES

# Called at every measurement: (metrics, step); may raise StoppedEarlyError.
Heard = Callable[[dict[str, float], int], None]
# Called with every report of the training, seconds apart.
Alive = Callable[[], None]

STATE_TAG = "trial_state"


class Watch(Tracker):
    """Hears the measurements of a training.

    Args:
        heard: Gets the objectives' metrics.
        alive: Called at every report.
    """

    def __init__(self, heard: Heard, alive: Alive) -> None:
        self.heard, self.alive = heard, alive
        self.last: dict[str, float] = {}
        """The newest measurement."""

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Passes measurements on.

        Raises:
            TrainingError: If the network's answers are not finite: the values that it was trained with are no good.
            StoppedEarlyError: From ``heard``.
        """
        self.alive()
        found = {name: values[f"validation/{name}"] for name in OBJECTIVES if f"validation/{name}" in values}
        if not found:
            return
        if not all(math.isfinite(value) for value in found.values()):
            raise TrainingError(f"the network's answers are not finite after step {step}")
        self.last = found
        self.heard(found, step)


class _WithoutWeights(Trackers):
    """A trial's weights are not worth their space."""

    def log_checkpoint(self, path: Path, step: int) -> None:
        """Nothing."""


def watched(open_run: OpenRun | None, watch: Watch) -> OpenRun:
    """Opens a trial's run so that ``watch`` hears it, and tags it with how the trial ended."""

    @contextmanager
    def open_watched(
        stage: str, params: dict[str, Any], tags: dict[str, str], folder: Path | None
    ) -> Iterator[Tracker]:
        with opened(open_run, stage, params, tags, folder) as remote:
            tracker = _WithoutWeights([remote, watch])
            state = "complete"
            try:
                yield tracker
            except BaseException as error:
                state = _state_after(error)
                raise
            finally:
                tracker.set_tags({STATE_TAG: state})

    return open_watched


def _state_after(error: BaseException) -> str:
    if isinstance(error, StoppedEarlyError):
        return "pruned"
    return "failed" if isinstance(error, Exception) else "interrupted"


def trial_run(parent: str, name: str, tune_params: dict[str, Any], tags: dict[str, str]) -> OpenRun:
    """Opens a trial's run in MLflow below the study's."""
    from hdnet.tracking import runs  # takes seconds, and a search does without

    def open_run(
        stage: str, params: dict[str, Any], data_tags: dict[str, str], folder: Path | None
    ) -> AbstractContextManager[Tracker]:
        all_tags = {**data_tags, "stage": "tune_trial", "trains": stage, STATE_TAG: "running", **tags}
        return runs.run(name, {**params, "tune": tune_params}, all_tags, folder, parent=parent)

    return open_run
