"""Storage of studies: an SQL database, by default ``optuna.db`` beside params.yaml.

Workers send heartbeats, from a thread of their own. A trial without a heartbeat for ``tune.stale_after_s`` is failed
and queued again with the same values; it continues from its last checkpoint if it comes to the same machine. Optuna's
journal files and the gRPC proxy have no heartbeats (Optuna 5.0): a killed worker's trial would be "running" for ever.
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

from hdnet.errors import TuningError, first_line

# The optuna command reads it, too.
STORAGE_VARIABLE = "OPTUNA_STORAGE"
MAX_RETRIES = 3
ORIGIN, RETRIES, FIXED = "retry_of", "retries", "fixed"
"""User attributes: number of the first trial with these values, number of workers that died during it, and values that
must not be drawn anew even if a worker dies before anything is drawn."""

logger = logging.getLogger(__name__)

# Every call that concerns heartbeats warns that they are experimental.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def storage_url(given: str | None, root: Path) -> str:
    """Return the given URL, or ``OPTUNA_STORAGE``, or that of a file in the workspace."""
    return given or os.environ.get(STORAGE_VARIABLE) or f"sqlite:///{root.absolute() / 'optuna.db'}"


def without_password(url: str) -> str:
    """Return the URL without its password, as it may be printed and stored."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(not a URL)"


@contextmanager
def storage_errors_explained(url: str) -> Iterator[None]:
    """Turn an error of the storage into one line.

    Raises:
        TuningError: The storage failed.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError, RuntimeError) as error:
        reason = first_line(error.__cause__ or error)
        raise TuningError(
            f"storage {without_password(url)}: {reason}; expected a database of Optuna's own, such as "
            "sqlite:///optuna.db or postgresql+psycopg://user@host/optuna"
        ) from error


class _Storage(RDBStorage):
    """Optuna's SQL storage, but one failed heartbeat (a locked database) does not end the thread that sends them."""

    def record_heartbeat(self, trial_id: int) -> None:
        """Record a heartbeat of a trial, or leave it to the next one."""
        try:
            super().record_heartbeat(trial_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next heartbeat may succeed
            logger.warning("no heartbeat could be recorded: %s", first_line(error.__cause__ or error))


def open_storage(url: str, stale_after_s: int) -> RDBStorage:
    """Open a storage, and create its tables if they do not exist.

    Raises:
        TuningError: It cannot be opened, or is no SQL database.
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
            return _Storage(
                url,
                engine_kwargs=engine,
                heartbeat_interval=max(1, stale_after_s // 4),
                grace_period=stale_after_s,
                heartbeat_stale_trial_callback=_retry_stale,
            )


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Restore logging: when Optuna creates its tables, it loads a configuration that silences all loggers."""
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
    """Refuse MLflow's database before Optuna creates tables in it: both store their schema version in one table."""
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
    """Return the number of the first trial with these values; it names what its retries share."""
    return int(trial.user_attrs.get(ORIGIN, trial.number))


def retry(study: optuna.Study, trial: optuna.Trial | FrozenTrial, *, was_killed: bool) -> None:
    """Queue a trial's values again, with its user attributes."""
    retries = trial.user_attrs.get(RETRIES, 0) + was_killed
    fixed = trial.user_attrs.get(FIXED, trial.params)
    study.enqueue_trial(fixed, {**trial.user_attrs, ORIGIN: origin(trial), RETRIES: retries})


def _retry_stale(study: optuna.Study, trial: FrozenTrial) -> None:
    if trial.user_attrs.get(RETRIES, 0) < MAX_RETRIES:
        retry(study, trial, was_killed=True)
