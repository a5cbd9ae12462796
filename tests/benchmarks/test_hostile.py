"""`benchmarks/hostile.py` judges a copy: its files, their bytes, what is left."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("hostile")


def copy(files: dict[str, str], left: list[str]) -> SimpleNamespace:
    return SimpleNamespace(digests=lambda: files, leftovers=lambda: left)


def test_each_difference_is_named(hostile: Any) -> None:
    expected = {"models/a": "1", "models/b": "2", "reports/register/card.md": ""}
    same = copy(dict(expected), [])
    other = copy({"models/a": "9", "reports/register/card.md": "", "data/.half": "5"}, ["tmp/x", "process 7"])
    assert hostile.problems(hostile.Ended(Counter(), 1, [same]), expected) == []
    assert hostile.problems(hostile.Ended(Counter(), 1, [same, other]), expected) == [
        "not in the undisturbed copy: data/.half",
        "missing: models/b",
        "other bytes: models/a",
        "left behind: tmp/x",
        "left behind: process 7",
    ]


def test_copies_run_until_there_were_enough_disturbances(hostile: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Each copy is disturbed in its first two calls at most, and the very first ends before its first moment."""
    made: list[Path] = []

    class Bench:
        def __init__(self, folder: Path) -> None:
            made.append(folder)
            self.calls = 0

        def start(self) -> SimpleNamespace:
            self.calls += 1
            ends = len(made) == 1 or self.calls > 2
            return SimpleNamespace(wait=self.ended if ends else self.running, poll=lambda: 0 if ends else None)

        def ended(self, _: float) -> int:
            return 0

        def running(self, seconds: float) -> int:
            raise psutil.TimeoutExpired(seconds)

        def finish(self, tries: int) -> int:
            assert tries == hostile._TRIES
            return 1

    monkeypatch.setattr(hostile, "Bench", Bench)
    setting = hostile.Setting(tmp_path, random.Random(0), 5, 9.0, ExitStack())
    ended = hostile.disturb(setting, tmp_path, lambda _: "kind")
    assert ended.disturbed == {"kind": 5}
    assert made == [tmp_path / f"copy-{k}" for k in range(4)]
    assert len(ended.benches) == 4
    # The last copy needs no third call: the fifth disturbance was its first.
    assert ended.calls == (1 + 1) + (3 + 1) + (3 + 1) + (1 + 1)


def test_a_full_disk_has_no_room_and_is_emptied_again(hostile: Any, tmp_path: Path) -> None:
    """The file system is a file with a limit; the real one needs root."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with hostile.filled(tmp_path / "ballast"):
            assert (tmp_path / "ballast").stat().st_size == 1 << 20
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert not (tmp_path / "ballast").exists()
