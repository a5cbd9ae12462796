"""Contents of packed folders, and folders that are refused."""

import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_folders import CAMERA, SEQUENCES, contents, flip_last_byte
from PIL import Image

from hdnet.data.layout.folders import shift_to_median
from hdnet.data.layout.png import write_png
from hdnet.data.store import reading, shards
from hdnet.data.store.packed import (
    PackedFrames,
    PackedLabelled,
    open_packed,
    pack_tang,
    pack_tiktok,
)
from hdnet.data.store.records import NORMAL_SCALE
from hdnet.errors import DataError


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
