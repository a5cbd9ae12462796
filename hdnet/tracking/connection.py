"""Connection to MLflow: address, time limits and the meaning of errors."""

from __future__ import annotations

import logging
import os

# Set before mlflow is imported: it reads these once.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# It would print the addresses of the run and of its parent at the end of every stage.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# MLflow's defaults block one call for minutes while a server is unreachable (7 retries of 120 s).
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

from hdnet.errors import first_line
from hdnet.tracking.address import DEFAULT_TRACKING_URI, is_server, tracking_uri, without_password

import mlflow  # isort: skip
from mlflow.exceptions import MlflowException

__all__ = [
    "DEFAULT_TRACKING_URI",
    "EXPERIMENT",
    "connect",
    "is_refusal",
    "is_server",
    "reason_of",
    "without_password",
]

EXPERIMENT = "hdnet"

# Permanent errors; any other may succeed later.
_REFUSALS = frozenset({400, 404, 409, 413, 422})
_NOT_ALLOWED = frozenset({401, 403})

# They report every migration step of the database, and start and end of the system metrics.
for _name in ("alembic", "mlflow.system_metrics"):
    logging.getLogger(_name).setLevel(logging.WARNING)
# It also writes the traceback of every error, which we tell in one line.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def connect() -> str:
    """Point mlflow at ``MLFLOW_TRACKING_URI`` or the default, and return that URI."""
    uri = tracking_uri()
    mlflow.set_tracking_uri(uri)
    return uri


def is_refusal(error: Exception, *, at_start: bool = False) -> bool:
    """Return whether a retry cannot help; at the start of a run this includes rejected credentials."""
    if not isinstance(error, MlflowException):
        return False
    status = error.get_http_status_code()
    return status in _REFUSALS or (at_start and status in _NOT_ALLOWED)


def reason_of(error: Exception) -> str:
    """Return the error in one line; for a failed connection, its cause alone."""
    line = first_line(error)
    if "HTTPConnectionPool" in line or "HTTPSConnectionPool" in line:
        return line.rpartition(": ")[2].strip("()\"'")
    return line
