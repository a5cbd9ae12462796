"""Evaluations stored by runs in MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from hdnet.errors import TrackingError
from hdnet.tracking.connection import connect, reason_of, without_password
from hdnet.tracking.tracker import SAMPLES_FILE

import mlflow  # isort: skip - after connection, which sets its environment
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

_MODEL_TAG = "model_sha256"


@dataclass(frozen=True)
class RunEvaluation:
    """Evaluation of a run, or of its pipeline.

    Attributes:
        text: Content of the run's samples.json.
        run_id: Id of the run that stores it.
        run_name: Name of that run.
        tags: Tags of that run, without MLflow's own.
    """

    text: str
    run_id: str
    run_name: str
    tags: dict[str, str]


def evaluation_of_run(run_id: str) -> RunEvaluation:
    """Read the evaluation of a run: its own, or else the newest of its model, or of its pipeline.

    Args:
        run_id: Id of an ``evaluate`` run, of the run that made a model, of a pipeline's run, or of one of its stages.

    Raises:
        TrackingError: There is no such run, it has no evaluation, or MLflow is unreachable.
    """
    uri = without_password(connect())
    client = mlflow.MlflowClient()
    try:
        run = client.get_run(run_id)
        for candidate in [run, *_related(client, run)]:
            if any(item.path == SAMPLES_FILE for item in client.list_artifacts(candidate.info.run_id)):
                return _read(client, candidate)
    except MlflowException as error:
        raise TrackingError(f"run {run_id}: cannot be read from MLflow at {uri} ({reason_of(error)})") from error
    raise TrackingError(
        f"run {run_id} ({run.info.run_name}) has no {SAMPLES_FILE}, nor has an evaluation of its model or pipeline; "
        "give the id of an `evaluate` run, or a model to evaluate"
    )


def _related(client: mlflow.MlflowClient, run: Run) -> list[Run]:
    """Return the ``evaluate`` runs of the same model, then those of the same pipeline, the newest first."""
    wanted = {MLFLOW_PARENT_RUN_ID: run.data.tags.get(MLFLOW_PARENT_RUN_ID, run.info.run_id)}
    if _MODEL_TAG in run.data.tags:
        wanted = {_MODEL_TAG: run.data.tags[_MODEL_TAG], **wanted}
    found: list[Run] = []
    for tag, value in wanted.items():
        named = f"tags.`{tag}` = '{value}' AND tags.stage = 'evaluate'"
        order = ["attributes.start_time DESC"]
        found += client.search_runs([run.info.experiment_id], named, ViewType.ACTIVE_ONLY, order_by=order)
    return found


def _read(client: mlflow.MlflowClient, run: Run) -> RunEvaluation:
    with TemporaryDirectory(prefix="hdnet-evaluation-") as folder:
        text = Path(client.download_artifacts(run.info.run_id, SAMPLES_FILE, folder)).read_text(encoding="utf-8")
    tags = {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")}
    return RunEvaluation(text, run.info.run_id, run.info.run_name, tags)
