"""Runs of a ``dvc repro``, and ``hdnet deliver``."""

import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from hdnet.cli import main
from hdnet.tracking import connection
from hdnet.tracking.outbox import PENDING_FOLDER, Outbox
from hdnet.tracking.provenance import pipeline_id

pytestmark = pytest.mark.usefixtures("mlflow_store")

STAGE = """
import sys
from hdnet.tracking import connection, runs
with runs.run(sys.argv[1], {}, {}) as tracker:
    tracker.log_metrics({"loss": 1.0}, 1)
"""
# The second shell does not give way to its command: an ancestor more between DVC and the stage.
PIPELINE = """
stages:
  one: {cmd: PYTHON stage.py one}
  two: {cmd: 'true && PYTHON stage.py two; true'}
"""


def all_runs():
    connection.connect()
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(connection.EXPERIMENT)
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


@pytest.mark.slow
def test_all_stages_of_one_repro_are_children_of_one_run(tmp_path):
    Path("stage.py").write_text(STAGE)
    Path("dvc.yaml").write_text(PIPELINE.replace("PYTHON", sys.executable))
    for command in ("dvc init --no-scm -q", "dvc repro"):
        subprocess.run([sys.executable, "-m", *command.split()], check=True, capture_output=True, timeout=300)
    found = all_runs()
    assert sorted(found) == ["one", "pipeline", "two"]
    parents = {found[name].data.tags["mlflow.parentRunId"] for name in ("one", "two")}
    assert parents == {found["pipeline"].info.run_id}
    assert found["pipeline"].info.status == "FINISHED"


def test_no_pipeline_outside_of_dvc(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert pipeline_id() is None
    monkeypatch.setenv("DVC_STAGE", "train_normal")
    assert pipeline_id() == pipeline_id() is not None


def test_the_command_delivers_what_waits_and_says_so(capsys):
    box = Outbox.new("train_normal")
    box.append("open", stage="train_normal", params={"a": 1}, tags={"stage": "train_normal"}, pipeline=None)
    box.log_metrics({"loss": 1.0}, 1)
    box.append("close", status="FINISHED")
    box.close()
    main(["deliver"])
    run = all_runs()["train_normal"]
    assert capsys.readouterr().out == f"{box.folder.name}: delivered to run {run.info.run_id}\n"
    assert (run.info.status, run.data.metrics, run.data.params) == ("FINISHED", {"loss": 1.0}, {"a": "1"})
    assert not list(PENDING_FOLDER.iterdir())
