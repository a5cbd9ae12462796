import math
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from hdnet.data import parallel
from hdnet.data.parallel import ordered_map, using_backend, workers_started
from hdnet.data.store.packed import pack_tiktok
from hdnet.errors import DataError, HDNetError, ParamsError


def process(_):
    time.sleep(0.01)
    return os.getpid()


def note(folder, _):
    (folder / str(os.getpid())).touch()


def refuse(item):
    if item == 3:
        raise DataError("file 3: is damaged")
    return item


def die(item):
    if item == 3:
        os._exit(1)
    return item


def map_all(function, items, jobs):
    return list(ordered_map(function, items, jobs, progress=False, label=""))


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_items(jobs):
    assert map_all(math.sqrt, [k * k for k in range(40)], jobs) == list(range(40))


def test_several_processes_work():
    assert len(set(map_all(process, range(40), 2))) == 2
    assert set(map_all(process, range(3), 1)) == {os.getpid()}


def test_workers_are_started_while_something_else_is_done(tmp_path):
    with workers_started(partial(note, tmp_path), 2):
        pass
    started = {file.name for file in tmp_path.iterdir()}
    assert started
    assert os.getpid() not in map(int, started)
    # The same processes only with as many threads in each: joblib starts others where that differs.
    used = set(ordered_map(process, range(40), 2, progress=False, label="", inner_threads=1))
    assert {str(one) for one in used} >= started
    with workers_started(refuse, 9), pytest.raises(DataError, match="mine"):
        raise DataError("mine")


def test_one_process_needs_no_worker(tmp_path):
    with workers_started(partial(note, tmp_path), 1):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_reaches_the_caller_as_it_is(jobs):
    with pytest.raises(DataError, match=r"^file 3: is damaged$"):
        map_all(refuse, range(8), jobs)


def test_a_process_that_dies_is_one_clear_error():
    with pytest.raises(HDNetError, match="a worker process ended unexpectedly"):
        map_all(die, range(8), 2)
    assert map_all(refuse, range(3), 2) == [0, 1, 2]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_caller_may_stop_early(jobs):
    results = ordered_map(math.sqrt, range(10_000), jobs, progress=False, label="")
    assert [next(results) for _ in range(3)] == [0, 1, math.sqrt(2)]
    results.close()


def test_what_waits_in_memory_is_bounded(monkeypatch):
    """However fast results come: no more than a window of them is worked on ahead of the caller."""
    monkeypatch.setattr(parallel, "_WINDOW", 4)
    started = []

    def note(item):
        started.append(item)
        return item

    with using_backend("threading"):
        for taken in ordered_map(note, range(100), 2, progress=False, label=""):
            time.sleep(0.002)
            assert len(started) <= 8 * (taken // 8 + 1)
    assert sorted(started) == list(range(100))


def test_progress_goes_to_stderr(capsys):
    list(ordered_map(math.sqrt, [1.0, 4.0], 1, progress=True, label="roots"))
    captured = capsys.readouterr()
    assert "roots" in captured.err
    assert not captured.out


INTERRUPTED = """
import time
from hdnet.errors import run_command
from hdnet.data.parallel import ordered_map
def work(item):
    time.sleep(60 if item else 0)
def main():
    for _ in ordered_map(work, range(50), 2, progress=False, label=""):
        print("first", flush=True)
if __name__ == "__main__":
    run_command(main)
"""


def test_ctrl_c_ends_and_leaves_no_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    command = subprocess.Popen(
        [sys.executable, str(script)],
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert command.stdout.readline() == "first\n"
    time.sleep(0.5)
    errors = interrupt(command)
    assert (command.returncode, errors.splitlines()[-1]) == (130, "interrupted")
    wait_for_the_end_of(command.pid)


def interrupt(command):
    """Presses Ctrl-C, and again like anyone would: Python loses one that arrives while it collects garbage."""
    for patience_s in (40, 40, 70):  # the 50 items take a minute each; a worker that was just starting finishes its one
        os.killpg(command.pid, signal.SIGINT)
        try:
            return command.communicate(timeout=patience_s)[1]
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("three interrupts did not end it")


def test_workers_end_with_a_killed_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    command = subprocess.Popen([sys.executable, str(script)], start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert command.stdout.readline() == "first\n"
    command.kill()
    command.wait()
    wait_for_the_end_of(command.pid)
    command.stdout.close()


def wait_for_the_end_of(group):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and processes_of(group):
        time.sleep(0.1)
    assert not processes_of(group)


def processes_of(group):
    """Running processes of a process group."""
    listed = subprocess.run(["ps", "-eo", "pgid,stat"], capture_output=True, text=True, check=True).stdout.split("\n")
    return [line for line in listed if line.split()[:1] == [str(group)] and "Z" not in line]


# Other back ends.


def test_threads():
    with using_backend("threading"):
        assert set(map_all(process, range(4), 2)) == {os.getpid()}
    assert os.getpid() not in map_all(process, range(4), 2)


def test_an_unknown_or_missing_back_end_is_named(monkeypatch):
    with (
        pytest.raises(ParamsError, match="'slurm' is unknown; expected one of loky, "),
        using_backend("slurm"),
    ):
        pass
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ParamsError, match=r"'ray' is not installed .*`pip install .*-e .*\[cluster-ray\]"),
        using_backend("ray"),
    ):
        pass


def test_a_scheduler_that_does_not_answer_is_named():
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    silent = {"scheduler-address": "tcp://127.0.0.1:1", "distributed.comm.timeouts.connect": "1s"}
    with (
        dask.config.set(silent),
        pytest.raises(HDNetError, match="the dask cluster does not answer"),
        using_backend("dask"),
    ):
        pass


def test_dask_cluster(tiktok, tmp_path):
    """An existing cluster of two processes; results, errors and files as from any other back end."""
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        dask.config.set({"scheduler-address": cluster.scheduler_address}),
        using_backend("dask"),
    ):
        assert len(set(map_all(process, range(40), 1))) == 2
        assert map_all(math.sqrt, [k * k for k in range(400)], 1) == list(range(400))
        with pytest.raises(DataError, match=r"^file 3: is damaged$"):
            map_all(refuse, range(8), 1)
        pack_tiktok(tiktok.root, tmp_path / "there")
    pack_tiktok(tiktok.root, tmp_path / "here")
    for name in ("index.json", "00000.npy"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not limit processes to some cores")
def test_only_cores_that_the_process_may_use_count():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from hdnet.data import parallel"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(parallel.cores())"], check=True, capture_output=True, text=True
    )
    assert done.stdout == "1\n"


def test_dask_starts_a_cluster_where_there_is_none():
    pytest.importorskip("distributed")
    with using_backend("dask"):
        assert os.getpid() not in map_all(process, range(4), 1)


def test_ray_cluster(tiktok, tmp_path):
    """Its processes do not find this file, so that their work is math's and ours."""
    pytest.importorskip("ray")
    with using_backend("ray"):
        assert map_all(math.sqrt, [k * k for k in range(40)], 1) == list(range(40))
        with pytest.raises(ValueError, match=r"math domain|nonnegative"):
            map_all(math.sqrt, [1.0, -1.0], 1)
        pack_tiktok(tiktok.root, tmp_path / "there")
    pack_tiktok(tiktok.root, tmp_path / "here")
    assert (tmp_path / "there/index.json").read_bytes() == (tmp_path / "here/index.json").read_bytes()
