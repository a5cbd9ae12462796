import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from hdnet.data.importing.report import Outcome
from hdnet.data.importing.staging import source_identity, staged_import
from hdnet.errors import DataError

ITEMS = [f"item {k}" for k in range(6)]
PARTS = ("Tang_data",)


def imported(out, options=None, items=ITEMS, write=None, parts=PARTS, kind="test archive"):
    """Imports; returns (sources written by this call, report)."""
    written = []

    def one(item):
        (write or write_text)(staged.folder, item)
        written.append(item)
        return Outcome(item, f"{ITEMS.index(item):07d}")

    with staged_import(out, kind, {"options": options}, parts) as staged:
        for part in parts:
            (staged.folder / part).mkdir(exist_ok=True)
        staged.work(one, {item: item for item in items}, 1, False, "test")
        report = staged.report("source")
    return written, report


def write_text(folder, item, part="Tang_data"):
    (folder / part / f"{item}.txt").write_text(item)


def failing_at(bad, error):
    def write(folder, item):
        if item == bad:
            raise error
        write_text(folder, item)

    return write


def visible(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_clean_import_leaves_its_parts_and_the_report_and_nothing_else(tmp_path):
    written, report = imported(tmp_path / "raw")
    assert written == ITEMS
    assert visible(tmp_path) == ["raw"]
    assert visible(tmp_path / "raw") == ["Tang_data", "import.json"]
    assert [path.read_text() for path in sorted((tmp_path / "raw/Tang_data").iterdir())] == ITEMS
    stored = json.loads((tmp_path / "raw/import.json").read_text())
    assert stored["parts"] == ["Tang_data"]
    assert {key: stored[key] for key in report.to_dict()} == report.to_dict()


def test_an_import_stopped_by_an_exception_continues_where_it_stopped(tmp_path):
    out = tmp_path / "raw"
    with pytest.raises(ZeroDivisionError):
        imported(out, write=failing_at("item 3", ZeroDivisionError()))
    assert not out.exists()
    written, report = imported(out)
    assert written == ITEMS[3:]
    assert [outcome.source for outcome in report.outcomes] == ITEMS
    assert len(visible(out / "Tang_data")) == len(ITEMS)
    assert visible(tmp_path) == ["raw"]


def test_other_settings_start_afresh(tmp_path):
    out = tmp_path / "raw"
    with pytest.raises(ZeroDivisionError):
        imported(out, options=1, write=failing_at("item 3", ZeroDivisionError()))
    written, _ = imported(out, options=2, items=ITEMS[4:])
    assert written == ITEMS[4:]
    assert visible(out / "Tang_data") == ["item 4.txt", "item 5.txt"]


def test_refused_items_are_reported_and_tried_again_by_the_next_run(tmp_path):
    out = tmp_path / "raw"

    def refuse_and_stop(folder, item):
        failing_at("item 1", DataError("broken"))(folder, item)
        failing_at("item 4", ZeroDivisionError())(folder, item)

    with pytest.raises(ZeroDivisionError):
        imported(out, write=refuse_and_stop)
    written, _ = imported(out)
    assert written == ["item 1", "item 4", "item 5"]

    _, report = imported(out, write=failing_at("item 2", DataError("broken")))
    assert [(outcome.source, outcome.reason) for outcome in report.refused] == [("item 2", "broken")]
    assert len(visible(out / "Tang_data")) == len(ITEMS) - 1


def test_an_import_that_takes_nothing_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match=r"none of 6 items could be imported; the first: broken"):
        imported(tmp_path / "raw", write=lambda *_: (_ for _ in ()).throw(DataError("broken")))
    with pytest.raises(DataError, match="nothing of the expected form"):
        imported(tmp_path / "raw", items=[])
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_clear_error_and_finished_items_are_kept(tmp_path):
    out = tmp_path / "raw"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.png")
    with pytest.raises(
        DataError, match=r"raw: the import stopped .*No space left.*2 finished items are kept"
    ) as caught:
        imported(out, write=failing_at("item 2", full))
    assert "\n" not in str(caught.value)
    assert not out.exists()
    assert imported(out)[0] == ITEMS[2:]


KILLED = """
    import sys, time
    from pathlib import Path
    from hdnet.data.importing.report import Outcome
    from hdnet.data.importing.staging import staged_import

    out = Path(sys.argv[1])
    with staged_import(out, "test archive", {"options": None}, ("Tang_data",)) as staged:
        (staged.folder / "Tang_data").mkdir(exist_ok=True)
        for k in range(6):
            (staged.folder / f"Tang_data/item {k}.txt").write_text("half" if k == 4 else f"item {k}")
            if k == 4:
                print("reached", flush=True)
                time.sleep(60)
            staged.record(Outcome(f"item {k}", f"{k:07d}"))
"""


def test_an_import_killed_amid_an_item_continues_and_redoes_only_that_item(tmp_path):
    out = tmp_path / "raw"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "reached\n"
        with pytest.raises(DataError, match="another process is importing"):
            imported(out)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()
    assert imported(out)[0] == ["item 4", "item 5"]
    assert (out / "Tang_data/item 4.txt").read_text() == "item 4"
    assert visible(tmp_path) == ["raw"]


def test_a_torn_last_line_of_the_ledger_is_redone(tmp_path):
    out = tmp_path / "raw"
    with pytest.raises(ZeroDivisionError):
        imported(out, write=failing_at("item 3", ZeroDivisionError()))
    (ledger,) = tmp_path.glob(".raw.*/ledger.jsonl")
    ledger.write_text(ledger.read_text()[:-9])
    assert imported(out)[0] == ITEMS[2:]


def test_an_earlier_import_is_replaced_and_the_parts_of_other_imports_stay(tmp_path):
    out = tmp_path / "raw"
    imported(out)

    def tiktok(folder, item):
        write_text(folder, item, "tiktok_data")

    imported(out, write=tiktok, parts=("tiktok_data",), kind="frames")
    assert visible(out) == ["Tang_data", "import.json", "tiktok_data"]
    imported(out, options=3, items=ITEMS[:2], write=tiktok, parts=("tiktok_data",), kind="frames")
    assert len(visible(out / "Tang_data")) == len(ITEMS)
    assert visible(out / "tiktok_data") == ["item 0.txt", "item 1.txt"]
    stored = json.loads((out / "import.json").read_text())
    assert (stored["kind"], stored["parts"]) == ("frames", ["tiktok_data"])
    assert [(record["kind"], record["parts"]) for record in stored["earlier"]] == [("test archive", ["Tang_data"])]


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_kill_while_the_parts_are_moved_loses_nothing(tmp_path, monkeypatch, at):
    out, parts = tmp_path / "raw", ("Tang_data", "heldout")

    def both(version):
        def write(folder, item):
            for part in parts:
                (folder / part / f"{item}.txt").write_text(version)

        return write

    imported(out, write=both("old"), parts=parts)
    rename, calls = Path.rename, []

    def dying_rename(path, target):
        if path.name in parts:
            calls.append(path)
            if len(calls) > at:
                raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying_rename)
        with pytest.raises(KeyboardInterrupt):
            imported(out, write=both("new"), parts=parts)
    imported(out, write=both("new"), parts=parts)
    for part in parts:
        assert {path.read_text() for path in (out / part).iterdir()} == {"new"}
    assert visible(tmp_path) == ["raw"]
    assert visible(out) == ["Tang_data", "heldout", "import.json"]


@pytest.mark.parametrize("name", ["photo.jpg", "Tang_data/by_hand.txt"])
def test_a_folder_with_other_things_is_refused_and_stays_as_it_is(tmp_path, name):
    precious = tmp_path / "raw" / name
    precious.parent.mkdir(parents=True)
    precious.write_text("precious")
    with pytest.raises(DataError, match=r"raw.*(holds other things|no import wrote it)"):
        imported(tmp_path / "raw")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [precious]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "raw").write_text("precious")
    with pytest.raises(DataError, match="is a file"):
        imported(tmp_path / "raw")
    assert (tmp_path / "raw").read_text() == "precious"


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "raw")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(DataError, match=r"raw: the import stopped .*Permission denied"):
        imported(tmp_path / "raw")


def test_the_identity_of_a_source_changes_with_its_files(tmp_path):
    source = tmp_path / "source"
    (source / "a").mkdir(parents=True)
    (source / "a/x.txt").write_text("1")
    before = source_identity(source)
    assert source_identity(source) == before
    (source / "a/x.txt").write_text("22")
    assert source_identity(source) != before
    file = source_identity(source / "a/x.txt")
    os.utime(source / "a/x.txt", ns=(time.time_ns(), 1))
    assert source_identity(source / "a/x.txt") != file
    with pytest.raises(DataError, match="no such file or folder"):
        source_identity(tmp_path / "none")


def test_a_source_folder_that_cannot_be_listed_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    listing = os.scandir

    def scandir(path):
        if Path(path).name == "a":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"a: cannot be read \(Permission denied\)"):
        source_identity(tmp_path)


def test_a_part_of_the_same_kind_that_is_not_imported_again_stays(tmp_path):
    out = tmp_path / "raw"
    imported(out)
    imported(out, write=lambda folder, item: write_text(folder, item, "tiktok_data"), parts=("tiktok_data",))
    assert visible(out) == ["Tang_data", "import.json", "tiktok_data"]
    earlier = json.loads((out / "import.json").read_text())["earlier"]
    assert [record["parts"] for record in earlier] == [["Tang_data"]]
