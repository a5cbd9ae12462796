import errno
import json
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from data_folders import CAMERA, SEQUENCES
from PIL import Image

from hdnet.data.layout.folders import TangFolder, shift_to_median
from hdnet.data.layout.png import write_png
from hdnet.data.store import packed as packed_module
from hdnet.data.store import reading, shards
from hdnet.data.store.packed import (
    PackedFrames,
    PackedLabelled,
    PseudoNormals,
    open_packed,
    pack_tang,
    pack_tiktok,
    pack_together,
    write_pseudo_normals,
)
from hdnet.data.store.records import NORMAL_SCALE, FrameRecords, LabelledRecords
from hdnet.errors import DataError
from hdnet.files import sha256_of


@pytest.fixture
def two_a_shard(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_RECORDS", 2)


def contents(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): sha256_of(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def flip_last_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.usefixtures("two_a_shard")
def test_packed_samples_equal_the_folder(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "packed")
    packed = PackedLabelled(tmp_path / "packed")
    assert (packed.names, len(packed), packed.size) == (tang.names(), 3, (32, 24))
    for k, name in enumerate(tang.names()):
        sample, record = tang.read(name), packed.record(k)
        np.testing.assert_array_equal(record["white_image"], sample.white_image.transpose(2, 0, 1))
        np.testing.assert_array_equal(record["vui"], sample.iuv.transpose(2, 0, 1)[::-1])
        np.testing.assert_array_equal(record["mask"][0], sample.mask)
        np.testing.assert_array_equal(record["depth_m"][0], shift_to_median(sample.depth_m, sample.mask))
        np.testing.assert_allclose(record["normals"] / NORMAL_SCALE, sample.normals.transpose(2, 0, 1), atol=2e-5)
        assert packed.camera(k) == CAMERA
    assert {field: values.dtype.name for field, values in packed.record(-1).items()} == {
        "white_image": "uint8", "vui": "uint8", "mask": "bool", "depth_m": "float32", "normals": "int16",
    }  # fmt: skip
    assert {file.name for file in packed.folder.iterdir()} == {"index.json", "cameras.npy", "00000.npy", "00001.npy"}
    packed.verify()


# Pictures with their background.


def test_scenes_are_packed_and_lie_behind_what_the_hourglasses_read(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "packed", median_m=3.5)
    packed = PackedLabelled(tmp_path / "packed")
    assert packed.has_scenes
    assert packed.optional_fields == ("scene", "shift_m")
    for k, name in enumerate(tang.names()):
        sample, record = tang.read(name), packed.record(k, ("scene", "shift_m"))
        assert set(record) == {"scene", "shift_m"}
        np.testing.assert_array_equal(record["scene"], sample.image.transpose(2, 0, 1))
        unshifted = packed.record(k)["depth_m"][0] - record["shift_m"]
        np.testing.assert_allclose(unshifted[sample.mask], sample.depth_m[sample.mask], atol=1e-6)
    dtype = np.load(tmp_path / "packed/00000.npy", mmap_mode="r").dtype
    assert dtype.names == (*PackedLabelled.fields, "scene", "shift_m")


def test_without_color_nothing_changes(tang, tiktok, tmp_path):
    for folder, pack in ((tang, pack_tang), (tiktok, pack_tiktok)):
        out = tmp_path / pack.__name__
        pack(folder.root, out / "with")
        shutil.rmtree(folder.root / "color")
        pack(folder.root, out / "without")
        packed, whole = open_packed(out / "without"), open_packed(out / "with")
        assert not packed.has_scenes
        assert whole.has_scenes
        assert "optional_fields" not in packed.index
        dtype = np.load(out / "without/00000.npy", mmap_mode="r").dtype
        assert dtype == shards.record_type(packed.fields, packed.size)
        for k in range(len(packed)):
            for field, values in packed.record(k).items():
                np.testing.assert_array_equal(values, whole.record(k)[field])
        with pytest.raises(DataError, match=r"without: has no pictures with background; pack the data again"):
            packed.check_scenes()


def test_some_missing_scenes_are_told(tang, tmp_path, caplog):
    tang.png("color", "0000001").unlink()
    pack_tang(tang.root, tmp_path / "packed")
    assert not PackedLabelled(tmp_path / "packed").has_scenes
    assert re.search(r"Tang_data: color/ has 2 of 3 pictures; packed without background", caplog.text)


def test_a_field_of_a_later_version_is_refused_by_name(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "packed")
    index = tmp_path / "packed/index.json"
    index.write_text(index.read_text().replace('"shift_m"', '"albedo"'))
    with pytest.raises(DataError, match=r"index\.json: records have an unknown field 'albedo'; pack the data again"):
        PackedLabelled(tmp_path / "packed")


@pytest.mark.parametrize(("fields", "first", "last"), [(None, "depth_m", "mask"), (("mask", "scene"), "mask", "scene")])
def test_only_what_is_asked_for_is_fetched(tang, tmp_path, monkeypatch, fields, first, last):
    pack_tang(tang.root, tmp_path / "packed")
    packed, fetched = PackedLabelled(tmp_path / "packed"), []
    monkeypatch.setattr(reading._Mapped, "fetch", lambda _, begin, count: fetched.append((begin, count)))
    packed.record(1, fields)
    dtype = np.load(tmp_path / "packed/00000.npy", mmap_mode="r").dtype
    begin = dtype.itemsize + dtype.fields[first][1]
    end = dtype.itemsize + dtype.fields[last][1] + dtype.fields[last][0].itemsize
    assert fetched == [(begin, end - begin)]


def test_a_shard_is_an_array_that_numpy_reads(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "packed")
    records = np.load(tmp_path / "packed/00000.npy")
    np.testing.assert_array_equal(records["vui"][2, 2], tang.read("0000002").iuv[..., 0])


@pytest.mark.usefixtures("two_a_shard")
def test_packed_frames_keep_their_sequences(tiktok, tmp_path):
    pack_tiktok(tiktok.root, tmp_path / "packed")
    packed = PackedFrames(tmp_path / "packed")
    assert packed.sequences == SEQUENCES
    assert set(packed.record(0)) == {"white_image", "vui", "mask"}
    np.testing.assert_array_equal(packed.record(4)["mask"][0], tiktok.read("0000020").mask)
    with pytest.raises(IndexError):
        packed.record(7)


def test_records_are_views_of_the_file_that_a_write_does_not_reach(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "packed")
    packed = PackedLabelled(tmp_path / "packed")
    first, again = packed.record(1), packed.record(1)
    assert all(np.shares_memory(first[field], again[field]) for field in first)
    first["depth_m"][:] = 9
    packed.verify()
    assert PackedLabelled(tmp_path / "packed").record(1)["depth_m"].max() < 9


def test_a_reader_is_pickled_without_its_records(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "packed")
    packed = PackedLabelled(tmp_path / "packed")
    packed.record(0)
    pickled = pickle.dumps(packed)
    assert len(pickled) < 1000
    np.testing.assert_array_equal(pickle.loads(pickled).record(2)["mask"], packed.record(2)["mask"])


@pytest.mark.usefixtures("two_a_shard")
def test_two_processes_write_the_same_bytes_as_one(tiktok, tmp_path):
    pack_tiktok(tiktok.root, tmp_path / "one")
    pack_tiktok(tiktok.root, tmp_path / "two", jobs=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 6


@pytest.mark.usefixtures("two_a_shard")
def test_a_changed_byte_is_found(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "packed")
    flip_last_byte(tmp_path / "packed/00001.npy")
    with pytest.raises(DataError, match=r"00001\.npy: SHA-256"):
        PackedLabelled(tmp_path / "packed").verify(jobs=2)


@pytest.mark.usefixtures("two_a_shard")
def test_a_half_copied_or_missing_shard_is_found_when_opened(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "packed")
    shard = tmp_path / "packed/00001.npy"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"00001\.npy: found \d+ bytes, expected \d+ .* half copied"):
        PackedLabelled(tmp_path / "packed")
    shard.unlink()
    with pytest.raises(DataError, match=r"00001\.npy: cannot be opened"):
        PackedLabelled(tmp_path / "packed")


def test_a_shard_of_another_kind_is_refused(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "packed")
    shard, index = tmp_path / "packed/00000.npy", tmp_path / "packed/index.json"
    size = shard.stat().st_size
    np.save(shard, np.zeros(3))
    content = index.read_text().replace(str(size), str(shard.stat().st_size))
    index.write_text(content)
    with pytest.raises(DataError, match=r"00000\.npy: found \(3,\) records of float64"):
        PackedLabelled(tmp_path / "packed").record(0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "frames"}, "kind frames, expected labelled"),
        ({"version": 1}, "version 1, expected 2; pack the data again"),
        ({"format": "?"}, "is not"),
    ],
)
def test_foreign_index_is_refused(tang, tmp_path, change, complaint):
    pack_tang(tang.root, tmp_path / "packed")
    index = tmp_path / "packed/index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | change))
    with pytest.raises(DataError, match=rf"index\.json: .*{complaint}"):
        PackedLabelled(tmp_path / "packed")


def test_missing_folder_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"nowhere/index\.json: file is missing"):
        PackedLabelled(tmp_path / "nowhere")


def test_any_kind_is_opened(tang, tiktok, tmp_path):
    pack_tang(tang.root, tmp_path / "labelled")
    pack_tiktok(tiktok.root, tmp_path / "frames")
    assert isinstance(open_packed(tmp_path / "labelled"), PackedLabelled)
    assert isinstance(open_packed(tmp_path / "frames"), PackedFrames)


def test_empty_mask_is_refused_by_name(tang, tiktok, tmp_path):
    write_png(tang.png("mask", "0000001"), np.zeros((32, 24), bool))
    with pytest.raises(DataError, match=r"mask/0000001\.png: .*mask is empty"):
        pack_tang(tang.root, tmp_path / "packed")
    write_png(tiktok.png("mask", "0000011"), np.zeros((32, 24), bool))
    with pytest.raises(DataError, match=r"mask/0000011\.png: the mask is empty"):
        pack_tiktok(tiktok.root, tmp_path / "packed")


def test_frames_of_another_size_are_refused_by_name(tiktok, tmp_path):
    for kind in ("color", "color_WO_bg", "densepose"):
        Image.new("RGB", (16, 16)).save(tiktok.png(kind, "0000022"))
    Image.new("L", (16, 16), 255).save(tiktok.png("mask", "0000022"))
    with pytest.raises(DataError, match=r"tiktok_data, frame 0000022: .* has shape"):
        pack_tiktok(tiktok.root, tmp_path / "packed")


# Going on where a run stopped.


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


# Normals that were predicted.


def test_pseudo_normals_round_trip_and_belong_to_their_frames(tiktok, tmp_path):
    pack_tiktok(tiktok.root, tmp_path / "frames")
    frames = PackedFrames(tmp_path / "frames")
    normals = np.random.default_rng(0).normal(size=(7, 32, 24, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[:, :4] = 0
    write_pseudo_normals(tmp_path / "normals", frames, lambda numbers: normals[numbers.start : numbers.stop])
    pseudo = PseudoNormals(tmp_path / "normals")
    for k in range(7):
        np.testing.assert_allclose(
            pseudo.record(k)["normals"] / NORMAL_SCALE, normals[k].transpose(2, 0, 1), atol=1.6e-5
        )
    pseudo.check_names(frames)
    index = json.loads((tmp_path / "normals/index.json").read_text())
    index["names"][-1] = "0000099"
    (tmp_path / "normals/index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="other names"):
        PseudoNormals(tmp_path / "normals").check_names(frames)


@pytest.mark.parametrize(
    ("count", "bad", "complaint"),
    [
        (6, 0, "found 6 records"),
        (8, 0, "found more than 7"),
        (7, np.nan, "frame 0000010: normals hold values that are not finite"),
    ],
)
def test_unfit_pseudo_normals_are_refused(tiktok, tmp_path, count, bad, complaint):
    pack_tiktok(tiktok.root, tmp_path / "frames")
    with pytest.raises(DataError, match=complaint):
        write_pseudo_normals(
            tmp_path / "normals",
            PackedFrames(tmp_path / "frames"),
            lambda _: (np.full((32, 24, 3), bad) for _ in range(count)),
        )
    assert {file.name for file in tmp_path.iterdir()} == {"tiktok_data", "frames"}


@pytest.mark.usefixtures("two_a_shard")
@pytest.mark.parametrize(("made_from", "asked_again"), [("model 1", [4, 6]), ("model 2", [0, 2, 4, 6])])
def test_interrupted_predictions_go_on_for_the_same_model(tiktok, tmp_path, made_from, asked_again):
    pack_tiktok(tiktok.root, tmp_path / "frames")
    frames, asked = PackedFrames(tmp_path / "frames"), []

    def predict(numbers):
        asked.append(numbers.start)
        if stop and numbers.start == 4:
            raise KeyboardInterrupt
        return (np.full((32, 24, 3), k + 1.0) for k in numbers)

    stop = True
    with pytest.raises(KeyboardInterrupt):
        write_pseudo_normals(tmp_path / "normals", frames, predict, "model 1")
    stop = False
    asked.clear()
    write_pseudo_normals(tmp_path / "normals", frames, predict, made_from)
    assert asked == asked_again
    PseudoNormals(tmp_path / "normals").verify()


def test_reading_keeps_no_files_open_and_gives_pages_back(tiktok, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_RECORDS", 1)
    monkeypatch.setattr(reading, "_OPEN_SHARDS", 2)
    monkeypatch.setattr(reading, "_MAPPED_BYTES", 20_000)  # four records
    pack_tiktok(tiktok.root, tmp_path / "packed")
    packed = PackedFrames(tmp_path / "packed")
    given_back = []
    monkeypatch.setattr(packed, "_give_back", lambda give=packed._give_back: (given_back.append(1), give()))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        for k, name in enumerate(packed.names):
            np.testing.assert_array_equal(packed.record(k)["vui"][2], tiktok.read(name).iuv[..., 0])
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
    assert len(given_back) == 5
