"""HEAD, trailing slashes, a path prefix, and headers of proxies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from serving_fakes import FakeRegistry, good_upload
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from serving.app import create_app
from serving.server import Server
from serving.settings import Settings

ClientMaker = Callable[..., TestClient]

KEY = "k" * 16
PAGES = [
    "/",
    "/docs",
    "/openapi.json",
    "/health/live",
    "/health/ready",
    "/version",
    "/metrics",
    "/page/app.js",
    "/models",
]


@pytest.mark.parametrize("path", [*PAGES, "/page/three.js", "/page/sample/image.png", "/nothing", "/depth"])
def test_head_is_get_without_the_body(client: TestClient, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    changing = {"x-request-id", "content-length"} if path in ("/metrics", "/nothing", "/depth") else {"x-request-id"}
    kept = [{name: value for name, value in one.headers.items() if name not in changing} for one in (get, head)]
    assert kept[0] == kept[1]


def test_head_is_counted_and_logged_as_head(client: TestClient) -> None:
    client.head("/version")
    assert 'hdnet_requests_total{method="HEAD",route="/version",status="200"} 1.0' in client.get("/metrics").text


def test_head_needs_the_key_that_get_needs(make_client: ClientMaker) -> None:
    client = make_client(api_keys=(KEY,))
    assert client.head("/version").status_code == 401
    assert client.head("/version", headers={"X-API-Key": KEY}).status_code == 200
    assert client.head("/health/live").status_code == 200


@pytest.mark.parametrize("path", ["/depth/", "/depth//", "/depth/batch/"])
def test_a_trailing_slash_means_the_same_address(client: TestClient, path: str) -> None:
    answer = client.post(path, files=good_upload(), follow_redirects=False)
    assert answer.status_code == 200, answer.text
    assert 'route="/depth' in client.get("/metrics").text


def test_what_a_proxy_closes_by_its_exact_address_has_no_other(make_client: ClientMaker) -> None:
    client = make_client(admin_token="t" * 16)
    assert client.get("/metrics/", follow_redirects=False).status_code == 404
    headers = {"Authorization": "Bearer " + "t" * 16}
    assert client.post("/admin/reload/", headers=headers, follow_redirects=False).status_code == 404
    assert client.post("/admin/reload", headers=headers).status_code == 200


@pytest.mark.parametrize("path", [page for page in PAGES if page not in ("/", "/metrics")])
def test_pages_with_a_trailing_slash(make_client: ClientMaker, path: str) -> None:
    client = make_client(api_keys=(KEY,))
    headers = {"X-API-Key": KEY} if path in ("/models", "/version") else {}
    with_slash = client.get(f"{path}/", follow_redirects=False, headers=headers)
    assert with_slash.status_code == 200, path
    without = client.get(path, headers=headers)
    assert with_slash.headers["content-security-policy"] == without.headers["content-security-policy"]


def test_a_slash_opens_nothing_that_needs_a_key(make_client: ClientMaker) -> None:
    client = make_client(api_keys=(KEY,))
    for path in ("/version/", "//version", "/docs/%2e%2e/version", "/page/%2e%2e/version/"):
        assert client.get(f"http://testserver{path}").status_code in (401, 404), path


@pytest.mark.parametrize("cut_off", [True, False])
def test_every_page_works_below_a_prefix(make_client: ClientMaker, cut_off: bool) -> None:
    client = make_client(root_path="/ai/hdnet/", api_keys=(KEY,))
    prefix = "" if cut_off else "/ai/hdnet"
    for path in PAGES:
        answer = client.get(prefix + path, headers={"X-API-Key": KEY}, follow_redirects=False)
        assert answer.status_code == 200, path
        for address in re.findall(r"""(?:src|href|url)\s*[=:]\s*["'](/[^"']*)["']""", answer.text):
            assert address.startswith("/ai/hdnet/"), (path, address)
            assert client.get(address.removeprefix("/ai/hdnet") if cut_off else address).status_code == 200, address
    assert '<base href="/ai/hdnet/">' in client.get(f"{prefix}/").text
    assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": "/ai/hdnet"}]
    for address in ("/depth", "/depth/"):
        sent = {"files": good_upload(), "follow_redirects": False}
        assert client.post(prefix + address, **sent).status_code == 401
        assert client.post(prefix + address, **sent, headers={"X-API-Key": KEY}).status_code == 200
    text = client.get(f"{prefix}/metrics").text
    assert 'route="/depth",status="200"' in text


def test_the_prefix_itself_is_the_page(make_client: ClientMaker) -> None:
    client = make_client(root_path="/hdnet")
    assert "<base href" in client.get("/hdnet", follow_redirects=False).text
    assert client.get("/hdnetwork").status_code == 404
    assert client.post("/hdnet/nothing").json()["instance"] == "/hdnet/nothing"


def test_without_a_prefix_the_page_begins_at_the_root(client: TestClient) -> None:
    assert '<base href="/">' in client.get("/").text
    assert "servers" not in client.get("/openapi.json").json()


@pytest.mark.parametrize(
    ("trusted", "peer", "named"),
    [
        ("10.0.0.0/24, 192.0.2.5", "10.0.0.7", "203.0.113.9"),
        ("10.0.0.0/24, 192.0.2.5", "192.0.2.5", "203.0.113.9"),
        ("10.0.0.0/24", "10.0.1.7", "10.0.1.7"),
        ("10.0.0.0/24", "127.0.0.1", "127.0.0.1"),
        ("", "127.0.0.1", "203.0.113.9"),
        ("", "10.0.0.7", "10.0.0.7"),
    ],
)
def test_only_trusted_proxies_name_the_caller(registry: FakeRegistry, trusted: str, peer: str, named: str) -> None:
    settings = Settings(trusted_proxies=trusted)  # type: ignore[arg-type]
    config = Server(create_app(settings, registry), settings).config
    config.load()
    layer = config.loaded_app
    assert isinstance(layer, ProxyHeadersMiddleware)
    seen: list[str] = []

    async def app(scope: dict[str, object], *_: object) -> None:
        seen.append(scope["client"][0])  # type: ignore[index]

    layer.app = app  # type: ignore[assignment]
    scope = {"type": "http", "scheme": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", b"203.0.113.9")]}
    asyncio.run(layer(scope, None, None))  # type: ignore[arg-type]
    assert seen == [named]
