from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import get_args

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from serving_fakes import FakeRegistry, good_upload, wait_until

from hdnet import __version__
from hdnet.errors import ParamsError
from hdnet.predict.runtimes import AUTO, RUNTIMES
from hdnet.tracking.model_cache import ModelCache
from serving.app import create_app
from serving.settings import Settings, read_settings, settings_table

ClientMaker = Callable[..., TestClient]


def test_version_names_package_and_model(client: TestClient) -> None:
    body = client.get("/version").json()
    assert datetime.fromisoformat(body.pop("since")).tzinfo is not None
    assert body == {
        "package": "hdnet",
        "version": __version__,
        "model": {"name": "hdnet", "version": "1", "alias": "champion", "run_id": "run1"},
        "origin": "registry",
        "runtime": "fake",
    }


def test_version_before_there_is_a_model(make_client: ClientMaker, registry: FakeRegistry) -> None:
    registry.champion = None
    body = make_client(ready=False).get("/version").json()
    assert [body[name] for name in ("model", "origin", "runtime", "since")] == [None] * 4


def test_model_from_the_cache_says_so(make_client: ClientMaker, registry: FakeRegistry) -> None:
    registry.kept, registry.champion = "1", None
    client = make_client()
    assert client.get("/version").json()["origin"] == "cache"
    assert 'hdnet_model_origin{origin="cache"} 1.0' in client.get("/metrics").text
    registry.champion = "1"
    wait_until(lambda: client.get("/version").json()["origin"] == "registry")
    assert "cache" not in re.findall(r"hdnet_model_origin.*", client.get("/metrics").text)[-1]


def test_metrics(client: TestClient) -> None:
    client.post("/depth", files=good_upload())
    client.post("/depth", files={"mask": ("a.png", b"x", "image/png")})
    client.get("/nothing/here")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text
    for stage in ("decode", "prepare", "wait", "infer", "finish", "encode", "total"):
        assert f'hdnet_stage_seconds_count{{stage="{stage}"}} 1.0' in text
    assert 'hdnet_requests_total{method="POST",route="/depth",status="200"} 1.0' in text
    assert 'hdnet_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'hdnet_rejected_total{reason="missing_part"} 1.0' in text
    assert 'hdnet_model_info{alias="champion",name="hdnet",run_id="run1",version="1"} 1.0' in text
    assert "hdnet_requests_in_flight 1.0" in text
    assert "hdnet_admitted 0.0" in text
    assert "/nothing" not in text


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


def test_every_answer_has_its_id(client: TestClient) -> None:
    for path in ("/", "/health/live", "/nothing"):
        assert client.get(path).headers["X-Request-Id"]


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ADMIN_TOKEN", "short"),
        ("API_KEYS", "0123456789abcdef,short"),
        ("API_KEYS", "0123456789 abcdef"),
        ("CORS_ORIGINS", "shop.example"),
        ("CORS_ORIGINS", "https://shop.example/page"),
        ("RUNTIME", "onnx"),
        ("ROOT_PATH", "hdnet"),
        ("ROOT_PATH", "/a b"),
        ("ROOT_PATH", '/"><script>'),
        ("ROOT_PATH", "//evil.example"),
        ("ROOT_PATH", "/depth"),
        ("ROOT_PATH", "/docs/hdnet"),
        ("TRUSTED_PROXIES", "nginx"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ],
)
def test_settings_that_would_not_protect_or_work_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"HDNET_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_a_wrong_setting_is_one_line_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDNET_PORT", "ninety")
    with pytest.raises(ParamsError, match=r"^HDNET_PORT: input should be a valid integer[^\n]*$"):
        read_settings()
    assert read_settings(port=9001).port == 9001
    monkeypatch.delenv("HDNET_PORT")
    monkeypatch.setenv("HDNET_API_KEYS", "hush,hush")
    with pytest.raises(ParamsError, match=r"^HDNET_API_KEYS: a secret is too short") as caught:
        read_settings()
    assert "hush" not in str(caught.value)


def test_lists_and_secrets_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDNET_API_KEYS", "0123456789abcdef, fedcba9876543210")
    monkeypatch.setenv("HDNET_CORS_ORIGINS", "https://shop.example,http://localhost:3000")
    monkeypatch.setenv("HDNET_ADMIN_TOKEN", "0123456789abcdef")
    settings = Settings()
    assert [key.get_secret_value() for key in settings.api_keys] == ["0123456789abcdef", "fedcba9876543210"]
    assert settings.cors_origins == ("https://shop.example", "http://localhost:3000")
    assert "0123456789abcdef" not in repr(settings)


def test_runtimes_that_can_be_set_are_those_that_there_are() -> None:
    assert set(get_args(Settings.model_fields["runtime"].annotation)) == {AUTO, *RUNTIMES}


def test_cache_folder_is_that_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HDNET_CACHE_DIR")
    assert Settings().cache_dir == ModelCache(None, "", "").folder


def test_documentation_lists_the_settings() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    assert settings_table() in page, f"docs/operations.md needs this table:\n{settings_table()}"


def test_shutdown_finishes_what_runs_and_ends_its_threads(registry: FakeRegistry) -> None:
    app = create_app(Settings(), registry)
    with TestClient(app) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200)
    with pytest.raises(RuntimeError, match="after shutdown"):
        app.state.service.admission._pictures.submit(print)


def test_importing_starts_nothing() -> None:
    code = (
        "import sys, threading, os, serving.app; "
        "assert threading.active_count() == 1; "
        "assert 'mlflow' not in sys.modules; "
        "assert not [n for n in os.environ if n.startswith('MLFLOW_')]"
    )
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)
