"""Times beside busy processes."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest

from hdnet.errors import HDNetError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("busy")


def counting() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "while True" in str(one.cmdline())]


def test_others_are_busy_while_the_command_runs_and_gone_afterwards(busy, monkeypatch, tmp_path, capsys):
    seen = tmp_path / "seen"
    code = (
        "import psutil, time; time.sleep(0.5)\n"
        "siblings = psutil.Process().parent().children()\n"
        "others = [one for one in siblings if one.pid != psutil.Process().pid and 'nice' in str(one.cmdline())]\n"
        f"open({str(seen)!r}, 'a').write(str(len(others)))"
    )
    monkeypatch.setattr(sys, "argv", ["busy.py", "--most", "2", sys.executable, "-c", code])
    busy.main()
    assert seen.read_text() == "012"
    assert not counting()
    rows = [line.split("|")[1:4] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row[0].strip() for row in rows] == ["busy processes", "0", "1", "2"]
    assert rows[1][2].strip() == "1.00"


def test_a_command_that_fails_is_one_line(busy):
    with pytest.raises(HDNetError, match="status 3; no luck"):
        busy.seconds([sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)"], 1)
    with pytest.raises(HDNetError, match="no-such-command"):
        busy.seconds(["no-such-command"], 0)
    assert not counting()
