"""Folders whose masks or maps are those of other frames."""

from pathlib import Path

import numpy as np
import pytest
from dolls import CAMERA, doll_frame

from hdnet.data.checks.shift import ShiftCheck, Trace
from hdnet.data.checks.validate import validate_tiktok
from hdnet.data.layout.folders import TikTokFolder
from hdnet.geometry import Camera

COUNT = 14


def silhouette(left: float, top: float = 20, width: int = 60, height: int = 200) -> np.ndarray:
    y, x = np.mgrid[:256, :256]
    inside: np.ndarray = ((x - left - width / 2) / width * 2) ** 2 + ((y - top - height / 2) / height * 2) ** 2 < 1
    return inside


def picture(mask: np.ndarray, seed: int) -> np.ndarray:
    """A person of one colour on clutter that stays."""
    clutter = (
        np.random.default_rng(0).integers(60, 140, (32, 32, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    )
    noise = np.random.default_rng(seed).integers(0, 12, (*mask.shape, 1), dtype=np.uint8)
    return np.where(mask[..., None], np.uint8(190), clutter) + noise


def found_in(
    places: list[float], mask_shift: int = 0, body_shift: int = 0, body_left: float = 0, wide: int = 0
) -> list:
    """Shifts that are found where frame i has the mask and map of other frames."""
    check = ShiftCheck()
    last = len(places) - 1
    for i, place in enumerate(places):
        of_mask, of_body = (places[min(max(i + shift, 0), last)] for shift in (mask_shift, body_shift))
        mask = silhouette(of_mask - wide, width=60 + 2 * wide)
        check.add(Trace.of(mask, silhouette(of_body + 2 + body_left, 24, 56, 192), picture(silhouette(place), i)))
    return [(shift.pair, shift.offset) for shift in check.shifts()]


SWAY = [100 + 30 * np.sin(i / 3) for i in range(24)]
WALK = [40 + 6 * i for i in range(20)]


@pytest.mark.parametrize("places", [SWAY, WALK])
@pytest.mark.parametrize("shift", [-3, -1, 1, 2])
def test_a_shift_is_found_with_its_sign(places: list[float], shift: int):
    assert found_in(places) == []
    assert found_in(places, 0, shift) == [("body", -shift)]
    assert found_in(places, shift, shift) == [("mask", -shift)]
    assert found_in(places, shift, 0) == [("body", shift), ("mask", -shift)]


@pytest.mark.parametrize("body_left", [-2, 2])
def test_a_map_that_lies_a_little_beside_is_no_shift(body_left: float):
    assert found_in(SWAY, body_left=body_left) == []
    assert found_in([40 + 2 * i for i in range(40)], body_left=body_left) == []


@pytest.mark.parametrize("places", [SWAY, WALK])
def test_masks_that_are_too_wide_are_no_shift(places: list[float]):
    assert found_in(places, wide=6) == []


def test_a_person_who_stands_still_shows_nothing():
    assert found_in([100.0] * 12, 0, 1) == []
    assert found_in([100.0, 101.0, 102.0], 0, 1) == []


def test_the_run_of_frames_is_named():
    check = ShiftCheck()
    for i, place in enumerate(SWAY):
        check.add(Trace.of(silhouette(place), silhouette(SWAY[min(i + (i >= 12), 23)])))
    (shift,) = check.shifts()
    assert (shift.pair, shift.offset) == ("body", -1)
    assert 10 <= shift.first <= 13
    assert shift.last >= 20


@pytest.fixture
def dance(tmp_path: Path) -> TikTokFolder:
    """Dolls that are moved, cut out of their video by a window that follows them in steps."""
    folder = TikTokFolder(tmp_path / "tiktok_data")
    names = [f"{i:07d}" for i in range(COUNT)]
    frame = doll_frame("0000000", "a", 0)
    cameras = {}
    for i, name in enumerate(names):
        left, window = 5 * i, 5 * i // 20 * 20

        def moved(plane: np.ndarray, by: int = left - window) -> np.ndarray:
            return np.roll(plane, by, axis=1)

        fields = {key: moved(getattr(frame, key)) for key in ("image", "white_image", "iuv", "mask")}
        folder.write(type(frame)(name, "a", **fields, camera=frame.camera))
        cameras[name] = Camera(CAMERA.fx, CAMERA.fy, CAMERA.cx - window, CAMERA.cy)
    folder.write_meta(cameras, {"a": names})
    return folder


def numbering(folder: TikTokFolder) -> list[str]:
    return [str(error) for error in validate_tiktok(folder.root).errors if error.kind == "numbering"]


def test_validate_passes_a_right_folder(dance: TikTokFolder):
    assert numbering(dance) == []


@pytest.mark.parametrize("step", [-1, 1])
def test_validate_finds_a_shifted_folder(dance: TikTokFolder, step: int):
    """Maps of other frames, cut by their own frame's window as an import does."""
    offsets = [5 * i // 20 * 20 for i in range(COUNT)]
    maps = [dance.read(name).iuv for name in dance.names()]
    for i, name in enumerate(dance.names()):
        j = min(max(i + step, 0), COUNT - 1)
        iuv = np.roll(maps[j], offsets[j] - offsets[i], axis=1)
        frame = dance.read(name)
        dance.write(type(frame)(name, "a", frame.image, frame.white_image, iuv, frame.mask, frame.camera))
    (error,) = numbering(dance)
    assert f"the body parts of the frame {'after' if step < 0 else 'before'} lie better on the mask" in error
    assert "number them alike and import the sequence again" in error
