import json
import pickle

import numpy as np
import pytest
from data_folders import CAMERA, SEQUENCES
from PIL import Image

from hdnet.data.layout import shift_to_median
from hdnet.data.layout_png import write_png
from hdnet.data.packed import (
    PackedFrames,
    PackedLabelled,
    PseudoNormals,
    pack_tang,
    pack_tiktok,
    write_pseudo_normals,
)
from hdnet.errors import DataError


def test_packed_samples_equal_the_folder(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "packed")
    packed = PackedLabelled(tmp_path / "packed")
    assert (packed.names, len(packed), packed.size) == (tang.names(), 3, (32, 24))
    for k, name in enumerate(tang.names()):
        sample = tang.read(name)
        for field in ("white_image", "iuv", "mask"):
            np.testing.assert_array_equal(packed.arrays[field][k], getattr(sample, field))
        np.testing.assert_array_equal(packed.arrays["depth_m"][k], shift_to_median(sample.depth_m, sample.mask))
        np.testing.assert_allclose(packed.arrays["normals"][k], sample.normals, atol=5e-4)
        assert packed.camera(k) == CAMERA
    dtypes = {field: array.dtype.name for field, array in packed.arrays.items()}
    assert dtypes == {
        "white_image": "uint8", "iuv": "uint8", "mask": "bool", "depth_m": "float32", "normals": "float16",
        "camera": "float64",
    }  # fmt: skip
    packed.verify()


def test_packing_twice_gives_the_same_bytes(tang, tmp_path):
    for name in ("a", "b"):
        pack_tang(tang.root, tmp_path / name)
    assert (tmp_path / "a/index.json").read_text() == (tmp_path / "b/index.json").read_text()


def test_packed_frames_keep_their_sequences(tiktok, tmp_path):
    pack_tiktok(tiktok.root, tmp_path / "packed")
    packed = PackedFrames(tmp_path / "packed")
    assert packed.sequences == SEQUENCES
    assert set(packed.arrays) == {"white_image", "iuv", "mask", "camera"}
    np.testing.assert_array_equal(packed.arrays["white_image"][4], tiktok.read("0000020").white_image)


def test_arrays_are_mapped_read_only_and_survive_pickling(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "packed")
    packed = PackedLabelled(tmp_path / "packed")
    assert isinstance(packed.arrays["depth_m"], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        packed.arrays["depth_m"][0] = 1
    pickled = pickle.dumps(packed)
    assert len(pickled) < 1000
    copy = pickle.loads(pickled)
    assert isinstance(copy.arrays["depth_m"], np.memmap)
    assert copy.names == packed.names


def test_a_changed_byte_is_found(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "packed")
    file = tmp_path / "packed/depth_m.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"depth_m\.npy: SHA-256"):
        PackedLabelled(tmp_path / "packed").verify()


def test_nothing_is_left_when_a_file_is_damaged(tang, tmp_path):
    tang.normal_files("0000002")[1].write_text("text")
    with pytest.raises(DataError, match=r"normal/0000002_2\.txt"):
        pack_tang(tang.root, tmp_path / "packed")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["Tang_data"]


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
    with pytest.raises(DataError, match="frame 0000022 has shape"):
        pack_tiktok(tiktok.root, tmp_path / "packed")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "frames"}, "kind frames, expected labelled"),
        ({"version": 99}, "version 99"),
        ({"format": "?"}, "is not"),
    ],
)
def test_foreign_index_is_refused(tang, tmp_path, change, complaint):
    pack_tang(tang.root, tmp_path / "packed")
    index = tmp_path / "packed/index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | change))
    with pytest.raises(DataError, match=rf"index\.json: .*{complaint}"):
        PackedLabelled(tmp_path / "packed")


def test_missing_folder_or_array_is_refused_by_name(tang, tmp_path):
    with pytest.raises(DataError, match=r"nowhere/index\.json: file is missing"):
        PackedLabelled(tmp_path / "nowhere")
    pack_tang(tang.root, tmp_path / "packed")
    (tmp_path / "packed/iuv.npy").unlink()
    with pytest.raises(DataError, match=r"iuv\.npy: cannot be opened"):
        _ = PackedLabelled(tmp_path / "packed").arrays
    np.save(tmp_path / "packed/iuv.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"iuv\.npy: found float64 \(2, 2\)"):
        _ = PackedLabelled(tmp_path / "packed").arrays


def test_pseudo_normals_round_trip_and_belong_to_their_frames(tiktok, tmp_path):
    pack_tiktok(tiktok.root, tmp_path / "frames")
    frames = PackedFrames(tmp_path / "frames")
    normals = np.random.default_rng(0).normal(size=(7, 32, 24, 3)).astype(np.float32)
    write_pseudo_normals(tmp_path / "normals", frames.names, iter(normals))
    pseudo = PseudoNormals(tmp_path / "normals")
    np.testing.assert_allclose(pseudo.arrays["normals"], normals, rtol=1e-3)
    pseudo.check_names(frames)
    write_pseudo_normals(tmp_path / "normals", [*frames.names[:6], "0000099"], iter(normals))
    with pytest.raises(DataError, match="other names"):
        PseudoNormals(tmp_path / "normals").check_names(frames)


@pytest.mark.parametrize(
    ("count", "bad", "complaint"),
    [(1, 0, "found 1 records"), (3, 0, "found more than 2"), (2, np.nan, "not finite")],
)
def test_unfit_pseudo_normals_are_refused(tmp_path, count, bad, complaint):
    with pytest.raises(DataError, match=complaint):
        write_pseudo_normals(tmp_path / "normals", ["1", "2"], (np.full((4, 4, 3), bad) for _ in range(count)))
    assert not list(tmp_path.iterdir())
