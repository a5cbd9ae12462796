"""The service as a process: how it starts, ends, and starts again without its registry."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from servers import free_port
from serving_fakes import good_upload, save_tiny_model, wait_until

from hdnet.models.weights import HDNET_FILE

pytestmark = pytest.mark.slow  # every process imports PyTorch

Starter = Callable[..., tuple[subprocess.Popen[bytes], str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts services on a tiny model; what still runs at the end is killed."""
    processes: list[subprocess.Popen[bytes]] = []
    save_tiny_model(tmp_path / HDNET_FILE)

    def make(**settings: object) -> tuple[subprocess.Popen[bytes], str]:
        port = free_port()
        values = {"model_uri": tmp_path / HDNET_FILE, "runtime": "torch", "threads": 1, "port": port, **settings}
        environment = {**os.environ, **{f"HDNET_{name.upper()}": str(value) for name, value in values.items()}}
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen([sys.executable, "-m", "serving"], env=environment, stderr=log)
        processes.append(process)
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: status(f"{url}/health/ready") == 200, timeout_s=60)
        return process, url

    yield make
    for process in processes:
        process.kill()
        process.wait()


def status(url: str) -> int | None:
    """None if nobody listens."""
    try:
        return httpx2.get(url).status_code
    except httpx2.TransportError:
        return None


def test_sigterm_finishes_what_runs(start: Starter, tmp_path: Path) -> None:
    process, url = start()
    files = good_upload(1200, 900)

    def ask(_: int) -> int | None:
        try:
            return httpx2.post(f"{url}/depth", files=files, timeout=60).status_code
        except httpx2.ConnectError:  # came too late
            return None

    def admitted() -> int:
        return int(float(re.findall(r"^hdnet_admitted (\S+)", httpx2.get(f"{url}/metrics").text, re.MULTILINE)[0]))

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, index) for index in range(8)]
        wait_until(lambda: admitted() >= 2)
        running = admitted()
        process.send_signal(signal.SIGTERM)
        statuses = [answer.result() for answer in answers]
    assert set(statuses) <= {200, None}
    assert statuses.count(200) >= running
    process.wait(30)
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert status(f"{url}/health/live") is None


def test_balancers_may_notice_before_it_stops_to_listen(start: Starter) -> None:
    process, url = start(shutdown_delay_s=2)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: status(f"{url}/health/ready") == 503)
    assert httpx2.get(f"{url}/health/ready").json()["code"] == "shutting_down"
    assert status(f"{url}/health/live") == 200
    assert httpx2.post(f"{url}/depth", files=good_upload()).status_code == 200
    process.wait(30)
    assert time.monotonic() - started >= 2


def test_a_second_signal_ends_it_at_once(start: Starter) -> None:
    process, url = start(shutdown_delay_s=300)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: status(f"{url}/health/ready") == 503)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
