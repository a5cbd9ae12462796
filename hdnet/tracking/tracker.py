"""Interface of an experiment tracker, and the tracker that writes files. Imports no MLflow."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Files of a stage's report that others read.
METRICS_FILE, TABLE_FILE, SHEET_FILE = "metrics.json", "table.md", "contact_sheet.png"
SAMPLES_FILE = "samples.json"
CURVES_FILE = "curves.csv"
# Empty if the training is not validated: `dvc plots` needs the file in any case.
VALIDATION_FILE = "validation.csv"
PANELS_FOLDER = "panels"


class StoppedEarlyError(Exception):
    """Raised by a tracker to end a training early. The run's status becomes KILLED instead of FAILED."""


class Tracker:
    """Interface of an experiment tracker. This base class ignores everything, so a tracker overrides what it needs."""

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Log metrics after ``step`` steps."""

    def log_image(self, key: str, picture: np.ndarray, step: int) -> None:
        """Log one (H, W, 3) uint8 picture."""

    def log_checkpoint(self, path: Path, step: int) -> None:
        """Log the model's weights after ``step`` steps, a model file."""

    def log_file(self, path: Path) -> None:
        """Log a file of results."""

    def log_dataset(
        self, name: str, digest: str, size: int, source: str | None = None, context: str = "training"
    ) -> None:
        """Log a dataset that the run reads: name, hash of the content, number of samples, location, purpose."""

    def set_tags(self, tags: dict[str, str]) -> None:
        """Set facts about the run that are no parameters: precision, device, number of processes."""

    def resume(self, step: int) -> None:
        """Announce that the run continues from ``step``: later steps are logged again."""


OpenRun = Callable[[str, dict[str, Any], dict[str, str], Path | None], AbstractContextManager[Tracker]]
"""Opens a run in an experiment tracker: (stage, parameters, tags, work folder that remembers the run) -> tracker."""


def opened(
    open_run: OpenRun | None,
    stage: str,
    params: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
    work_dir: Path | None = None,
) -> AbstractContextManager[Tracker]:
    """Open a run of a stage; without an experiment tracker (``open_run`` is None) the result ignores everything."""
    return nullcontext(Tracker()) if open_run is None else open_run(stage, params or {}, tags or {}, work_dir)


class Trackers(Tracker):
    """Several trackers as one: every call goes to all of them, in their order."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = tuple(trackers)


def _fan_out(method: str) -> Callable[..., None]:
    def call_all(self: Trackers, *args: Any, **kwargs: Any) -> None:
        for tracker in self.trackers:
            getattr(tracker, method)(*args, **kwargs)

    return call_all


for _method in [name for name in vars(Tracker) if not name.startswith("_")]:
    setattr(Trackers, _method, _fan_out(_method))


class FileTracker(Tracker):
    """Loss curves as CSV (for ``dvc plots`` and ``hdnet plot-convergence``) and the newest picture of each kind.

    Args:
        folder: Folder for ``curves.csv``, a file such as ``validation.csv`` for metrics named ``validation/...``, and
            ``panels/KEY.png``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.curves = folder / CURVES_FILE
        (folder / PANELS_FOLDER).mkdir(parents=True, exist_ok=True)
        (folder / VALIDATION_FILE).touch()

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Append a row to the file of each group; rare metrics must not leave holes in the rows of the others."""
        groups: dict[Path, dict[str, str]] = {}
        for key, value in values.items():
            group, slash, name = key.partition("/")
            path = self.folder / f"{group}.csv" if slash else self.curves
            groups.setdefault(path, {})[name if slash else key] = f"{value:.6g}"
        for path, row in groups.items():
            _append(path, {"step": str(step), **row})

    def log_image(self, key: str, picture: np.ndarray, step: int) -> None:  # noqa: ARG002 - only the newest is kept
        """Replace ``panels/KEY.png``."""
        Image.fromarray(picture).save(self.folder / PANELS_FOLDER / f"{key}.png")

    def resume(self, step: int) -> None:
        """Drop rows after ``step``; a new run (step 0) starts with empty files."""
        for path in self.folder.glob("*.csv"):
            rows = [] if step == 0 else _rows(path)
            path.write_text("")
            for row in rows:
                if row["step"].isdigit() and int(row["step"]) <= step and None not in row.values():
                    _append(path, row)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _append(path: Path, row: dict[str, str]) -> None:
    """Append a row; its new columns are added to all earlier rows."""
    columns: list[str] = []
    if path.exists():
        with path.open(newline="") as file:
            columns = next(csv.reader(file), [])
    new = [name for name in row if name not in columns]
    earlier = _rows(path) if columns and new else []
    with path.open("w" if new else "a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=[*columns, *new], restval="")
        if new:
            writer.writeheader()
            writer.writerows(earlier)
        writer.writerow(row)
