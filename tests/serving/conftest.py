"""Services on a made-up registry, and visits to their page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from page_visits import BUSY_S, CHROMIUM, FLAGS, PHONE, Visit, visiting
from serving_fakes import URI, FakeRegistry, running, save_tiny_model, wait_until

from hdnet.models.weights import HDNET_FILE
from serving.app import create_app
from serving.settings import Settings


@pytest.fixture
def registry() -> FakeRegistry:
    """A registry whose champion is version 1."""
    fake = FakeRegistry()
    fake.add("1")
    fake.champion = "1"
    return fake


ClientMaker = Callable[..., TestClient]


@pytest.fixture
def make_client(registry: FakeRegistry) -> Iterator[ClientMaker]:
    """Starts services on the fake registry; they end with the test."""
    clients: list[TestClient] = []

    def make(ready: bool = True, **values: object) -> TestClient:
        settings = Settings(**{"model_uri": URI, "reload_interval_s": 0.02, **values})  # type: ignore[arg-type]
        client = TestClient(create_app(settings, registry), raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        if ready:
            wait_until(lambda: client.get("/health/ready").status_code == 200)
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client: ClientMaker) -> TestClient:
    """A service that is ready."""
    return make_client()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("model")
    save_tiny_model(folder / HDNET_FILE)
    with running(create_app(Settings(model_uri=str(folder), threads=1, runtime="torch", deadline_s=BUSY_S))) as url:
        yield url


@pytest.fixture(scope="module")
def shipped() -> Iterator[str]:
    """A service with the shipped model, below a path prefix."""
    settings = Settings(model_uri="shipped", threads=1, runtime="torch", root_path="/ai/hdnet", deadline_s=BUSY_S)
    with running(create_app(settings)) as url:
        yield f"{url}/ai/hdnet"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    with visiting(browser, address) as visited:
        yield visited


@pytest.fixture(params=["desktop", "phone"])
def guest(request: pytest.FixtureRequest, browser: Any, shipped: str) -> Iterator[Visit]:
    """A visit to the shipped model, at a desk in the light and with a phone in the dark."""
    options = {**PHONE, "color_scheme": "dark"} if request.param == "phone" else {}
    with visiting(browser, shipped, **options) as visited:
        yield visited
