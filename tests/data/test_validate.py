import json
from dataclasses import replace

import numpy as np
import pytest
from data_folders import CAMERA, labelled_sample
from PIL import Image

from hdnet.data.layout import TangFolder
from hdnet.data.layout_png import write_png
from hdnet.data.layout_text import write_map
from hdnet.data.validate import validate_tang, validate_tiktok
from hdnet.errors import DataError


def only_error(report):
    assert len(report.errors) == 1, [str(error) for error in report.errors]
    return str(report.errors[0])


def test_good_folders_pass(tang, tiktok):
    report = validate_tang(tang.root)
    assert (report.errors, report.warnings, report.samples) == ([], [], 3)
    # A sphere of ten pixels radius: one-sided differences alone are some degrees off.
    assert 0 < report.statistics["normal_angle_deg_mean"] < 15
    report.raise_if_errors()
    report = validate_tiktok(tiktok.root)
    assert (report.errors, report.warnings, report.samples) == ([], [], 7)


def test_report_is_json_and_raises_one_line(tang):
    tang.png("mask", "0000000").write_text("text")
    tang.depth_file("0000001").unlink()
    report = validate_tang(tang.root)
    content = json.loads(json.dumps(report.to_dict()))
    assert set(content["errors"][0]) == {"file", "found", "expected", "fix"}
    assert content["errors"][0]["file"].endswith("mask/0000000.png")
    with pytest.raises(DataError, match=r"mask/0000000\.png: is not a PNG picture; expected .* \(and 1 more in"):
        report.raise_if_errors()


@pytest.mark.parametrize(
    "file",
    [
        "color_WO_bg/0000001.png",
        "densepose/0000001.png",
        "mask/0000001.png",
        "depth/0000001.txt",
        "normal/0000001_3.txt",
    ],
)
def test_missing_partner_is_named(tang, file):
    (tang.root / file).unlink()
    assert f"{file}: file is missing" in only_error(validate_tang(tang.root))


def test_missing_or_empty_folder_is_one_error(tmp_path):
    assert "color_WO_bg: folder is missing" in only_error(validate_tang(tmp_path / "nowhere"))
    assert "color_WO_bg: folder is missing" in only_error(validate_tiktok(tmp_path / "nowhere"))


@pytest.mark.parametrize("value", [0, 1])
def test_empty_mask_is_an_error_also_when_it_is_0_and_1(tang, value):
    Image.fromarray(np.full((32, 24), value, np.uint8)).save(tang.png("mask", "0000001"))
    message = only_error(validate_tang(tang.root))
    assert "mask/0000001.png: no value above 100" in message
    assert "255" in message


def test_small_mask_is_a_warning(tiktok):
    mask = np.zeros((32, 24), bool)
    mask[14:16, 10:12] = True
    write_png(tiktok.png("mask", "0000010"), mask)
    warnings = [str(warning) for warning in validate_tiktok(tiktok.root).warnings]
    assert any("mask/0000010.png: a mask of 0.52%" in warning for warning in warnings)


def test_frame_of_another_size_is_named(tiktok):
    for kind in ("color", "color_WO_bg", "densepose"):
        file = tiktok.png(kind, "0000022")
        Image.open(file).resize((48, 64), Image.Resampling.NEAREST).save(file)
    mask = tiktok.png("mask", "0000022")
    Image.open(mask).resize((48, 64), Image.Resampling.NEAREST).save(mask)
    message = only_error(validate_tiktok(tiktok.root))
    assert "mask/0000022.png: 48 x 64 pixels; expected 24 x 32" in message


def test_part_of_a_sample_of_another_size_is_named(tang):
    Image.new("RGB", (9, 7)).save(tang.png("densepose", "0000001"))
    write_map(tang.normal_files("0000002")[0], np.zeros((32, 23)), ",")
    messages = [str(error) for error in validate_tang(tang.root).errors]
    assert "densepose/0000001.png: 9 x 7 values" in messages[0]
    assert "normal/0000002_1.txt: 23 x 32 values" in messages[1]
    assert len(messages) == 2


def test_millimetres_are_recognised(tang):
    sample = tang.read("0000001")
    write_map(tang.depth_file("0000001"), sample.depth_m * 1000, ",")
    message = only_error(validate_tang(tang.root))
    assert "depth/0000001.txt: median depth" in message
    assert "millimetres?" in message
    assert "divide by 1000" in message


@pytest.mark.parametrize(
    ("change", "complaint"), [(-1, "no depth above 0"), (0, "no depth above 0"), (0.1, "100% of the mask")]
)
def test_unusable_depth_is_named(tang, change, complaint):
    sample = tang.read("0000001")
    write_map(tang.depth_file("0000001"), sample.depth_m * change, ",")
    assert complaint in only_error(validate_tang(tang.root))


def test_holes_in_the_depth_are_a_warning(tang):
    sample = tang.read("0000001")
    depth_m = sample.depth_m.copy()
    depth_m[::6] = 0
    write_map(tang.depth_file("0000001"), depth_m, ",")
    report = validate_tang(tang.root)
    assert not report.errors
    assert "depth/0000001.txt" in str(report.warnings[0])


@pytest.mark.parametrize(
    ("axes", "signs", "remedy"),
    [
        ((0, 1, 2), (-1, -1, -1), "(-nx, -ny, -nz)"),
        ((0, 1, 2), (1, -1, -1), "(nx, -ny, -nz)"),
        ((2, 1, 0), (1, 1, 1), "(nz, ny, nx)"),
    ],
)
def test_flipped_or_swapped_normals_are_recognised(tmp_path, axes, signs, remedy):
    sample = labelled_sample("0000000")
    wrong = (sample.normals[..., axes] * signs).astype(np.float32)
    TangFolder(tmp_path).write(replace(sample, normals=wrong))
    TangFolder(tmp_path).write_meta({sample.name: CAMERA})
    message = only_error(validate_tang(tmp_path))
    assert "normal/0000000_1.txt: normals lie" in message
    assert remedy in message


def test_normals_that_are_no_unit_vectors_are_named(tmp_path):
    sample = labelled_sample("0000000")
    TangFolder(tmp_path).write(replace(sample, normals=sample.normals * 0.8))
    TangFolder(tmp_path).write_meta({sample.name: CAMERA})
    assert "no unit vectors (median length 0.800)" in only_error(validate_tang(tmp_path))


def test_iuv_channel_order_is_detected(tiktok):
    file = tiktok.png("densepose", "0000011")
    rgb = np.asarray(Image.open(file))
    write_png(file, rgb[..., ::-1].copy())
    message = only_error(validate_tiktok(tiktok.root))
    assert "densepose/0000011.png" in message
    assert "channel R (order I, U, V)" in message


def test_iuv_without_parts_on_the_person_is_an_error(tiktok):
    write_png(tiktok.png("densepose", "0000011"), np.zeros((32, 24, 3), np.uint8))
    assert "densepose/0000011.png: no body part inside the mask" in only_error(validate_tiktok(tiktok.root))


def test_iuv_of_few_parts_or_of_the_wrong_scale_is_a_warning(tiktok):
    rgb = np.asarray(Image.open(tiktok.png("densepose", "0000011"))).copy()
    rgb[..., 2] = (rgb[..., 2] > 0) * 3
    rgb[..., :2] = rgb[..., :2] > 100
    write_png(tiktok.png("densepose", "0000011"), rgb)
    report = validate_tiktok(tiktok.root)
    assert not report.errors
    text = " ".join(str(warning) for warning in report.warnings)
    assert "1 body parts" in text
    assert "U and V of at most 1" in text


def test_sequences_that_name_missing_frames_are_an_error(tiktok):
    tiktok.png("color_WO_bg", "0000012").unlink()
    assert "color_WO_bg/0000012.png: file is missing" in only_error(validate_tiktok(tiktok.root))


def test_missing_camera_is_an_error(tang):
    (tang.root / "hdnet.json").write_text(json.dumps({"cameras": {"0000000": CAMERA.to_dict()}}))
    messages = [str(error) for error in validate_tang(tang.root).errors]
    assert len(messages) == 2
    assert "hdnet.json: no camera for frame 0000001" in messages[0]


@pytest.mark.slow
def test_two_processes_report_the_same_as_one(tang):
    tang.png("mask", "0000000").write_text("text")
    assert validate_tang(tang.root, jobs=2) == validate_tang(tang.root)
