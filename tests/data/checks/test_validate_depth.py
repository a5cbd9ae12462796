from pathlib import Path

import numpy as np
import pytest
from dolls import doll

from hdnet.data.checks.depth import check_depth
from hdnet.data.checks.findings import Findings

FILE = Path("depth/0000000.txt")
PERSON = doll()
DEPTH, MASK = PERSON.depth_m, PERSON.mask


def looked_at(depth_m, mask=MASK):
    found = Findings()
    valid, figures = check_depth(found, FILE, depth_m.astype(np.float32), mask)
    return valid, figures, [str(error) for error in found.errors], [str(warning) for warning in found.warnings]


@pytest.mark.parametrize("shift_m", [0, -1.5, 2.5])
def test_any_median_in_range_passes_and_is_said(shift_m):
    valid, figures, errors, warnings = looked_at(np.where(MASK, DEPTH + shift_m, 0))
    assert (errors, warnings) == ([], [])
    assert np.array_equal(valid, MASK)
    assert figures["depth_median_m"] == pytest.approx(np.median(DEPTH[MASK]) + shift_m, abs=1e-4)
    assert 0.2 < figures["depth_relief_m"] < 0.5
    assert figures["depth_lost"] == 0


@pytest.mark.parametrize(
    ("change", "text", "fix"),
    [
        (lambda depth: depth * 1000, "(millimetres?)", "divide by 1000"),
        (lambda depth: depth * 100, "(centimetres?)", "divide by 100;"),
        (lambda depth: np.rint((depth - 3) * 100), "whole numbers up to 255 (a depth picture?)", "in metres"),
        (lambda depth: depth / 8, "(scaled to 0..1, or 1/z?)", "neither scaled nor inverted"),
        (lambda depth: depth + 20, "median depth 2", "shift the depth so that its median is 4 m"),
        (lambda depth: -depth, "negative depth (median -", "multiply by -1"),
        (lambda depth: -1000 * depth, "negative depth (median -", "multiply by -1 and divide by 1000"),
        (lambda depth: depth * 0, "no depth above 0 inside the mask", "belong together"),
        (lambda depth: depth + 5.5, "median depth 9.4", "shift the depth so that its median is 4 m"),
    ],
)
def test_unusable_depth_is_an_error_with_a_remedy(change, text, fix):
    valid, _, (error,), _ = looked_at(np.where(MASK, change(DEPTH), 0))
    assert valid is None
    assert text in error
    assert fix in error + ";"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda depth: depth[:, ::-1], "mirrored left to right"),
        (lambda depth: depth.T, "transposed"),
        (lambda depth: np.roll(depth, (6, -10), axis=(0, 1)), "10 pixels too far left and 6 pixels too low"),
    ],
)
def test_depth_in_another_place_is_an_error(change, text):
    valid, _, (error,), _ = looked_at(change(DEPTH))
    assert valid is None
    assert text in error


def test_depth_of_the_whole_scene_is_fine():
    assert looked_at(np.where(MASK, DEPTH, 6.0))[2:] == ([], [])


def test_holes_are_a_warning():
    depth_m = DEPTH.copy()
    depth_m[::6] = 0
    valid, figures, errors, (warning,) = looked_at(depth_m)
    assert errors == []
    assert "17% of the mask has no depth within 1..8 (17% has none)" in warning
    assert figures["depth_lost"] == pytest.approx(1 / 6, abs=0.02)
    assert not valid[::6].any()


def test_much_out_of_range_is_an_error():
    far = np.where(np.arange(256) % 3 == 0, DEPTH, DEPTH + 4.6)
    error = looked_at(np.where(MASK, far, 0))[2][0]
    assert "depth" in error
    near = np.where(np.arange(256) % 3 == 0, DEPTH, 0.7)
    assert "67% of the mask has depth outside 1..8" in looked_at(np.where(MASK, near, 0))[2][0]


def test_flat_and_deep_people_are_warnings():
    assert "0.0 mm from the nearest" in looked_at(np.where(MASK, 4.0, 0))[3][0]
    stretched = np.where(MASK, 4 + (DEPTH - 4) * 9, 0)
    assert any("from the nearest to the farthest" in warning for warning in looked_at(stretched)[3])


def test_steps_of_an_8_bit_picture_are_a_warning_and_millimetres_are_not():
    (warning,) = looked_at(np.where(MASK, np.rint(DEPTH * 100) / 100, 0))[3]
    assert "mm apart" in warning
    assert "10.0 mm" in warning
    assert looked_at(np.where(MASK, np.rint(DEPTH * 1000) / 1000, 0))[3] == []
