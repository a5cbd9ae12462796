"""The table of a request's steps, here and at another commit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "request.py"
STEPS = ("decode the JPEG", "check", "cut out", "map back", "answer as JSON", "- PNG of the depth", "over HTTP, JSON")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--size", "120", "90", "--repeats", "1", "--turns", "1", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_every_step_has_its_time() -> None:
    done = run()
    assert done.returncode == 0, done.stderr
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if "|" in line]
    ms = {row[0]: float(row[1]) for row in cells[2:]}
    assert set(STEPS) <= set(ms)
    assert all(value > 0 for value in ms.values())
    assert ms["over HTTP, JSON"] > ms["map back"]


@pytest.mark.slow
def test_another_commit_stands_beside() -> None:
    done = run("--against", "HEAD")
    assert done.returncode == 0, done.stderr
    assert "| step | ms at HEAD | ms | ratio |" in done.stdout
    assert "nan" not in done.stdout


def test_an_unknown_commit_is_one_line() -> None:
    done = run("--against", "no-such-commit")
    assert done.returncode == 1
    assert "git archive no-such-commit" in done.stderr.splitlines()[-1]
