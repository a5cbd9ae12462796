"""The whole product, small: `dvc repro` in a checkout of its own, the registered model, `POST /depth`."""

from __future__ import annotations

import io
import json
import re
import time

import numpy as np
import pytest
import yaml
from checkouts import ROOT, Checkout, small_params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = Checkout.of_the_code(tmp_path_factory.mktemp("checkout"))
    made.write_params(small_params())
    done = made.dvc("repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len(made.ran(done)) == 12
    return made


def test_every_stage_leaves_its_report(checkout):
    metrics = json.loads((checkout.folder / "reports/evaluate/metrics.json").read_text())
    assert metrics["model/depth_mae_mm"] > 0
    table = (checkout.folder / "reports/evaluate/table.md").read_text()
    assert f"{metrics['model/depth_mae_mm']:.1f}" in table
    for stage in ("train_normal", "train_depth", "train_hdnet"):
        assert (checkout.folder / f"reports/{stage}/curves.csv").is_file()
        assert list((checkout.folder / f"reports/{stage}/panels").glob("*.png"))
    assert json.loads((checkout.folder / "reports/register/version.json").read_text())["version"] == "1"


def test_runs_carry_numbers_pictures_checkpoints_and_lineage(checkout):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{checkout.folder}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'hdnet'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert set(runs) == {*stages, "pipeline"} - {"check_registry"}
    assert runs["correspond"].data.metrics["pairs_accepted"] > 0
    joint = runs["train_hdnet"]
    assert joint.data.params["train_hdnet.weights.warp"] == "5.0"
    assert {"dvc.data/packed", "dvc.data/correspondences", "data.pairs"} <= set(joint.data.tags)
    assert [point.step for point in client.get_metric_history(joint.info.run_id, "warp_m")] == [1, 2, 4]
    assert "images" in {item.path for item in client.list_artifacts(joint.info.run_id)}
    checkpoints = client.search_logged_models([experiment.experiment_id])
    assert joint.info.run_id in {checkpoint.source_run_id for checkpoint in checkpoints}


def test_a_second_repro_does_nothing(checkout):
    done = checkout.dvc("repro")
    assert done.returncode == 0
    assert checkout.ran(done) == ["check_registry"]  # which no file tells when the environment changes


def test_another_registry_is_noticed_with_the_commands_that_mend_it(checkout, monkeypatch):
    database = checkout.folder / "other.db"
    monkeypatch.setitem(checkout.environment, "MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    done = checkout.dvc("repro")
    assert (done.returncode, checkout.ran(done)) == (0, ["check_registry"])
    commands = re.findall(r"`dvc (repro [^`]*)`", done.stdout + done.stderr)
    assert commands == ["repro -f -s register", "repro -f -s promote"]
    for command in commands:
        mended = checkout.dvc(*command.split())
        assert mended.returncode == 0, mended.stdout + mended.stderr
    again = checkout.dvc("repro")
    assert "MLFLOW_TRACKING_URI" not in again.stdout + again.stderr
    monkeypatch.undo()
    for command in commands:  # back, for the tests below
        assert checkout.dvc(*command.split()).returncode == 0


def test_how_it_runs_reruns_nothing(checkout):
    values = small_params()
    values["runtime"] |= {"jobs": 2, "log_every": 7}
    checkout.write_params(values)
    would = checkout.dvc("repro", "--dry")
    checkout.write_params(small_params())
    assert checkout.ran(would) == ["check_registry"]


def test_the_registered_model_answers_post_depth(checkout, monkeypatch):
    from fastapi.testclient import TestClient

    from serving.app import create_app
    from serving.settings import Settings

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{checkout.folder}/mlflow.db")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")  # the service turns both off for its process,
    monkeypatch.setenv("MLFLOW_ALLOW_MODEL_CODE_EXECUTION", "true")  # and monkeypatch brings them back
    monkeypatch.chdir(checkout.folder)
    tang = checkout.folder / "data/raw/heldout/Tang_data"
    files = {
        "image": (tang / "color/0000000.png").read_bytes(),
        "mask": (tang / "mask/0000000.png").read_bytes(),
        "densepose": (tang / "densepose/0000000.png").read_bytes(),
    }
    with TestClient(create_app(Settings())) as client:
        for _ in range(600):
            if client.get("/health/ready").status_code == 200:
                break
            time.sleep(0.1)
        answer = client.post("/depth", files=files)
        arrays = client.post("/depth", files=files, headers={"Accept": "application/x-npz"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"]["name"] == "hdnet"
    assert answer.json()["model"]["version"] == "1"
    depth_m = np.load(io.BytesIO(arrays.content))["depth_m"]
    assert depth_m.shape == (256, 256)
    assert depth_m.max() > 0


def test_a_missing_or_damaged_picture_stops_the_run_with_one_line(checkout):
    picture = checkout.folder / "data/raw/Tang_data/color_WO_bg/0000002.png"
    whole = picture.read_bytes()
    for damage in (lambda: picture.write_text("not a picture"), picture.unlink):
        damage()
        done = checkout.dvc("repro", "--single-item", "--force", "validate")
        assert done.returncode != 0
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert "0000002" in line
    picture.write_bytes(whole)


def test_one_loss_weight_reruns_only_what_depends_on_it(checkout):
    """The last test: it leaves the checkout with another version registered."""
    values = small_params()
    values["train_hdnet"]["weights"]["warp"] = 4.0
    checkout.write_params(values)
    done = checkout.dvc("repro")
    assert done.returncode == 0, done.stderr[-3000:]
    assert checkout.ran(done) == ["train_hdnet", "evaluate", "register", "promote", "check_registry"]
    version = json.loads((checkout.folder / "reports/register/version.json").read_text())["version"]
    assert version == "3"  # the second: the first model again, after the way back from the other registry
