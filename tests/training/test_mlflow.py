"""A training stage as a run of MLflow."""

import csv

import mlflow
import pytest

from hdnet.tracking import connection, runs
from hdnet.tracking.outbox import PENDING_FOLDER
from pipelines.pack import pack
from pipelines.train_normal import train_normal


def test_a_training_in_mlflow_has_what_its_files_have(raw_workspace, tiny_params, mlflow_store):
    if not raw_workspace.labelled.exists():
        pack(raw_workspace, tiny_params)
    train_normal(raw_workspace, tiny_params, runs.run)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(connection.EXPERIMENT)
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("train_normal", "FINISHED")
    with (raw_workspace.report("train_normal") / "curves.csv").open() as file:
        curve = {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}
    history = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "loss")}
    assert history == pytest.approx(curve, rel=1e-5)
    assert [output.step for output in run.outputs.model_outputs] == [6]
    assert {used.dataset.name for used in run.inputs.dataset_inputs} == {"labelled"}
    assert run.data.params["train_normal.steps"] == "6"
    assert run.data.tags["precision"] == "32"
    assert "system/cpu_utilization_percentage" in run.data.metrics
    assert not list(PENDING_FOLDER.iterdir())
