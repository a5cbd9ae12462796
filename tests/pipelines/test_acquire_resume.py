"""Stage `acquire` under DVC, killed while it makes people: the next `dvc repro` goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from checkouts import Checkout, small_params

from hdnet.params import Params, parse_section
from pipelines.acquire import gather

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_killed_repro_goes_on(tmp_path: Path) -> None:
    checkout = Checkout.of_the_code(tmp_path / "checkout")
    values = small_params()
    checkout.write_params(values)
    folder = checkout.folder
    checkout.git("add", "-A")
    process = subprocess.Popen(
        ["dvc", "repro", "acquire"],
        cwd=folder,
        env=checkout.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while len(list((folder / "data").glob(".raw.made/.train.partial/.finished/*/*.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "data/raw").exists()
    assert not checkout.git("status", "--porcelain", "--", "data")

    done = checkout.dvc("repro", "acquire")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "going on" in done.stdout + done.stderr
    assert {path.name for path in (folder / "data").iterdir()} - {".gitignore"} == {"raw"}
    gather(tmp_path / "raw", folder / "own_data", parse_section(Params, values, "test").data, values["seed"], 1)
    assert files(folder / "data/raw") == files(tmp_path / "raw")
