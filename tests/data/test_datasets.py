import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hdnet.data.correspondence import match_folder
from hdnet.data.datasets import LabelledDataset, PairDataset, StepSampler, collate
from hdnet.data.layout import read_corr_mat, read_correspondences, write_correspondences
from hdnet.data.matching import Correspondences
from hdnet.data.packed import (
    PackedFrames,
    PackedLabelled,
    PseudoNormals,
    pack_tang,
    pack_tiktok,
    write_pseudo_normals,
)
from hdnet.errors import DataError


@pytest.fixture
def labelled(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "labelled")
    return LabelledDataset(PackedLabelled(tmp_path / "labelled"))


@pytest.fixture
def pairs(tiktok, tmp_path):
    pack_tiktok(tiktok.root, tmp_path / "frames")
    frames = PackedFrames(tmp_path / "frames")
    rng = np.random.default_rng(0)
    normals = [np.where(mask[..., None], rng.normal(size=(32, 24, 3)), 0) for mask in frames.arrays["mask"]]
    normals = [n / np.maximum(np.linalg.norm(n, axis=-1, keepdims=True), 1e-9) for n in normals]
    write_pseudo_normals(tmp_path / "normals", frames.names, normals)
    match_folder(tiktok, tmp_path / "correspondences", partners=2, min_matches=10, min_parts=4)
    return PairDataset(frames, PseudoNormals(tmp_path / "normals"), tmp_path / "correspondences")


def test_labelled_item_equals_the_sample(labelled, tang):
    item, sample = labelled[1], tang.read("0000001")
    assert {key: (tuple(value.shape), value.dtype) for key, value in item.items()} == {
        "image": ((3, 32, 24), torch.float32),
        "vui": ((3, 32, 24), torch.float32),
        "mask": ((1, 32, 24), torch.bool),
        "depth": ((1, 32, 24), torch.float32),
        "normals": ((3, 32, 24), torch.float32),
        "camera": ((7,), torch.float32),
    }
    np.testing.assert_array_equal(item["image"].permute(1, 2, 0), sample.white_image)
    v, u, i = item["vui"].numpy()
    np.testing.assert_array_equal(np.stack([i, u, v], axis=-1), sample.iuv)
    np.testing.assert_array_equal(item["mask"][0], sample.mask)
    assert np.median(item["depth"][item["mask"]]) == pytest.approx(4, abs=1e-6)
    np.testing.assert_allclose(item["normals"].permute(1, 2, 0), sample.normals, atol=1e-3)
    torch.testing.assert_close(item["camera"], sample.camera.as_tensor())


def test_normals_are_unit_to_float32_or_zero(labelled):
    item = labelled[0]
    length = torch.linalg.vector_norm(item["normals"], dim=0)
    inside = item["mask"][0]
    assert (length[inside] - 1).abs().max() < 1e-6
    assert length[~inside].abs().max() == 0


def test_items_own_their_memory(labelled):
    labelled[0]["depth"].fill_(9)
    assert labelled[0]["depth"].max() < 9


def test_labelled_batch_has_plain_keys(labelled):
    batch = collate([labelled[0], labelled[2]])
    assert set(batch) == {"image", "vui", "mask", "depth", "normals", "camera"}
    assert tuple(batch["depth"].shape) == (2, 1, 32, 24)
    torch.testing.assert_close(batch["normals"][1], labelled[2]["normals"])


def test_pair_item_holds_both_frames_and_the_rows_of_the_file(pairs, tiktok, tmp_path):
    folder = tmp_path / "correspondences"
    partners = read_corr_mat(folder, tiktok.names())
    listed = [(name, other) for name, others in partners.items() for other in others]
    assert len(pairs) == len(listed)
    for k, (name_i, name_j) in enumerate(listed):
        item = pairs[k]
        np.testing.assert_array_equal(item["i"]["image"].permute(1, 2, 0), tiktok.read(name_i).white_image)
        np.testing.assert_array_equal(item["j"]["image"].permute(1, 2, 0), tiktok.read(name_j).white_image)
        np.testing.assert_array_equal(item["rows"], read_correspondences(folder, name_i, name_j).rows)
        assert item["rows"].dtype == torch.int64
    assert set(item) == {"i", "j", "rows"}
    for side in "ij":
        assert set(item[side]) == {"image", "vui", "mask", "normals", "camera"}


def test_pair_batch_joins_the_rows_with_their_item(pairs):
    batch = collate([pairs[3], pairs[0]])
    assert set(batch) == {"i", "j", "rows"}
    assert set(batch["i"]) == set(batch["j"]) == {"image", "vui", "mask", "normals", "camera"}
    assert tuple(batch["j"]["image"].shape) == (2, 3, 32, 24)
    torch.testing.assert_close(batch["j"]["mask"][0], pairs[3]["j"]["mask"])
    assert batch["rows"].dtype == torch.int64
    for b, k in enumerate((3, 0)):
        torch.testing.assert_close(batch["rows"][batch["rows"][:, 0] == b][:, 1:], pairs[k]["rows"])


def test_pair_without_a_match_is_legal(pairs, tmp_path):
    name_i, name_j = (pairs.frames.names[k] for k in pairs.pairs[1])
    write_correspondences(tmp_path / "correspondences", name_i, name_j, Correspondences.from_rows(np.zeros((0, 5))))
    again = PairDataset(pairs.frames, pairs.pseudo_normals, tmp_path / "correspondences")
    assert tuple(again[1]["rows"].shape) == (0, 5)
    for k in (0, 2, -1):
        torch.testing.assert_close(again[k]["rows"], pairs[k]["rows"])
    assert tuple(collate([again[1]])["rows"].shape) == (0, 6)


def test_pair_beyond_the_picture_is_refused_by_name(pairs, tmp_path):
    name_i, name_j = (pairs.frames.names[k] for k in pairs.pairs[0])
    beyond = Correspondences.from_rows(np.array([[1, 33, 1, 1, 1]]))
    write_correspondences(tmp_path / "correspondences", name_i, name_j, beyond)
    with pytest.raises(DataError, match=r"row 1 has r1 = 33; expected 1\.\.32"):
        PairDataset(pairs.frames, pairs.pseudo_normals, tmp_path / "correspondences")


def test_loader_with_a_step_sampler_gives_collated_batches(labelled):
    sampler = StepSampler(len(labelled), batch_size=2, seed=0, start_step=0, steps=3)
    batches = list(DataLoader(labelled, batch_sampler=sampler, collate_fn=collate))
    assert [tuple(batch["image"].shape) for batch in batches] == [(2, 3, 32, 24)] * 3


def test_stop_and_resume_equals_never_stopped():
    whole = list(StepSampler(13, 4, seed=7, start_step=0, steps=20))
    assert whole[:9] + list(StepSampler(13, 4, seed=7, start_step=9, steps=20)) == whole
    assert whole[17] == StepSampler(13, 4, seed=7, start_step=0, steps=1).indices(17)
    assert len(whole) == len(StepSampler(13, 4, 7, 0, 20)) == 20
    assert list(StepSampler(13, 4, seed=8, start_step=0, steps=20)) != whole


def test_each_epoch_draws_every_sample_once_in_its_own_order():
    drawn = [k for step in StepSampler(13, 4, seed=1, start_step=0, steps=13) for k in step]
    epochs = [drawn[first : first + 13] for first in range(0, 52, 13)]
    assert all(sorted(epoch) == list(range(13)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_batch_may_be_larger_than_the_data():
    assert sorted(StepSampler(2, 6, seed=0, start_step=0, steps=1).indices(0)) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("arguments", [(0, 1, 0, 0, 1), (1, 0, 0, 0, 1), (1, 1, 0, -1, 1)])
def test_impossible_sampler_is_refused(arguments):
    with pytest.raises(ValueError, match="expected length"):
        StepSampler(*arguments)
