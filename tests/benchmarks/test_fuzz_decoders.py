"""`benchmarks/fuzz_decoders.py`: a small run finds nothing, and it sees what it is there to see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def beside_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_a_small_run_ends_without_a_failure() -> None:
    command = [sys.executable, BENCHMARKS / "fuzz_decoders.py", "--cases", "250", "--seed", "1"]

    run = subprocess.run(command, capture_output=True, text=True, timeout=300)

    assert run.returncode == 0, run.stdout + run.stderr
    assert "250 cases" in run.stdout
    assert "0 failures." in run.stdout
    for code in ("ok", "damaged_picture", "not_a_picture", "too_many_pixels"):
        assert f"| {code} |" in run.stdout


def test_seeds_are_valid_and_cases_repeat() -> None:
    import fuzz_worker as worker

    cases = worker.Cases(seed=3)
    assert cases.make(17) == worker.Cases(seed=3).make(17) != cases.make(18)
    plain = {"image": "rgb.png", "mask": "grey.png", "densepose": "rgb.png"}
    seeds = {"image": worker.image_seeds(), "mask": worker.mask_seeds(), "densepose": worker.densepose_seeds()}
    files = {part: seeds[part][name] for part, name in plain.items()}
    for part, kinds in seeds.items():
        for name, data in kinds.items():
            found = worker.decode(worker.Case(name, {**files, part: data}, ""), 25_000_000)
            # Black and white leaves nothing of the person under the mask.
            assert found.code == ("mask_covers_nothing" if (part, name) == ("image", "bilevel.png") else "ok"), name
    assert worker.decode(worker.Case("sample", worker.sample_seeds(), ""), 25_000_000).code == "ok"


def die_at_three(connection: Any, seed: int, first: int, end: int, memory_mb: int) -> None:
    for number in range(first, end):
        connection.send(number)
        if number == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == 5:
            time.sleep(60)
        connection.send((str(number), [], 100.0 if number < 7 else 9000.0, 0.0))
    connection.send(None)


def test_death_silence_and_greed_are_seen_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import fuzz_decoders

    monkeypatch.setattr(fuzz_decoders, "work", die_at_three)

    tally = fuzz_decoders.fuzz(Namespace(cases=8, first=0, seed=0, case_s=1.0, memory_mb=1000))

    assert tally.cases == 6
    assert tally.failures == [
        "case 3: the process died of SIGSEGV",
        "case 5: no end within 1 s",
        "case 7 (7): memory grows by 8900 MB",
    ]


def test_an_answer_above_499_is_a_failure() -> None:
    from fuzz_decoders import Tally
    from fuzz_worker import Answer

    tally = Tally()
    tally.add(9, "rgb.png", [Answer("POST /depth", 422, "damaged_picture"), Answer("decode_parts", 500, "x", "y")], 0.1)

    assert tally.failures == ["case 9 (rgb.png): decode_parts gives 500 x y"]
