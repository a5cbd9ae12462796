"""`benchmarks/service.py` starts, asks, judges; small versions of all its commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hdnet.errors import HDNetError
from hdnet.predict.inference import Predictor

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None or shutil.which("openssl") is None, reason="nginx or openssl is missing")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ("inference", *(f"service_{name}" for name in ("balancer", "clients", "plain", "registry", "soak", "speed")))


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's modules by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return SimpleNamespace(**{name.removeprefix("service_"): import_module(name) for name in NAMES})


def run(*arguments: str, runtime: str = "torch") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "service.py"), *arguments, "--runtime", runtime, "--width", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def rows(printed: str) -> list[list[str]]:
    """The lines of the tables, without their heads; all as wide as those."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line[:1] == "|"]
    assert len({len(row) for row in cells}) == 1, printed
    return cells[2:]


def test_load_counts_answers_and_refusals() -> None:
    done = run("load", "--size", "120", "90", "--clients", "1", "4", "--seconds", "0.5")
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    assert [row[0].split(":")[0] for row in table] == ["1 client", "4 clients", "0.5 x saturation", "4 x saturation"]
    accepted, refused, other = (np.array([int(row[column]) for row in table]) for column in (5, 6, 7))
    assert (accepted > 0).all()
    assert (refused[:3] == 0).all()  # four, and fewer, fit into one pass and eight places
    assert (other == 0).all()


@needs_nginx
def test_nginx_takes_the_documented_configuration(rooms: Any, tmp_path: Path) -> None:
    replicas = ["127.0.0.1:8001", "127.0.0.1:8002"]
    rooms.balancer.Nginx(replicas, tmp_path / "nginx")
    written = (tmp_path / "nginx/nginx.conf").read_text()
    assert all(f"server {one} max_fails" in written for one in replicas)
    assert "10.0.0." not in written
    command = [str(NGINX), "-t", "-c", str(tmp_path / "nginx/nginx.conf"), "-p", str(tmp_path / "nginx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@needs_nginx
@pytest.mark.slow
def test_a_killed_replica_costs_no_request() -> None:
    done = run("balancer", "--times", "1", "--clients", "2", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    ((number, _, _, _, failed, _),) = rows(done.stdout)
    assert (number, failed) == ("1", "0")


@pytest.mark.slow
def test_load_complains_of_a_missed_deadline() -> None:
    done = run("load", "--size", "120", "90", "--clients", "1", "--seconds", "0.5", "--deadline", "0.001")
    assert done.returncode == 1
    assert "504" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_plain_compares_in_turns() -> None:
    done = run("plain", "--size", "120", "90", "--repeats", "2", "--also", "openvino")
    table = rows(done.stdout)
    assert [row[0] for row in table] == ["plain PyTorch, float32", "hdnet serve, torch", "hdnet serve, openvino"]
    assert table[0][2] == table[0][5] == "1.00 x"
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_soak_looks_at_the_process() -> None:
    done = run("soak", "--requests", "100", "--bound-mb", "200")  # ten requests warm nothing up
    assert done.returncode == 0, done.stderr
    assert [row[0] for row in rows(done.stdout)] == ["0", "10", "20", "40", "60", "80", "100"]
    assert sum(int(row[4]) for row in rows(done.stdout)) == 100


@pytest.mark.slow
def test_swaps_under_load() -> None:
    done = run("swaps", "--swaps", "4")
    assert done.returncode == 0, done.stderr
    [[asked, right, *bad, _, _, _]] = rows(done.stdout)
    assert int(asked) == int(right) > 4
    assert bad == ["0", "0", "0"]


@pytest.mark.slow
def test_kill_under_load() -> None:
    done = run("kill", "--times", "1", "--seconds", "0.5")
    assert done.returncode == 0, done.stderr
    [[number, ready_s, first_s, _, _]] = rows(done.stdout)
    assert number == "1"
    assert 0 < float(ready_s) <= float(first_s) + 1  # clients may be answered before the benchmark looks
    assert "0 of them wrong; 0 requests failed while the service was up" in done.stdout


def test_the_plain_service_says_the_same(rooms: Any) -> None:
    model = rooms.inference.made_up(2)
    pictures = rooms.inference.decoded(rooms.inference.photograph(400, 300))
    image, mask, iuv = pictures.image, pictures.mask, pictures.iuv
    expected = Predictor(model).infer(image, mask, iuv)

    def unlike(*pictures: np.ndarray) -> tuple[float, float]:
        depth_m, normals = rooms.plain.predict(model, *pictures)
        cosine = (normals * expected.normals).sum(axis=2)[expected.mask]
        return np.abs(depth_m - expected.depth_m)[expected.mask].mean(), np.arccos(cosine.clip(-1, 1)).mean()

    vui = iuv[..., ::-1]
    depth_m, angle_rad = unlike(image, mask, vui)
    # Untrained networks pass on that Pillow resizes a little differently; mixed-up channels differ more.
    assert depth_m < 0.5 * unlike(image, mask, iuv)[0]
    assert angle_rad < 0.75 * unlike(255 - image, mask, vui)[1]


def outcome(rooms: Any, status: int | None = 200, seconds: float = 0.1, **values: Any) -> Any:
    due = values.pop("due", 0.0)
    return rooms.clients.Outcome("figure", due, due + seconds, status, **values)


def test_only_right_answers_and_503_are_accepted(rooms: Any) -> None:
    right = [outcome(rooms, digest="a")]
    fine = [outcome(rooms, digest="a"), outcome(rooms, 503)]
    assert rooms.speed.judge(fine, right, deadline_s=1.0) == []
    assert rooms.speed.judge([*fine, outcome(rooms, 500)], right, 1.0) == ["1 x status 500"]
    assert rooms.speed.judge([*fine, outcome(rooms, None, error="ReadError")], right, 1.0) == ["1 x ReadError"]
    assert "1 answers differ" in rooms.speed.judge([*fine, outcome(rooms, digest="b")], right, 1.0)[0]
    assert "95th percentile is 2.0 s" in rooms.speed.judge([outcome(rooms, seconds=2.0, digest="a")], right, 1.0)[0]
    assert rooms.speed.judge([outcome(rooms, 503)], right, 1.0) == ["no request was accepted"]


def test_a_version_may_answer_until_the_next_swap_is_done(rooms: Any) -> None:
    timeline = [rooms.registry.Swap("2", began=10.0, done=11.0), rooms.registry.Swap("1", began=20.0, done=21.0)]

    def valid(version: str, due: float, ended: float) -> bool:
        answer = outcome(rooms, version=version, due=due, seconds=ended - due)
        return bool(rooms.registry.was_champion(answer, "1", timeline))

    assert valid("1", 9.0, 9.5)
    assert not valid("2", 9.0, 9.5)
    assert valid("1", 10.5, 12.0)  # asked while the swap was on
    assert valid("2", 10.5, 12.0)
    assert not valid("1", 11.5, 12.0)
    assert valid("2", 19.0, 22.0)
    assert not valid("2", 21.5, 22.0)
    assert not valid("3", 0.0, 30.0)


def test_requests_may_fail_only_while_the_service_is_down(rooms: Any) -> None:
    outages = [rooms.registry.Outage(killed=10.0, ready=15.0)]

    def fine(due: float, seconds: float, status: int | None = None) -> bool:
        return bool(rooms.registry.accounted_for(outcome(rooms, status, seconds, due=due), outages))

    assert fine(9.0, 1.5)  # cut off
    assert fine(12.0, 0.1)
    assert fine(12.0, 0.1, 503)
    assert not fine(8.0, 1.5)
    assert not fine(15.5, 0.1, 503)
    assert fine(15.5, 0.1, 200)


@pytest.mark.parametrize(
    ("end", "complaint"),
    [((130.0, 10, 10), "grew by 30.0 MB"), ((100.0, 30, 10), "30 threads"), ((100.0, 10, 40), "40 open files")],
)
def test_growth_beyond_the_bound_is_an_error(rooms: Any, end: tuple[float, int, int], complaint: str) -> None:
    burden = rooms.soak.Burden
    rooms.soak.check_growth(burden(100.0, 10, 10), burden(119.0, 12, 12), bound_mb=20.0)
    with pytest.raises(HDNetError, match=complaint):
        rooms.soak.check_growth(burden(100.0, 10, 10), burden(*end), bound_mb=20.0)


def test_the_ratio_is_of_each_turn(rooms: Any) -> None:
    spent = rooms.speed.Spent
    own, plain = [spent(10.0, 10.0), spent(40.0, 20.0)], [spent(50.0, 40.0), spent(120.0, 80.0)]
    assert rooms.speed.ratios(own, plain) == [3.0, 5.0]
    assert rooms.speed.cells(own, plain)[-2:] == ["15", "4.00 x"]


def test_less_than_four_times_the_first_service_is_an_error(rooms: Any) -> None:
    rooms.speed.check_bar([3.0, 4.1, 5.0])
    with pytest.raises(HDNetError, match=r"3\.90 times"):
        rooms.speed.check_bar([3.0, 3.9, 5.0])
