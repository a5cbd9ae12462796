import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hdnet.data.correspondence.frames import match_folder
from hdnet.data.layout.folders import shift_to_median
from hdnet.data.store.batches import prepare
from hdnet.data.store.datasets import LabelledDataset, PairDataset, StepSampler, _other, collate
from hdnet.data.store.packed import (
    PackedFrames,
    PackedLabelled,
    PseudoNormals,
    pack_tang,
    pack_tiktok,
    write_pseudo_normals,
)
from hdnet.data.store.pairs import PackedPairs
from hdnet.data.store.records import NORMAL_SCALE
from hdnet.errors import DataError
from hdnet.params import CorrespondParams


@pytest.fixture
def labelled(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "labelled")
    return LabelledDataset(PackedLabelled(tmp_path / "labelled"))


@pytest.fixture
def pairs(tiktok, tmp_path):
    pack_tiktok(tiktok.root, tmp_path / "frames")
    frames = PackedFrames(tmp_path / "frames")
    normals = np.random.default_rng(0).normal(size=(7, 32, 24, 3))
    write_pseudo_normals(tmp_path / "normals", frames, lambda numbers: (normals[k] for k in numbers))
    match_folder(tiktok, tmp_path / "correspondences", CorrespondParams(partners=2, min_matches=10, min_parts=4))
    return PairDataset(frames, PseudoNormals(tmp_path / "normals"), tmp_path / "correspondences")


def test_labelled_item_equals_the_sample(labelled, tang):
    item, sample = labelled[1], tang.read("0000001")
    assert {key: (tuple(value.shape), value.dtype) for key, value in item.items()} == {
        "white_image": ((3, 32, 24), torch.uint8),
        "vui": ((3, 32, 24), torch.uint8),
        "mask": ((1, 32, 24), torch.bool),
        "depth_m": ((1, 32, 24), torch.float32),
        "normals": ((3, 32, 24), torch.int16),
        "camera": ((7,), torch.float32),
    }
    np.testing.assert_array_equal(item["white_image"].permute(1, 2, 0), sample.white_image)
    np.testing.assert_array_equal(item["vui"].flip(0).permute(1, 2, 0), sample.iuv)
    np.testing.assert_array_equal(item["mask"][0], sample.mask)
    np.testing.assert_array_equal(item["depth_m"][0], shift_to_median(sample.depth_m, sample.mask))
    np.testing.assert_allclose(item["normals"].permute(1, 2, 0) / NORMAL_SCALE, sample.normals, atol=2e-5)
    torch.testing.assert_close(item["camera"], sample.camera.as_tensor())


@pytest.mark.filterwarnings("error")
def test_items_share_the_pages_of_the_file_until_they_are_collated(labelled, pairs):
    record, item, batch = labelled.packed.record(1), labelled[1], collate([labelled[1]])
    for field, values in record.items():
        assert np.shares_memory(item[field].numpy(), values), field
        assert not np.shares_memory(batch[field].numpy(), values), field
    frame = int(pairs.pairs[0, 0])
    assert np.shares_memory(pairs[0]["i"]["vui"].numpy(), pairs.frames.record(frame)["vui"])
    assert np.shares_memory(pairs[0]["i"]["normals"].numpy(), pairs.pseudo_normals.record(frame)["normals"])


def test_what_is_written_into_a_batch_stays_there(labelled):
    collate([labelled[0]])["depth_m"].fill_(9)
    assert labelled[0]["depth_m"].max() < 9


def test_given_input_normals_come_along(labelled, tmp_path):
    other = np.random.default_rng(1).normal(size=(3, 32, 24, 3))
    write_pseudo_normals(tmp_path / "normals", labelled.packed, lambda numbers: (other[k] for k in numbers))
    both = LabelledDataset(labelled.packed, PseudoNormals(tmp_path / "normals"))
    assert not torch.equal(both[2]["input_normals"], both[2]["normals"])
    assert tuple(collate([both[0], both[2]])["input_normals"].shape) == (2, 3, 32, 24)


def test_scenes_come_with_another_persons_on_request(labelled, pairs, tang, tiktok, tmp_path):
    with_scenes = LabelledDataset(labelled.packed, scenes=True)
    pictures = [tang.read(name) for name in tang.names()]
    others = []
    for k, sample in enumerate(pictures):
        item = with_scenes[k]
        assert set(item) == {*labelled[k], "scene", "shift_m", "other_scene", "other_mask"}
        np.testing.assert_array_equal(item["scene"].permute(1, 2, 0), sample.image)
        (other,) = (j for j in range(3) if np.array_equal(pictures[j].image, item["other_scene"].permute(1, 2, 0)))
        np.testing.assert_array_equal(item["other_mask"][0], pictures[other].mask)
        others.append(other)
        assert other != k
        assert torch.equal(with_scenes[k]["other_scene"], item["other_scene"])
    frames = PairDataset(pairs.frames, pairs.pseudo_normals, tmp_path / "correspondences", scenes=True)
    name = pairs.frames.names[int(pairs.pairs[0, 1])]
    np.testing.assert_array_equal(frames[0]["j"]["scene"].permute(1, 2, 0), tiktok.read(name).image)
    assert set(frames[0]["j"]) == {*pairs[0]["j"], "scene"}


@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_the_other_person_is_never_the_same_one(count):
    others = [_other(k, count) for k in range(count)]
    assert all(other != k for k, other in enumerate(others))
    assert sorted(others) == list(range(count))


def test_scenes_that_are_not_there_are_refused(tang, tiktok, pairs, tmp_path):
    for folder, pack in ((tang, pack_tang), (tiktok, pack_tiktok)):
        shutil.rmtree(folder.root / "color")
        pack(folder.root, tmp_path / "white" / folder.root.name)
    with pytest.raises(DataError, match="Tang_data: has no pictures with background; pack the data again"):
        LabelledDataset(PackedLabelled(tmp_path / "white/Tang_data"), scenes=True)
    with pytest.raises(DataError, match="tiktok_data: has no pictures with background; pack the data again"):
        PairDataset(
            PackedFrames(tmp_path / "white/tiktok_data"), pairs.pseudo_normals, tmp_path / "correspondences", True
        )


def test_labelled_batch_has_the_keys_of_its_items(labelled):
    batch = collate([labelled[0], labelled[2]])
    assert set(batch) == set(labelled[0])
    assert tuple(batch["depth_m"].shape) == (2, 1, 32, 24)
    assert torch.equal(batch["normals"][1], labelled[2]["normals"])


def test_pair_item_holds_both_frames_and_their_rows(pairs, tiktok, tmp_path):
    matches = PackedPairs(tmp_path / "correspondences")
    assert len(pairs) == len(matches) > 3
    for k in range(len(pairs)):
        item = pairs[k]
        name_i, name_j = (matches.names[place] for place in matches.pairs[k])
        np.testing.assert_array_equal(item["i"]["white_image"].permute(1, 2, 0), tiktok.read(name_i).white_image)
        np.testing.assert_array_equal(item["j"]["white_image"].permute(1, 2, 0), tiktok.read(name_j).white_image)
        np.testing.assert_array_equal(item["rows"], matches.rows(k))
        assert item["rows"].dtype == torch.int16
        assert item["gap_frames"] == int(name_j) - int(name_i)
        np.testing.assert_array_equal(item["turn_deg"], matches.turn_deg[k])
    assert set(item) == {"i", "j", "rows", "gap_frames", "turn_deg"}
    for side in "ij":
        assert set(item[side]) == {"white_image", "vui", "mask", "normals", "camera"}


def test_pair_batch_joins_the_rows_with_their_item(pairs):
    batch = collate([pairs[3], pairs[0]])
    assert set(batch) == {"i", "j", "rows", "gap_frames", "turn_deg"}
    assert set(batch["i"]) == set(batch["j"]) == set(pairs[0]["i"])
    assert tuple(batch["j"]["white_image"].shape) == (2, 3, 32, 24)
    assert torch.equal(batch["j"]["mask"][0], pairs[3]["j"]["mask"])
    for b, k in enumerate((3, 0)):
        assert torch.equal(batch["rows"][batch["rows"][:, 0] == b][:, 1:], pairs[k]["rows"])


def test_a_pair_without_a_match_has_no_rows(pairs):
    empty = {**pairs[1], "rows": pairs[1]["rows"][:0]}
    batch = collate([empty, pairs[0]])
    assert (batch["rows"][:, 0] == 1).all()
    assert tuple(collate([empty])["rows"].shape) == (0, 6)


def test_normals_and_pairs_of_other_frames_are_refused(pairs, labelled, tmp_path):
    with pytest.raises(DataError, match="other names"):
        PairDataset(labelled.packed, pairs.pseudo_normals, tmp_path / "correspondences")
    with pytest.raises(DataError, match="other names"):
        LabelledDataset(labelled.packed, pairs.pseudo_normals)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def copied(batch):
    """In memory of its own: what a worker sent lies in shared memory, which is an open file."""
    return {key: copied(value) if isinstance(value, dict) else value.clone() for key, value in batch.items()}


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    # Bit by bit: a turn that is not known is nan.
    return one.dtype == other.dtype and one.numpy().tobytes() == other.numpy().tobytes() and one.shape == other.shape


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_change_no_batch_and_leave_no_file_open(labelled, pairs, method):
    """And a run that goes on at step 4, with another number of workers, reads what it would have read."""
    loaded = {}
    for dataset in (labelled, pairs):
        for workers, start in ((0, 0), (2, 0), (2, 4)):
            handles = open_files()
            sampler = StepSampler(len(dataset), batch_size=2, seed=5, start_step=start, steps=7)
            loader = DataLoader(
                dataset,
                batch_sampler=sampler,
                collate_fn=collate,
                num_workers=workers,
                multiprocessing_context=multiprocessing.get_context(method) if workers else None,
            )
            loaded[workers, start] = [copied(prepare(batch)) for batch in loader]
            del loader
            assert open_files() <= handles + 4  # what multiprocessing keeps for good, however many batches
        assert len(loaded[0, 0]) == 7
        assert all(map(equal, loaded[2, 0], loaded[0, 0]))
        assert all(map(equal, loaded[2, 4], loaded[0, 0][4:]))


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
