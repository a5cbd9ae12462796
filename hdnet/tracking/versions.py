"""Versions of registered models: resolved from a URI, and downloaded to the cache."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from hdnet.errors import ModelError, NotRegisteredError
from hdnet.models import ModelIdentity
from hdnet.models.identity import REGISTRY_SCHEME, RUN_SCHEME
from hdnet.models.weights import HDNET_FILE
from hdnet.tracking.address import registered_elsewhere
from hdnet.tracking.connection import connect, is_refusal, reason_of, without_password
from hdnet.tracking.model_cache import ModelCache
from hdnet.workspace import Workspace

import mlflow  # isort: skip - after connection, which sets its environment
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

# Prefix of a version's tags that name the runs of its stages.
RUN_TAG = "run."
_MOST_VERSIONS = 1000  # of one answer of the registry
EXTRA_FILES = "extra_files"  # MLflow's name for `extra_files` of log_model


# Logged models that no version was made of, by their ID in place of name and version.
_LOGGED = re.compile(r"m-[0-9a-f]{32}")
_FORMS = (
    "models:/NAME@ALIAS, models:/NAME/VERSION, models:/NAME/latest, models:/NAME/STAGE, models:/m-ID, runs:/ID or "
    "runs:/ID/PATH"
)


def resolve(uri: str, cache_dir: Path | None = None) -> ModelIdentity:
    """Return the version that a URI names now, in any form of MLflow's.

    ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``models:/NAME/latest`` and ``models:/NAME/STAGE`` (the newest
    version), ``models:/m-ID`` and ``runs:/ID/PATH`` (a logged model, registered or not), ``runs:/ID`` (the newest
    version that came from that run).

    Args:
        uri: As above.
        cache_dir: As for :func:`download`; tells where the model was served from before.

    Returns:
        The version; of a logged model that was not registered its path and ID.

    Raises:
        NotRegisteredError: The registry has no such model, alias or version, and nothing tells that another one had.
        ModelError: Another one had; the URI is malformed, or the registry is unreachable.
    """
    registry = without_password(connect())
    client = mlflow.MlflowClient()
    try:
        return _resolve(client, uri)
    except ModelError:
        raise
    except Exception as error:
        where = f"{registry} ({reason_of(error)})"
        if not is_refusal(error):
            raise ModelError(f"{uri}: no answer of the registry {where}") from error
        if moved := registered_elsewhere(Workspace()) or _served_elsewhere(uri, cache_dir):
            raise ModelError(f"{uri}: not in the registry {where}; {moved}") from error
        raise NotRegisteredError(f"{uri}: not in the registry {where}") from error


def _served_elsewhere(uri: str, cache_dir: Path | None) -> str | None:
    """Return what to do where the model came from another registry so far; None where there is none."""
    before = model_cache(cache_dir).served_elsewhere(uri)
    if before is None:
        return None
    return f"it came from {before} so far: register it in this registry, or set MLFLOW_TRACKING_URI back"


def _resolve(client: mlflow.MlflowClient, uri: str) -> ModelIdentity:
    if uri.startswith(RUN_SCHEME):
        run_id, _, path = uri.removeprefix(RUN_SCHEME).strip("/").partition("/")
        if not path:
            return _resolve(client, version_of_run(f"{RUN_SCHEME}{run_id}"))
        return _of_logged_model(client, _logged_by(client, uri, run_id, path))
    path = uri.removeprefix(REGISTRY_SCHEME).lstrip("/")
    name, _, last = path.rpartition("/")
    if _LOGGED.fullmatch(path):
        return _of_logged_model(client, path)
    if not name and "@" in path:
        name, _, last = path.rpartition("@")
        return _identity(client.get_model_version_by_alias(name, last), last)
    if not name or "/" in name or not last:
        raise ModelError(f"{uri}: not a URI of a model; expected {_FORMS}")
    if last.isdecimal():
        return _identity(client.get_model_version(name, last))
    return _identity(_newest(client, uri, name, last.lower()))


def list_versions(uri: str, most: int) -> list[ModelIdentity]:
    """Return the newest versions of the registered model that a URI names, newest first, each with its first alias.

    Args:
        uri: As for :func:`resolve`; of ``models:/NAME@ALIAS`` the alias need not exist.
        most: Most versions to return.

    Returns:
        The versions; none of a model that is not registered.

    Raises:
        ModelError: The registry is unreachable, or the URI names the model by something that does not exist.
    """
    registry = without_password(connect())
    name, _, last = uri.removeprefix(REGISTRY_SCHEME).lstrip("/").replace("@", "/").rpartition("/")
    if uri.startswith(RUN_SCHEME) or not (name and last):
        name = resolve(uri).name
    client = mlflow.MlflowClient()
    try:
        models = client.search_registered_models(f"name = '{name}'")
        found = list(client.search_model_versions(f"name = '{name}'", max_results=_MOST_VERSIONS))
    except Exception as error:
        raise ModelError(f"{uri}: no answer of the registry {registry} ({reason_of(error)})") from error
    aliases: dict[str, str] = {}
    for alias, version in sorted((item for model in models for item in model.aliases.items()), reverse=True):
        aliases[str(version)] = alias
    found.sort(key=lambda version: -int(version.version))
    return [_identity(version, aliases.get(str(version.version))) for version in found[:most]]


def _newest(client: mlflow.MlflowClient, uri: str, name: str, stage: str) -> ModelVersion:
    """Return the newest version, of those in a stage unless it is "latest"."""
    client.get_registered_model(name)  # raises where there is none
    versions = list(client.search_model_versions(f"name = '{name}'"))
    fitting = [found for found in versions if stage in ("latest", str(found.current_stage).lower())]
    if not fitting:
        there = f"has versions, none in the old form's stage {stage!r}; " if versions else "has no version; "
        raise ModelError(f"{uri}: {name} {there}expected a version's number, latest, or {name}@ALIAS")
    return max(fitting, key=lambda found: int(found.version))


def _logged_by(client: mlflow.MlflowClient, uri: str, run_id: str, path: str) -> str:
    """Return the ID of the model that a run logged under a path."""
    outputs = client.get_run(run_id).outputs
    logged = [client.get_logged_model(output.model_id) for output in (outputs.model_outputs if outputs else [])]
    found = [model.model_id for model in logged if path in (model.name, model.model_id)]
    if not found:
        names = ", ".join(sorted({model.name for model in logged})) or "none"
        raise ModelError(
            f"{uri}: that run logged no model {path!r}; it logged: {names}; {RUN_SCHEME}{run_id} is the version that "
            "came from a training's run"
        )
    return str(found[-1])


def _of_logged_model(client: mlflow.MlflowClient, model_id: str) -> ModelIdentity:
    """Return the newest version that was made of a logged model, or the model itself."""
    model = client.get_logged_model(model_id)
    source = f"{REGISTRY_SCHEME}{model_id}"
    made = [
        version
        for registered in client.search_registered_models()
        for version in client.search_model_versions(f"name = '{registered.name}'")
        if source in (version.source, f"{REGISTRY_SCHEME}{version.model_id}")
    ]
    if made:
        return _identity(max(made, key=lambda found: (found.creation_timestamp, int(found.version))))
    return ModelIdentity(model.name, model_id, None, model.source_run_id or "")


def _identity(version: ModelVersion, alias: str | None = None) -> ModelIdentity:
    return ModelIdentity(version.name, str(version.version), alias, version.run_id or "")


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
    identity = resolve(uri, cache_dir)
    logged = _LOGGED.fullmatch(identity.version)
    fixed = f"{REGISTRY_SCHEME}{identity.version if logged else f'{identity.name}/{identity.version}'}"
    return model_cache(cache_dir).get(identity, partial(_fetch, fixed)), identity


def model_cache(folder: Path | None = None) -> ModelCache:
    """Return the cache of the registry that ``MLFLOW_TRACKING_URI`` names; see :func:`download`."""
    return ModelCache(folder, without_password(connect()), HDNET_FILE)


def _fetch(fixed: str, folder: Path) -> None:
    """Download the model file alone; the version's export is as large again."""
    path = f"{EXTRA_FILES}/{HDNET_FILE}"
    try:
        place = fixed.removeprefix(REGISTRY_SCHEME)
        # MLflow reads models:/m-ID/extra_files as a registered name.
        root = mlflow.MlflowClient().get_logged_model(place).artifact_location if _LOGGED.fullmatch(place) else fixed
        found = {Path(file.path).name for file in mlflow.artifacts.list_artifacts(f"{root}/{EXTRA_FILES}")}
        if HDNET_FILE in found:
            fetched = mlflow.artifacts.download_artifacts(f"{root}/{path}", dst_path=str(folder))
            Path(fetched).rename(folder / HDNET_FILE)
    except Exception as error:
        raise ModelError(f"{fixed}: the files cannot be fetched ({reason_of(error)})") from error
    if HDNET_FILE not in found:
        raise ModelError(f"{fixed}: holds no {path}; it was not registered by `hdnet register`")


def version_of_run(uri: str) -> str:
    """Return ``models:/NAME/VERSION`` of the newest version that a run registered, or led to as a stage.

    Args:
        uri: ``runs:/ID``.

    Raises:
        ModelError: No version comes from that run, or the registry is unreachable.
    """
    run_id, registry = uri.removeprefix(RUN_SCHEME).strip("/"), without_password(connect())
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
