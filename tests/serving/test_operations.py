from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from serving_fakes import FakeRegistry, good_upload, wait_until

from hdnet import __version__
from serving.app import create_app
from serving.settings import Settings

ClientMaker = Callable[..., TestClient]


def test_version_names_package_and_model(client: TestClient) -> None:
    assert client.get("/version").json() == {
        "package": "hdnet",
        "version": __version__,
        "model": {"name": "hdnet", "version": "1", "alias": "champion", "run_id": "run1"},
    }


def test_metrics(client: TestClient) -> None:
    client.post("/depth", files=good_upload())
    client.post("/depth", files={"image": ("a.png", b"x", "image/png")})
    client.get("/nothing/here")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text
    for stage in ("decode", "wait", "infer", "encode", "total"):
        assert f'hdnet_stage_seconds_count{{stage="{stage}"}} 1.0' in text
    assert 'hdnet_requests_total{method="POST",route="/depth",status="200"} 1.0' in text
    assert 'hdnet_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'hdnet_rejected_total{reason="missing_part"} 1.0' in text
    assert 'hdnet_model_info{alias="champion",name="hdnet",run_id="run1",version="1"} 1.0' in text
    assert "hdnet_requests_in_flight 1.0" in text
    assert "hdnet_admitted 0.0" in text
    assert "/nothing" not in text


def test_openapi_describes_the_endpoint(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    operation = schema["paths"]["/depth"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"].split("/")[-1]
    properties = schema["components"]["schemas"][form]
    assert set(properties["required"]) == {"image", "densepose"}
    assert set(properties["properties"]) == {"image", "densepose", "mask", "densepose_order"}
    assert set(operation["responses"]["200"]["content"]) == {
        "application/json",
        "image/png",
        "application/x-npz",
        "model/gltf-binary",
    }
    assert set(operation["responses"]) >= {"400", "406", "413", "415", "422", "500", "503", "504"}
    for status in ("413", "422", "503"):
        assert list(operation["responses"][status]["content"]) == ["application/problem+json"]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert not re.search(r"""(src|href|url)\s*[=(:]\s*["']?(https?:)?//""", answer.text)
    for address in re.findall(r"""(?:src|href)=["'](/[^"']+)""", answer.text):
        assert client.get(address).status_code == 200, address


def test_page_forbids_remote_content(client: TestClient) -> None:
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]


def test_every_answer_has_its_headers(client: TestClient) -> None:
    for path in ("/", "/health/live", "/nothing"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Request-Id"]


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDNET_MODEL_URI", "models:/other@challenger")
    monkeypatch.setenv("HDNET_MAX_BODY_MB", "1.5")
    monkeypatch.setenv("HDNET_PORT", "9001")
    settings = Settings()
    assert settings.model_uri == "models:/other@challenger"
    assert settings.max_body_bytes == 1_500_000
    assert settings.port == 9001


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "x"), ("QUEUE_SIZE", "-1"), ("DEADLINE_S", "0"), ("THREADS", "0")]
)
def test_settings_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"HDNET_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_shutdown_finishes_what_runs_and_ends_its_threads(registry: FakeRegistry) -> None:
    app = create_app(Settings(model_uri="models:/hdnet@champion"), registry.load, registry.resolve)
    with TestClient(app) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200)
    with pytest.raises(RuntimeError, match="after shutdown"):
        app.state.service.lane._worker.submit(print)


def test_importing_starts_nothing() -> None:
    code = (
        "import sys, threading, os, serving.app; "
        "assert threading.active_count() == 1; "
        "assert 'mlflow' not in sys.modules; "
        "assert not [n for n in os.environ if n.startswith('MLFLOW_')]"
    )
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)
