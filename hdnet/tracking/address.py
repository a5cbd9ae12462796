"""Address of the MLflow server or database, and notice of a pipeline that registered elsewhere; imports no mlflow."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from hdnet.errors import DataError
from hdnet.files import read_json_object
from hdnet.workspace import Workspace

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
REGISTRY_KEY = "registry"
"""Key of reports/register/version.json: the registry that holds the version, without its password."""

_DATABASE = "sqlite:///"


def tracking_uri() -> str:
    """Return ``MLFLOW_TRACKING_URI``, or the default."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI


def is_server(uri: str) -> bool:
    """Return whether the URI is a server's, which may be unreachable, and not a local database or folder."""
    return uri.startswith(("http://", "https://"))


def without_password(uri: str) -> str:
    """Return the URI without user and password, as it may be printed and stored."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def registered_elsewhere(work: Workspace) -> str | None:
    """Return what to do where the workspace's version was registered in another place than is named now.

    Args:
        work: The workspace; it need not have a version.

    Returns:
        One line; None where there is nothing to do.
    """
    known, registry = None, without_password(tracking_uri())
    if work.registered_version.is_file():
        with suppress(DataError):
            known = read_json_object(work.registered_version).get(REGISTRY_KEY)
    if not known or _place(work.root, known) == _place(work.root, registry):
        return None
    return (
        f"this pipeline registered its model at {known}, MLFLOW_TRACKING_URI names {registry}; to register it there: "
        "`dvc repro -f -s register`, then `dvc repro -f -s promote`; or set MLFLOW_TRACKING_URI back"
    )


def _place(root: Path, uri: str) -> str:
    """Return an address by which two names of one database are equal."""
    if uri.startswith(_DATABASE):
        return str((root / uri.removeprefix(_DATABASE)).resolve())
    return uri.rstrip("/")
