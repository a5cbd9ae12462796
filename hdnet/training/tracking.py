"""Where a run's numbers and pictures go. The engine only knows this interface; MLflow's side is hdnet.registry."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

CURVES_FILE = "curves.csv"
PANELS_FOLDER = "panels"


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

    def resume(self, step: int) -> None:
        """The run goes on from ``step``: what was reported after it will come again."""
        ...


class FileTracker:
    """Loss curves as CSV (for ``dvc plots`` and ``hdnet plot-convergence``) and the newest picture of each kind.

    Args:
        folder: Gets ``curves.csv`` and ``panels/KEY.png``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.curves = folder / CURVES_FILE
        (folder / PANELS_FOLDER).mkdir(parents=True, exist_ok=True)

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Appends a row; the first one decides the columns."""
        is_new = not self.curves.exists() or self.curves.stat().st_size == 0
        with self.curves.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=["step", *values])
            if is_new:
                writer.writeheader()
            writer.writerow({"step": step, **{key: f"{value:.6g}" for key, value in values.items()}})

    def log_image(self, key: str, picture: np.ndarray, step: int) -> None:  # noqa: ARG002 - only the newest is kept
        """Replaces ``panels/KEY.png``."""
        Image.fromarray(picture).save(self.folder / PANELS_FOLDER / f"{key}.png")

    def log_checkpoint(self, path: Path, step: int) -> None:
        """Nothing: checkpoints are files already."""

    def log_file(self, path: Path) -> None:
        """Nothing: it is a file already."""

    def resume(self, step: int) -> None:
        """Drops rows after ``step``; a new run (step 0) starts with an empty file."""
        if not self.curves.exists():
            return
        if step == 0:
            self.curves.unlink()
            return
        with self.curves.open(newline="") as file:
            rows = list(csv.DictReader(file))
        kept = [row for row in rows if row["step"].isdigit() and int(row["step"]) <= step and None not in row.values()]
        self.curves.unlink()
        for row in kept:
            self.log_metrics({key: float(value) for key, value in row.items() if key != "step"}, int(row["step"]))


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

    def resume(self, step: int) -> None:
        """Passes on."""
        for tracker in self.trackers:
            tracker.resume(step)
