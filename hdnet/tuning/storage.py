"""Where studies lie: an SQL database, by default ``optuna.db`` beside params.yaml.

Workers tell the storage that they live. A trial whose worker has been silent for ``tune.stale_after_s`` is failed and
queued again with the same values; it goes on at its last checkpoint if it comes to the same machine. Optuna's journal
files and the gRPC proxy have no such sign of life (Optuna 5.0): a killed worker's trial would be "running" for ever.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from hdnet.errors import TuningError

# The optuna command reads it, too.
STORAGE_VARIABLE = "OPTUNA_STORAGE"
MAX_RETRIES = 3
ORIGIN, RETRIES, FIXED = "retry_of", "retries", "fixed"
"""User attributes: number of the trial that was tried first, how often a worker has died of it, and what must not be
drawn anew even if it died before anything was drawn."""

# Heartbeats are marked experimental, at every call.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def storage_url(given: str | None, root: Path) -> str:
    """What was asked for, or ``OPTUNA_STORAGE``, or a file in the workspace."""
    return given or os.environ.get(STORAGE_VARIABLE) or f"sqlite:///{root.absolute() / 'optuna.db'}"


def without_password(url: str) -> str:
    """The URL as it may be printed and stored."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(not a URL)"


@contextmanager
def storage_errors_explained(url: str) -> Iterator[None]:
    """Turns what the storage throws into one line.

    Raises:
        TuningError: Instead of it.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError, RuntimeError) as error:
        cause = error.__cause__ or error
        reason = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise TuningError(
            f"storage {without_password(url)}: {reason}; expected a database of Optuna's own, such as "
            "sqlite:///optuna.db or postgresql+psycopg://user@host/optuna"
        ) from error


def open_storage(url: str, stale_after_s: int) -> RDBStorage:
    """Opens a storage, and makes its tables if need be.

    Raises:
        TuningError: If it cannot be opened, or is no SQL database.
    """
    if "://" not in url:
        raise TuningError(
            f"storage {url!r}: expected the URL of an SQL database, such as sqlite:///optuna.db or "
            "postgresql+psycopg://user@host/optuna; journal files do not notice when a worker dies"
        )
    is_file = url.startswith("sqlite")
    engine = {"connect_args": {"timeout": 60}} if is_file else {"pool_pre_ping": True}
    with storage_errors_explained(url):
        _refuse_mlflows(url)
        with _logging_kept():
            return RDBStorage(
                url,
                engine_kwargs=engine,
                heartbeat_interval=max(1, stale_after_s // 4),
                grace_period=stale_after_s,
                heartbeat_stale_trial_callback=_retry_stale,
            )


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Making its tables, Optuna reads a logging set-up that silences every logger there is."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    loggers = [logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    enabled = [logger for logger in loggers if not logger.disabled]
    try:
        yield
    finally:
        root.handlers[:], root.level = handlers, level
        for logger in enabled:
            logger.disabled = False


def _refuse_mlflows(url: str) -> None:
    """Before Optuna makes its tables there: both keep their schema's version in the same place."""
    engine = create_engine(url)
    try:
        if inspect(engine).has_table("registered_models"):
            raise TuningError(
                f"storage {without_password(url)}: is MLflow's database; expected one of Optuna's own, such as "
                "sqlite:///optuna.db"
            )
    finally:
        engine.dispose()


def origin(trial: optuna.Trial | FrozenTrial) -> int:
    """Number of the trial that was the first to try these values: what a retry shares with it is named by it."""
    return int(trial.user_attrs.get(ORIGIN, trial.number))


def retry(study: optuna.Study, trial: optuna.Trial | FrozenTrial, *, was_killed: bool) -> None:
    """Queues a trial's values again, with what is known of it so far."""
    retries = trial.user_attrs.get(RETRIES, 0) + was_killed
    fixed = trial.user_attrs.get(FIXED, trial.params)
    study.enqueue_trial(fixed, {**trial.user_attrs, ORIGIN: origin(trial), RETRIES: retries})


def _retry_stale(study: optuna.Study, trial: FrozenTrial) -> None:
    if trial.user_attrs.get(RETRIES, 0) < MAX_RETRIES:
        retry(study, trial, was_killed=True)
