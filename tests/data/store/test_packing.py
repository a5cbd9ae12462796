"""Packing that is interrupted, fails, or meets a full disk."""

import errno
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from data_folders import contents, flip_last_byte

from hdnet.data.layout.folders import TangFolder
from hdnet.data.store import packed as packed_module
from hdnet.data.store.packed import (
    PackedFrames,
    PackedLabelled,
    pack_tang,
    pack_tiktok,
    pack_together,
)
from hdnet.data.store.records import FrameRecords, LabelledRecords
from hdnet.errors import DataError


@pytest.fixture
def written(monkeypatch):
    """Names of the shards that are written from now on."""
    names, write = [], packed_module.write_shard

    def note(file, *arguments):
        entry = write(file, *arguments)
        names.append(file.name)
        return entry

    monkeypatch.setattr(packed_module, "write_shard", note)
    return names


def test_nothing_is_left_when_the_first_shard_fails(tang, tmp_path):
    tang.normal_files("0000002")[1].write_text("text")
    with pytest.raises(DataError, match=r"normal/0000002_2\.txt"):
        pack_tang(tang.root, tmp_path / "packed")
    assert [file.name for file in tmp_path.iterdir()] == ["Tang_data"]


@pytest.mark.usefixtures("two_a_shard")
def test_a_failed_packing_goes_on_with_what_it_had(tang, tmp_path, written):
    pack_tang(tang.root, tmp_path / "expected")
    text = tang.depth_file("0000002").read_text()
    tang.depth_file("0000002").write_text("text")
    written.clear()
    with pytest.raises(DataError, match=r"depth/0000002\.txt"):
        pack_tang(tang.root, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
    tang.depth_file("0000002").write_text(text)
    pack_tang(tang.root, tmp_path / "packed")
    assert written == ["00000.npy", "00001.npy"]
    assert contents(tmp_path / "packed") == contents(tmp_path / "expected")
    assert {file.name for file in tmp_path.iterdir()} == {"Tang_data", "packed", "expected"}


def break_at_the_last(tang: TangFolder, out: Path) -> str:
    """Leaves a packing of which the first shard is finished."""
    text = tang.depth_file("0000002").read_text()
    tang.depth_file("0000002").write_text("text")
    with pytest.raises(DataError):
        pack_tang(tang.root, out)
    tang.depth_file("0000002").write_text(text)
    return text


@pytest.mark.usefixtures("two_a_shard")
def test_a_finished_shard_that_was_damaged_since_is_written_again(tang, tmp_path, written):
    break_at_the_last(tang, tmp_path / "packed")
    flip_last_byte(tmp_path / ".packed.partial/00000.npy")
    written.clear()
    pack_tang(tang.root, tmp_path / "packed")
    assert written == ["00000.npy", "00001.npy"]
    PackedLabelled(tmp_path / "packed").verify()


@pytest.mark.usefixtures("two_a_shard")
def test_a_finished_shard_whose_files_have_changed_is_written_again(tang, tmp_path, written):
    break_at_the_last(tang, tmp_path / "packed")
    depth = np.loadtxt(tang.depth_file("0000001"), delimiter=",")
    np.savetxt(tang.depth_file("0000001"), np.where(depth > 0, depth + 0.5 * np.arange(24) / 24, 0), "%.5f", ",")
    written.clear()
    pack_tang(tang.root, tmp_path / "packed")
    assert written == ["00000.npy", "00001.npy"]
    pack_tang(tang.root, tmp_path / "fresh")
    assert contents(tmp_path / "packed") == contents(tmp_path / "fresh")


@pytest.mark.usefixtures("two_a_shard")
def test_shards_that_are_no_longer_needed_do_not_stay(tiktok, tang, tmp_path):
    break_at_the_last(tang, tmp_path / "packed")
    (tmp_path / ".packed.partial/00007.npy").write_bytes(b"of other data")
    (tmp_path / ".packed.partial/more").mkdir()
    pack_tang(tang.root, tmp_path / "packed")
    assert {file.name for file in (tmp_path / "packed").iterdir()} == {
        "index.json", "cameras.npy", "00000.npy", "00001.npy",
    }  # fmt: skip


def test_a_disk_that_will_be_full_is_told_before(tang, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(packed_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    pack_tang(tang.root, tmp_path / "packed")
    assert re.search(r"packed\.partial: 0\.0 GB are to be written, 0\.0 GB are free", caplog.text)


@pytest.mark.usefixtures("two_a_shard")
def test_a_full_disk_is_one_clear_error_and_costs_only_the_shard(tang, tmp_path, monkeypatch, written):
    rename = Path.replace

    def replace(self, target):
        if self.name.startswith(".00001.npy."):
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(DataError, match=r"packed: cannot be written .*No space left.*waits in .*\.packed\.partial"):
        pack_tang(tang.root, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
    assert not list(tmp_path.rglob("*.partial/*.partial"))
    monkeypatch.setattr(Path, "replace", rename)
    pack_tang(tang.root, tmp_path / "packed")
    assert written == ["00000.npy", "00001.npy"]


def test_two_runs_do_not_write_one_folder(tang, tmp_path, monkeypatch):
    def second(*_):
        pack_tang(tang.root, tmp_path / "packed")

    monkeypatch.setattr(LabelledRecords, "records", second)
    with pytest.raises(DataError, match="another process is writing"):
        pack_tang(tang.root, tmp_path / "packed")


@pytest.mark.usefixtures("two_a_shard")
def test_several_folders_appear_together_and_go_on_together(tang, tiktok, tmp_path, written):
    sources = {"labelled": LabelledRecords(tang.root), "frames": FrameRecords(tiktok.root)}
    mask = tiktok.png("mask", "0000022").read_bytes()
    tiktok.png("mask", "0000022").write_bytes(b"no PNG")
    with pytest.raises(DataError, match=r"mask/0000022\.png"):
        pack_together(sources, tmp_path / "packed", progress=False, jobs=1)
    assert not (tmp_path / "packed").exists()
    assert len(written) == 2 + 3
    tiktok.png("mask", "0000022").write_bytes(mask)
    (tmp_path / ".packed.partial/heldout").mkdir()
    pack_together(sources, tmp_path / "packed", progress=False, jobs=1)
    assert len(written) == 2 + 4
    PackedLabelled(tmp_path / "packed/labelled").verify()
    PackedFrames(tmp_path / "packed/frames").verify()
    assert {file.name for file in (tmp_path / "packed").iterdir()} == {"labelled", "frames"}


SCRIPT = """
import sys, time
from pathlib import Path
from hdnet.data.store import shards
from hdnet.data.store.packed import pack_tiktok
from hdnet.data.store.records import FrameRecords
shards.SHARD_RECORDS = 2
read = FrameRecords.records
def slowly(self, shard):
    for record in read(self, shard):
        time.sleep(float(sys.argv[3]))
        yield record
FrameRecords.records = slowly
pack_tiktok(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_packing_goes_on(tiktok, tmp_path):
    def start(out, pause_s):
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(tiktok.root), str(out), str(pause_s)])

    assert start(tmp_path / "whole", 0).wait() == 0
    process = start(tmp_path / "killed", 0.3)
    notes = tmp_path / ".killed.partial/.finished"
    deadline = time.monotonic() + 60
    while not (notes / "00001.npy.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    first = (tmp_path / ".killed.partial/00000.npy").stat()
    assert start(tmp_path / "killed", 0).wait() == 0
    assert (tmp_path / "killed/00000.npy").stat().st_ino == first.st_ino
    assert (tmp_path / "killed/00000.npy").stat().st_mtime_ns == first.st_mtime_ns
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_progress_counts_records(tiktok, tmp_path, capsys):
    pack_tiktok(tiktok.root, tmp_path / "frames", progress=True)
    assert "pack frames: 100%" in capsys.readouterr().err
