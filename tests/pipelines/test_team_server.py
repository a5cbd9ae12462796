"""The pipeline against what compose.yaml starts: MLflow's server over PostgreSQL and an S3 store."""

from __future__ import annotations

import io
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from checkouts import Checkout, small_params
from promoting import check_that_two_at_once_lose_no_champion
from servers import MLflowServer, PostgresServer, S3Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MODEL = "models:/hdnet@champion"


@pytest.fixture(scope="module")
def checkout(mlflow_server: MLflowServer, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A clone in which the whole pipeline ran; nothing but the server's address was set."""
    made = Checkout.of_the_code(tmp_path_factory.mktemp("team"))
    made.write_params(small_params())
    made.environment["MLFLOW_TRACKING_URI"] = mlflow_server.uri
    done = made.dvc("repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return made


@pytest.fixture
def tracking(mlflow_server: MLflowServer, monkeypatch: pytest.MonkeyPatch) -> str:
    return use(mlflow_server, monkeypatch)


def use(server: MLflowServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """This process becomes a client that knows the server, and no credentials of its store."""
    import mlflow

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    mlflow.set_tracking_uri(server.uri)
    return server.uri


@pytest.fixture(autouse=True)
def keep_tracking_uri() -> Iterator[None]:
    import mlflow

    previous = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(previous)


def predicted(checkout: Checkout, source: str | Path) -> np.ndarray:
    """Depth in metres of a held-out person."""
    from hdnet.data.layout.folders import TangFolder
    from hdnet.predict.inference import Predictor

    folder = TangFolder(checkout.folder / "data/raw/heldout/Tang_data")
    sample = folder.read(folder.names()[0])
    return Predictor.load(source).infer(sample.image, sample.mask, sample.iuv, camera=sample.camera).depth_m


def test_every_stage_is_a_run_whose_files_lie_in_the_store(checkout, tracking, mlflow_server, s3_server):
    import mlflow

    client = mlflow.MlflowClient(tracking)
    experiment = client.get_experiment_by_name("hdnet")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {"pipeline", "pack", "train_hdnet", "evaluate", "register"} <= set(runs)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    children = [run for run in runs.values() if run is not runs["pipeline"]]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {runs["pipeline"].info.run_id}
    evaluate = runs["evaluate"].info.run_id
    names = {item.path for item in client.list_artifacts(evaluate)}
    assert "table.md" in names
    table = client.download_artifacts(evaluate, "table.md", str(checkout.folder))
    assert Path(table).read_text() == (checkout.folder / "reports/evaluate/table.md").read_text()
    stored = s3_server.keys(mlflow_server.services["bucket"]["environment"]["BUCKET"])
    assert {f"{experiment.experiment_id}/{evaluate}/artifacts/{name}" for name in names if "." in name} <= set(stored)
    assert not list(checkout.folder.glob("reports/mlflow_pending/*"))


def test_clients_get_the_registered_model_without_credentials_of_the_store(checkout, tracking):
    local = predicted(checkout, checkout.folder / "models/hdnet.safetensors")
    assert np.isfinite(local).all()
    np.testing.assert_array_equal(predicted(checkout, MODEL), local)


def test_two_that_promote_at_once_lose_no_champion(tracking):
    """Against the server's workers and PostgreSQL, which do at once what SQLite does one after the other."""
    import mlflow

    check_that_two_at_once_lose_no_champion(mlflow.MlflowClient(tracking), "promoted", "s3://nowhere/model")


def test_the_service_answers_with_the_champion(checkout, tracking, monkeypatch, tmp_path):
    from fastapi.testclient import TestClient

    from serving.app import create_app
    from serving.settings import Settings

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HDNET_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")  # the service turns both off for its process,
    monkeypatch.setenv("MLFLOW_ALLOW_MODEL_CODE_EXECUTION", "true")  # and monkeypatch brings them back
    tang = checkout.folder / "data/raw/heldout/Tang_data"
    parts = {"image": "color", "mask": "mask", "densepose": "densepose"}
    files = {part: (tang / folder / "0000000.png").read_bytes() for part, folder in parts.items()}
    with TestClient(create_app(Settings())) as client:
        deadline = time.monotonic() + 60
        while client.get("/health/ready").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        answer = client.post("/depth", files=files, headers={"Accept": "application/x-npz"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Model-Name"] == "hdnet"
    assert np.load(io.BytesIO(answer.content))["depth_m"].max() > 0


def test_database_and_bucket_may_move(checkout, mlflow_server, postgres, s3_server, tmp_path, monkeypatch):
    """Another PostgreSQL, another store, another bucket, another port: nothing remembers the old ones."""
    before = predicted(checkout, checkout.folder / "models/hdnet.safetensors")
    old_bucket = mlflow_server.services["bucket"]["environment"]["BUCKET"]
    dump = dumped(postgres)
    for address in ("s3://", str(urlsplit(s3_server.endpoint).port), str(mlflow_server.port)):
        assert f"{address}/".encode() not in dump
    new_postgres, new_s3 = PostgresServer(postgres.binaries), S3Server(tmp_path)
    server = MLflowServer(new_postgres, new_s3, tmp_path, {"S3_BUCKET": "archive"})
    try:
        new_postgres.start()
        new_s3.start()
        restore(new_postgres, dump)
        server.make_bucket()
        for key in s3_server.keys(old_bucket):
            content = s3_server.client().get_object(Bucket=old_bucket, Key=key)["Body"].read()
            new_s3.client().put_object(Bucket="archive", Key=key, Body=content)
        server.start()
        use(server, monkeypatch)
        np.testing.assert_array_equal(predicted(checkout, MODEL), before)
    finally:
        server.stop()
        new_s3.stop()
        new_postgres.remove()


def dumped(postgres: PostgresServer) -> bytes:
    """The database as SQL."""
    return subprocess.run(client_of(postgres, "pg_dump"), check=True, capture_output=True).stdout


def restore(postgres: PostgresServer, dump: bytes) -> None:
    """The SQL into a new database."""
    postgres.url("mlflow")
    subprocess.run([*client_of(postgres, "psql"), "--quiet"], input=dump, check=True, capture_output=True)


def client_of(postgres: PostgresServer, program: str) -> list[str]:
    """One of PostgreSQL's own programs, for the database `mlflow`."""
    address = postgres.url("mlflow").replace("+psycopg", "")
    return [str(postgres.binaries / program), "--no-password", "--dbname", address]
