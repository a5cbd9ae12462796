"""Losses of the network for photographs, put together."""

import pytest
import torch

from hdnet.models import LiteEstimator
from hdnet.models.lite import PersonMaps
from hdnet.params import PhotoParams, PhotoWeights
from hdnet.training.person_tasks import PersonTask, person_terms, size_of_step, weighted
from hdnet.training.tasks import Stream


def batch(size=32, people=2):
    """A frontal person in the middle of each picture, with body part 3 everywhere."""
    mask = torch.zeros(people, 1, size, size, dtype=torch.bool)
    mask[:, :, 8:24, 8:24] = True
    normals = torch.tensor([0.0, 0.0, -1.0])[None, :, None, None] * mask
    vui = torch.stack([torch.full((people, size, size), value) for value in (51.0, 102.0, 3.0)], dim=1) * mask
    return {
        "mask": mask,
        "within": torch.ones_like(mask),
        "normals": normals,
        "relief": torch.zeros(people, 1, size, size),
        "vui": vui,
        "log_scale": torch.tensor([4.0, float("nan")])[:people],
    }


def perfect(people):
    """The maps that every loss but the confidence's is least for."""
    mask = people["mask"].float()
    parts = torch.full((len(mask), 25, *(side // 4 for side in mask.shape[2:])), -50.0)
    inside = people["mask"][:, 0, ::4, ::4]
    parts[:, 3][inside] = 50.0
    parts[:, 0][~inside] = 50.0
    uv = people["vui"][:, [1, 0], ::4, ::4] / 255
    scale = torch.full((len(mask), 1), 4.0)
    return PersonMaps(people["normals"], mask * 0, people["relief"], 200 * mask - 100, parts, uv, scale)


def test_perfect_maps_lose_nothing():
    people = batch()
    terms = person_terms(perfect(people), people, has_relief=True)
    assert set(terms) == set(PhotoWeights.model_fields)
    for name, value in terms.items():
        if name != "confidence":
            assert float(value) == pytest.approx(0, abs=1e-5), name


def test_every_term_answers_to_its_own_map():
    people = batch()
    right = perfect(people)
    worse = {
        "normals_b3hw": ("normal_cosine", "normal_l1", "confidence"),
        "relief_b1hw": ("relief", "relief_gradient"),
        "mask_b1hw": ("mask", "dice"),
        "parts_b25hw": ("parts",),
        "uv_b2hw": ("uv",),
        "log_scale_b1": ("scale",),
    }
    least = person_terms(right, people, has_relief=True)
    for field, names in worse.items():
        noise = torch.randn(getattr(right, field).shape, generator=torch.Generator().manual_seed(1))
        changed = right._replace(**{field: getattr(right, field) * 0 + noise})
        terms = person_terms(changed, people, has_relief=True)
        assert {name for name in terms if terms[name] > least[name] + 1e-4} == set(names)


def test_what_is_not_taught_yet_has_no_term():
    people = batch()
    assert not {"relief", "relief_gradient", "scale"} & set(person_terms(perfect(people), people, has_relief=False))


def test_the_weighted_sum_by_hand():
    terms = {"normal_cosine": torch.tensor(0.5), "mask": torch.tensor(2.0)}
    assert float(weighted(terms, PhotoWeights(normal_cosine=3.0, mask=0.25))) == pytest.approx(2.0)


def test_sizes_share_the_steps_in_order():
    assert [size_of_step((128, 192, 256), step, 9) for step in range(9)] == [128] * 3 + [192] * 3 + [256] * 3
    assert [size_of_step((64, 256), step, 5) for step in range(5)] == [64, 64, 64, 256, 256]
    assert size_of_step((96,), 99, 100) == 96


def test_drawing_leaves_the_network_as_it_is():
    model = LiteEstimator()
    model.freeze(1)
    model.train()
    people = batch(64) | {"inputs": torch.rand(2, 4, 64, 64) * 255}
    task = PersonTask("train_depth", model, Stream([{}], 1, dict), PhotoParams(), 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pictures = task.panels(model, {"labelled": people})
    assert [picture.shape for picture in pictures.values()] == [(64, 6 * 64, 3)]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert not model.encoder.stem.training
