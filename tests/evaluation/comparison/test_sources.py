"""What a user may name, and the whole command: files, and the run in MLflow."""

import json

import mlflow
import numpy as np
import pytest
import torch
from dolls import doll

from hdnet import registry
from hdnet.cli import main
from hdnet.data.layout.folders import TangFolder
from hdnet.errors import DataError, InputError, TrackingError
from hdnet.evaluation import EvaluationResult
from hdnet.evaluation.comparison import compare, resolve_side
from hdnet.files import sha256_of
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.models.weights import HDNET_FILE, save_hdnet
from hdnet.tracking import connection, runs

FILES = ["comparison.csv", "comparison.json", "comparison.md", "comparison.png"]


def report(path, offset=0.0, samples=8):
    """The JSON of an evaluation of eight people."""
    names = tuple(f"{k:07d}" for k in range(samples))
    errors = np.random.default_rng(1).uniform(20, 200, samples)
    rows = tuple({"model": {"depth_mae_mm": float(e + offset)}, "flat_plane": {"depth_mae_mm": 99.0}} for e in errors)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(EvaluationResult(names=names, rows=rows, data_sha256="ab" * 32).to_json())
    return path


def model_file(folder, seed):
    torch.manual_seed(seed)
    folder.mkdir()
    model = HDNet(NormalEstimator(2, "unit"), DepthEstimator(2, "unit", 4.0), Camera.centred())
    save_hdnet(folder / HDNET_FILE, model, {"stage": "train_hdnet"})
    return folder / HDNET_FILE


@pytest.fixture
def people(tmp_path):
    folder = TangFolder(tmp_path / "people" / "Tang_data")
    for k in range(2):
        folder.write(doll(f"{k:07d}", k))
    folder.write_meta({f"{k:07d}": Camera.centred() for k in range(2)})
    return folder.root


@pytest.mark.parametrize("named", ["samples.json", "reports/evaluate", "reports", ""])
def test_a_report_by_its_file_its_folder_or_its_workspace(tmp_path, named):
    inside = "samples.json" if named == "samples.json" else "reports/evaluate/samples.json"
    file = report(tmp_path / inside)
    side = resolve_side(str(tmp_path / named), tmp_path / "no data")
    assert (side.title, side.tags) == (str(file), {})
    assert side.result == EvaluationResult.from_json(file.read_text())


def test_a_model_is_evaluated_as_a_file_or_a_folder(tmp_path, people):
    file = model_file(tmp_path / "model", 0)
    by_file, by_folder = (resolve_side(str(source), people) for source in (file, file.parent))
    assert by_file.result == by_folder.result
    assert by_file.result.names == ("0000000", "0000001")
    assert by_file.tags == by_folder.tags == {"model_sha256": sha256_of(file)}
    assert by_file.title == f"{file} on {people}"


@pytest.mark.parametrize("source", ["nothing", "reports", "0123abcd"])
def test_what_is_nothing_of_these_is_said(tmp_path, source, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    with pytest.raises(InputError, match=f"{source}: neither a report .* nor a model, nor the id of a run"):
        resolve_side(source, tmp_path)


def test_a_json_of_something_else_is_named(tmp_path):
    (tmp_path / "samples.json").write_text('{"rows": []}')
    with pytest.raises(DataError, match=r"samples\.json: not the JSON of an evaluation"):
        resolve_side(str(tmp_path / "samples.json"), tmp_path)


@pytest.mark.usefixtures("mlflow_store")
def test_a_run_by_its_id_or_address(tmp_path):
    file = report(tmp_path / "samples.json")
    with runs.run("evaluate", {}, {"model_sha256": "abc"}) as tracker:
        tracker.log_file(file)
    for source in (tracker.run_id, f"runs:/{tracker.run_id}"):
        side = resolve_side(source, tmp_path)
        assert side.result == EvaluationResult.from_json(file.read_text())
        assert side.title == f"run {tracker.run_id} (evaluate)"
        assert (side.tags["run_id"], side.tags["model_sha256"]) == (tracker.run_id, "abc")
    with pytest.raises(TrackingError, match="cannot be read from MLflow"):
        resolve_side("f" * 32, tmp_path)


@pytest.mark.usefixtures("mlflow_store")
def test_a_registered_model_names_its_version(tmp_path, people):
    file = model_file(tmp_path / "model", 0)
    with runs.run("register", {}, {}):
        identity = registry.register(file, "hdnet", "challenger", {}, {})
    side = resolve_side("models:/hdnet@challenger", people)
    assert side.title == f"models:/hdnet@challenger (version 1) on {people}"
    assert side.tags == {"model_name": "hdnet", "model_version": "1", "run_id": identity.run_id}


@pytest.mark.usefixtures("mlflow_store")
def test_the_command_prints_writes_and_logs(tmp_path, capsys):
    first, second = report(tmp_path / "a.json"), report(tmp_path / "b.json", offset=-5.0)
    main(["compare", str(first), str(second), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert f"- **A**: {first}\n- **B**: {second}" in printed
    assert "| -5.00 [-5.00, -5.00] | **better** |" in printed
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == FILES
    assert (tmp_path / "out/comparison.md").read_text() in printed
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name(connection.EXPERIMENT).experiment_id])
    assert run.info.run_name == "compare"
    assert (run.data.tags["compare.a"], run.data.tags["compare.b"]) == (str(first), str(second))
    assert run.data.metrics["b_minus_a/depth_mae_mm"] == pytest.approx(-5)
    assert run.data.metrics["b_minus_a/depth_mae_mm/high"] == pytest.approx(-5)
    assert sorted(item.path for item in client.list_artifacts(run.info.run_id)) == FILES
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.name == "heldout"


def test_the_command_without_mlflow_and_with_one_metric(tmp_path, people, capsys):
    files = [model_file(tmp_path / name, seed) for seed, name in enumerate(("one", "two"))]
    options = ["--data", str(people), "--metric", "depth_mae_mm", "--level", "0.9", "--no-mlflow"]
    main(["compare", *map(str, files), *options, "--out", str(tmp_path / "out")])
    assert "mean [90 %]" in capsys.readouterr().out
    document = json.loads((tmp_path / "out/comparison.json").read_text())
    assert [row["metric"] for row in document["rows"]] == ["depth_mae_mm"] * 2
    assert not (tmp_path / "mlflow.db").exists()


def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path):
    files = [report(tmp_path / "a.json"), report(tmp_path / "b.json", samples=7)]
    with pytest.raises(SystemExit, match=r"error: B .* and A .* were measured on different data") as caught:
        main(["compare", *map(str, files), "--out", str(tmp_path / "out"), "--no-mlflow"])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_compare_from_python(tmp_path):
    files = [str(report(tmp_path / f"{k}.json", offset=k)) for k in range(3)]
    comparison = compare(files, tmp_path, tmp_path / "out")
    assert [row.verdict for row in comparison.rows] == [None, "worse", "worse"]
