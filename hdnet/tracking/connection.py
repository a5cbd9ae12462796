"""Where MLflow is, how long we wait for it, and what its errors mean."""

from __future__ import annotations

import logging
import os
from urllib.parse import urlsplit, urlunsplit

# Before mlflow is imported: it reads these once.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# It would print the addresses of the run and of its parent at the end of every stage.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# MLflow's own would keep one call for minutes while a server is away (7 retries, 120 s each).
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

import mlflow
from mlflow.exceptions import MlflowException

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
EXPERIMENT = "hdnet"

# What the server says no to for good; anything else may go better later.
_REFUSALS = frozenset({400, 404, 409, 413, 422})
_NOT_ALLOWED = frozenset({401, 403})

# Schema creation reports every migration step; nobody who trains wants to read those.
logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)


def connect() -> str:
    """Points mlflow at ``MLFLOW_TRACKING_URI`` or the default, and returns that URI."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI
    mlflow.set_tracking_uri(uri)
    return uri


def is_server(uri: str) -> bool:
    """Whether it is a server, which may be away, and not a database or folder of ours."""
    return uri.startswith(("http://", "https://"))


def without_password(uri: str) -> str:
    """The URI as it may be printed and stored."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_refusal(error: Exception, *, at_start: bool = False) -> bool:
    """Whether trying again cannot help; at the start of a run, credentials that are not accepted count, too."""
    if not isinstance(error, MlflowException):
        return False
    status = error.get_http_status_code()
    return status in _REFUSALS or (at_start and status in _NOT_ALLOWED)


def first_line(error: Exception) -> str:
    """The error in one line; of a connection that failed, how."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    if "HTTPConnectionPool" in line or "HTTPSConnectionPool" in line:
        return line.rpartition(": ")[2].strip("()\"'")
    return line
