from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from serving_fakes import FakeRegistry, good_upload

from serving.security import ApiKeys

ClientMaker = Callable[..., TestClient]

KEY, OTHER_KEY, TOKEN = "k" * 16, "m" * 16, "t" * 20
SHOP = "https://shop.example"


def code_of(answer: object) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    return answer.status_code, answer.json()["code"]


def test_keys_guard_what_costs_and_leave_probes_and_pages_open(make_client: ClientMaker) -> None:
    client = make_client(api_keys=(KEY, OTHER_KEY))
    for path in ("/", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 200, path
    for path in ("/depth", "/depth/batch"):
        assert code_of(client.post(path, files=good_upload())) == (401, "missing_api_key")
        wrong = client.post(path, files=good_upload(), headers={"X-API-Key": KEY[:-1] + "x"})
        assert code_of(wrong) == (403, "wrong_api_key")
        for key in (KEY, OTHER_KEY):
            assert client.post(path, files=good_upload(), headers={"X-API-Key": key}).status_code == 200
    assert code_of(client.get("/version")) == (401, "missing_api_key")
    # What does not exist yet is closed, too.
    assert code_of(client.get("/something/new")) == (401, "missing_api_key")
    assert 'hdnet_rejected_total{reason="wrong_api_key"} 2.0' in client.get("/metrics").text


def test_a_body_without_a_key_is_not_read() -> None:
    async def app(*_: object) -> None:
        raise AssertionError("passed on")

    async def receive() -> dict[str, object]:
        raise AssertionError("read")

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/depth", "headers": [], "state": {"request_id": "r1"}}
    asyncio.run(ApiKeys(app, [SecretStr(KEY)])(scope, receive, send))
    assert sent[0]["status"] == 401
    assert (b"connection", b"close") in sent[0]["headers"]


def test_a_key_that_no_header_can_mean(make_client: ClientMaker) -> None:
    client = make_client(api_keys=(KEY,))
    answer = client.get("/version", headers={"X-API-Key": "\u00e9".encode() * 16})
    assert code_of(answer) == (403, "wrong_api_key")


def test_without_keys_nothing_asks_for_one(client: TestClient) -> None:
    assert client.get("/version").status_code == 200
    assert "ApiKey" not in client.get("/openapi.json").text


def test_the_document_names_the_key(make_client: ClientMaker) -> None:
    schema = make_client(api_keys=(KEY,)).get("/openapi.json").json()
    (scheme,) = schema["components"]["securitySchemes"].values()
    assert (scheme["in"], scheme["name"]) == ("header", "X-API-Key")
    assert schema["paths"]["/depth"]["post"]["security"]
    assert "security" not in schema["paths"]["/health/live"]["get"]


def test_other_origins_are_closed_by_default(client: TestClient) -> None:
    answer = client.post("/depth", files=good_upload(), headers={"Origin": SHOP})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}
    answer = client.options("/depth", headers=preflight)
    assert code_of(answer) == (405, "method_not_allowed")
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_origins_that_may_call(make_client: ClientMaker) -> None:
    client = make_client(cors_origins=(SHOP,), api_keys=(KEY,), max_body_mb=0.1)
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    allowed = client.options("/depth", headers={"Origin": SHOP, **asked})
    assert allowed.status_code == 200  # without a key, as browsers ask
    assert allowed.headers["Access-Control-Allow-Origin"] == SHOP
    assert "X-API-Key" in allowed.headers["Access-Control-Allow-Headers"]
    answer = client.post("/depth", files=good_upload(), headers={"Origin": SHOP, "X-API-Key": KEY})
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    assert "X-Model-Version" in answer.headers["Access-Control-Expose-Headers"]
    # A page must be able to read problems, too.
    too_large = client.post("/depth", content=bytes(200_000), headers={"Origin": SHOP, "X-API-Key": KEY})
    assert code_of(too_large) == (413, "body_too_large")
    keyless = client.post("/depth", headers={"Origin": SHOP})
    for problem in (too_large, keyless):
        assert problem.headers["Access-Control-Allow-Origin"] == SHOP
    refused = client.options("/depth", headers={"Origin": "https://evil.example", **asked})
    assert code_of(refused) == (400, "cors_refused")
    assert "Access-Control-Allow-Origin" not in refused.headers


def test_a_page_can_read_an_internal_error(make_client: ClientMaker, registry: FakeRegistry) -> None:
    registry.versions["1"].error = RuntimeError("secret/path broke")
    answer = make_client(cors_origins=("*",)).post("/depth", files=good_upload(), headers={"Origin": SHOP})
    assert code_of(answer) == (500, "internal")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/version", "/nothing", "/", "/docs"])
def test_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http:" not in policy
    assert "https:" not in policy
    assert "server" not in headers


def test_pictures_of_people_are_not_kept_on_the_way(client: TestClient) -> None:
    assert client.post("/depth", files=good_upload()).headers["Cache-Control"] == "no-store"


def test_without_a_token_there_is_no_admin(client: TestClient) -> None:
    assert code_of(client.post("/admin/reload", headers={"Authorization": "Bearer x"})) == (404, "not_found")
    assert "/admin/reload" not in client.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, (401, "missing_token")),
        ("Basic dDp0", (401, "missing_token")),
        ("Bearer " + TOKEN[:-1], (403, "wrong_token")),
        ("Bearer " + KEY, (403, "wrong_token")),
    ],
)
def test_reload_wants_the_token(
    make_client: ClientMaker, registry: FakeRegistry, authorization: str | None, expected: tuple[int, str]
) -> None:
    client = make_client(admin_token=TOKEN, api_keys=(KEY,), reload_interval_s=60)
    registry.add("2")
    registry.champion = "2"
    headers = {"X-API-Key": KEY} | ({"Authorization": authorization} if authorization else {})
    answer = client.post("/admin/reload", headers=headers)
    assert code_of(answer) == expected
    assert client.get("/version", headers={"X-API-Key": KEY}).json()["model"]["version"] == "1"
    assert (answer.headers.get("WWW-Authenticate") == "Bearer") == (expected[0] == 401)


def test_reload(make_client: ClientMaker, registry: FakeRegistry) -> None:
    client = make_client(admin_token=TOKEN, api_keys=(KEY,), reload_interval_s=60)
    headers = {"Authorization": f"Bearer {TOKEN}"}  # the token is enough
    assert client.post("/admin/reload", headers=headers).json()["loaded"] is False
    registry.add("2")
    registry.champion = "2"
    body = client.post("/admin/reload", headers=headers).json()
    assert (body["loaded"], body["model"]["version"]) == (True, "2")
    registry.add("3", finite=False)
    registry.champion = "3"
    failed = client.post("/admin/reload", headers=headers)
    assert code_of(failed) == (502, "reload_failed")
    assert "not finite" in failed.json()["detail"]
    assert client.post("/depth", files=good_upload(), headers={"X-API-Key": KEY}).headers["X-Model-Version"] == "2"
