"""The inference chain against a run of the original's script on one photograph; see ``parity_figures``.

The photograph shows a real person and is not part of this project. ``HDNET_ORIGINAL_PHOTO`` names a folder with the
original's ``0043_img.png``, ``0043_mask.png`` and ``0043_dp.png`` (its ``test_data``) for the test that needs it.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from parity_figures import assert_close, load
from parity_recipe import network

from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.models.hdnet import unit_normals
from hdnet.pictures.reading import read_image, read_iuv, read_mask
from hdnet.predict import original_outputs
from hdnet.predict.inference import Predictor
from hdnet.predict.original_outputs import OriginalMaps, save_original

FIGURES = load("inference")
ROWS, COLUMNS = FIGURES["rows"].astype(int), FIGURES["columns"].astype(int)
PHOTO = os.environ.get("HDNET_ORIGINAL_PHOTO")
# The run's smallest positive depth, where its colours begin, is not among the points: any value between 0.00025 and
# 0.00030 gives all colours at the 2000 points of the full figures.
DEPTH_SMALLEST_POSITIVE = np.float32(0.00028)


@pytest.mark.parametrize(
    ("dtype", "prefix", "tolerance"),
    [(torch.float64, "", 1e-14), (torch.float32, "float32/", 2e-7)],
    ids=["float64", "float32"],
)
def test_normalised_normals(dtype, prefix, tolerance):
    raw_13n1 = torch.tensor(FIGURES[f"{prefix}normals_raw"].T[None, ..., None], dtype=dtype)
    unit_13n1 = unit_normals(raw_13n1, torch.ones_like(raw_13n1[:, :1], dtype=torch.bool))
    assert_close(unit_13n1[0, ..., 0].T, FIGURES[f"{prefix}normals"], tolerance)
    assert not unit_normals(raw_13n1, torch.zeros_like(raw_13n1[:, :1], dtype=torch.bool)).any()


def test_colours_of_the_runs_own_values():
    mask = np.ones((1, len(ROWS)), bool)
    found = original_outputs.normal_picture(FIGURES["float32/normals"][None], mask)
    assert np.array_equal(found[0], FIGURES["normal_colours"])
    assert (FIGURES["float32/normals"][:, 2] > 0).sum() > 100  # many point away and wrap (docs/parity.md, 52)

    depth = np.r_[FIGURES["float32/depth"], FIGURES["float32/depth_largest"], DEPTH_SMALLEST_POSITIVE][None]
    found = original_outputs.depth_picture(depth, np.ones_like(depth, bool))
    assert np.array_equal(found[0, :-2], FIGURES["depth_colours"])


def tiny_model() -> HDNet:
    torch.manual_seed(0)
    model = HDNet(NormalEstimator(2), DepthEstimator(2), Camera.reference()).double().eval()
    torch.nn.init.normal_(model.normal_estimator.head.bias)  # without zero vectors
    return model


def test_zero_normals_stay_zero_where_the_original_gives_nothing_but_nan():
    model = tiny_model()
    torch.nn.init.zeros_(model.normal_estimator.head.weight)
    torch.nn.init.zeros_(model.normal_estimator.head.bias)
    with torch.inference_mode():
        outputs_4hw = model(torch.ones(1, 7, 256, 256, dtype=torch.float64))[0]
    assert torch.isfinite(outputs_4hw).all()
    assert not outputs_4hw[1:].any()


def test_both_ways_through_the_networks_equal_the_steps_by_hand():
    model = tiny_model()
    chance = np.random.default_rng(0)
    image = chance.integers(0, 255, (256, 256, 3), dtype=np.uint8)
    # Also outside the mask (docs/parity.md, 57); every part in one band, as single pixels and two heads are refused.
    iuv = chance.integers(0, 25, (256, 256, 3), dtype=np.uint8)
    iuv[..., 0] = (np.arange(256) * 25 // 256)[:, None]
    grey = np.full((256, 256), 100, np.uint8)
    grey[40:220, 90:170] = 101
    inside = grey > 100

    # The script's steps: white background, normals of unit length, masked, DensePose as V, U, I.
    white = np.where(inside[..., None], image, 255).astype(float)
    with torch.inference_mode():
        raw_hw3 = model.normal_estimator(torch.from_numpy(white.transpose(2, 0, 1))[None])[0].permute(1, 2, 0).numpy()
        normals = raw_hw3 / np.linalg.norm(raw_hw3, axis=2, keepdims=True) * inside[..., None]
        inputs_hw9 = np.concatenate([white, normals, iuv[..., ::-1]], axis=2)
        depth = model.depth_estimator(torch.from_numpy(inputs_hw9.transpose(2, 0, 1))[None])[0, 0]

        inputs_hw7 = np.concatenate([white, iuv, inside[..., None]], axis=2)
        outputs_4hw = model(torch.from_numpy(inputs_hw7.transpose(2, 0, 1))[None])[0]
    assert_close(outputs_4hw[0], depth.numpy(), 1e-12)
    assert_close(outputs_4hw[1:], normals.transpose(2, 0, 1), 1e-12)

    maps = Predictor(model).original_maps(image, grey, iuv)
    assert maps.depth_m.dtype == maps.normals.dtype == np.float64
    assert_close(torch.from_numpy(maps.depth_m), depth.numpy(), 1e-12)
    assert_close(torch.from_numpy(maps.normals), normals, 1e-12)
    assert np.array_equal(maps.mask, inside)
    assert np.array_equal(maps.image, white)


@pytest.mark.slow
@pytest.mark.skipif(not PHOTO, reason="HDNET_ORIGINAL_PHOTO does not name the folder of the original's test photograph")
# The original's own float32 output is 4e-4 (relative L2) away from these float64 figures.
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["float64", "float32"]
)
def test_photograph(dtype, tolerance, tmp_path):
    folder = Path(PHOTO)
    image, iuv = read_image(folder / "0043_img.png"), read_iuv(folder / "0043_dp.png")
    model = HDNet(network("normal", dtype), network("depth", dtype), Camera.reference())
    maps = Predictor(model).original_maps(image, read_mask(folder / "0043_mask.png"), iuv)

    assert maps.mask.sum() == FIGURES["mask_pixels"]
    white_3hw = torch.from_numpy(maps.image.transpose(2, 0, 1).copy())
    with torch.inference_mode():
        raw_3hw = model.normal_estimator(white_3hw[None].to(dtype))[0]
    assert_close(raw_3hw[:, ROWS, COLUMNS].T, FIGURES["normals_raw"], tolerance)
    assert_close(torch.from_numpy(maps.normals[ROWS, COLUMNS]), FIGURES["normals"], tolerance)
    assert_close(torch.from_numpy(maps.depth_m[ROWS, COLUMNS]), FIGURES["depth"], tolerance)
    depth = maps.depth_m[maps.mask]
    summary = torch.tensor([depth.mean(), depth.std(), depth.min(), depth.max()])
    assert_close(summary, FIGURES["depth_mean_std_min_max"], tolerance)
    check_files(maps, tmp_path)


def check_files(maps: OriginalMaps, folder: Path) -> None:
    """The six files. The script computed in float32, so its numbers are within its rounding only."""
    files = save_original(maps, folder, "0043")
    assert sorted(files) == FIGURES["files"].tolist()
    obj = files["0043_mesh.obj"].read_text()
    assert (obj.count("v "), obj.count("f ")) == (FIGURES["mesh_vertices"], FIGURES["mesh_faces"])
    text = files["0043.txt"].read_text()
    values = np.array(text.split(), float).reshape(256, 256)
    assert text.startswith(str(FIGURES["text_head"]))
    assert "-0.00000" in text
    assert np.argwhere(values)[0].tolist() == FIGURES["text_first_nonzero"].tolist()
    assert values.sum() == pytest.approx(FIGURES["text_sum"].item(), rel=2e-4)

    picture = read_image(files["0043_results.png"])
    assert picture.shape == (256, 768, 3)
    assert np.array_equal(picture[:, :256], maps.image)
    # The original's rounding puts 1.5 % of the mask's pixels into the next of depth's 256 colours, and normals of 9 %
    # off by one (a few at the wrap of blue).
    for left, name, differing in ((256, "depth_colours", 0.04), (512, "normal_colours", 0.15)):
        distance = np.abs(picture[ROWS, left + COLUMNS].astype(int) - FIGURES[name])
        assert (distance.max(axis=1) > 0).mean() < differing
        assert np.minimum(distance, 256 - distance).max() <= 4
