"""Start, number of raw pictures and metrics file that stages share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hdnet.errors import run_command
from hdnet.files import write_json
from hdnet.params import load_params
from hdnet.tracking.tracker import METRICS_FILE, Tracker
from hdnet.workspace import Workspace


def main(stage: Callable[..., object], *, tracked: bool = True) -> None:
    """Run a stage in the working directory; an error that is the user's to fix becomes one line and status 1.

    Args:
        stage: Takes a workspace, the parameters and, if tracked, what opens a run in MLflow.
        tracked: False for the stages that open their run themselves.
    """

    def run() -> object:
        mend_run_cache(Path(".dvc/cache/runs"))
        work, params = Workspace(), load_params()
        if not tracked:
            return stage(work, params)
        from hdnet.tracking import runs  # MLflow takes seconds to import

        return stage(work, params, runs.run)

    run_command(run)


def mend_run_cache(folder: Path) -> None:
    """Remove the empty folders of DVC's run cache, at which DVC 3.67 fails; a full disk leaves them (docs/dvc.md)."""
    for place in folder.glob("*/*"):
        with suppress(OSError):  # one with files stays
            place.rmdir()


def raw_samples(work: Workspace) -> int:
    """Count the pictures of the raw data."""
    return sum(1 for _ in work.raw.glob("**/color_WO_bg/*.png"))


def write_metrics(folder: Path, metrics: dict[str, float], tracker: Tracker) -> None:
    """Write the same numbers to the stage's metrics file and to the tracker, so that the two cannot disagree."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / METRICS_FILE, metrics)
    tracker.log_metrics(metrics, 0)
