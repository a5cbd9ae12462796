"""The original's pictures and text maps, pixel by pixel and digit by digit; see ``parity_figures``."""

import numpy as np
import pytest
from parity_figures import load

from hdnet import visualize
from hdnet.predict import original_outputs

FIGURES = load("pictures")
CASES = pytest.mark.parametrize("case", ["near", "around_zero"])


def maps(case):
    return [FIGURES[f"{case}/{name}"] for name in ("image", "depth", "normals", "mask")]


@CASES
def test_result_picture(case):
    found = original_outputs.result_picture(*maps(case), FIGURES[f"{case}/farthest_share"].item())
    assert np.array_equal(found, FIGURES[f"{case}/result"])


@CASES
def test_result_picture_of_the_normal_training(case):
    image, _, normals, mask = maps(case)
    first, _, last = np.split(FIGURES[f"{case}/result"], 3, axis=1)
    found = original_outputs.normal_result_picture(image, normals, mask)
    assert np.array_equal(found, np.concatenate([first, last], axis=1))


def test_every_colour_of_depth():
    depth = np.linspace(2, 6, 256, dtype=np.float32)[None]
    assert np.array_equal(original_outputs.depth_picture(depth, depth > 0)[0], FIGURES["ramp"])


def test_normals_of_a_whole_sphere():
    normals, colours = FIGURES["sphere/normals"], FIGURES["sphere/colours"]
    mask = np.ones(normals.shape[:2], bool)
    assert np.array_equal(original_outputs.normal_picture(normals, mask), colours)
    # Ours differs only in the blue of what faces away, which the original wraps around (docs/parity.md, 52).
    ours, away = visualize.normal_picture(normals, mask), normals[..., 2] > 0
    assert np.array_equal(ours[~away], colours[~away])
    assert np.array_equal(ours[..., :2], colours[..., :2])
    assert (ours[away, 2] == 0).all()
    assert (colours[away, 2] != 0).mean() > 0.9


def test_our_own_result_picture_is_the_originals_for_positive_depths():
    image, depth, normals, mask = maps("near")
    assert np.array_equal(visualize.panel(image, depth, original_outputs.unit(normals), mask), FIGURES["near/result"])


@CASES
def test_text_of_depth_and_normals(case):
    depth = original_outputs.text_map(FIGURES[f"{case}/text_depth"][None])
    assert depth.startswith(str(FIGURES[f"{case}/text_depth_head"]))
    unit_z = original_outputs.unit(FIGURES[f"{case}/text_normals"][None])[..., 2]
    assert original_outputs.text_map(unit_z).startswith(str(FIGURES[f"{case}/text_nz_head"]))
