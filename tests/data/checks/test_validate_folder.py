import json
from pathlib import Path

import pytest
from dolls import CAMERA

from hdnet.data.checks.findings import Finding, Findings
from hdnet.data.checks.folder import (
    check_meta,
    check_one_size,
    check_partners,
    check_same_frames,
    check_uv_range,
    frame_names,
    with_hint,
)
from hdnet.data.layout.meta import FolderMeta


def texts(findings):
    return [str(finding) for finding in findings]


def touched(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_names_in_numeric_order_and_every_bad_one_named(tmp_path):
    touched(tmp_path / "color_WO_bg", "0000010.png", "9.png", "0009.png", "frame7.png", ".hidden.png", "0000011.jpg")
    found = Findings()
    assert frame_names(found, tmp_path) == ["0009", "0000010"]
    first, second = texts(found.errors)
    assert "9.png: same frame number as 0009.png" in first
    assert "frame7.png: the name is no number" in second


def test_missing_and_empty_folders(tmp_path):
    found = Findings()
    assert frame_names(found, tmp_path / "nowhere") == []
    touched(tmp_path / "color_WO_bg", "0000000.jpg")
    assert frame_names(found, tmp_path) == []
    first, second = texts(found.errors)
    assert "color_WO_bg: folder is missing" in first
    assert "color_WO_bg: no picture named by a number" in second


def test_frames_without_a_picture_are_named_once(tmp_path):
    touched(tmp_path / "mask", "0000000.png", "0000001.png")
    touched(tmp_path / "normal", "0000001_1.txt", "0000001_2.txt")
    found = Findings()
    check_partners(found, tmp_path, {"mask": ".png", "normal": "_1.txt"}, ["0000000"])
    (error,) = texts(found.errors)
    assert "color_WO_bg/0000001.png: file is missing; expected a partner of mask/0000001.png" in error


@pytest.mark.parametrize(
    ("there", "missing", "hint"),
    [
        ("0000003.jpg", "0000003.png", "0000003.jpg is there: convert it to PNG"),
        ("0003.png", "0000003.png", "0003.png is there: rename it"),
        ("00003_2.txt", "0000003_2.txt", "00003_2.txt is there: rename it"),
        ("0000013_2.txt", "0000003_2.txt", "add it"),
        ("0000004.png", "0000003.png", "add it"),
    ],
)
def test_a_missing_file_is_looked_for_under_other_names(tmp_path, there, missing, hint):
    folder = touched(tmp_path / "mask", there)
    finding = Finding(str(folder / missing), "file is missing", "a PNG", "add it", "missing file")
    assert with_hint(finding).fix == hint


def test_hints_are_for_missing_frames_only(tmp_path):
    for file, kind in ((tmp_path / "hdnet.json", "missing file"), (tmp_path / "0000000.png", "size")):
        finding = Finding(str(file), "x", "y", "add it", kind)
        assert with_hint(finding) == finding


def meta_of(tmp_path, **content):
    (tmp_path / "hdnet.json").write_text(json.dumps(content))
    return FolderMeta.read(tmp_path)


def test_cameras_of_the_frames_that_are_there(tmp_path):
    found = Findings()
    meta = meta_of(tmp_path, cameras={"0000000": CAMERA.to_dict(), "0000009": CAMERA.to_dict()})
    check_meta(found, meta, ["0000000", "0000001"], sequences=False)
    (error,), (warning,) = texts(found.errors), texts(found.warnings)
    assert "hdnet.json: no camera for frame 0000001" in error
    assert "cameras of 1 frames without a picture, first 0000009" in warning


def test_sequences_hold_every_frame_once_in_order(tmp_path):
    found = Findings()
    meta = meta_of(tmp_path, sequences={"a": ["0000002", "0000001"], "b": ["0000005"]})
    check_meta(found, meta, ["0000001", "0000002", "0000003"], sequences=True)
    missing, unlisted = texts(found.errors)
    assert "color_WO_bg/0000005.png: file is missing" in missing
    assert "sequence b" in missing
    assert "frame 0000003 is in no sequence" in unlisted
    unordered, single = texts(found.warnings)
    assert "frames of sequence a are not in the order" in unordered
    assert "sequence b has 1 frames" in single


def test_no_sequences_are_one_sequence(tmp_path):
    found = Findings()
    check_meta(found, meta_of(tmp_path, camera=CAMERA.to_dict()), ["0000001"], sequences=True)
    assert (found.errors, found.warnings) == ([], [])


@pytest.mark.parametrize(
    ("sizes", "errors", "warnings"),
    [
        ([(256, 256)] * 3, [], []),
        ([(512, 512)] * 3, [], ["512 x 512 pixels; expected 256 x 256"]),
        ([(100, 60)] * 3, ["60 x 100 pixels; expected 256 x 256, or at least multiples of 16"], []),
        ([(256, 256), (256, 256), (128, 64)], ["mask/2.png: 64 x 128 pixels; expected 256 x 256 as in most"], []),
        ([], [], []),
    ],
)
def test_sizes(sizes, errors, warnings):
    found = Findings()
    check_one_size(found, Path(), {str(k): size for k, size in enumerate(sizes)})
    for expected, findings in ((errors, found.errors), (warnings, found.warnings)):
        assert len(findings) == len(expected)
        assert all(text in str(finding) for text, finding in zip(expected, findings, strict=True))


def test_frames_that_are_the_same():
    found = Findings()
    check_same_frames(found, Path(), {"0": b"x", "1": b"y", "2": b"x", "3": b"x"})
    assert [warning.file for warning in found.warnings] == ["color_WO_bg/2.png", "color_WO_bg/3.png"]
    assert "the same picture as 0.png" in str(found.warnings[1])


def test_range_of_u_and_v():
    found = Findings()
    check_uv_range(found, Path(), (255, 240))
    check_uv_range(found, Path(), (0, 0))
    assert found.warnings == []
    check_uv_range(found, Path(), (255, 100))
    assert "V reaches only 100 in the whole folder" in str(found.warnings[0])
    assert "multiply V by 2.55" in str(found.warnings[0])
