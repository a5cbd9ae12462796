import json
import os
import pickle
import subprocess
import sys
from contextlib import suppress

import mlflow
import pytest
import torch

from hdnet import registry
from hdnet.errors import ModelError, TrackingError
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.models.weights import HDNET_FILE, load_hdnet, save_hdnet
from hdnet.predict.runtimes.probes import probe_inputs
from hdnet.tracking import connection, runs, versions

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
    with runs.run("register", {"register": {"name": "hdnet"}}, {"model_sha256": "abc"}):
        return registry.register(model_file, "hdnet", "champion", {"model/depth_mae_mm": 80.0}, {"model_sha256": "abc"})


def test_registering_needs_a_run_and_says_so(model_file):
    with pytest.raises(TrackingError, match=r"no MLflow run is open"):
        registry.register(model_file, "hdnet", "champion", {}, {})


def test_what_mlflow_refuses_is_one_line():
    connection.connect()
    mlflow.delete_experiment(mlflow.create_experiment(connection.EXPERIMENT))
    with pytest.raises(TrackingError, match="deleted experiment") as caught, runs.run("s", {}, {}):
        pass
    assert "\n" not in str(caught.value)


def test_registering_moves_the_alias_and_keeps_lineage(model_file, registered):
    assert (registered.name, registered.version, registered.alias) == ("hdnet", "1", "champion")
    with runs.run("register", {}, {}):
        second = registry.register(model_file, "hdnet", "champion", {}, {})
    assert versions.resolve("models:/hdnet@champion") == second
    assert versions.resolve("models:/hdnet/1").run_id == registered.run_id
    version = mlflow.MlflowClient().get_model_version("hdnet", "1")
    assert version.tags["model_sha256"] == "abc"


def test_what_a_killed_command_registered_is_not_registered_again(model_file):
    lineage = {"model_sha256": "abc", "params_sha256": "1"}

    def register(status: str, tags: dict[str, str]) -> str:
        with suppress(KeyboardInterrupt), runs.run("register", {}, {}):
            identity = registry.register(model_file, "hdnet", "challenger", {}, tags | {"run.register": status})
            if status == "killed":
                raise KeyboardInterrupt
        assert versions.resolve("models:/hdnet@challenger").version == identity.version
        return identity.version

    assert register("killed", lineage) == "1"
    assert register("finished", lineage) == "1"
    assert register("killed", lineage | {"params_sha256": "2"}) == "2"
    assert register("finished", lineage) == "3"  # the newest is another one


def test_the_card_is_kept_with_the_version_and_short_on_its_page(model_file, tmp_path):
    files = [tmp_path / "model_card.md", tmp_path / "sheet.png"]
    for path in files:
        path.write_text(path.name)
    with runs.run("register", {}, {}):
        registry.register(model_file, "hdnet", "challenger", {}, {}, registry.Card(files, "**short**"))
    version = mlflow.MlflowClient().get_model_version_by_alias("hdnet", "challenger")
    assert version.description == "**short**"
    listed = mlflow.artifacts.list_artifacts("models:/hdnet/1/extra_files")
    assert {item.path.rpartition("/")[2] for item in listed} == {HDNET_FILE, "model_card.md", "sheet.png"}


def test_a_version_is_complete_and_needs_neither_pickle_nor_the_training_folder(model_file, registered, tmp_path):
    """In a fresh process, from another folder, with pickle and registry code refused."""
    script = (
        "import mlflow.pytorch, torch\n"
        "from hdnet import registry\n"
        "from hdnet.tracking import connection, runs, versions\n"
        "from hdnet.models.weights import load_hdnet\n"
        "from hdnet.predict.runtimes.probes import probe_inputs\n"
        "folder, identity = versions.download('models:/hdnet@champion')\n"
        "ours = load_hdnet(folder / 'hdnet.safetensors')\n"
        "exported = mlflow.pytorch.load_model('models:/hdnet@champion')\n"
        "x = torch.from_numpy(probe_inputs(1))\n"
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
        inputs = torch.from_numpy(probe_inputs(batch, seed=7))
        with torch.no_grad():
            torch.testing.assert_close(exported(inputs), ours(inputs), atol=1e-3, rtol=1e-3)


def test_an_export_that_differs_makes_no_version_and_moves_no_alias(model_file, registered, monkeypatch):
    load = mlflow.pytorch.load_model
    monkeypatch.setattr(mlflow.pytorch, "load_model", lambda uri: lambda inputs: load(uri)(inputs) * 1.001)

    with (
        pytest.raises(ModelError, match=r"models:/m-\w+: the exported model is .* mm .*; refused"),
        runs.run("register", {}, {}),
    ):
        registry.register(model_file, "hdnet", "champion", {}, {})

    assert versions.resolve("models:/hdnet@champion").version == registered.version
    assert len(mlflow.search_model_versions(filter_string="name = 'hdnet'")) == 1


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("models:/hdnet@champion", "not in the registry"),
        ("models:/hdnet/4", "not in the registry"),
        ("models:/hdnet", "not a URI of a model"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(uri, said):
    with pytest.raises(ModelError, match=said) as caught:
        versions.download(uri)
    assert uri in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_foreign_version_is_refused_and_its_pickle_not_opened(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    source = tmp_path / "foreign"
    source.mkdir()
    (source / "model.pkl").write_bytes(pickle.dumps(Evil()))
    connection.connect()
    client = mlflow.MlflowClient()
    client.create_registered_model("hdnet")
    client.create_model_version("hdnet", source.as_uri(), run_id=None)
    with pytest.raises(ModelError, match=f"holds no extra_files/{HDNET_FILE}"):
        versions.download("models:/hdnet/1")
    assert not (tmp_path / "ran").exists()


def test_flatten_joins_keys_by_dots():
    assert runs.flatten(json.loads('{"a": {"b": {"c": 1}}, "d": 2}')) == {"a.b.c": 1, "d": 2}
