"""Services on a made-up registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from serving_fakes import URI, FakeRegistry, wait_until

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
