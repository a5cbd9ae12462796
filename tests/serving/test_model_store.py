from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from serving_fakes import URI, FakePredictor, FakeRegistry, good_upload, wait_until

from hdnet.errors import ModelError
from serving.metrics import Metrics
from serving.model_store import ModelStore, prepare_mlflow, self_check

ClientMaker = Callable[..., TestClient]


def served_version(client: TestClient) -> str | None:
    model = client.get("/version").json()["model"]
    return model and model["version"]


def store_on(registry: FakeRegistry) -> ModelStore:
    return ModelStore(URI, 30.0, Metrics(), registry.load, registry.resolve)


def test_live_at_once_ready_when_the_alias_appears(make_client: ClientMaker, registry: FakeRegistry) -> None:
    registry.champion = None
    client = make_client(ready=False)
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").status_code == 503
    assert client.post("/depth", files=good_upload()).status_code == 503
    assert client.get("/version").json()["model"] is None
    registry.champion = "1"
    wait_until(lambda: client.get("/health/ready").status_code == 200)
    assert client.get("/health/ready").json()["model"]["version"] == "1"
    assert client.post("/depth", files=good_upload()).status_code == 200


def test_alias_swap(make_client: ClientMaker, registry: FakeRegistry) -> None:
    client = make_client()
    registry.add("2", offset_m=5.0)
    registry.champion = "2"
    wait_until(lambda: served_version(client) == "2")
    answer = client.post("/depth", files=good_upload())
    assert answer.headers["X-Model-Version"] == "2"
    assert answer.json()["depth"]["min"] >= 5.0
    text = client.get("/metrics").text
    assert 'version="2"} 1.0' in text
    assert 'version="1"} 1.0' not in text


def test_a_request_keeps_the_model_it_began_with(make_client: ClientMaker, registry: FakeRegistry) -> None:
    gate = threading.Event()
    registry.versions["1"].gate = gate
    client = make_client()
    registry.add("2", offset_m=5.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, "/depth", files=good_upload())
        wait_until(lambda: "hdnet_admitted 1.0" in client.get("/metrics").text)
        registry.champion = "2"
        wait_until(lambda: served_version(client) == "2")
        gate.set()
        answer = waiting.result()
    assert answer.headers["X-Model-Version"] == answer.json()["model"]["version"] == "1"
    assert answer.json()["depth"]["min"] < 5.0


@pytest.mark.parametrize("failure", [ModelError("registry is down"), ConnectionError("refused")])
def test_registry_that_goes_down_later_changes_nothing(registry: FakeRegistry, failure: Exception) -> None:
    store = store_on(registry)
    store.refresh()
    registry.down = failure
    store.refresh()
    assert store.require().identity.version == "1"
    registry.down = None
    registry.add("2")
    registry.champion = "2"
    store.refresh()
    assert store.require().identity.version == "2"


def test_version_that_fails_its_self_check_is_refused_until_the_alias_moves(registry: FakeRegistry) -> None:
    store = store_on(registry)
    store.refresh()
    registry.add("2", finite=False)
    registry.champion = "2"
    store.refresh()
    assert store.require().identity.version == "1"
    loads = registry.loads
    store.refresh()
    assert registry.loads == loads
    registry.add("3")
    registry.champion = "3"
    store.refresh()
    assert store.require().identity.version == "3"


def test_version_that_cannot_be_loaded_is_tried_again(registry: FakeRegistry) -> None:
    store = store_on(registry)
    store.refresh()
    registry.champion = "2"  # not there: load raises KeyError
    store.refresh()
    assert store.require().identity.version == "1"
    registry.add("2")
    store.refresh()
    assert store.require().identity.version == "2"


def test_unchanged_alias_is_not_loaded_again(registry: FakeRegistry) -> None:
    store = store_on(registry)
    for _ in range(3):
        store.refresh()
    assert registry.loads == 1


def test_the_same_failure_is_logged_once(registry: FakeRegistry, caplog: pytest.LogCaptureFixture) -> None:
    registry.champion = None
    store = store_on(registry)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            store.refresh()
    assert len(caplog.records) == 1


def test_a_file_is_loaded_once_and_has_only_a_name(tmp_path: Path) -> None:
    loads: list[str] = []

    def load(source: str) -> FakePredictor:
        loads.append(source)
        return FakePredictor()

    def resolve(uri: str) -> None:
        raise AssertionError("a file has no registry")

    store = ModelStore(str(tmp_path / "hdnet.safetensors"), 30.0, Metrics(), load, resolve)
    store.refresh()
    store.refresh()
    assert len(loads) == 1
    assert store.require().headers() == {"X-Model-Name": "hdnet.safetensors"}


def test_self_check_takes_a_good_model_and_refuses_a_bad_one() -> None:
    self_check(FakePredictor())
    with pytest.raises(ModelError, match="not finite"):
        self_check(FakePredictor(finite=False))


def test_mlflow_may_not_run_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_MODEL_CODE_EXECUTION", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    for name in (
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
        "MLFLOW_DISABLE_TELEMETRY",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR",
    ):
        monkeypatch.setenv(name, "")  # so that the test's end removes what is set here
        monkeypatch.delenv(name)
    prepare_mlflow()
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert os.environ["MLFLOW_ALLOW_MODEL_CODE_EXECUTION"] == "false"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"


def test_swaps_under_requests_lose_none(make_client: ClientMaker, registry: FakeRegistry) -> None:
    client = make_client(queue_size=8, reload_interval_s=0.001)
    for version in ("2", "3"):
        registry.add(version, offset_m=3.0 + int(version))
    stop = threading.Event()

    def swap() -> None:
        turn = 0
        while not stop.wait(0.005):
            turn += 1
            registry.champion = str(1 + turn % 3)

    def ask(_: int) -> tuple[str, float]:
        answer = client.post("/depth", files=good_upload(), headers={"Accept": "application/x-npz"})
        assert answer.status_code == 200, answer.text
        arrays = np.load(io.BytesIO(answer.content))
        return answer.headers["X-Model-Version"], float(arrays["depth_m"][arrays["mask"]].min())

    swapper = threading.Thread(target=swap)
    swapper.start()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(40)))
    stop.set()
    swapper.join()
    assert {version for version, _ in answers} > {"1"}
    for version, nearest_m in answers:
        assert int(nearest_m) == {"1": 4, "2": 5, "3": 6}[version]
