"""Registration of the workspace's model: a new version with its lineage and model card.

A version's tags hold its lineage: ``git_commit``, ``params_sha256``, ``dvc.PATH`` (DVC's hash of everything the
pipeline made), ``training.data.NAME`` (digests of the packed data), ``model_sha256``, ``metrics.NAME`` and
``run.STAGE``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hdnet.errors import ModelError
from hdnet.files import read_json_object, sha256_of
from hdnet.metrics.table import METRICS
from hdnet.models import HDNet, ModelIdentity, PersonModel
from hdnet.models.weights import load_hdnet, read_header
from hdnet.params import Params
from hdnet.predict.runtime_names import INPUT_NAME, OUTPUT_NAME, PERSON_INPUT_NAME, PERSON_OUTPUT_NAMES
from hdnet.predict.runtimes import check_export
from hdnet.predict.runtimes.agreement import probes_for
from hdnet.predict.runtimes.pytorch import arrays
from hdnet.registry import flavour
from hdnet.registry.card import BEST_TO_WORST, LEARNED_FROM, CardFacts, params_sha256
from hdnet.tracking.provenance import git_tags, locked_pipeline
from hdnet.tracking.runs import open_run_id
from hdnet.tracking.tracker import METRICS_FILE, SHEET_FILE, TABLE_FILE
from hdnet.workspace import Workspace

import mlflow  # isort: skip - after connection, which sets its environment
import mlflow.pytorch  # isort: skip
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

_SIZE = 256
_QUARTER = _SIZE // 4
# Of the outputs of a model for photographs, in order.
_PERSON_SHAPES = (
    *((channels, _SIZE, _SIZE) for channels in (3, 1, 1, 1)),
    *((channels, _QUARTER, _QUARTER) for channels in (25, 2)),
    (1,),
)


@dataclass(frozen=True)
class Card:
    """Model card of a version.

    Attributes:
        files: The card and its pictures; they are stored with the model.
        summary: The card in a few lines, for the version's page.
    """

    files: list[Path]
    summary: str


def register(
    model_file: Path,
    name: str,
    alias: str | None,
    metrics: dict[str, float],
    tags: dict[str, str],
    card: Card | None = None,
) -> ModelIdentity:
    """Log the complete model to the open run, register it and move an alias to the new version.

    What a killed command has registered is not registered again: the alias moves to that version.

    Args:
        model_file: ``hdnet.safetensors``.
        name: Registered name.
        alias: Alias that moves to the new version; None for none.
        metrics: Held-out metrics, linked to the logged model.
        tags: Lineage, stored as the version's tags.
        card: Model card.

    Raises:
        ModelError: The exported model does not reproduce the one on file.
        TrackingError: MLflow is unreachable: unlike a training's metrics, this cannot wait in an outbox.
    """
    files, summary = (card.files, card.summary) if card else ([], "")
    with mlflow.start_run(run_id=open_run_id()):
        client = mlflow.MlflowClient()
        version = _left_by_a_kill(client, name, tags) or _new_version(model_file, name, metrics, tags, files)
        if summary:
            client.update_model_version(name, version.version, summary)
        if alias is not None:
            client.set_registered_model_alias(name, alias, version.version)
        return ModelIdentity(name, str(version.version), alias, version.run_id or "")


def _left_by_a_kill(client: mlflow.MlflowClient, name: str, tags: dict[str, str]) -> ModelVersion | None:
    """The newest version, if it is this model with this lineage and the run that registered it did not finish."""
    newest = client.search_model_versions(f"name = '{name}'", max_results=1, order_by=["version_number DESC"])
    lineage = {key: value for key, value in tags.items() if not key.startswith("run.")}
    if not newest or "model_sha256" not in lineage or not lineage.items() <= newest[0].tags.items():
        return None
    run = client.get_run(newest[0].run_id) if newest[0].run_id else None
    return None if run is None or run.info.status == "FINISHED" else newest[0]


def _new_version(
    model_file: Path, name: str, metrics: dict[str, float], tags: dict[str, str], files: list[Path]
) -> ModelVersion:
    """Log the model with both flavours, compare the export with it, and register it."""
    model = load_hdnet(model_file)
    # A batch of two: one would freeze the batch dimension of the export.
    example = torch.from_numpy(probes_for(model, 2, seed=0).inputs_bchw)
    info = Model.log(
        artifact_path=None,  # the old name of `name`
        flavor=flavour,
        pytorch_model=_PlainTuple(model) if isinstance(model, PersonModel) else model,
        name="model",
        signature=_signature(model),
        input_example=example,
        pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "safetensors", "numpy"],
        extra_files=[str(path) for path in (model_file, *files)],
        model_type="hdnet",
        serialization_format="pt2",
    )
    exported = mlflow.pytorch.load_model(info.model_uri)
    with torch.inference_mode():
        check_export(model, lambda inputs: arrays(exported(torch.from_numpy(inputs))), info.model_uri)
    mlflow.log_metrics(metrics, model_id=info.model_id)
    return mlflow.register_model(info.model_uri, name, tags={**tags, **git_tags()})


class _PlainTuple(nn.Module):
    """A model whose maps come without names: the export can neither store our class nor needs it to be read."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs_b4hw: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of :class:`hdnet.models.lite.PersonMaps`, in order."""
        return tuple(self.model(inputs_b4hw))


def _signature(model: HDNet | PersonModel) -> ModelSignature:
    """Names and shapes of inputs and outputs, batches of any size."""
    if isinstance(model, PersonModel):
        inputs, outputs = {PERSON_INPUT_NAME: 4}, dict(zip(PERSON_OUTPUT_NAMES, _PERSON_SHAPES, strict=True))
    else:
        inputs, outputs = {INPUT_NAME: 7}, {OUTPUT_NAME: (4, _SIZE, _SIZE)}
    float32 = np.dtype("float32")
    return ModelSignature(
        Schema([TensorSpec(float32, (-1, channels, _SIZE, _SIZE), name) for name, channels in inputs.items()]),
        Schema([TensorSpec(float32, (-1, *shape), name) for name, shape in outputs.items()]),
    )


def evaluated_metrics(work: Workspace) -> dict[str, float]:
    """Read the held-out metrics of the workspace's model.

    Raises:
        ModelError: They belong to another model.
        DataError: The model was not evaluated.
    """
    evaluated = read_json_object(work.evaluated_model)
    if evaluated.get("model_sha256") != sha256_of(work.hdnet_model):
        raise ModelError(f"{work.hdnet_model}: is not the model that was evaluated; run `hdnet evaluate` first")
    return read_json_object(work.report("evaluate") / METRICS_FILE)


def lineage_tags(work: Workspace, params: Params, metrics: dict[str, float]) -> dict[str, str]:
    """Return data, parameters and metrics of the workspace's model as tags; the git commit comes with the run.

    DVC's hashes cover everything that led to the model, and are left out if dvc.lock does not describe the model.
    """
    locked = locked_pipeline(work.root, work.hdnet_model)
    made = locked.outputs if locked else {}
    provenance = read_header(work.hdnet_model)["provenance"]
    return {
        "model_sha256": sha256_of(work.hdnet_model),
        "params_sha256": params_sha256(params),
        **{f"dvc.{path}": md5 for path, md5 in made.items() if not path.startswith("reports/")},
        **{f"training.{key}": str(value) for key, value in provenance.items()},
        **{f"metrics.{name}": f"{metrics[f'model/{name}']:.6g}" for name in METRICS if f"model/{name}" in metrics},
    }


def card_facts(work: Workspace, params: Params, metrics: dict[str, float], tags: dict[str, str]) -> CardFacts:
    """Collect the facts of the model card from the reports of the workspace's stages."""
    counted = work.report("validate") / METRICS_FILE
    pictures = {
        LEARNED_FROM: work.report("acquire") / "contact_sheet.png",
        BEST_TO_WORST: work.report("evaluate") / SHEET_FILE,
    }
    return CardFacts(
        name=params.register_.name,
        header=read_header(work.hdnet_model),
        params=params,
        samples=read_json_object(counted) if counted.is_file() else {},
        metrics=metrics,
        table=_table(work.report("evaluate") / TABLE_FILE),
        tags={key: value for key, value in tags.items() if not key.startswith(("metrics.", "training."))},
        pictures={heading: path for heading, path in pictures.items() if path.is_file()},
    )


def _table(path: Path) -> str:
    if not path.is_file():
        raise ModelError(f"{path}: file is missing; run `hdnet evaluate` first")
    return path.read_text(encoding="utf-8")
