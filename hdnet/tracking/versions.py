"""Versions of registered models: resolved from a URI, and downloaded to the cache."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hdnet.errors import ModelError
from hdnet.models import ModelIdentity
from hdnet.models.identity import REGISTRY_SCHEME
from hdnet.models.weights import HDNET_FILE
from hdnet.tracking.connection import connect, is_refusal, reason_of, without_password
from hdnet.tracking.model_cache import ModelCache

import mlflow  # isort: skip - after connection, which sets its environment
from mlflow.exceptions import MlflowException

RUN_URI = "runs:/"
# Prefix of a version's tags that name the runs of its stages.
RUN_TAG = "run."
_EXTRA_FILES = "extra_files"  # MLflow's name for `extra_files` of log_model


def resolve(uri: str) -> ModelIdentity:
    """Return the version that ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` names now.

    Raises:
        ModelError: The URI is malformed, there is no such model, alias or version, or the registry is unreachable.
    """
    connect()
    client = mlflow.MlflowClient()
    path = uri.removeprefix(REGISTRY_SCHEME)
    name, at, alias = path.partition("@")
    try:
        if at:
            version = client.get_model_version_by_alias(name, alias)
        elif path.count("/") == 1:
            name, number = path.split("/")
            version = client.get_model_version(name, number)
        else:
            raise ModelError(f"{uri}: not a registry URI; expected models:/NAME@ALIAS or models:/NAME/VERSION")
    except ModelError:
        raise
    except Exception as error:
        registry = without_password(mlflow.get_tracking_uri())
        found = "not in the registry" if is_refusal(error) else "no answer of the registry"
        raise ModelError(f"{uri}: {found} {registry} ({reason_of(error)})") from error
    return ModelIdentity(name, str(version.version), alias or None, version.run_id or "")


def download(uri: str, cache_dir: Path | None = None) -> tuple[Path, ModelIdentity]:
    """Download a registered version to the cache, if it is not there. Nothing in it is executed.

    Args:
        uri: As for :func:`resolve`.
        cache_dir: Folder of the cache; None takes ``HDNET_CACHE_DIR``, or ``~/.cache/hdnet/models``.

    Returns:
        The local folder that holds ``hdnet.safetensors``, and the version.

    Raises:
        ModelError: As for :func:`resolve`; or the version does not hold our model file, or the cache cannot be written.
    """
    identity = resolve(uri)
    fixed = f"models:/{identity.name}/{identity.version}"
    return model_cache(cache_dir).get(identity, partial(_fetch, fixed)), identity


def model_cache(folder: Path | None = None) -> ModelCache:
    """Return the cache of the registry that ``MLFLOW_TRACKING_URI`` names; see :func:`download`."""
    return ModelCache(folder, without_password(connect()), HDNET_FILE)


def _fetch(fixed: str, folder: Path) -> None:
    """Download the model file alone; the version's export is as large again."""
    path = f"{_EXTRA_FILES}/{HDNET_FILE}"
    try:
        found = {file.path for file in mlflow.artifacts.list_artifacts(f"{fixed}/{_EXTRA_FILES}")}
        if path in found:
            fetched = mlflow.artifacts.download_artifacts(f"{fixed}/{path}", dst_path=str(folder))
            Path(fetched).rename(folder / HDNET_FILE)
    except Exception as error:
        raise ModelError(f"{fixed}: the files cannot be fetched ({reason_of(error)})") from error
    if path not in found:
        raise ModelError(f"{fixed}: holds no {path}; it was not registered by `hdnet register`")


def version_of_run(uri: str) -> str:
    """Return ``models:/NAME/VERSION`` of the newest version that a run registered, or led to as a stage.

    Args:
        uri: ``runs:/ID``.

    Raises:
        ModelError: No version comes from that run, or the registry is unreachable.
    """
    run_id, registry = uri.removeprefix(RUN_URI).strip("/"), without_password(connect())
    client = mlflow.MlflowClient()
    try:
        versions = [
            version
            for model in client.search_registered_models()
            for version in client.search_model_versions(f"name = '{model.name}'")
        ]
    except MlflowException as error:
        raise ModelError(f"{uri}: no answer of the registry {registry} ({reason_of(error)})") from error
    made = [
        version
        for version in versions
        if version.run_id == run_id
        or any(key.startswith(RUN_TAG) and value == run_id for key, value in version.tags.items())
    ]
    if not made:
        raise ModelError(
            f"{uri}: no version in the registry {registry} comes from that run; expected a run of stage `register`, or "
            "of a pipeline that ended with it. `hdnet lineage ID` tells which"
        )
    newest = max(made, key=lambda version: (version.creation_timestamp, int(version.version)))
    return f"models:/{newest.name}/{newest.version}"
