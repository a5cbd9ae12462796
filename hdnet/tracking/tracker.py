"""Where a run's numbers and pictures go. The engine only knows this interface; MLflow's side is hdnet.registry."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

CURVES_FILE = "curves.csv"
# Of a training that is not validated it is empty: `dvc plots` has the file either way.
VALIDATION_FILE = "validation.csv"
PANELS_FOLDER = "panels"


class StoppedEarlyError(Exception):
    """Raised by a tracker: the training is not worth going on. Its run counts as ended on purpose, not as failed."""


class Tracker(Protocol):
    """Takes what a training run reports."""

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Numbers after ``step`` steps."""
        ...

    def log_image(self, key: str, picture: np.ndarray, step: int) -> None:
        """One (H, W, 3) uint8 picture."""
        ...

    def log_checkpoint(self, path: Path, step: int) -> None:
        """The model's weights after ``step`` steps, as a model file."""
        ...

    def log_file(self, path: Path) -> None:
        """A file of results."""
        ...

    def log_dataset(
        self, name: str, digest: str, size: int, source: str | None = None, context: str = "training"
    ) -> None:
        """What the run reads: its name, the hash of its content, how many samples it has, where it lies."""
        ...

    def set_tags(self, tags: dict[str, str]) -> None:
        """Facts about the run that are no parameters: precision, device, number of processes."""
        ...

    def resume(self, step: int) -> None:
        """The run goes on from ``step``: what was reported after it will come again."""
        ...


class SilentTracker:
    """Hears nothing: for the processes of a distributed training that do not report, and a base for trackers."""

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Nothing."""

    def log_image(self, key: str, picture: np.ndarray, step: int) -> None:
        """Nothing."""

    def log_checkpoint(self, path: Path, step: int) -> None:
        """Nothing."""

    def log_file(self, path: Path) -> None:
        """Nothing."""

    def log_dataset(
        self, name: str, digest: str, size: int, source: str | None = None, context: str = "training"
    ) -> None:
        """Nothing."""

    def set_tags(self, tags: dict[str, str]) -> None:
        """Nothing."""

    def resume(self, step: int) -> None:
        """Nothing."""


class FileTracker(SilentTracker):
    """Loss curves as CSV (for ``dvc plots`` and ``hdnet plot-convergence``) and the newest picture of each kind.

    Args:
        folder: Gets ``curves.csv``, a file like ``validation.csv`` for numbers named ``validation/...``, and
            ``panels/KEY.png``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.curves = folder / CURVES_FILE
        (folder / PANELS_FOLDER).mkdir(parents=True, exist_ok=True)
        (folder / VALIDATION_FILE).touch()

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Appends a row to the file of each group: what is reported rarely would leave holes in the others' rows."""
        groups: dict[Path, dict[str, str]] = {}
        for key, value in values.items():
            group, slash, name = key.partition("/")
            path = self.folder / f"{group}.csv" if slash else self.curves
            groups.setdefault(path, {})[name if slash else key] = f"{value:.6g}"
        for path, row in groups.items():
            _append(path, {"step": str(step), **row})

    def log_image(self, key: str, picture: np.ndarray, step: int) -> None:  # noqa: ARG002 - only the newest is kept
        """Replaces ``panels/KEY.png``."""
        Image.fromarray(picture).save(self.folder / PANELS_FOLDER / f"{key}.png")

    def resume(self, step: int) -> None:
        """Drops rows after ``step``; a new run (step 0) starts with empty files."""
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
    """Adds a row; one that brings columns of its own gives them to all rows before."""
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


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = tuple(trackers)

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Passes on."""
        for tracker in self.trackers:
            tracker.log_metrics(values, step)

    def log_image(self, key: str, picture: np.ndarray, step: int) -> None:
        """Passes on."""
        for tracker in self.trackers:
            tracker.log_image(key, picture, step)

    def log_checkpoint(self, path: Path, step: int) -> None:
        """Passes on."""
        for tracker in self.trackers:
            tracker.log_checkpoint(path, step)

    def log_file(self, path: Path) -> None:
        """Passes on."""
        for tracker in self.trackers:
            tracker.log_file(path)

    def log_dataset(
        self, name: str, digest: str, size: int, source: str | None = None, context: str = "training"
    ) -> None:
        """Passes on."""
        for tracker in self.trackers:
            tracker.log_dataset(name, digest, size, source, context)

    def set_tags(self, tags: dict[str, str]) -> None:
        """Passes on."""
        for tracker in self.trackers:
            tracker.set_tags(tags)

    def resume(self, step: int) -> None:
        """Passes on."""
        for tracker in self.trackers:
            tracker.resume(step)
