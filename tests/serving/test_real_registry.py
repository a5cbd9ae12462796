"""The service on a real MLflow registry (sqlite), with real models."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from serving_fakes import URI, good_upload, save_tiny_model, wait_until

from hdnet.models.weights import HDNET_FILE
from serving.app import create_app
from serving.settings import Settings


class Registry:
    """Versions made without training: what `hdnet register` leaves, as far as the service reads it."""

    def __init__(self, folder: Path) -> None:
        import mlflow

        self.folder = folder
        self.client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
        self.client.create_registered_model("hdnet")

    def add(self, depth_m: float | None) -> str:
        """A version with depths around ``depth_m``; None makes one without a model file."""
        source = self.folder / f"model-{depth_m}"
        (source / "extra_files").mkdir(parents=True)
        if depth_m is not None:
            save_tiny_model(source / "extra_files" / HDNET_FILE, depth_m)
        return str(self.client.create_model_version("hdnet", source.as_uri(), run_id=None).version)

    def point(self, version: str) -> None:
        self.client.set_registered_model_alias("hdnet", "champion", version)


def failures(client: TestClient) -> float:
    found = re.search(r'hdnet_model_loads_total\{outcome="failed"\} (\S+)', client.get("/metrics").text)
    return float(found[1]) if found else 0.0


@pytest.fixture(scope="module")
def registry_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")  # the service turns these off,
        patch.setenv("MLFLOW_ALLOW_MODEL_CODE_EXECUTION", "true")  # and the end of the test brings them back
        yield folder


def test_the_alias_of_a_real_registry_is_followed_and_its_last_model_survives_it(
    registry_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry(registry_folder)
    first = registry.add(4.0)
    settings = Settings(
        model_uri=URI,
        shipped_fallback=False,
        reload_interval_s=0.05,
        runtime="torch",
        threads=1,
        cache_dir=registry_folder / "cache",
    )
    with TestClient(create_app(settings)) as client:
        wait_until(lambda: "could not be loaded" in client.get("/health/ready").json()["detail"], timeout_s=60)
        assert client.get("/health/live").status_code == 200

        registry.point(first)
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        body = client.post("/depth", files=good_upload(120, 90)).json()
        assert body["model"] == {"name": "hdnet", "version": first, "alias": "champion", "run_id": None}
        assert body["depth"]["median"] == pytest.approx(4.0, abs=0.5)

        second = registry.add(5.0)
        listed = client.get("/models").json()["models"]
        assert [(model["id"], model["alias"]) for model in listed] == [
            (second, None),
            (first, "champion"),
            ("shipped", None),
        ]
        answer = client.post("/depth", files=good_upload(120, 90), data={"model": second})
        assert answer.headers["X-Model-Version"] == second
        assert answer.json()["depth"]["median"] == pytest.approx(5.0, abs=0.5)

        before = failures(client)
        registry.point(registry.add(None))
        wait_until(lambda: failures(client) >= before + 2)
        assert client.get("/version").json()["model"]["version"] == first

        third = registry.add(6.0)
        registry.point(third)
        wait_until(lambda: client.get("/version").json()["model"]["version"] == third)
        answer = client.post("/depth", files=good_upload(120, 90))
        assert answer.headers["X-Model-Version"] == third
        assert answer.json()["depth"]["median"] == pytest.approx(6.0, abs=0.5)

    (registry_folder / "mlflow.db").write_bytes(b"no database")
    shutil.rmtree(registry_folder / "model-6.0")
    with TestClient(create_app(settings)) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200, timeout_s=60)
        assert client.get("/version").json()["origin"] == "cache"
        answer = client.post("/depth", files=good_upload(120, 90))
        assert answer.headers["X-Model-Version"] == third
        assert answer.json()["depth"]["median"] == pytest.approx(6.0, abs=0.5)
        assert "file is not a database" in caplog.text


def test_without_a_champion_the_shipped_model_serves_until_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    registry = Registry(tmp_path)
    first = registry.add(4.0)
    settings = Settings(model_uri=URI, reload_interval_s=0.05, runtime="torch", threads=1, cache_dir=tmp_path / "cache")
    with TestClient(create_app(settings)) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200, timeout_s=60)
        assert client.get("/version").json()["origin"] == "shipped"
        registry.point(first)
        wait_until(lambda: client.get("/version").json()["model"]["version"] == first)
        answer = client.post("/depth", files=good_upload(120, 90))
        assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, first)
