"""`benchmarks/hostile.py` judges a copy: its files, their bytes, what is left."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
