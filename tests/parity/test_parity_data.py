"""What readers, packing and data sets hand to the networks, against what the original feeds; see ``parity_figures``.

Ours is the original's bit by bit, except, on purpose:

* Depth differs by at most one unit in the last place (4.8e-7 m): the original adds 4 and then takes the median off, in
  float32, which rounds twice.
* Normals are exact as read. Packing rounds them to 16 bits, and a batch gives them unit length again: up to 2e-5 a
  component (0.001 degrees). The original feeds them as they are and fails on those too long (docs/parity.md, 17).
* What the original turns into NaN targets or an empty mask is refused by name, or read as it is meant (the last tests).
* The original draws frames and pairs with replacement and without a seed (docs/parity.md, 42), ours in epochs.
"""

import shutil

import numpy as np
import pytest
import torch
from parity_figures import load
from PIL import Image

from hdnet.data.layout.correspondences import read_correspondences
from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.data.store.batches import prepare
from hdnet.data.store.datasets import LabelledDataset, collate
from hdnet.data.store.packed import PackedLabelled, pack_tang
from hdnet.errors import DataError
from hdnet.models.hdnet import depth_inputs

FIGURES = load("reading")
SETS = pytest.mark.parametrize("kind", ["labelled", "frames"])
LAST_PLACE_M = 2.0**-21  # of a float32 between 4 and 8
PACKED_NORMALS = {"tolerance": 2e-5, "sum_tolerance": 5e-3}


@pytest.fixture(scope="module")
def batches(original_labelled, original_pairs):
    """The frames of the figures, as batches."""
    number = {int(name): k for k, name in enumerate(original_labelled.packed.names)}
    pair = original_pairs[original_pairs.pairs.tolist().index([0, 2])]
    assert [int(original_pairs.frames.names[k]) for k in (0, 2)] == FIGURES["frames/numbers"].tolist()
    return {
        "labelled": prepare(collate([original_labelled[number[k]] for k in FIGURES["labelled/numbers"].tolist()])),
        "frames": prepare(collate([pair["i"], pair["j"]])),
    }


def assert_samples_close(map_bchw, name, tolerance=0.0, sum_tolerance=0.0):
    """Picked values in the original's order (b, h, w, c), and the sum over all."""
    found = np.moveaxis(np.asarray(map_bchw, dtype=np.float64), 1, -1).ravel()
    difference = np.abs(found[FIGURES[f"{name}_index"]] - FIGURES[name])
    assert difference.max() <= tolerance, f"{name} differs by up to {difference.max():.2e}"
    assert abs(found.sum() - FIGURES[f"{name}_sum"]) <= sum_tolerance


@SETS
def test_masks(batches, kind):
    """Above 100, and depth within 1..8 m: frame 3 has 433 pixels of 100, 498 of 101, 2177 of another depth or none."""
    np.testing.assert_array_equal(batches[kind]["mask"][:, 0], FIGURES[f"{kind}/mask"])


@SETS
def test_pictures_and_densepose(batches, kind):
    """White and 0 outside the mask; DensePose keeps 2610 pixels of frame 3 outside it (docs/parity.md, 37)."""
    assert_samples_close(batches[kind]["image"], f"{kind}/image")
    assert_samples_close(batches[kind]["vui"], f"{kind}/vui")


def test_depth(batches):
    depth, mask = batches["labelled"]["depth"], batches["labelled"]["mask"]
    assert_samples_close(depth, "labelled/depth", LAST_PLACE_M, 2e-3)
    assert (depth[~mask] == 0).all()
    for one, inside in zip(depth, mask, strict=True):
        assert np.median(one[inside]) == pytest.approx(4, abs=LAST_PLACE_M)


@SETS
def test_normals_as_read(training_data, kind):
    tang, tiktok = TangFolder(training_data / "Tang_data"), TikTokFolder(training_data / "tiktok_data")
    numbers = FIGURES[f"{kind}/numbers"].tolist()
    read = {"labelled": lambda name: tang.read(name).normals, "frames": tiktok.read_pred_normals}[kind]
    normals_bhw3 = np.stack([read(f"{number:07d}") for number in numbers])
    assert_samples_close(np.moveaxis(normals_bhw3, -1, 1), f"{kind}/normals")


@SETS
def test_normals_as_fed(batches, kind):
    normals = batches[kind]["normals"]
    assert_samples_close(normals, f"{kind}/normals", **PACKED_NORMALS)
    length = torch.linalg.vector_norm(normals, dim=1, keepdim=True)
    mask = batches[kind]["mask"]
    assert (length[mask] - 1).abs().max() < 2e-7
    assert (length[~mask] == 0).all()


@SETS
def test_inputs_of_the_depth_network(batches, kind):
    """All nine channels, in order: R, G, B, normal x, y, z, V, U, I."""
    batch = batches[kind]
    inputs_b9hw = depth_inputs(batch["image"], batch["normals"], batch["vui"])
    assert_samples_close(inputs_b9hw, f"{kind}/inputs", **PACKED_NORMALS)


@pytest.mark.parametrize("pair", sorted({name.split("/")[0] for name in FIGURES if name.startswith("pair_")}))
def test_correspondences(training_data, pair):
    folder = training_data / "tiktok_data" / "correspondences"
    found = read_correspondences(folder, *pair.split("_")[1:], size=(256, 256))
    np.testing.assert_array_equal(found.rows[FIGURES[f"{pair}/index"]], FIGURES[f"{pair}/rows"])
    assert [len(found.rows), *found.rows.sum(0)] == FIGURES[f"{pair}/count_and_sums"].tolist()
    np.testing.assert_array_equal(found.limits, FIGURES[f"{pair}/limits"])


def test_pairs_of_the_table(original_pairs):
    """Rows of ``corr_mat.txt`` are a frame and its partners; our files fill short rows by repetition."""
    names = original_pairs.frames.names
    pairs = [(names[i], names[j]) for i, j in original_pairs.pairs.tolist()]
    assert pairs == [("0017634", "0017637"), ("0017634", "0017640"), ("0017637", "0017640")]


@pytest.fixture
def one_sample(training_data, tmp_path) -> TangFolder:
    """A folder of its own with frame 4, the smallest, to be damaged."""
    for file in (training_data / "Tang_data").rglob("0000004*"):
        copy = tmp_path / file.relative_to(training_data)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    return TangFolder(tmp_path / "Tang_data")


def rewrite_depth(folder: TangFolder, change=lambda depth: depth, delimiter: str = ",") -> None:
    file = folder.depth_file("0000004")
    np.savetxt(file, change(np.loadtxt(file, delimiter=",")), "%.5f", delimiter)


def rewrite_mask(folder: TangFolder) -> None:
    file = folder.png("mask", "0000004")
    Image.fromarray((np.array(Image.open(file)) > 100).astype(np.uint8)).save(file)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda folder: rewrite_depth(folder, lambda d: np.where(d == d.max(), np.nan, d)), "is nan; expected finite"),
        (lambda folder: rewrite_depth(folder, lambda d: 1000 * d), "mask is empty"),
        (rewrite_mask, "mask is empty"),
    ],
    ids=["depth_not_a_number", "depth_in_millimetres", "mask_of_ones"],
)
def test_what_the_original_trains_into_nan_is_refused(one_sample, damage, complaint, tmp_path):
    """docs/parity.md, 36, 38 and 62: NaN targets, or an empty mask, and with the next step NaN weights."""
    damage(one_sample)
    with pytest.raises(DataError, match=complaint):
        pack_tang(one_sample.root, tmp_path / "packed")


def test_blanks_for_commas_are_read_as_meant(one_sample, original_labelled, tmp_path):
    """The original's parser makes one NaN of each line and trains on that (docs/parity.md, 35)."""
    rewrite_depth(one_sample, delimiter=" ")
    pack_tang(one_sample.root, tmp_path / "packed")
    expected = original_labelled[original_labelled.packed.names.index("0000004")]
    found = LabelledDataset(PackedLabelled(tmp_path / "packed"))[0]
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=0, atol=0)
