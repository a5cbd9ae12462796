import subprocess
import sys
import time

import pytest
import torch

from hdnet.errors import TrainingError
from hdnet.training.checkpoint import CheckpointFolder, fingerprint


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "run", keep=2)


def test_the_newest_is_loaded_and_old_ones_go(folder):
    for step in (5, 10, 15):
        folder.save(step, {"model": {"w": torch.full((2,), float(step))}, "last": {"loss": 0.5}})
    assert [path.name for path in folder.paths()] == ["step_000000010.pt", "step_000000015.pt"]
    state = folder.load_latest()
    assert state["step"] == 15
    assert state["model"]["w"].tolist() == [15, 15]


def test_no_checkpoint_is_none(folder):
    assert folder.load_latest() is None


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign"])
def test_a_damaged_one_is_set_aside_and_the_one_before_is_used(folder, caplog, damage):
    folder.save(1, {"model": {}})
    newest = folder.save(2, {"model": {}})
    whole = newest.read_bytes()
    newest.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "foreign": b"x" * 100}[damage])
    assert folder.load_latest()["step"] == 1
    assert "is damaged" in caplog.text
    assert newest.with_suffix(".damaged").exists()


def test_half_written_files_do_not_count(folder):
    folder.save(3, {"model": {}})
    (folder.folder / "step_000000009.tmp").write_bytes(b"half")
    assert folder.load_latest()["step"] == 3


WRITER = """
import os, sys
from pathlib import Path
import torch
from hdnet.training.checkpoint import CheckpointFolder
folder = CheckpointFolder(Path(sys.argv[1]), 2)
for step in range(1, 100000):
    folder.save(step, {"model": {"w": torch.full((200_000,), float(step))}})
    print(step, flush=True)
"""


def test_killed_while_it_writes_the_newest_is_whole(folder):
    """kill -9 at some ten places of the writing, which takes nearly all of the time."""
    for k in range(10):
        command = [sys.executable, "-c", WRITER, str(folder.folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        written = int(process.stdout.readline())
        time.sleep(0.003 * k)
        process.kill()
        written = int(([str(written), *process.stdout.read().split()])[-1])
        process.wait()
        process.stdout.close()
        state = folder.load_latest()
        assert state["step"] >= written
        assert (state["model"]["w"] == state["step"]).all()
        assert not list(folder.folder.glob("*.damaged"))
        for path in folder.folder.iterdir():
            path.unlink()


def test_pickled_code_is_not_run(folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save(Evil(), folder.folder / "step_000000001.pt")
    assert folder.load_latest() is None
    assert not (tmp_path / "ran").exists()


def test_a_second_process_is_refused_by_name(folder):
    script = (
        "import sys; from pathlib import Path; from hdnet.training.checkpoint import CheckpointFolder\n"
        "with CheckpointFolder(Path(sys.argv[1]), 1).lock(): pass"
    )
    command = [sys.executable, "-c", script, str(folder.folder)]
    with folder.lock():
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "is already training into" in second.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_lock_is_free_after_an_error(folder):
    with pytest.raises(ZeroDivisionError), folder.lock():
        raise ZeroDivisionError
    with folder.lock():
        pass
    assert issubclass(TrainingError, Exception)


def test_fingerprint_sees_every_value_and_no_order():
    assert fingerprint({"a": 1, "b": {"c": 2}}) == fingerprint({"b": {"c": 2}, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
