"""Evaluations found from runs, and the pipeline's run: parameters and results of its stages."""

import mlflow
import pytest

from hdnet.errors import TrackingError
from hdnet.tracking import runs
from hdnet.tracking.evaluations import evaluation_of_run
from hdnet.tracking.tracker import SAMPLES_FILE

pytestmark = pytest.mark.usefixtures("mlflow_store")


@pytest.fixture
def in_pipeline(monkeypatch):
    """Runs that are opened belong to a pipeline of this name."""
    monkeypatch.setattr("hdnet.tracking.runs.pipeline_id", lambda: "first")
    return lambda name: monkeypatch.setattr("hdnet.tracking.runs.pipeline_id", lambda: name)


def stage(name, tmp_path, text=None, params=None, metrics=None, **tags):
    with runs.run(name, params or {}, tags) as tracker:
        if metrics:
            tracker.log_metrics(metrics, 0)
        if text is not None:
            (tmp_path / SAMPLES_FILE).write_text(text)
            tracker.log_file(tmp_path / SAMPLES_FILE)
    return tracker.run_id


def parent_of(run_id):
    return mlflow.get_run(mlflow.get_run(run_id).data.tags["mlflow.parentRunId"])


def test_a_run_a_sibling_and_the_pipeline_lead_to_the_evaluation(in_pipeline, tmp_path):
    trained = stage("train_hdnet", tmp_path)
    evaluated = stage("evaluate", tmp_path, "{}", model_sha256="abc")
    parent = parent_of(trained).info.run_id
    in_pipeline("second")
    stage("evaluate", tmp_path, "of another pipeline")
    for run_id in (evaluated, trained, parent):
        found = evaluation_of_run(run_id)
        assert (found.text, found.run_id, found.run_name) == ("{}", evaluated, "evaluate")
        assert found.tags["model_sha256"] == "abc"
        assert not any(key.startswith("mlflow.") for key in found.tags)


@pytest.mark.usefixtures("in_pipeline")
def test_the_newest_evaluation_of_a_pipeline_counts(tmp_path):
    trained = stage("train_hdnet", tmp_path)
    stage("evaluate", tmp_path, "old")
    stage("evaluate", tmp_path, "new")
    assert evaluation_of_run(trained).text == "new"


def test_outside_of_a_pipeline_the_model_leads_to_its_evaluation(tmp_path):
    trained = stage("train_hdnet", tmp_path, model_sha256="abc")
    stage("evaluate", tmp_path, "another model", model_sha256="def")
    with pytest.raises(TrackingError, match=r"run \w+ \(train_hdnet\) has no samples.json"):
        evaluation_of_run(trained)
    stage("evaluate", tmp_path, "this model", model_sha256="abc")
    assert evaluation_of_run(trained).text == "this model"


def test_a_run_that_is_not_there_is_one_line():
    with pytest.raises(TrackingError, match=f"run {'0' * 32}: cannot be read from MLflow") as caught:
        evaluation_of_run("0" * 32)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("in_pipeline")
def test_the_pipelines_run_has_the_parameters_and_the_result(tmp_path):
    trained = stage("train_depth", tmp_path, params={"seed": 1, "train_depth": {"steps": 5}}, metrics={"loss": 3.0})
    stage("evaluate", tmp_path, metrics={"model/depth_mae_mm": 80.0, "sequence/warp_residual_mm": 12.0})
    parent = parent_of(trained)
    assert parent.data.params == {"seed": "1", "train_depth.steps": "5"}
    assert parent.data.metrics == {"model/depth_mae_mm": 80.0, "sequence/warp_residual_mm": 12.0}
    assert "params_changed" not in parent.data.tags


@pytest.mark.usefixtures("in_pipeline")
def test_parameters_that_change_within_a_pipeline_are_named(tmp_path):
    stage("train_normal", tmp_path, params={"seed": 1, "model": {"width": 4, "norm": "image"}})
    trained = stage("train_depth", tmp_path, params={"seed": 2, "model": {"width": 8, "norm": "image"}})
    assert parent_of(trained).data.params["model.width"] == "4"
    assert parent_of(trained).data.tags["params_changed"] == "model.width seed"
    assert mlflow.get_run(trained).data.params["model.width"] == "8"


@pytest.mark.usefixtures("in_pipeline")
def test_a_pipelines_run_that_was_deleted_does_not_stop_its_stages():
    with runs.run("evaluate", {"seed": 1}, {}) as tracker:
        mlflow.delete_run(parent_of(tracker.run_id).info.run_id)
        tracker.log_metrics({"model/depth_mae_mm": 80.0}, 0)
    run = mlflow.get_run(tracker.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"model/depth_mae_mm": 80.0})
