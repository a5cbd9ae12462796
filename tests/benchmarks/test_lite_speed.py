"""`benchmarks/lite.py` runs and prints its tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_all_tables_are_printed() -> None:
    small = ["--width", "2", "--sizes", "32", "64", "--batch", "2", "--repeats", "1", "--frozen", "0", "5", "99"]
    command = [sys.executable, str(BENCHMARKS / "lite.py"), *small]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    for name in ("all learns", "stem and 5 blocks frozen", "encoder frozen"):
        assert printed.count(f"| lite0, {name} |") == 1
    assert printed.count("| hourglass, width 2 |") == 2
    assert "| own: training step, ms a picture |" in printed
    for kind in ("convolutions, depthwise 5 x 5", "convolutions, 1 x 1", "normalisation, ReLU"):
        assert f"| {kind} |" in printed
    for table in printed.split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, table


def test_convolutions_are_told_by_their_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from lite import kernel_of

    picture, depthwise, dense = [2, 8, 4, 4], [8, 1, 5, 5], [16, 8, 1, 1]
    assert kernel_of("aten::mkldnn_convolution", [picture, depthwise, []]) == "convolutions, depthwise 5 x 5"
    assert kernel_of("aten::convolution_backward", [picture, picture, dense]) == "convolutions, 1 x 1"
    assert kernel_of("aten::convolution", []) == "convolutions, rest"
