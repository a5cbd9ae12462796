import subprocess
import sys

import pytest

from hdnet.errors import DataError
from hdnet.files import (
    Finished,
    atomic_folder,
    atomic_write,
    fingerprint,
    locked,
    read_json_object,
    resumable_folder,
    write_json,
)


def test_folder_appears_only_when_complete(tmp_path):
    with atomic_folder(tmp_path / "deep/out") as folder:
        (folder / "a").write_text("new")
        assert not (tmp_path / "deep/out").exists()
    assert (tmp_path / "deep/out/a").read_text() == "new"
    assert len(list((tmp_path / "deep").iterdir())) == 1


def test_failure_leaves_the_old_folder_and_no_traces(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_folder(out) as folder:
        (folder / "a").write_text(f"new{1 / 0}")
    assert (out / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_success_replaces_the_old_folder(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    with atomic_folder(out) as folder:
        (folder / "new").touch()
    assert [file.name for file in out.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [out]


def test_remains_of_a_killed_run_are_cleared_away(tmp_path):
    for name in (".out.partial", ".out.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "new").touch()
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")] == ["out", "out/new"]


def test_full_disk_is_one_clear_error(tmp_path):
    with (
        pytest.raises(DataError, match=r"out: cannot be written .*No space left"),
        atomic_folder(tmp_path / "out"),
    ):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_json_round_trip_leaves_no_temporary_file(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, 2]})
    assert read_json_object(tmp_path / "a.json") == {"x": [1, 2]}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_of_other_things_is_not_replaced(tmp_path):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.tex").write_text("years of work")
    with pytest.raises(DataError, match="holds other things"), atomic_folder(out, marker="index.json"):
        pass
    assert (out / "chapter1.tex").read_text() == "years of work"
    (out / "index.json").write_text("{}")
    with atomic_folder(out, marker="index.json") as folder:
        (folder / "index.json").write_text("new")
    assert [path.name for path in out.iterdir()] == ["index.json"]


def test_a_run_killed_between_the_renames_loses_nothing(tmp_path):
    old = tmp_path / ".out.old"
    old.mkdir()
    (old / "index.json").write_text("kept")
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "out", marker="index.json"):
        raise ZeroDivisionError
    assert (tmp_path / "out/index.json").read_text() == "kept"


def break_off(out, note, error):
    """A run that fails after its first file, which it has noted as finished or not."""
    with resumable_folder(out, marker="index.json") as (folder, notes):
        (folder / "a").write_text("finished")
        (folder / "sub").mkdir()
        (folder / "sub/.b.01234567.partial").write_text("of a process that was killed")
        if note:
            (notes / "a").touch()
        raise error


def test_a_resumable_folder_keeps_what_was_noted_as_finished(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ZeroDivisionError):
        break_off(out, True, ZeroDivisionError)
    assert not out.exists()
    with resumable_folder(out, marker="index.json") as (folder, notes):
        assert (folder / "a").read_text() == "finished"
        assert (notes / "a").exists()
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == ["a", "sub"]
    assert list(tmp_path.iterdir()) == [out]


def test_a_resumable_folder_without_notes_vanishes_when_it_fails(tmp_path):
    with pytest.raises(ZeroDivisionError):
        break_off(tmp_path / "out", False, ZeroDivisionError)
    assert not list(tmp_path.iterdir())


def test_a_resumable_folder_is_one_processes_alone(tmp_path):
    with (
        resumable_folder(tmp_path / "out", marker="index.json"),
        pytest.raises(DataError, match="another process is writing"),
        resumable_folder(tmp_path / "out", marker="index.json"),
    ):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_full_disk_says_where_the_finished_wait(tmp_path):
    with pytest.raises(DataError, match=r"No space left.*waits in .*\.out\.partial"):
        break_off(tmp_path / "out", True, OSError(28, "No space left on device"))


@pytest.mark.parametrize("durable", [False, True])
def test_a_written_file_appears_whole_or_not_at_all(tmp_path, durable):
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(ZeroDivisionError), atomic_write(file, durable) as temporary:
        temporary.write_text(f"half{1 / 0}")
    assert not file.exists()
    for text in ("first", "second"):
        with atomic_write(link, durable) as temporary:
            temporary.write_text(text)
        assert file.read_text() == text
        file.chmod(0o640)
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == [file, link]


def test_a_missing_parent_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "none/a.json", tmp_path / "file/a.json"):
        with pytest.raises(OSError, match=r"a\.json"):
            write_json(path, {})


HOLD = """
import sys
from pathlib import Path
from hdnet.files import locked
with locked(Path(sys.argv[1]), lambda process: RuntimeError(f"held by {process}"), wait_s=float(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_names_its_holder_and_goes_with_it(tmp_path):
    file = tmp_path / "lock"

    def hold(wait_s: float = 0) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", HOLD, str(file), str(wait_s)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with hold() as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataError, match=f"process {holder.pid}"), locked(file, lambda p: DataError(f"process {p}")):
            pass
        with hold(60) as waiting:
            holder.kill()
            assert waiting.stdout.readline() == "held\n"
            waiting.communicate()
    assert not list(tmp_path.iterdir())


def test_a_fingerprint_sees_every_value_and_no_order():
    assert fingerprint({"a": 1, "b": (2,)}) == fingerprint({"b": [2], "a": 1}) != fingerprint({"a": 2, "b": [2]})


def test_a_finished_piece_counts_for_what_it_was_made_from(tmp_path):
    finished = Finished(tmp_path)
    assert finished.get("a", "x") is None
    finished.put("a", "x", {"bytes": 1})
    assert finished.get("a", "x") == {"bytes": 1}
    assert finished.get("a", "y") is None
    (tmp_path / "a.json").write_text("")  # a power cut
    assert finished.get("a", "x") is None
    finished.drop("a")
    assert not list(tmp_path.iterdir())
