"""Registered models: versions, aliases, what they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hdnet.errors import ModelError
from hdnet.lineage import git_tags
from hdnet.models import HDNet, ModelIdentity
from hdnet.models.weights import HDNET_FILE, load_hdnet
from hdnet.registry.connection import connect, first_line
from hdnet.registry.runs import open_run_id

import mlflow  # isort: skip - after connection, which sets its environment
import mlflow.pytorch  # isort: skip
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

_SIZE = 256


def register(model_file: Path, name: str, alias: str, metrics: dict[str, float], tags: dict[str, str]) -> ModelIdentity:
    """Logs the complete model to the run that is open, registers it and moves the alias to the new version.

    Args:
        model_file: ``hdnet.safetensors``.
        name: Registered name.
        alias: Alias that will point to the new version.
        metrics: Held-out metrics, linked to the logged model.
        tags: Lineage; stored on the version too.

    Raises:
        ModelError: If the exported model does not reproduce the one on file.
        TrackingError: If MLflow is away: unlike a training, this cannot wait in an outbox.
    """
    with mlflow.start_run(run_id=open_run_id()):
        return _register(model_file, name, alias, metrics, tags)


def _register(
    model_file: Path, name: str, alias: str, metrics: dict[str, float], tags: dict[str, str]
) -> ModelIdentity:
    model = load_hdnet(model_file)
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype("float32"), (-1, 7, _SIZE, _SIZE), "rgb_iuv_mask")]),
        Schema([TensorSpec(np.dtype("float32"), (-1, 4, _SIZE, _SIZE), "depth_m_normal_xyz")]),
    )
    # A batch of two: one would freeze the batch dimension of the export.
    example = _example_inputs(2)
    info = mlflow.pytorch.log_model(
        model,
        name="model",
        signature=signature,
        input_example=example,
        pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "safetensors", "numpy"],
        extra_files=[str(model_file)],
        model_type="hdnet",
        serialization_format="pt2",
    )
    _check_export(model, info.model_uri, example)
    mlflow.log_metrics(metrics, model_id=info.model_id)
    client = mlflow.MlflowClient()
    version = mlflow.register_model(info.model_uri, name, tags={**tags, **git_tags()})
    client.set_registered_model_alias(name, alias, version.version)
    return ModelIdentity(name, str(version.version), alias, info.run_id or "")


def _example_inputs(batch: int) -> torch.Tensor:
    inputs = torch.rand(batch, 7, _SIZE, _SIZE, generator=torch.Generator().manual_seed(0)) * 255
    inputs[:, 3] = (inputs[:, 3] / 10).floor()
    inputs[:, 6] = 1.0
    return inputs


@torch.inference_mode()
def _check_export(model: HDNet, uri: str, example: torch.Tensor) -> None:
    exported = mlflow.pytorch.load_model(uri)
    difference = (exported(example) - model(example)).abs().mean().item()
    if not difference < 1e-2:
        raise ModelError(f"{uri}: the exported model differs from the trained one by {difference:.3g} on average")


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
        raise ModelError(f"{uri}: not in the registry {mlflow.get_tracking_uri()} ({first_line(error)})") from error
    return ModelIdentity(name, str(version.version), alias or None, version.run_id or "")


def download(uri: str) -> tuple[Path, ModelIdentity]:
    """Fetches a registered version; nothing in it is executed.

    Returns:
        The local folder that holds ``hdnet.safetensors``, and which version that is.

    Raises:
        ModelError: As :func:`resolve`, or if the version does not hold our model file.
    """
    identity = resolve(uri)
    fixed = f"models:/{identity.name}/{identity.version}"
    try:
        folder = Path(mlflow.artifacts.download_artifacts(fixed)) / "extra_files"
    except Exception as error:
        raise ModelError(f"{fixed}: the files cannot be fetched ({first_line(error)})") from error
    if not (folder / HDNET_FILE).is_file():
        raise ModelError(f"{fixed}: holds no extra_files/{HDNET_FILE}; it was not registered by `hdnet register`")
    return folder, identity
