import io
import re

import pytest

from hdnet.training.reporting import Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when told."""
    now = [100.0]
    monkeypatch.setattr("hdnet.training.reporting.time.monotonic", lambda: now[0])
    return now


def test_plain_lines_come_at_intervals_and_at_the_end(clock):
    out = io.StringIO()
    with Progress(100, 0, "train_normal", out, interval_s=15.0) as progress:
        for step in range(10, 101, 10):
            clock[0] += 5.0
            progress.update(step, {"loss": 1.23456, "normal_rad": 0.5}, 12.34, 0.011)
    lines = out.getvalue().splitlines()
    assert lines[0] == (
        "train_normal: step 10/100 (10%), 0:45 left  loss 1.23  normal_rad 0.5  12.3 images/s  data wait 1%"
    )
    assert [re.search(r"step (\d+)", line).group(1) for line in lines] == ["10", "40", "70", "100"]
    assert "0:00 left" in lines[-1]


def test_a_continued_run_counts_on_and_times_only_its_own_steps(clock):
    out = io.StringIO()
    progress = Progress(1000, 900, "s", out)
    progress.update(900, {"loss": 1.0})
    clock[0] += 20.0
    progress.update(950)
    progress.close()
    first, second = out.getvalue().splitlines()
    assert first == "s: step 900/1000 (90%), -- left  loss 1"
    assert second == "s: step 950/1000 (95%), 0:20 left  loss 1"


def test_time_left_follows_the_last_minute_not_the_slow_start(clock):
    out = io.StringIO()
    progress = Progress(2000, 0, "s", out, interval_s=0.0)
    clock[0] += 300.0  # compiling
    for step in range(1, 1001):
        clock[0] += 1.0
        progress.update(step)
    assert "16:40 left" in out.getvalue().splitlines()[-1]


def test_a_terminal_gets_one_bar(clock):
    out = Terminal()
    with Progress(100, 20, "train_depth", out) as progress:
        for step in range(21, 101):
            clock[0] += 1.0
            progress.update(step, {"loss": 0.5}, 3.0, 0.0)
    shown = out.getvalue().split("\r")[-1]
    assert out.getvalue().count("\n") == 1
    assert "train_depth 100%" in shown
    assert "100/100, 0:00 left  loss 0.5  3 images/s  data wait 0%" in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (-3, "0:00"), (61, "1:01"), (3661, "1:01:01"), (200000, "2 d 7 h")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
