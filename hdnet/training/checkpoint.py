"""Checkpoints of a training, durable against kill -9 and power cuts, read without running pickled code.

A run's checkpoints lie in ``ROOT/STAGE/FINGERPRINT/``. The fingerprint covers everything that determines the run's
numbers (parameters, data, seed), so that a run only continues itself.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hdnet import files
from hdnet.errors import TrainingError, first_line

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step_(\d{9})\.pt")


def fingerprint(values: dict[str, Any]) -> str:
    """Return a short stable name of a run's configuration (JSON-able values)."""
    return files.fingerprint(values)[:16]


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        folder: Their folder; made if it is missing.
        keep: Number of the newest checkpoints to keep.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        folder.mkdir(parents=True, exist_ok=True)

    def paths(self) -> list[Path]:
        """Return the complete checkpoints, oldest first."""
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state after ``step`` steps, atomically and durably, then delete the oldest checkpoints."""
        path = self.folder / f"step_{step:09d}.pt"
        try:
            with files.atomic_write(path, durable=True) as temporary, temporary.open("wb") as file:
                torch.save({"step": step, **state}, file)
        except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
            raise TrainingError(
                f"{path}: cannot be written ({first_line(error)}); is the disk full? Older ones are intact"
            ) from error
        for old in self.paths()[: -self.keep]:
            old.unlink()
        return path

    def load_latest(self) -> dict[str, Any] | None:
        """Return the newest readable checkpoint, or None; a damaged one is renamed with a warning."""
        for path in reversed(self.paths()):
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # noqa: BLE001 - torch.load raises many types for a damaged file
                damaged = path.with_suffix(".damaged")
                path.replace(damaged)
                logger.warning("checkpoint %s is damaged (%s), using the one before", damaged, first_line(error))
                continue
            return state
        return None

    def remove(self) -> None:
        """Delete the folder, once the run's result has been written elsewhere."""
        shutil.rmtree(self.folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second process from training into the same folder.

        Raises:
            TrainingError: Another process holds the lock; the system releases it with its process.
        """

        def taken(process: str) -> TrainingError:
            return TrainingError(f"process {process} is already training into {self.folder}; wait for it or stop it")

        with files.locked(self.folder.with_name(f"{self.folder.name}.lock"), taken):
            files.remove_partial(self.folder)
            yield
