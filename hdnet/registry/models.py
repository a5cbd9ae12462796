"""Registered models: versions, aliases, what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hdnet.errors import ModelError
from hdnet.lineage import git_tags
from hdnet.model_cache import ModelCache
from hdnet.models import ModelIdentity
from hdnet.models.weights import HDNET_FILE, load_hdnet
from hdnet.registry.connection import connect, first_line, is_refusal, without_password
from hdnet.registry.runs import open_run_id
from hdnet.runtimes import check_export
from hdnet.runtimes.probes import probe_inputs

import mlflow  # isort: skip - after connection, which sets its environment
import mlflow.pytorch  # isort: skip
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

_SIZE = 256
_EXTRA_FILES = "extra_files"  # MLflow's name for `extra_files` of log_model


@dataclass(frozen=True)
class Card:
    """What people read about a version.

    Attributes:
        files: The card and its pictures; they are kept with the model.
        summary: The card in a few lines, for the page of the version.
    """

    files: list[Path]
    summary: str


def register(
    model_file: Path,
    name: str,
    alias: str,
    metrics: dict[str, float],
    tags: dict[str, str],
    card: Card | None = None,
) -> ModelIdentity:
    """Logs the complete model to the run that is open, registers it and moves the alias to the new version.

    Args:
        model_file: ``hdnet.safetensors``.
        name: Registered name.
        alias: Alias that will point to the new version.
        metrics: Held-out metrics, linked to the logged model.
        tags: Lineage; stored on the version too.
        card: Model card.

    Raises:
        ModelError: If the exported model does not reproduce the one on file.
        TrackingError: If MLflow is away: unlike a training, this cannot wait in an outbox.
    """
    with mlflow.start_run(run_id=open_run_id()):
        return _register(model_file, name, alias, metrics, tags, card or Card([], ""))


def _register(
    model_file: Path, name: str, alias: str, metrics: dict[str, float], tags: dict[str, str], card: Card
) -> ModelIdentity:
    model = load_hdnet(model_file)
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype("float32"), (-1, 7, _SIZE, _SIZE), "rgb_iuv_mask")]),
        Schema([TensorSpec(np.dtype("float32"), (-1, 4, _SIZE, _SIZE), "depth_m_normal_xyz")]),
    )
    # A batch of two: one would freeze the batch dimension of the export.
    example = torch.from_numpy(probe_inputs(2))
    info = mlflow.pytorch.log_model(
        model,
        name="model",
        signature=signature,
        input_example=example,
        pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "safetensors", "numpy"],
        extra_files=[str(path) for path in (model_file, *card.files)],
        model_type="hdnet",
        serialization_format="pt2",
    )
    exported = mlflow.pytorch.load_model(info.model_uri)
    with torch.inference_mode():
        check_export(model, lambda inputs: exported(torch.from_numpy(inputs)).numpy(), info.model_uri)
    mlflow.log_metrics(metrics, model_id=info.model_id)
    client = mlflow.MlflowClient()
    version = mlflow.register_model(info.model_uri, name, tags={**tags, **git_tags()})
    if card.summary:
        client.update_model_version(name, version.version, card.summary)
    client.set_registered_model_alias(name, alias, version.version)
    return ModelIdentity(name, str(version.version), alias, info.run_id or "")


def resolve(uri: str) -> ModelIdentity:
    """The version that ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` means now.

    Raises:
        ModelError: If the URI is malformed, there is no such model, alias or version, or the registry is away.
    """
    connect()
    client = mlflow.MlflowClient()
    path = uri.removeprefix("models:/")
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
        raise ModelError(f"{uri}: {found} {registry} ({first_line(error)})") from error
    return ModelIdentity(name, str(version.version), alias or None, version.run_id or "")


def download(uri: str, cache_dir: Path | None = None) -> tuple[Path, ModelIdentity]:
    """Fetches a registered version, once: it is kept in the cache. Nothing in it is executed.

    Args:
        uri: As of :func:`resolve`.
        cache_dir: Folder of the cache; None takes ``HDNET_CACHE_DIR``, or ``~/.cache/hdnet/models``.

    Returns:
        The local folder that holds ``hdnet.safetensors``, and which version that is.

    Raises:
        ModelError: As :func:`resolve`, if the version does not hold our model file, or if the cache cannot be written.
    """
    identity = resolve(uri)
    fixed = f"models:/{identity.name}/{identity.version}"
    return model_cache(cache_dir).get(identity, partial(_fetch, fixed)), identity


def model_cache(folder: Path | None = None) -> ModelCache:
    """The cache of models of the registry that ``MLFLOW_TRACKING_URI`` names; see :func:`download`."""
    return ModelCache(folder, without_password(connect()), HDNET_FILE)


def _fetch(fixed: str, folder: Path) -> None:
    """Brings the model file alone; the version's export is as large again."""
    path = f"{_EXTRA_FILES}/{HDNET_FILE}"
    try:
        found = {file.path for file in mlflow.artifacts.list_artifacts(f"{fixed}/{_EXTRA_FILES}")}
        if path in found:
            fetched = mlflow.artifacts.download_artifacts(f"{fixed}/{path}", dst_path=str(folder))
            Path(fetched).rename(folder / HDNET_FILE)
    except Exception as error:
        raise ModelError(f"{fixed}: the files cannot be fetched ({first_line(error)})") from error
    if path not in found:
        raise ModelError(f"{fixed}: holds no {path}; it was not registered by `hdnet register`")
