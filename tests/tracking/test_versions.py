"""Versions found from URIs and runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hdnet.errors import ModelError, NotRegisteredError
from hdnet.models import ModelIdentity
from hdnet.tracking.address import registered_elsewhere
from hdnet.tracking.connection import connect
from hdnet.tracking.model_cache import ModelCache
from hdnet.tracking.versions import download, resolve, version_of_run
from hdnet.workspace import Workspace


@pytest.fixture
def client(mlflow_store):
    import mlflow

    connect()
    client = mlflow.MlflowClient()
    client.create_registered_model("hdnet")
    client.create_registered_model("other")
    return client


def new_run(client):
    return client.create_run("0").info.run_id


def test_the_run_that_registered_and_those_of_its_stages(client):
    register, training, stranger = (new_run(client) for _ in range(3))
    client.create_model_version("other", "s3://bucket/a", new_run(client))
    client.create_model_version("hdnet", "s3://bucket/b", register, tags={"run.train_hdnet": training})
    client.create_model_version("hdnet", "s3://bucket/c", new_run(client), tags={"note": stranger})

    assert version_of_run(f"runs:/{register}") == "models:/hdnet/1"
    assert version_of_run(f"runs:/{training}/") == "models:/hdnet/1"
    with pytest.raises(ModelError, match=rf"runs:/{stranger}: no version in the registry .* comes from that run"):
        version_of_run(f"runs:/{stranger}")


def test_of_several_versions_the_newest(client):
    training = new_run(client)
    for name in ("hdnet", "hdnet", "other"):
        client.create_model_version(name, "s3://bucket/x", new_run(client), tags={"run.train_hdnet": training})
    client.create_model_version("hdnet", "s3://bucket/x", new_run(client))

    assert version_of_run(f"runs:/{training}") == "models:/other/1"


@pytest.fixture
def logged(client):
    """A run that logged a model `model` with our file in it, and a second, whose model was registered as version 1."""
    import mlflow
    from mlflow.utils.file_utils import local_file_uri_to_path

    experiment = client.create_experiment("forms")
    made = {}
    for name in ("loose", "registered"):
        run = client.create_run(experiment).info.run_id
        model = client.create_logged_model(experiment, name="model", source_run_id=run)
        folder = local_file_uri_to_path(model.artifact_location)
        file = Path(folder) / "extra_files" / "hdnet.safetensors"
        file.parent.mkdir(parents=True)
        file.write_bytes(name.encode())
        client.log_outputs(run, [mlflow.entities.LoggedModelOutput(model.model_id, 0)])
        client.finalize_logged_model(model.model_id, "READY")
        made[name] = (run, model.model_id)
    run, model_id = made["registered"]
    client.create_model_version("hdnet", f"models:/{model_id}", run, model_id=model_id)
    client.create_model_version("hdnet", "s3://bucket/old", new_run(client))
    client.set_registered_model_alias("hdnet", "champion", "1")
    return made


def test_every_form_that_mlflow_shows_names_its_version(client, logged):
    run, model_id = logged["registered"]
    expected = ModelIdentity("hdnet", "1", None, run)
    for uri in (
        f"models:/{model_id}",
        f"runs:/{run}/model",
        f"runs:/{run}",
        f"runs:/{run}/{model_id}",
        "models:/hdnet/1",
    ):
        assert resolve(uri) == expected, uri
    assert resolve("models:/hdnet@champion") == ModelIdentity("hdnet", "1", "champion", run)
    assert resolve("models:/hdnet/latest").version == resolve("models:/hdnet/Latest").version == "2"
    client.transition_model_version_stage("hdnet", "1", "Production")
    assert resolve("models:/hdnet/production").version == "1"


def test_an_alias_that_nobody_has_is_not_registered(client, logged, monkeypatch, tmp_path):
    assert resolve("models:/hdnet@champion").version == "1"
    for uri in ("models:/hdnet@challenger", "models:/stranger@champion"):
        with pytest.raises(NotRegisteredError):
            resolve(uri, tmp_path / "cache")
    with pytest.raises(ModelError, match="not a URI of a model") as malformed:
        resolve("models:/hdnet")
    monkeypatch.setattr("mlflow.MlflowClient.get_model_version_by_alias", lambda *_: 1 / 0)
    with pytest.raises(ModelError, match="no answer of the registry") as unreachable:
        resolve("models:/hdnet@champion")
    assert malformed.type is unreachable.type is ModelError


def test_a_model_that_was_not_registered_loads_too(logged, tmp_path):
    run, model_id = logged["loose"]
    for uri in (f"models:/{model_id}", f"runs:/{run}/model"):
        folder, identity = download(uri, tmp_path / "cache")
        assert (identity.name, identity.version, identity.run_id) == ("model", model_id, run)
        assert (folder / "hdnet.safetensors").read_bytes() == b"loose"
    folder, _ = download("models:/hdnet@champion", tmp_path / "cache")
    assert (folder / "hdnet.safetensors").read_bytes() == b"registered"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("models:/hdnet", "not a URI of a model; expected models:/NAME@ALIAS, models:/NAME/VERSION"),
        ("models:/", "not a URI of a model"),
        ("models:/a/b/1", "not a URI of a model"),
        ("models:/hdnet/", "not a URI of a model"),
        ("models:/hdnet/Staging", "has versions, none in the old form's stage 'staging'; expected a version's number"),
        ("models:/other/latest", "other has no version; expected a version's number, latest, or other@ALIAS"),
        ("models:/hdnet/9", "not in the registry"),
        ("models:/hdnet@nobody", "not in the registry"),
        ("models:/nobody/latest", "not in the registry"),
        (f"models:/m-{'0' * 32}", "not in the registry"),
        (f"runs:/{'0' * 32}/model", "not in the registry"),
    ],
)
def test_what_no_model_answers_to_says_why(logged, uri, reason):
    with pytest.raises(ModelError) as error:
        resolve(uri)
    assert str(error.value).startswith(f"{uri}: ")
    assert reason in str(error.value)


def test_a_path_that_the_run_did_not_log_names_those_it_did(logged):
    run, _ = logged["loose"]
    with pytest.raises(ModelError, match=r"that run logged no model 'weights'; it logged: model; "):
        resolve(f"runs:/{run}/weights")


def test_a_model_that_the_pipeline_registered_elsewhere(client, tmp_path):
    work = Workspace()
    work.registered_version.parent.mkdir(parents=True)
    work.registered_version.write_text(json.dumps({"version": "1", "registry": "https://old.example"}))
    with pytest.raises(ModelError) as error:
        resolve("models:/hdnet@champion")
    said = str(error.value)
    assert "this pipeline registered its model at https://old.example, MLFLOW_TRACKING_URI names sqlite:///" in said
    assert "`dvc repro -f -s register`, then `dvc repro -f -s promote`" in said
    assert error.type is ModelError, "nobody should get another model without a word"


def test_a_model_that_was_served_from_another_registry(client, tmp_path):
    """In a container, say, which knows the pipeline by its cache alone."""
    uri, cache = "models:/hdnet@champion", tmp_path / "cache"
    ModelCache(cache, "https://old.example", "hdnet.safetensors").remember(uri, ModelIdentity("hdnet", "1", None, "r"))
    advice = r"it came from https://old\.example so far: register it in this registry, or set MLFLOW_TRACKING_URI back"
    with pytest.raises(ModelError, match=rf"^models:/hdnet@champion: not in the registry sqlite.*; {advice}$"):
        resolve(uri, cache)
    with pytest.raises(ModelError) as error:
        resolve("models:/hdnet@challenger", cache)
    assert "so far" not in str(error.value)


def test_two_names_of_one_database_are_one_place(tmp_path, monkeypatch):
    work = Workspace(tmp_path)
    assert registered_elsewhere(work) is None
    work.registered_version.parent.mkdir(parents=True)
    work.registered_version.write_text(json.dumps({"registry": "sqlite:///mlflow.db"}))
    for uri in ("", f"sqlite:///{tmp_path}/mlflow.db", "sqlite:///mlflow.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert registered_elsewhere(work) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@host/")
    said = registered_elsewhere(work)
    assert said is not None
    assert "names https://host/" in said
    assert "secret" not in said
