"""Two replicas of the service on Ray Serve, on this machine: both answer, and one may die."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import pytest
from servers import free_port
from serving_fakes import good_upload, save_tiny_model, wait_until

from hdnet.errors import ParamsError
from serving.settings import settings_table

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def ray_serve() -> None:
    """Ray, imported where a test of it runs: seconds that a process that only collects can do without."""
    pytest.importorskip("ray.serve", reason="Ray Serve is not installed: pip install hdnet[ray-serve]")


def test_serve_run_may_call_the_builder() -> None:
    """It passes one argument on, and refuses functions that take none or several."""
    from serving.ray_deployment import build

    assert len(inspect.signature(build).parameters) == 1
    with pytest.raises(ParamsError, match="HDNET_THREADS"):
        build({"threads": "2"})


# In a process of its own: Ray takes over signals and logging of the one that starts it.
HEAD = """
import sys
import ray
from ray import serve
from serving.ray_deployment import build

ray.init(num_cpus=2, object_store_memory=100_000_000, include_dashboard=False, log_to_driver=False)
try:
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(build(), name="hdnet")
    print("running", flush=True)
    sys.stdin.read()
finally:
    serve.shutdown()
    ray.shutdown()
"""


@dataclass
class Cluster:
    """A Ray of this machine, with the service on it."""

    url: str
    process: subprocess.Popen[str]

    def replica_pids(self) -> list[int]:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [one.pid for one in children if any("ServeReplica:hdnet" in word for word in one.cmdline())]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    save_tiny_model(tmp_path / "model" / "hdnet.safetensors")
    environment = {
        **os.environ,
        "RAY_USAGE_STATS_ENABLED": "0",
        "HDNET_MODEL_URI": str(tmp_path / "model" / "hdnet.safetensors"),
        "HDNET_RUNTIME": "torch",
        "HDNET_THREADS": "1",
        "HDNET_RAY_REPLICAS": "2",
        "HDNET_RAY_CPUS": "0.5",
        "HDNET_RAY_HEALTH_PERIOD_S": "1",
    }
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD, str(port)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert "running\n" in iter(process.stdout.readline, ""), "Ray did not start"
        yield Cluster(f"http://127.0.0.1:{port}", process)
    finally:
        process.communicate(timeout=120)


def test_the_document_lists_the_settings() -> None:
    from serving.ray_deployment import RaySettings

    assert settings_table(RaySettings) in (ROOT / "docs" / "scaling.md").read_text()


def births(url: str, asked: int = 30) -> set[str]:
    """When the replicas that answer loaded their models: one moment for each."""
    return {httpx2.get(f"{url}/version", timeout=30).json()["since"] for _ in range(asked)}


def test_both_replicas_answer_and_one_may_die(cluster: Cluster) -> None:
    url = cluster.url
    before = births(url)
    assert len(before) == 2
    answer = httpx2.post(f"{url}/depth", files=good_upload(), timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["size"] == {"width": 40, "height": 60}
    refused = httpx2.post(f"{url}/depth", files={}, timeout=60)
    assert (refused.status_code, refused.headers["content-type"]) == (415, "application/problem+json")
    pids = cluster.replica_pids()
    assert len(pids) == 2

    os.kill(pids[0], signal.SIGKILL)

    statuses = [httpx2.post(f"{url}/depth", files=good_upload(), timeout=60).status_code for _ in range(10)]
    assert statuses == [200] * 10
    wait_until(lambda: len(births(url, asked=10) - before) == 1, timeout_s=120)  # another took its place
    assert len(cluster.replica_pids()) == 2
