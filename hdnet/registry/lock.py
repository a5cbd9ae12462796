"""Lock on a registered model, shared by all processes and machines that use the same MLflow store.

MLflow has no compare-and-set, but the names of registered models are unique in all of its stores: the process that
creates the model ``NAME.lock`` holds the lock, and deletes the model afterwards.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

from hdnet.errors import TrackingError

import mlflow  # isort: skip - after connection, which sets its environment
from mlflow.exceptions import MlflowException

_TOKEN, _HOLDER = "lock.token", "lock.held_by"
_MISSING, _EXISTS = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"


@dataclass(frozen=True)
class LockPatience:
    """Times to wait, in seconds.

    Attributes:
        stale_s: A lock that one holder keeps for longer belongs to a process that died: the work done under it takes
            milliseconds.
        in_all_s: Longest wait.
    """

    stale_s: float = 20.0
    in_all_s: float = 90.0


PATIENCE = LockPatience()


@contextmanager
def registry_lock(client: mlflow.MlflowClient, name: str, patience: LockPatience = PATIENCE) -> Iterator[None]:
    """Hold the lock of a registered model.

    Raises:
        TrackingError: Another process holds it for too long; names the holder.
    """
    lock, token = f"{name}.lock", uuid4().hex
    _acquire(client, lock, token, patience)
    try:
        yield
    finally:
        _remove(client, lock, token)


def _acquire(client: mlflow.MlflowClient, lock: str, token: str, patience: LockPatience) -> None:
    begin = time.monotonic()
    watched, since, holder = "", begin, ""
    while not _create(client, lock, token):
        now = time.monotonic()
        tags = _tags(client, lock)
        if tags.get(_TOKEN, "") != watched:
            watched, since, holder = tags.get(_TOKEN, ""), now, tags.get(_HOLDER, "")
        elif now - since > patience.stale_s:
            _remove(client, lock, watched)
        if now - begin > patience.in_all_s:
            raise TrackingError(
                f"registered model {lock} is held by {holder}; if that process is gone, delete the model"
            )
        time.sleep(random.uniform(0.05, 0.2))  # random, so that two processes do not retry in step


def _create(client: mlflow.MlflowClient, lock: str, token: str) -> bool:
    tags = {_TOKEN: token, _HOLDER: f"process {os.getpid()} on {socket.gethostname()}"}
    try:
        client.create_registered_model(lock, tags=tags, description="Held while `hdnet promote` moves an alias.")
    except MlflowException as error:
        if error.error_code == _MISSING:
            return False  # it existed, and was deleted before MLflow read it for its error message
        if error.error_code != _EXISTS:
            raise
        # The lock is ours if the answer to a first try got lost.
        return _tags(client, lock).get(_TOKEN) == token
    return True


def _tags(client: mlflow.MlflowClient, lock: str) -> dict[str, str]:
    try:
        tags: dict[str, str] = client.get_registered_model(lock).tags
    except MlflowException as error:
        if error.error_code != _MISSING:
            raise
        return {}
    return tags


def _remove(client: mlflow.MlflowClient, lock: str, token: str) -> None:
    """Delete the lock, if it still has this token."""
    if _tags(client, lock).get(_TOKEN) == token:
        with suppress(MlflowException):  # another was faster
            client.delete_registered_model(lock)
