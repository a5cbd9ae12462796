from __future__ import annotations

import asyncio
import io
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from fastapi.testclient import TestClient
from serving_fakes import FakePredictor, FakeRegistry, good_upload, wait_until

from hdnet.errors import InputError, ModelError
from hdnet.models.identity import ModelIdentity
from hdnet.pictures import faults
from serving import model_store
from serving.metrics import Metrics
from serving.model_source import NoRegistryError, prepare_mlflow
from serving.model_store import ModelStore, Refresh, self_check

ClientMaker = Callable[..., TestClient]


def served_version(client: TestClient) -> str | None:
    model = client.get("/version").json()["model"]
    return model and model["version"]


def store_on(registry: FakeRegistry) -> ModelStore:
    return ModelStore(registry, 30.0, Metrics())


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


@pytest.fixture
def shipping(registry: FakeRegistry) -> FakeRegistry:
    """A registry without a champion, beside a shipped model."""
    registry.champion, registry.has_fallback = None, True
    registry.shipped = FakePredictor(offset_m=7.0)
    return registry


def test_the_shipped_model_serves_until_there_is_a_champion(make_client: ClientMaker, shipping: FakeRegistry) -> None:
    client = make_client()
    answer = client.post("/depth", files=good_upload())
    assert answer.json()["depth"]["min"] >= 7.0
    unregistered = {"name": "shipped", "version": None, "alias": None, "run_id": None}
    assert answer.json()["model"] == client.get("/health/ready").json()["model"] == unregistered
    assert answer.headers["X-Model-Name"] == "shipped"
    assert "X-Model-Version" not in answer.headers
    assert client.get("/version").json()["origin"] == "shipped"
    assert 'hdnet_model_origin{origin="shipped"} 1.0' in client.get("/metrics").text
    shipping.champion = "1"
    wait_until(lambda: served_version(client) == "1")
    assert client.post("/depth", files=good_upload()).json()["depth"]["min"] < 5.0
    assert client.get("/version").json()["origin"] == "registry"


def test_the_log_says_once_that_the_shipped_model_serves(
    shipping: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_on(shipping)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            store.refresh()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "the registry has no such alias" in messages[0]
    assert messages[1] == "model in service: shipped from the package"


def test_the_shipped_model_serves_before_its_runtime_is_measured(shipping: FakeRegistry) -> None:
    shipping.measures, shipping.measured = True, FakePredictor(offset_m=8.0)
    store = store_on(shipping)
    served: list[object] = []
    load = shipping.load_shipped

    def observed(measured: bool = False) -> FakePredictor:
        served.append(store.current and store.current.predictor)
        return load(measured)

    shipping.load_shipped = observed  # type: ignore[method-assign]
    store.refresh()
    assert served == [None, shipping.shipped]
    assert store.require().predictor is shipping.measured
    assert store.require().origin == "shipped"
    assert store.shipped() is shipping.measured


def test_the_last_good_model_comes_before_the_shipped_one(shipping: FakeRegistry) -> None:
    shipping.kept = "1"
    store = store_on(shipping)
    store.refresh()
    assert (store.require().name, store.require().origin) == ("hdnet", "cache")


def test_a_champion_stays_when_its_registry_goes(shipping: FakeRegistry) -> None:
    shipping.champion = "1"
    store = store_on(shipping)
    store.refresh()
    shipping.down = ModelError("no answer of the registry")
    store.refresh()
    assert store.require().name == "hdnet"


def test_a_champion_that_fails_its_self_check_leaves_the_shipped_model(shipping: FakeRegistry) -> None:
    shipping.add("2", finite=False)
    shipping.champion = "2"
    store = store_on(shipping)
    store.refresh()
    assert (store.require().name, store.require().origin) == ("shipped", "shipped")
    shipping.champion = "1"
    store.refresh()
    assert store.require().identity.version == "1"


def test_a_registry_that_keeps_silent_at_the_start(make_client: ClientMaker, shipping: FakeRegistry) -> None:
    shipping.silence.clear()
    try:
        store = ModelStore(shipping, 30.0, Metrics(), patience_s=0.05)

        async def start() -> None:
            watching = asyncio.create_task(store.watch())
            while store.current is None:
                await asyncio.sleep(0.01)
            shipping.champion = "1"
            shipping.silence.set()
            while store.current.name == "shipped":
                await asyncio.sleep(0.01)
            watching.cancel()

        asyncio.run(asyncio.wait_for(start(), 10))
        store.close()
    finally:
        shipping.silence.set()


def test_without_a_fallback_the_shipped_model_does_not_serve(shipping: FakeRegistry) -> None:
    shipping.has_fallback = False
    store = store_on(shipping)
    store.refresh()
    assert store.current is None


def test_no_registry_is_no_failure(shipping: FakeRegistry) -> None:
    shipping.down = NoRegistryError("no model registry")
    metrics = Metrics()
    store = ModelStore(shipping, 30.0, metrics)
    store.refresh()
    assert store.require().name == "shipped"
    assert 'outcome="failed"' not in metrics.render().decode()


@dataclass
class FileSource:
    """A file that can be read any time."""

    uri: str = "models/hdnet.safetensors"
    name: str = "hdnet.safetensors"
    origin: str = "file"
    has_fallback: bool = False
    loads: int = 0

    def resolve(self) -> None:
        return None

    def load(self) -> tuple[FakePredictor, None]:
        self.loads += 1
        return FakePredictor(), None

    def load_last_good(self) -> None:
        return None


def test_a_file_is_loaded_once_and_has_only_a_name() -> None:
    source = FileSource()
    store = ModelStore(source, 30.0, Metrics())
    store.refresh()
    store.refresh()
    assert source.loads == 1
    assert store.require().headers() == {"X-Model-Name": "hdnet.safetensors"}
    assert store.require().origin == "file"


def test_reload_reads_a_file_anew() -> None:
    source = FileSource()
    store = ModelStore(source, 30.0, Metrics())
    store.refresh()
    before = store.require()
    assert store.refresh(again=True) == Refresh(loaded=True)
    assert source.loads == 2
    assert store.require() is not before


def test_reload_tries_again_what_failed_its_self_check(registry: FakeRegistry) -> None:
    store = store_on(registry)
    store.refresh()
    second = registry.add("2", finite=False)
    registry.champion = "2"
    assert "not finite" in store.refresh().failure
    assert store.refresh(again=True).failure
    second.finite = True
    assert store.refresh() == Refresh(loaded=False)  # as long as nobody asks
    assert store.refresh(again=True) == Refresh(loaded=True)
    assert store.require().identity.version == "2"
    assert store.refresh(again=True) == Refresh(loaded=False)  # there is nothing newer


def test_registry_down_at_the_start_serves_the_last_good_version(registry: FakeRegistry) -> None:
    first = store_on(registry)
    first.refresh()
    assert registry.kept == "1"
    registry.down = ModelError("registry is down")
    store = store_on(registry)
    assert store.refresh().failure == "registry is down"
    assert store.require().origin == "cache"
    assert store.require().headers()["X-Model-Version"] == "1"
    loads = registry.loads
    registry.down = None
    assert store.refresh() == Refresh(loaded=False)  # confirmed, not loaded again
    assert (store.require().origin, registry.loads) == ("registry", loads)


def test_champion_that_fails_its_self_check_at_the_start_leaves_the_last_good_version(registry: FakeRegistry) -> None:
    store_on(registry).refresh()
    registry.add("2", finite=False)
    registry.champion = "2"
    store = store_on(registry)
    store.refresh()
    assert (store.require().identity.version, store.require().origin) == ("1", "cache")
    assert registry.kept == "1"
    registry.add("3")
    registry.champion = "3"
    store.refresh()
    assert (store.require().identity.version, store.require().origin, registry.kept) == ("3", "registry", "3")


def test_last_good_version_that_is_damaged_is_not_served(registry: FakeRegistry) -> None:
    store_on(registry).refresh()
    registry.versions["1"].finite = False
    registry.down = ModelError("registry is down")
    store = store_on(registry)
    store.refresh()
    assert store.current is None


def test_last_good_version_that_comes_late_does_not_replace_the_champion(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_on(registry).refresh()
    registry.add("2")
    registry.champion, registry.down = "2", ModelError("registry is down")
    store, load_last_good = store_on(registry), registry.load_last_good

    def load_while_the_registry_comes_back() -> tuple[FakePredictor, ModelIdentity] | None:
        kept = load_last_good()
        registry.down = None
        store.refresh()
        return kept

    monkeypatch.setattr(registry, "load_last_good", load_while_the_registry_comes_back)
    store.refresh()
    assert (store.require().identity.version, store.require().origin) == ("2", "registry")


def test_silent_registry_does_not_hold_up_the_start(registry: FakeRegistry) -> None:
    store_on(registry).refresh()
    registry.add("2")
    registry.champion = "2"
    registry.silence.clear()
    store = ModelStore(registry, 30.0, Metrics(), patience_s=0.01)

    async def start() -> None:
        watching = asyncio.create_task(store.watch())
        await asyncio.to_thread(wait_until, lambda: store.current is not None)
        assert (store.require().identity.version, store.require().origin) == ("1", "cache")
        registry.silence.set()
        await asyncio.to_thread(wait_until, lambda: store.require().identity.version == "2")
        watching.cancel()

    asyncio.run(start())
    store.close()


def test_the_first_mesh_does_not_wait_for_its_writer(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ModelStore(registry, 30.0, Metrics())
    imported: list[tuple[str, bool]] = []
    monkeypatch.setattr(model_store, "import_module", lambda name: imported.append((name, store.current is not None)))

    async def start() -> None:
        watching = asyncio.create_task(store.watch())
        await asyncio.to_thread(wait_until, lambda: bool(imported))
        watching.cancel()

    asyncio.run(start())
    store.close()
    assert imported == [("trimesh", True)]


def test_cache_that_cannot_be_written_does_not_keep_a_model_from_serving(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(identity: ModelIdentity) -> None:
        raise ModelError("disk full")

    monkeypatch.setattr(registry, "keep", refuse)
    store = store_on(registry)
    store.refresh()
    assert store.require().identity.version == "1"
    assert "disk full" in caplog.text


def test_self_check_takes_a_good_model_and_refuses_a_bad_one() -> None:
    self_check(FakePredictor())
    with pytest.raises(ModelError, match="not finite"):
        self_check(FakePredictor(finite=False))


def test_self_check_takes_a_model_that_sees_nobody_in_its_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    for fault in (faults.NO_PERSON, faults.MASK_CONTRADICTS_PICTURE):
        monkeypatch.setattr(FakePredictor, "finish", _raising(fault.error(**fault.example)))
        self_check(FakePredictor())
    monkeypatch.setattr(FakePredictor, "finish", _raising(faults.UNUSABLE_INPUT.error(count=1, least=64)))
    with pytest.raises(InputError, match="covers 1 pixels"):
        self_check(FakePredictor())


def _raising(error: Exception) -> Callable[..., None]:
    def finish(*_: object) -> None:
        raise error

    return finish


def test_mlflow_may_not_run_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_MODEL_CODE_EXECUTION", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
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
