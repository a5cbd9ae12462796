"""What stages `register` and `promote` make of a workspace's reports."""

import hashlib
import json
from pathlib import Path

import mlflow
import pytest
import torch
import yaml
from test_rule import result

from hdnet.errors import DataError, ModelError
from hdnet.files import sha256_of
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.models.weights import save_hdnet
from hdnet.params import Params, parse_section
from hdnet.predict.inference import model_file
from hdnet.registry import promotion
from hdnet.registry.models import evaluated_metrics, lineage_tags
from hdnet.workspace import SHIPPED, Workspace
from pipelines.promote import promote
from pipelines.register import register

PARAMS = Path(__file__).parents[3] / "params.yaml"
METRICS = {"model/depth_mae_mm": 125.25, "model/depth_mae_mm/part_torso": 1.0, "flat_plane/depth_mae_mm": 137.0}


@pytest.fixture
def params():
    values = yaml.safe_load(PARAMS.read_text())
    values["register"]["baseline"] = None
    return parse_section(Params, values, "test")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A trained and evaluated model."""
    monkeypatch.chdir(tmp_path)
    work = Workspace()
    torch.manual_seed(0)
    model = HDNet(NormalEstimator(2, "unit"), DepthEstimator(2, "unit", 4.0), Camera.centred())
    save_hdnet(work.hdnet_model, model, {"stage": "train_hdnet", "data.labelled": "d" * 64})
    report = work.report("evaluate")
    report.mkdir(parents=True)
    (report / "metrics.json").write_text(json.dumps(METRICS))
    (report / "model.json").write_text(json.dumps({"model_sha256": sha256_of(work.hdnet_model)}))
    (report / "table.md").write_text("| | depth MAE (mm) |\n|---|---:|\n| HDNet | 125.3 |\n")
    return work


def test_metrics_of_another_model_are_refused(work):
    assert evaluated_metrics(work) == METRICS
    (work.report("evaluate") / "model.json").write_text(json.dumps({"model_sha256": "0" * 64}))
    with pytest.raises(ModelError, match="is not the model that was evaluated; run `hdnet evaluate` first"):
        evaluated_metrics(work)
    (work.report("evaluate") / "metrics.json").unlink()
    (work.report("evaluate") / "model.json").unlink()
    with pytest.raises(DataError, match=r"model\.json: file is missing"):
        evaluated_metrics(work)


def test_tags_have_the_means_the_digests_and_the_lock(work, params):
    tags = lineage_tags(work, params, METRICS)
    assert tags["metrics.depth_mae_mm"] == "125.25"
    assert not [key for key in tags if "part_torso" in key or key.startswith("dvc.")]
    assert tags["training.data.labelled"] == "d" * 64
    outs = [{"path": "models/hdnet.safetensors", "md5": md5_of(work.hdnet_model)}]
    stage = {"deps": [{"path": "data/packed", "md5": "p.dir"}], "outs": outs}
    pack = {"outs": [{"path": "data/packed", "md5": "p.dir"}, {"path": "reports/pack/x.json", "md5": "x"}]}
    lock = {"stages": {"train_hdnet": stage, "pack": pack}}
    (work.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    found = {key: value for key, value in lineage_tags(work, params, METRICS).items() if key.startswith("dvc.")}
    assert found == {"dvc.data/packed": "p.dir", "dvc.models/hdnet.safetensors": md5_of(work.hdnet_model)}


def md5_of(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.usefixtures("mlflow_store")
def test_registered_with_card_and_parameters_then_promoted(work, params, monkeypatch):

    register(work, params)
    identity = json.loads((work.report("register") / "version.json").read_text())
    assert (identity["version"], identity["alias"]) == ("1", "challenger")
    assert f"model_sha256: `{sha256_of(work.hdnet_model)}`" in (work.report("register") / "model_card.md").read_text()
    version = mlflow.MlflowClient().get_model_version("hdnet", "1")
    assert "**Held-out people** depth_mae_mm 125.2" in version.description
    assert version.tags["run.register"] == version.run_id
    assert version.tags["params_sha256"]
    run = mlflow.MlflowClient().get_run(version.run_id)
    assert run.data.params["train_hdnet.weights.warp"] == "5.0"

    monkeypatch.setattr(promotion.decisions, "evaluate_source", lambda *_: result())
    promote(work, params)
    promote(work, params)  # a result, not a failure
    assert json.loads((work.report("promote") / "decision.json").read_text())["outcome"] == "already_champion"
    assert str(mlflow.MlflowClient().get_model_version_by_alias("hdnet", "champion").version) == "1"


@pytest.mark.usefixtures("mlflow_store")
def test_an_empty_registry_begins_with_the_shipped_model_which_ours_has_to_beat(work, params, monkeypatch):
    with_baseline = params.register_.model_copy(update={"baseline": "shipped"})
    one_guard = params.promote.model_copy(update={"guards": ("normal_mean_deg",)})
    params = params.model_copy(update={"register_": with_baseline, "promote": one_guard})
    register(work, params)
    client = mlflow.MlflowClient()
    of_alias = {alias: client.get_model_version_by_alias("hdnet", alias) for alias in ("champion", "challenger")}
    assert {alias: str(version.version) for alias, version in of_alias.items()} == {"champion": "1", "challenger": "2"}
    assert json.loads((work.report("register") / "version.json").read_text())["version"] == "2"
    shipped = client.get_model_version("hdnet", "1")
    assert shipped.tags["model_sha256"] == sha256_of(SHIPPED)
    assert "depth, normals, mask and body map" in shipped.description
    path, identity = model_file("models:/hdnet@champion")
    assert (path.read_bytes(), identity.version) == (SHIPPED.read_bytes(), "1")

    measured = {"models:/hdnet/1": result(), "models:/hdnet/2": result(depth_mm=120.0)}
    monkeypatch.setattr(promotion.decisions, "evaluate_source", lambda source, _: measured[source])
    promote(work, params)
    assert json.loads((work.report("promote") / "decision.json").read_text())["champion_after"] == "1"

    register(work, params)  # a later version, and no second shipped one
    assert str(client.get_model_version_by_alias("hdnet", "challenger").version) == "3"
    assert str(client.get_model_version_by_alias("hdnet", "champion").version) == "1"
