"""A prepared batch against the plain definition of its values, written another way in float64."""

import numpy as np
import pytest
import torch

from hdnet.data.layout.folders import shift_to_median
from hdnet.data.store.batches import PreparedItems, prepare
from hdnet.data.store.datasets import LabelledDataset, collate
from hdnet.data.store.packed import PackedLabelled, pack_tang
from hdnet.data.store.records import to_fixed_point


@pytest.fixture
def labelled(tang, tmp_path):
    pack_tang(tang.root, tmp_path / "labelled")
    return LabelledDataset(PackedLabelled(tmp_path / "labelled"))


def test_values_shapes_and_types(labelled, tang):
    numbers = [2, 0]
    batch = prepare(collate([labelled[k] for k in numbers]))
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "image": ((2, 3, 32, 24), torch.float32),
        "vui": ((2, 3, 32, 24), torch.float32),
        "mask": ((2, 1, 32, 24), torch.bool),
        "depth": ((2, 1, 32, 24), torch.float32),
        "normals": ((2, 3, 32, 24), torch.float32),
        "camera": ((2, 7), torch.float32),
    }
    for b, k in enumerate(numbers):
        sample = tang.read(tang.names()[k])
        np.testing.assert_array_equal(batch["image"][b].permute(1, 2, 0), sample.white_image)
        v, u, i = batch["vui"][b].numpy()
        np.testing.assert_array_equal(np.stack([i, u, v], axis=-1), sample.iuv)
        np.testing.assert_array_equal(batch["mask"][b, 0], sample.mask)
        np.testing.assert_array_equal(batch["depth"][b, 0], shift_to_median(sample.depth_m, sample.mask))
        np.testing.assert_allclose(batch["normals"][b].permute(1, 2, 0), sample.normals, atol=2e-5)
        torch.testing.assert_close(batch["camera"][b], sample.camera.as_tensor())


def test_scenes_become_colours_and_those_of_others_travel_as_bytes(labelled, tang):
    people = LabelledDataset(labelled.packed, scenes=True)
    batch = prepare(collate([people[2], people[0]]))
    assert batch["scene"].dtype == torch.float32
    np.testing.assert_array_equal(batch["scene"][0].permute(1, 2, 0), tang.read("0000002").image)
    assert (batch["other_scene"].dtype, batch["other_mask"].dtype) == (torch.uint8, torch.bool)
    assert batch["shift_m"].shape == (2, 1)


def test_normals_are_unit_to_float32_or_zero():
    vectors = np.random.default_rng(0).normal(size=(1, 64, 64, 3))
    vectors[:, ::3] = 0
    vectors[:, 1::3] *= 1e-3  # the direction is what counts
    expected = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-300)
    normals = prepare({"normals": torch.from_numpy(to_fixed_point(vectors[0]))[None]})["normals"]
    np.testing.assert_allclose(normals.permute(0, 2, 3, 1), expected, atol=2e-5)
    length = torch.linalg.vector_norm(normals, dim=1)
    assert (length[length > 0] - 1).abs().max() < 2e-7
    assert (length[:, ::3] == 0).all()


def test_input_normals_are_treated_like_normals():
    normals = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    stored = torch.from_numpy(np.stack([to_fixed_point(one) for one in normals]))
    batch = prepare({"normals": stored, "input_normals": stored.flip(0)})
    assert torch.equal(batch["input_normals"], batch["normals"].flip(0))


def test_both_frames_of_pairs_are_prepared_and_rows_can_index():
    image = torch.arange(2 * 4 * 4 * 3, dtype=torch.uint8).reshape(2, 3, 4, 4)
    rows = torch.tensor([[0, 1, 2, 3, 4, 5]], dtype=torch.int16)
    batch = prepare({"i": {"white_image": image}, "j": {"white_image": image.flip(0)}, "rows": rows})
    assert torch.equal(batch["i"]["image"], batch["j"]["image"].flip(0))
    assert batch["rows"].dtype == torch.int64


def test_prepared_stays_as_it_is(labelled):
    once = prepare(collate([labelled[0]]))
    twice = prepare(once)
    assert all(twice[key] is once[key] for key in once)


def test_an_unknown_key_is_named():
    with pytest.raises(KeyError, match="colour"):
        prepare({"colour": torch.zeros(1)})


def test_items_one_by_one(labelled):
    items = PreparedItems(labelled)
    batch = prepare(collate([labelled[k] for k in range(3)]))
    assert len(items) == 3
    for key, values in items[1].items():
        assert torch.equal(values, batch[key][1]), key
