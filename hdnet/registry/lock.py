"""One at a time may move an alias: a lock that every MLflow store can hold, however many machines share it.

MLflow has no compare-and-set, but names of registered models are unique in all of its stores: whoever creates the
model ``NAME.lock`` has the lock, and deletes it afterwards.
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
    """How long to wait, in seconds.

    Attributes:
        stale_s: A lock that one holder has kept for so long while we watched belongs to a process that died: what is
            done under it takes milliseconds.
        in_all_s: To wait at most.
    """

    stale_s: float = 20.0
    in_all_s: float = 90.0


PATIENCE = LockPatience()


@contextmanager
def registry_lock(client: mlflow.MlflowClient, name: str, patience: LockPatience = PATIENCE) -> Iterator[None]:
    """Holds the lock of a registered model.

    Raises:
        TrackingError: If others hold it for too long; names the holder.
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
        time.sleep(random.uniform(0.05, 0.2))  # so that two do not keep meeting


def _create(client: mlflow.MlflowClient, lock: str, token: str) -> bool:
    tags = {_TOKEN: token, _HOLDER: f"process {os.getpid()} on {socket.gethostname()}"}
    try:
        client.create_registered_model(lock, tags=tags, description="Held while `hdnet promote` moves an alias.")
    except MlflowException as error:
        if error.error_code == _MISSING:
            return False  # it was there, and deleted before MLflow had looked up what to say of it
        if error.error_code != _EXISTS:
            raise
        # The answer to a first try may have got lost: then the lock is ours.
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
    """Only if it is still that one's."""
    if _tags(client, lock).get(_TOKEN) == token:
        with suppress(MlflowException):  # another was faster
            client.delete_registered_model(lock)
