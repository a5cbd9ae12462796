import json
import os
import pickle
import subprocess
import sys

import mlflow
import numpy as np
import pytest
import torch

from hdnet import registry
from hdnet.errors import ModelError, TrackingError
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.models.weights import HDNET_FILE, load_hdnet, save_hdnet

pytestmark = pytest.mark.usefixtures("mlflow_store")


@pytest.fixture
def model_file(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / HDNET_FILE
    model = HDNet(NormalEstimator(2, "unit"), DepthEstimator(2, "unit", 4.0), Camera.centred())
    save_hdnet(path, model, {"stage": "train_hdnet"})
    return path


@pytest.fixture
def registered(model_file):
    with registry.run("register", {"register": {"name": "hdnet"}}, {"model_sha256": "abc"}):
        return registry.register(model_file, "hdnet", "champion", {"model/depth_mae_mm": 80.0}, {"model_sha256": "abc"})


def test_a_run_carries_params_metrics_pictures_checkpoints_and_tags(tmp_path):
    checkpoint = tmp_path / "step.safetensors"
    checkpoint.write_bytes(b"weights")
    with registry.run("train_hdnet", {"seed": 1, "weights": {"warp": 5.0}}, {"data.labelled": "f00"}) as tracker:
        tracker.log_metrics({"loss": 2.0}, 10)
        tracker.log_metrics({"loss": 1.0}, 20)
        tracker.log_image("labelled", np.zeros((4, 12, 3), np.uint8), 20)
        tracker.log_checkpoint(checkpoint, 20)
    run = mlflow.get_run(tracker.run_id)
    client = mlflow.MlflowClient()
    assert run.info.status == "FINISHED"
    assert run.data.params == {"seed": "1", "weights.warp": "5.0"}
    assert run.data.tags["data.labelled"] == "f00"
    assert [(m.step, m.value) for m in client.get_metric_history(tracker.run_id, "loss")] == [(10, 2.0), (20, 1.0)]
    assert [item.path for item in client.list_artifacts(tracker.run_id, "checkpoints")] == [
        "checkpoints/step.safetensors"
    ]
    assert any(item.path.endswith(".png") for item in client.list_artifacts(tracker.run_id, "images"))


def test_an_interrupted_run_is_continued_in_the_same_mlflow_run(tmp_path):
    with pytest.raises(ZeroDivisionError), registry.run("s", {}, {}, tmp_path / "work") as first:
        raise ZeroDivisionError
    assert mlflow.get_run(first.run_id).info.status == "FAILED"
    with registry.run("s", {}, {}, tmp_path / "work") as second:
        second.resume(7)
    assert second.run_id == first.run_id
    run = mlflow.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["resumed_from_step"] == "7"


def test_a_run_whose_record_is_gone_starts_anew(tmp_path, caplog):
    (tmp_path / "work").mkdir()
    (tmp_path / "work/mlflow_run_id.txt").write_text("0" * 32)
    with registry.run("s", {}, {}, tmp_path / "work") as tracker:
        pass
    assert tracker.run_id != "0" * 32
    assert "is gone" in caplog.text


def test_a_run_deleted_in_the_meantime_starts_anew(tmp_path):
    with registry.run("s", {}, {}, tmp_path / "work") as first:
        pass
    mlflow.delete_run(first.run_id)
    with registry.run("s", {}, {}, tmp_path / "work") as second:
        pass
    assert second.run_id != first.run_id


def test_what_mlflow_refuses_is_one_line():
    registry.connect()
    mlflow.delete_experiment(mlflow.create_experiment(registry.EXPERIMENT))
    with pytest.raises(TrackingError, match="deleted experiment") as caught, registry.run("s", {}, {}):
        pass
    assert "\n" not in str(caught.value)


def test_registering_moves_the_alias_and_keeps_lineage(model_file, registered):
    assert (registered.name, registered.version, registered.alias) == ("hdnet", "1", "champion")
    with registry.run("register", {}, {}):
        second = registry.register(model_file, "hdnet", "champion", {}, {})
    assert registry.resolve("models:/hdnet@champion") == second
    assert registry.resolve("models:/hdnet/1").run_id == registered.run_id
    version = mlflow.MlflowClient().get_model_version("hdnet", "1")
    assert version.tags["model_sha256"] == "abc"


def test_a_version_is_complete_and_needs_neither_pickle_nor_the_training_folder(model_file, registered, tmp_path):
    """In a fresh process, from another folder, with pickle and registry code refused."""
    script = (
        "import sys, torch, mlflow.pytorch\n"
        "from hdnet.models.weights import load_hdnet\n"
        "from hdnet import registry\n"
        "folder, identity = registry.download('models:/hdnet@champion')\n"
        "ours = load_hdnet(folder / 'hdnet.safetensors')\n"
        "exported = mlflow.pytorch.load_model('models:/hdnet@champion')\n"
        "x = torch.rand(1, 7, 256, 256)\n"
        "with torch.no_grad(): print((ours(x) - exported(x)).abs().max().item(), identity.version)\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {
        **os.environ,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    difference, version = done.stdout.split()
    assert float(difference) < 1e-3
    assert version == "1"


def test_the_export_has_a_signature_and_takes_any_batch(model_file, registered):
    info = mlflow.models.get_model_info("models:/hdnet@champion")
    (given,) = info.signature.inputs.to_dict()
    assert tuple(given["tensor-spec"]["shape"]) == (-1, 7, 256, 256)
    exported, ours = mlflow.pytorch.load_model("models:/hdnet@champion"), load_hdnet(model_file)
    for batch in (1, 3):
        inputs = torch.rand(batch, 7, 256, 256)
        with torch.no_grad():
            torch.testing.assert_close(exported(inputs), ours(inputs), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("models:/hdnet@champion", "not in the registry"),
        ("models:/hdnet/4", "not in the registry"),
        ("models:/hdnet", "not a registry URI"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(uri, said):
    with pytest.raises(ModelError, match=said) as caught:
        registry.download(uri)
    assert uri in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_foreign_version_is_refused_and_its_pickle_not_opened(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    source = tmp_path / "foreign"
    source.mkdir()
    (source / "model.pkl").write_bytes(pickle.dumps(Evil()))
    registry.connect()
    client = mlflow.MlflowClient()
    client.create_registered_model("hdnet")
    client.create_model_version("hdnet", source.as_uri(), run_id=None)
    with pytest.raises(ModelError, match=f"holds no extra_files/{HDNET_FILE}"):
        registry.download("models:/hdnet/1")
    assert not (tmp_path / "ran").exists()


def test_flatten_joins_keys_by_dots():
    assert registry.flatten(json.loads('{"a": {"b": {"c": 1}}, "d": 2}')) == {"a.b.c": 1, "d": 2}
