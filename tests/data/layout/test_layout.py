import json
from dataclasses import replace

import numpy as np
import pytest
from data_folders import CAMERA, SEQUENCES, labelled_sample, unlabelled_frame
from PIL import Image

from hdnet.data.layout.folders import TangFolder, TikTokFolder, shift_to_median
from hdnet.data.layout.text import write_map
from hdnet.errors import DataError
from hdnet.geometry import Camera
from hdnet.pictures.reading import iuv_from_png_rgb, iuv_to_png_rgb


def test_tang_sample_round_trip(tmp_path, sample):
    folder = TangFolder(tmp_path)
    folder.write(sample)
    folder.write_meta({sample.name: sample.camera})
    read = TangFolder(tmp_path).read(sample.name)
    for field in ("image", "white_image", "iuv", "mask"):
        np.testing.assert_array_equal(getattr(read, field), getattr(sample, field))
        assert getattr(read, field).dtype == getattr(sample, field).dtype
    for field in ("depth_m", "normals"):
        np.testing.assert_allclose(getattr(read, field), getattr(sample, field), atol=1e-5)
        assert getattr(read, field).dtype == np.float32
    assert (read.name, read.camera) == (sample.name, sample.camera)


def test_tang_file_names_and_separators(tmp_path, sample):
    TangFolder(tmp_path).write(sample)
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    pictures = {f"{kind}/0000003.png" for kind in ("color", "color_WO_bg", "densepose", "mask", "normal_png")}
    texts = {"depth/0000003.txt", *(f"normal/0000003_{axis}.txt" for axis in (1, 2, 3))}
    assert files == pictures | texts
    assert (tmp_path / "depth/0000003.txt").read_text().splitlines()[0].count(",") == sample.mask.shape[1] - 1
    nx = np.loadtxt(tmp_path / "normal/0000003_1.txt", delimiter=",")
    np.testing.assert_allclose(nx, sample.normals[..., 0], atol=1e-5)


def test_densepose_is_stored_as_v_u_i(tmp_path, sample):
    TangFolder(tmp_path).write(sample)
    stored = np.asarray(Image.open(tmp_path / "densepose/0000003.png"))
    np.testing.assert_array_equal(stored[..., 2], sample.iuv[..., 0])
    np.testing.assert_array_equal(stored[..., 0], sample.iuv[..., 2])
    np.testing.assert_array_equal(iuv_from_png_rgb(iuv_to_png_rgb(sample.iuv)), sample.iuv)


def test_depth_outside_1_to_8_leaves_the_mask_but_not_densepose(tmp_path, sample):
    depth_m = sample.depth_m.copy()
    inside = np.argwhere(sample.mask)[:4]
    for (row, column), value in zip(inside, (0.9, 8.1, 0.0, 8.0), strict=True):
        depth_m[row, column] = value
    TangFolder(tmp_path).write(replace(sample, depth_m=depth_m))
    read = TangFolder(tmp_path).read(sample.name)
    kept = [bool(read.mask[row, column]) for row, column in inside]
    assert kept == [False, False, False, True]
    row, column = inside[0]
    assert read.white_image[row, column].tolist() == [255, 255, 255]
    assert not read.normals[row, column].any()
    assert not read.depth_m[row, column].any()
    np.testing.assert_array_equal(read.iuv, sample.iuv)


def test_values_outside_the_mask_are_cleared(tmp_path, sample):
    dirty = replace(
        sample,
        white_image=sample.image,
        depth_m=np.where(sample.mask, sample.depth_m, 3).astype(np.float32),
        normals=np.where(sample.mask[..., None], sample.normals, 0.5).astype(np.float32),
    )
    TangFolder(tmp_path).write(dirty)
    read = TangFolder(tmp_path).read(sample.name)
    np.testing.assert_array_equal(read.white_image, sample.white_image)
    assert not read.depth_m[~sample.mask].any()
    assert not read.normals[~sample.mask].any()


def test_folder_without_color_and_meta_is_read(tang):
    for file in [*(tang.root / "color").iterdir(), tang.root / "hdnet.json"]:
        file.unlink()
    read = TangFolder(tang.root).read("0000001")
    np.testing.assert_array_equal(read.image, read.white_image)
    assert read.camera == Camera.reference()


@pytest.mark.parametrize(
    "file",
    [
        "color_WO_bg/0000001.png",
        "densepose/0000001.png",
        "mask/0000001.png",
        "depth/0000001.txt",
        "normal/0000001_2.txt",
    ],
)
def test_missing_file_is_refused_by_name(tang, file):
    (tang.root / file).unlink()
    with pytest.raises(DataError, match=f"{file}: file is missing"):
        tang.read("0000001")


def test_another_size_is_refused_by_name(tang):
    Image.new("RGB", (9, 7)).save(tang.png("densepose", "0000001"))
    with pytest.raises(DataError, match=r"densepose/0000001.png: found 9 x 7 pixels, expected 24 x 32"):
        tang.read("0000001")
    write_map(tang.depth_file("0000002"), np.ones((7, 9)), ",")
    with pytest.raises(DataError, match=r"depth/0000002.txt: found 7 rows x 9 columns of numbers, expected 32 x 24"):
        tang.read("0000002")


def test_names_are_sorted_by_number_and_may_have_any_length(tmp_path):
    folder = tmp_path / "color_WO_bg"
    folder.mkdir()
    for name in ("10", "9", "0000011", "._12"):
        (folder / f"{name}.png").touch()
    assert TangFolder(tmp_path).names() == ["9", "10", "0000011"]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ([], "no PNG"),
        (["12", "0012"], "same frame number"),
        (["12", "img"], "is no number"),
        (None, "folder is missing"),
    ],
)
def test_unusable_names_are_refused(tmp_path, names, complaint):
    if names is not None:
        (tmp_path / "color_WO_bg").mkdir()
    for name in names or []:
        (tmp_path / "color_WO_bg" / f"{name}.png").touch()
    with pytest.raises(DataError, match=f"color_WO_bg.*{complaint}"):
        TangFolder(tmp_path).names()


def test_sample_whose_name_is_no_number_is_not_written(tmp_path, sample):
    with pytest.raises(DataError, match="'person'"):
        TangFolder(tmp_path).write(replace(sample, name="person"))
    assert not list(tmp_path.iterdir())


def test_cameras_by_frame_survive(tmp_path):
    folder = TangFolder(tmp_path)
    cameras = {"0000000": CAMERA, "0000001": Camera.centred(300, size=32)}
    for name in cameras:
        folder.write(labelled_sample(name))
    folder.write_meta(cameras)
    assert {name: TangFolder(tmp_path).read(name).camera for name in cameras} == cameras
    with pytest.raises(DataError, match=r"hdnet.json: no camera for frame 0000002"):
        folder.camera("0000002")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "expected an object"),
        ('{"kamera": 1}', "unknown key 'kamera'"),
        ('{"camera": {"fx": 1}}', "not a camera"),
        ('{"camera": 5}', "expected an object"),
        ('{"sequences": {"a": ["1", "1"]}}', "listed 2 times"),
        ('{"sequences": ["1"]}', "sequences must be"),
    ],
)
def test_damaged_meta_is_refused_by_name(tang, content, complaint):
    (tang.root / "hdnet.json").write_text(content)
    with pytest.raises(DataError, match=f"hdnet.json: .*{complaint}"):
        TangFolder(tang.root).read("0000000")


def test_shift_to_median(sample):
    shifted = shift_to_median(sample.depth_m, sample.mask)
    assert shifted.dtype == np.float32
    assert np.median(shifted[sample.mask]) == pytest.approx(4, abs=1e-6)
    assert not shifted[~sample.mask].any()
    difference = (shifted - sample.depth_m)[sample.mask]
    assert np.ptp(difference) < 1e-6
    with pytest.raises(DataError, match="mask is empty"):
        shift_to_median(sample.depth_m, np.zeros_like(sample.mask))


def test_tiktok_frame_round_trip(tmp_path):
    folder = TikTokFolder(tmp_path)
    frame = unlabelled_frame("0017634", "video 7", seed=4)
    folder.write(frame)
    folder.write_meta({frame.name: frame.camera}, {"video 7": [frame.name]})
    read = TikTokFolder(tmp_path).read(frame.name)
    for field in ("image", "white_image", "iuv", "mask"):
        np.testing.assert_array_equal(getattr(read, field), getattr(frame, field))
    assert (read.name, read.sequence, read.camera) == (frame.name, frame.sequence, frame.camera)


def test_predicted_normals_round_trip_blank_separated(tiktok, sample):
    mask = tiktok.read("0000010").mask
    normals = np.where(mask[..., None], [0.6, 0.0, -0.8], 7)
    tiktok.write_pred_normals("0000010", normals, mask)
    read = tiktok.read_pred_normals("0000010")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, np.where(mask[..., None], [0.6, 0.0, -0.8], 0), atol=1e-6)
    assert "," not in (tiktok.root / "pred_normals/0000010_1.txt").read_text()
    picture = np.asarray(Image.open(tiktok.root / "pred_normals_png/0000010.png"))
    assert picture.shape == (*mask.shape, 3)
    assert (picture[~mask] == 255).all()


def test_sequences_come_from_meta_or_are_one(tiktok):
    assert TikTokFolder(tiktok.root).sequences() == SEQUENCES
    (tiktok.root / "hdnet.json").unlink()
    assert TikTokFolder(tiktok.root).sequences() == {"all": tiktok.names()}
    assert TikTokFolder(tiktok.root).read("0000020").sequence == "all"


def test_sequences_that_do_not_fit_the_pictures_are_refused(tiktok):
    meta = tiktok.root / "hdnet.json"
    content = json.loads(meta.read_text())
    tiktok.png("color_WO_bg", "0000012").unlink()
    with pytest.raises(DataError, match=r"color_WO_bg/0000012.png: file is missing"):
        TikTokFolder(tiktok.root).sequences()
    content["sequences"]["a"] = ["0000010"]
    meta.write_text(json.dumps(content))
    with pytest.raises(DataError, match="frame 0000011 is in no sequence"):
        TikTokFolder(tiktok.root).sequences()
