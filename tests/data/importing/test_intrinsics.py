import json
import math
from pathlib import Path

import pytest

from hdnet.data.importing.intrinsics import DEFAULT_FOV_DEG, Intrinsics
from hdnet.errors import DataError

KNOWN = {"fx": 900, "fy": 910, "cx": 300, "cy": 541}


def written(folder: Path, content: object) -> Path:
    file = folder / "camera.json"
    file.write_text(json.dumps(content))
    return file


def test_the_assumed_camera_is_the_originals():
    camera = Intrinsics().camera("a", 604, 1080)
    assert camera.fx == camera.fy == pytest.approx(1111.6)
    assert (camera.cx, camera.cy) == (301.5, 539.5)
    assert Intrinsics(90.0).camera("a", 100, 200).fy == pytest.approx(100)
    assert "51.82 degrees" in Intrinsics().describe()


def test_one_camera_for_all(tmp_path: Path):
    camera = Intrinsics.read(written(tmp_path, KNOWN)).camera("a", 604, 1080)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (900, 910, 300, 541)


def test_cameras_by_sequence_and_the_assumption_for_the_rest(tmp_path: Path):
    intrinsics = Intrinsics.read(written(tmp_path, {"sequences": {"a": KNOWN}}), 60.0)
    assert intrinsics.camera("a", 604, 1080).fx == 900
    assert intrinsics.camera("b", 604, 1080).fx == pytest.approx(540 / math.tan(math.radians(30)))
    both = Intrinsics.read(written(tmp_path, {**KNOWN, "sequences": {"a": KNOWN | {"fx": 7}}}))
    assert (both.camera("a", 604, 1080).fx, both.camera("b", 604, 1080).fx) == (7, 900)


def test_a_known_size_scales_with_the_frames(tmp_path: Path):
    intrinsics = Intrinsics.read(written(tmp_path, KNOWN | {"width": 604, "height": 1080}))
    half = intrinsics.camera("a", 302, 540)
    assert (half.fx, half.fy) == (450, 455)
    # The corner of the picture, half a pixel before the first centre, stays the corner.
    assert (half.cx + 0.5) * 2 - 0.5 == pytest.approx(300)
    with pytest.raises(DataError, match=r"are for 604 x 1080 pixels, the frames of sequence a have 1080 x 604"):
        intrinsics.camera("a", 1080, 604)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"fx": 1, "fy": 1, "cx": 1}, "expected fx, fy, cx, cy"),
        (KNOWN | {"fx": -1}, "fx is -1; expected a positive"),
        (KNOWN | {"cx": "3"}, "cx is '3'; expected a finite number"),
        (KNOWN | {"width": 604}, "one of width and height"),
        ({"sequences": {"a": [1, 2]}}, "sequence a: found"),
        ({"sequences": []}, "sequences must be an object"),
        ({}, "holds no camera"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, content: object, reason: str):
    with pytest.raises(DataError, match=reason):
        Intrinsics.read(written(tmp_path, content))


def test_a_field_of_view_out_of_range_is_refused():
    assert pytest.approx(51.82, abs=1e-2) == DEFAULT_FOV_DEG
    with pytest.raises(DataError, match="--fov-deg 0"):
        Intrinsics(0.0)
