from pathlib import Path

import numpy as np
import pytest
from dolls import doll

from hdnet.data.checks.findings import Findings
from hdnet.data.checks.pictures import check_color, check_mask, check_white_image, ink

FILE = Path("x/0000000.png")
PERSON = doll()


def looked_at(check, *arguments):
    found = Findings()
    check(found, FILE, *arguments)
    return [str(error) for error in found.errors], [str(warning) for warning in found.warnings]


def test_correct_pictures_pass():
    mask, white_image = PERSON.mask, PERSON.white_image
    assert looked_at(check_mask, mask, PERSON.iuv[..., 0] > 0, ink(white_image)) == ([], [])
    assert looked_at(check_white_image, white_image, mask) == ([], [])
    assert looked_at(check_color, PERSON.image, white_image, mask) == ([], [])


def test_empty_mask_is_an_error():
    (error,), _ = looked_at(check_mask, np.zeros((9, 9), dtype=bool))
    assert "no value above 100" in error
    assert "multiply a 0/1 mask by 255" in error


def test_inverted_mask_is_told_by_where_the_person_is():
    (error,), _ = looked_at(check_mask, ~PERSON.mask, PERSON.iuv[..., 0] > 0, ink(PERSON.white_image))
    assert "inverted" in error
    # A person in front of the camera may fill the picture.
    assert looked_at(check_mask, ~PERSON.mask, ~PERSON.mask)[0] == []


@pytest.mark.parametrize(("size", "text"), [(5, "0.04% of the picture"), (254, "98% of the picture")])
def test_small_and_whole_masks_are_warnings(size, text):
    mask = np.zeros((256, 256), dtype=bool)
    mask[:size, :size] = True
    errors, (warning,) = looked_at(check_mask, mask)
    assert errors == []
    assert text in warning


def test_mask_in_pieces_is_a_warning():
    mask = np.zeros((64, 64), dtype=bool)
    mask[4:20, 4:60] = mask[30:44, 4:60] = True
    assert "2 pieces, the largest with 53%" in looked_at(check_mask, mask)[1][0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda picture: picture[:, ::-1], "mirrored left to right"),
        (lambda picture: np.roll(picture, 12, axis=1), "12 pixels too far right"),
        (lambda picture: picture.transpose(1, 0, 2), "transposed"),
    ],
)
def test_picture_in_another_place_is_an_error(change, text):
    (error,), _ = looked_at(check_white_image, change(PERSON.white_image), PERSON.mask)
    assert text in error


@pytest.mark.parametrize(("level", "text"), [(0, "median value 0"), (128, "median value 128")])
def test_background_that_is_not_white_is_a_warning(level, text):
    picture = np.where(PERSON.mask[..., None], PERSON.white_image, np.uint8(level))
    errors, (warning,) = looked_at(check_white_image, picture, PERSON.mask)
    assert errors == []
    assert "100% of the background is not white" in warning
    assert text in warning


def test_antialiased_rim_is_fine():
    picture = PERSON.white_image.copy()
    rim = np.roll(PERSON.mask, 1, axis=1) & ~PERSON.mask
    picture[rim] = 200
    assert looked_at(check_white_image, picture, PERSON.mask) == ([], [])


def test_mask_over_white_background_is_a_warning():
    mask = np.zeros_like(PERSON.mask)
    mask[20:240, 40:220] = True
    assert "of the mask is white in the picture" in looked_at(check_white_image, PERSON.white_image, mask)[1][0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda picture: picture[:, ::-1], "mirrored left to right"),
        (lambda picture: picture[..., ::-1], "red and blue exchanged"),
        (lambda picture: 255 - picture, "grey levels; expected"),
    ],
)
def test_color_of_another_picture_is_a_warning(change, text):
    errors, (warning,) = looked_at(check_color, change(PERSON.image), PERSON.white_image, PERSON.mask)
    assert errors == []
    assert text in warning
