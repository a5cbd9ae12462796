import numpy as np
import pytest
from dolls import doll
from scipy import ndimage

from hdnet.data.checks.shapes import misplacement, outside, read_charts
from hdnet.synthetic import iuv as synthetic_iuv

MASK = doll().mask
IUV = doll().iuv
PART = IUV[..., 0] > 0


def test_a_part_in_its_place_is_left_alone():
    assert misplacement(PART, MASK) is None
    assert misplacement(ndimage.binary_erosion(MASK, iterations=4), MASK) is None
    assert misplacement(np.roll(PART, 1, axis=1), MASK) is None


def test_nothing_has_no_place():
    assert misplacement(np.zeros_like(MASK), MASK) is None
    assert misplacement(PART, np.zeros_like(MASK)) is None


@pytest.mark.parametrize(
    ("turn", "name"),
    [
        (lambda part: part[:, ::-1], "mirrored left to right"),
        (lambda part: part[::-1], "upside down"),
        (lambda part: part[::-1, ::-1], "turned by 180 degrees"),
        (lambda part: part.T, "transposed"),
        (lambda part: np.rot90(part, 1), "turned by 90 degrees to the left"),
        (lambda part: np.rot90(part, -1), "turned by 90 degrees to the right"),
    ],
)
def test_turns_are_named(turn, name):
    place = misplacement(np.ascontiguousarray(turn(PART)), MASK)
    assert str(place).startswith(name)
    assert "pixels too" not in str(place)


@pytest.mark.parametrize(
    ("down", "right", "text"),
    [
        (0, 9, "9 pixels too far right"),
        (0, -9, "9 pixels too far left"),
        (7, 0, "7 pixels too low"),
        (-12, 20, "20 pixels too far right and 12 pixels too high"),
    ],
)
def test_shifts_are_measured(down, right, text):
    place = misplacement(np.roll(PART, (down, right), axis=(0, 1)), MASK)
    assert str(place).startswith(text)
    assert place.overlap < place.best_overlap


def test_large_pictures_are_searched_coarsely():
    mask, part = (np.kron(picture, np.ones((3, 3), dtype=bool)) for picture in (MASK, PART))
    place = misplacement(np.roll(part, 30, axis=1), mask)
    assert (place.turn, place.right_px, place.low_px) == ("", 30, 0)


def test_pictures_that_are_not_square_are_not_turned_by_90_degrees():
    place = misplacement(PART[:, ::-1][:200], MASK[:200])
    assert place.turn == "mirrored left to right"


def test_share_outside():
    part = np.array([[True, True, False, True]])
    assert outside(part, np.array([[True, False, False, False]])) == pytest.approx(2 / 3)
    assert outside(np.zeros((2, 2), dtype=bool), np.ones((2, 2), dtype=bool)) == 0


def test_a_correct_picture_agrees_in_everything():
    charts = read_charts(IUV)
    assert min(charts.limbs, charts.centre, charts.along) > 0.9
    assert charts.parts == 8
    assert charts.fault() == ""


def test_nothing_is_said_of_nothing():
    assert read_charts(np.zeros((8, 8, 3), dtype=np.uint8)).fault() == ""
    arm = np.where(IUV[..., :1] == 16, IUV, np.uint8(0))
    assert read_charts(arm[:, ::-1]).fault() == ""


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda iuv: iuv[:, ::-1], "mirrored"),
        (lambda iuv: iuv[::-1], "mirrored"),
        (lambda iuv: iuv[..., [0, 2, 1]], "exchanged"),
        (lambda iuv: np.rot90(iuv), ""),
        (lambda iuv: iuv[:, ::-1][..., [0, 2, 1]], ""),
    ],
    ids=["left to right", "top to bottom", "U and V", "quarter turn", "both, which turns the right way again"],
)
def test_faults(change, fault):
    assert read_charts(np.ascontiguousarray(change(IUV))).fault() == fault


def test_synthetic_people_count_as_many_parts():
    assert synthetic_iuv.PART_COUNT == 24
