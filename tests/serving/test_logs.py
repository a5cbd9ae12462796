from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from serving_fakes import FakeRegistry, good_upload

from serving import logs


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the service writes as JSON; afterwards logging is as it was."""
    stream = io.StringIO()
    root = logging.getLogger()
    monkeypatch.setattr("sys.stderr", stream)
    before, level = root.handlers[:], root.level
    root.handlers = []
    logs.configure("json")
    yield stream
    root.handlers, root.level = before, level


def parsed(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_is_one_object(lines: io.StringIO, client: TestClient) -> None:
    client.post("/depth", files=good_upload(), headers={"X-Request-Id": "order-7"})
    client.post("/depth", headers={"X-Request-Id": "order-8"})
    good, bad = (line for line in parsed(lines) if line.get("path") == "/depth")
    assert good["time"].endswith("+00:00")
    assert good.pop("milliseconds") > 0
    assert {name: good[name] for name in ("level", "request_id", "method", "status", "model_version")} == {
        "level": "info",
        "request_id": "order-7",
        "method": "POST",
        "status": 200,
        "model_version": "1",
    }
    assert (bad["request_id"], bad["status"], bad["problem"]) == ("order-8", 415, "unsupported_media_type")


def test_an_error_carries_its_traceback_and_request(
    lines: io.StringIO, client: TestClient, registry: FakeRegistry
) -> None:
    registry.versions["1"].error = RuntimeError("it broke\non two lines")
    client.post("/depth", files=good_upload(), headers={"X-Request-Id": "order-9"})
    (error,) = (line for line in parsed(lines) if line["level"] == "error")
    assert error["request_id"] == "order-9"
    assert "RuntimeError: it broke\non two lines" in error["exception"]


def test_what_the_client_writes_makes_no_line_of_its_own(lines: io.StringIO, client: TestClient) -> None:
    client.get('/a%0A{"level":"error"}')
    assert [line["status"] for line in parsed(lines) if line.get("method")] == [404]


def test_text(client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    records: list[logging.LogRecord] = []
    handler, logger = logging.Handler(), logging.getLogger("hdnet.serving")
    monkeypatch.setattr(handler, "emit", records.append)
    # Its own handler: what other tests have done to logging does not matter.
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "disabled", False)
    caplog.set_level(logging.INFO, logger.name)
    client.get("/version", headers={"X-Request-Id": "order-7"})
    (line,) = (record.getMessage() for record in records if "/version" in record.getMessage())
    assert line.startswith("GET /version -> 200 ok in ")
    assert line.endswith("request order-7")
