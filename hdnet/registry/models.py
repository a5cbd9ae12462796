"""Registered models: versions, aliases, what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hdnet.models import ModelIdentity
from hdnet.models.weights import load_hdnet
from hdnet.predict.runtimes import check_export
from hdnet.predict.runtimes.probes import probe_inputs
from hdnet.tracking.lineage import git_tags
from hdnet.tracking.runs import open_run_id

import mlflow  # isort: skip - after connection, which sets its environment
import mlflow.pytorch  # isort: skip
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

_SIZE = 256


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
