"""Versions found from runs."""

from __future__ import annotations

import pytest

from hdnet.errors import ModelError
from hdnet.tracking.connection import connect
from hdnet.tracking.versions import version_of_run


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
