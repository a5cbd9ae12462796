"""The model that a run has given the registry."""

from __future__ import annotations

from hdnet.errors import ModelError
from hdnet.registry.connection import connect, first_line, without_password
from hdnet.registry.lineage_of import RUN_TAG

import mlflow  # isort: skip - after connection, which sets its environment
from mlflow.exceptions import MlflowException

RUN_URI = "runs:/"


def version_of_run(uri: str) -> str:
    """``models:/NAME/VERSION`` of the newest version that a run registered, or had a part in as a stage.

    Args:
        uri: ``runs:/ID``.

    Raises:
        ModelError: No version comes from that run, or the registry is away.
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
        raise ModelError(f"{uri}: no answer of the registry {registry} ({first_line(error)})") from error
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
