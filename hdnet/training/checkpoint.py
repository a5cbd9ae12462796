"""Checkpoints that survive kill -9: written aside, synced, renamed; read without pickle's code execution.

A run's checkpoints lie in ``ROOT/STAGE/FINGERPRINT/``. The fingerprint covers all that decides the run's numbers
(parameters, data, seed), so a run only ever continues itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hdnet.errors import TrainingError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step_(\d{9})\.pt")


def fingerprint(values: dict[str, Any]) -> str:
    """A short stable name for a run's configuration (JSON-able values)."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        folder: Where they lie; made if need be.
        keep: How many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        folder.mkdir(parents=True, exist_ok=True)

    def paths(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Writes the state after ``step`` steps, atomically and durably, then drops the oldest."""
        path = self.folder / f"step_{step:09d}.pt"
        temporary = path.with_suffix(".tmp")
        try:
            with temporary.open("wb") as file:
                torch.save({"step": step, **state}, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
            temporary.unlink(missing_ok=True)
            reason = str(error).splitlines()[0]
            raise TrainingError(
                f"{path}: cannot be written ({reason}); is the disk full? Older ones are intact"
            ) from error
        _sync_folder(self.folder)
        for old in self.paths()[: -self.keep]:
            old.unlink()
        return path

    def load_latest(self) -> dict[str, Any] | None:
        """The newest readable checkpoint; a damaged one is set aside with a warning. None if there is none."""
        for path in reversed(self.paths()):
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # noqa: BLE001 - torch.load raises many types for a damaged file
                damaged = path.with_suffix(".damaged")
                path.replace(damaged)
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                logger.warning("checkpoint %s is damaged (%s), using the one before", damaged, reason)
                continue
            return state
        return None

    def remove(self) -> None:
        """Deletes the folder, once the run's result has been written elsewhere."""
        shutil.rmtree(self.folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps a second process from training into the same folder.

        Raises:
            TrainingError: If another process holds it; the lock goes with its process, however that ends.
        """
        path = self.folder.parent / f"{self.folder.name}.lock"
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise TrainingError(
                    f"process {file.read().strip()} is already training into {self.folder}; wait for it or stop it"
                ) from error
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
