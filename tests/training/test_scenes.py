"""Training samples of photographs: what varies, what stays, and that nothing depends on the rest of the batch."""

from dataclasses import replace

import pytest
import torch

from hdnet.errors import DataError
from hdnet.geometry import Camera
from hdnet.params import AugmentParams, PhotoParams
from hdnet.params.training import BackgroundShares
from hdnet.pictures.densepose import OTHER_SIDE
from hdnet.training import scenes
from hdnet.training.augment import Draw
from hdnet.training.scenes import SceneAugmenter

STORED, SIZE = 96, 64
STRONG = AugmentParams(
    brightness=0.3,
    contrast=0.3,
    saturation=0.4,
    hue_deg=20,
    white_balance=0.1,
    gamma=0.3,
    blur_px=1.4,
    noise=10,
    flip=0.5,
    mask_shift_px=2,
    mask_holes=2,
)
PHOTO = PhotoParams(empty=0, people_behind=0.3, jpeg=0.5, low_resolution=0.3)
# Pictures as they were taken, all with a person, none with a given mask.
PLAIN = {"empty": 0, "jpeg": 0, "low_resolution": 0, "hint_exact": 0, "hint_imperfect": 0}


def shares(**values: float) -> BackgroundShares:
    return BackgroundShares(**{"own": 0, "pasted": 0, "soft": 0, "white": 0} | values)


def people(batch: int, seed: int = 0) -> dict:
    """Red people on blue ground, before others of green on black."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(batch, 1, STORED, STORED, dtype=torch.bool)
    for k in range(batch):
        mask[k, :, 10 + k : 80, 30:60] = True
    y, x = torch.meshgrid(torch.arange(STORED), torch.arange(STORED), indexing="ij")
    red, blue = torch.tensor([200, 40, 20]).view(1, 3, 1, 1), torch.tensor([10, 30, 220]).view(1, 3, 1, 1)
    scene = torch.where(mask, red, blue).to(torch.uint8)
    other_mask = torch.zeros_like(mask)
    other_mask[..., 20:90, 10:30] = True
    other = torch.where(other_mask, torch.tensor([0, 255, 0]).view(1, 3, 1, 1), 0).to(torch.uint8)
    normals = torch.nn.functional.normalize(torch.randn(batch, 3, STORED, STORED, generator=generator), dim=1)
    return {
        "white_image": torch.where(mask, scene, 255).to(torch.uint8),
        "scene": scene,
        "vui": (torch.stack([x * 2, y * 2, 1 + x * 24 // STORED])[None] * mask).to(torch.uint8),
        "mask": mask,
        "depth_m": (4 + 0.1 * torch.rand(batch, 1, STORED, STORED, generator=generator)) * mask,
        "normals": (normals * 32767 * mask).to(torch.int16),
        "camera": Camera.centred(90.0, STORED).as_tensor().repeat(batch, 1),
        "shift_m": torch.zeros(batch, 1),
        "other_scene": other,
        "other_mask": other_mask,
    }


def draw(step: int = 0, first: int = 0) -> Draw:
    return Draw(7, step, {"labelled": first})


def part(batch: dict, places: slice) -> dict:
    return {key: values[places] for key, values in batch.items()}


KINDS = pytest.mark.parametrize("kind", ["own", "pasted", "soft", "white"])


@KINDS
@pytest.mark.parametrize("size", [64, 96, 128])
def test_shapes_types_and_ranges(kind, size):
    batch = SceneAugmenter(PHOTO.model_copy(update={"backgrounds": shares(**{kind: 1})}), STRONG)(
        people(6), draw(), size
    )
    assert {key: (tuple(values.shape), values.dtype) for key, values in batch.items()} == {
        "inputs": ((6, 4, size, size), torch.float32),
        "within": ((6, 1, size, size), torch.bool),
        "mask": ((6, 1, size, size), torch.bool),
        "normals": ((6, 3, size, size), torch.float32),
        "relief": ((6, 1, size, size), torch.float32),
        "vui": ((6, 3, size, size), torch.float32),
        "log_scale": ((6,), torch.float32),
        "hinted": ((6,), torch.bool),
        "window": ((6, 2, 3), torch.float64),
        "camera": ((6, 7), torch.float32),
    }
    for key in ("inputs", "normals", "relief", "vui"):
        assert batch[key].isfinite().all(), key
    rgb, hint, within, mask = batch["inputs"][:, :3], batch["inputs"][:, 3:], batch["within"], batch["mask"]
    assert rgb.min() >= 0
    assert rgb.max() <= 255
    assert (rgb[~within.expand_as(rgb)] == 127).all()
    assert (hint[~within] == -1).all()
    assert not (mask & ~within).any()
    assert mask.flatten(1).sum(1).min() > 0.009 * size**2
    unit = batch["normals"].norm(dim=1, keepdim=True)
    assert ((unit - 1).abs() < 1e-4)[mask].float().mean() > 0.99
    for key in ("normals", "relief"):
        assert (batch[key][~mask.expand_as(batch[key])] == 0).all()
    # Another background is everywhere, also beyond the edge of the picture that the person came from.
    assert within.all() == (kind != "own")


def test_chance_follows_from_seed_step_and_place_alone():
    batch = people(8)
    augmenter = SceneAugmenter(PHOTO, STRONG)
    whole, again = augmenter(batch, draw(5), SIZE), SceneAugmenter(PHOTO, STRONG)(batch, draw(5), SIZE)
    assert all(torch.equal(whole[key].nan_to_num(), again[key].nan_to_num()) for key in whole)
    for other in (draw(6), replace(draw(5), seed=8)):
        assert not torch.equal(augmenter(batch, other, SIZE)["inputs"], whole["inputs"])
    for first, count in ((0, 3), (3, 5), (7, 1)):  # processes that share the step's items
        places = slice(first, first + count)
        shared = augmenter(part(batch, places), draw(5, first), SIZE)
        for key, values in shared.items():
            torch.testing.assert_close(
                values, whole[key][places], rtol=1e-5, atol=1e-3, equal_nan=True, msg=lambda text, key=key: key + text
            )


def test_stored_and_prepared_batches_are_one():
    batch = people(4)
    stored = SceneAugmenter(PHOTO, STRONG)(batch, draw(), SIZE)
    prepared = SceneAugmenter(PHOTO, STRONG)(scenes.prepare(batch), draw(), SIZE)
    assert all(torch.equal(stored[key].nan_to_num(), prepared[key].nan_to_num()) for key in stored)


def test_the_input_stays_as_it_is():
    batch = scenes.prepare(people(4))
    before = {key: values.clone() for key, values in batch.items()}
    SceneAugmenter(PHOTO, STRONG)(batch, draw(), SIZE)
    assert all(torch.equal(batch[key], before[key]) for key in before)


def test_switching_colours_on_changes_no_label():
    off = SceneAugmenter(PhotoParams(empty=0, jpeg=0, low_resolution=0), AugmentParams(flip=0.5))(
        people(6), draw(), SIZE
    )
    on = SceneAugmenter(PHOTO, STRONG)(people(6), draw(), SIZE)
    assert not torch.equal(on["inputs"], off["inputs"])
    for key in ("mask", "within", "normals", "relief", "vui", "window"):
        assert torch.equal(on[key], off[key]), key


def test_nothing_comes_back_from_the_device():
    """Tensors without values: whatever asks for one, which would wait for a GPU, fails."""

    stored = {key: values.to("meta") for key, values in people(6).items()}
    batch = SceneAugmenter(PHOTO, STRONG)(stored, draw(), SIZE)
    assert batch["inputs"].shape == (6, 4, SIZE, SIZE)


@KINDS
def test_people_stand_before_the_background_of_the_kind(kind):
    photo = PhotoParams(backgrounds=shares(**{kind: 1}), turn_deg=0, **PLAIN)
    batch = SceneAugmenter(photo, AugmentParams())(people(12), draw(2), SIZE)
    rgb, mask, within = batch["inputs"][:, :3], batch["mask"], batch["within"]
    # The person may end where the crop does.
    outside = torch.nn.functional.pad(1 - mask.float(), (4, 4, 4, 4), value=1.0)
    eroded = torch.nn.functional.max_pool2d(outside, 9, 1) == 0
    grown = torch.nn.functional.max_pool2d(mask.float(), 9, 1, 4) > 0
    grown[:, :, [0, -1]] = grown[:, :, :, [0, -1]] = True
    red, blue, white = ([200.0, 40.0, 20.0], [10.0, 30.0, 220.0], [255.0] * 3)

    def colours(where):
        return rgb.permute(0, 2, 3, 1)[where[:, 0]]

    assert (colours(eroded) - torch.tensor(red)).abs().max() < 0.1
    around = colours(within & ~grown)
    if kind in ("own", "white"):
        assert (around - torch.tensor(blue if kind == "own" else white)).abs().max() < 0.1
    else:
        assert (around - torch.tensor(blue)).abs().sum(1).median() > 30
        per_person = [rgb[k].permute(1, 2, 0)[~grown[k, 0]].mean(0) for k in range(12)]
        assert torch.stack(per_person).std(0).min() > 20


def test_people_cut_off_by_the_picture_are_cut_off_before_other_backgrounds_too():
    batch = people(8)
    batch["mask"][:, :, 60:, 30:60] = True
    photo = PhotoParams(empty=0, backgrounds=shares(white=1), fill=(0.35, 0.5))
    result = SceneAugmenter(photo, AugmentParams())(batch, draw(), SIZE)
    assert not result["within"].flatten(1).all(1).any()


def test_people_behind_are_smaller_and_not_in_the_mask():
    photo = PhotoParams(backgrounds=shares(pasted=1), people_behind=1, turn_deg=0, fill=(0.6, 0.9), **PLAIN)
    batch = SceneAugmenter(photo, AugmentParams())(people(16), draw(), SIZE)
    green = (batch["inputs"][:, 1:2] > 128) & (batch["inputs"][:, :1] < 60)
    assert (green.flatten(1).any(1)).float().mean() > 0.7
    assert (green & batch["mask"]).float().mean() < 0.002
    own_rows = batch["mask"].any(3).flatten(1).sum(1)
    assert (green.any(3).flatten(1).sum(1) < own_rows).float().mean() > 0.8


def test_empty_samples_show_and_name_nobody():
    photo = PHOTO.model_copy(update={"empty": 1.0, "people_behind": 1.0})
    batch = people(8)
    result = SceneAugmenter(photo, STRONG)(batch, draw(), SIZE)
    for key in ("mask", "normals", "relief", "vui"):
        assert not result[key].any()
    assert result["log_scale"].isnan().all()
    assert not result["hinted"].any()
    assert result["within"].all()
    # Whatever the person looks like, nothing of it is seen, nor of the other one.
    inside = batch["mask"].expand(-1, 3, -1, -1)
    repainted = {**batch, "scene": torch.where(inside, 255 - batch["scene"], batch["scene"])}
    torch.testing.assert_close(SceneAugmenter(photo, STRONG)(repainted, draw(), SIZE)["inputs"], result["inputs"])


def test_stored_pictures_of_nobody_name_nobody():
    """The pictures themselves, not only people who are taken out."""
    stored = people(6)
    for key in ("mask", "depth_m", "normals", "vui"):
        stored[key] = stored[key].clone()
        stored[key][::2] = 0
    batch = SceneAugmenter(PHOTO.model_copy(update={"empty": 0.0, "hint_exact": 1.0}), STRONG)(stored, draw(), SIZE)
    shown = batch["mask"].flatten(1).any(1)
    assert shown.tolist() == [False, True] * 3
    assert batch["hinted"].tolist() == [False, True] * 3
    assert batch["log_scale"][::2].isnan().all()
    for key in ("relief", "normals", "vui"):
        assert not batch[key][::2].any()
        assert batch[key].isfinite().all()


def test_hints_come_in_the_asked_shares():
    photo = PhotoParams(empty=0, hint_exact=0.3, hint_imperfect=0.3, jpeg=0, low_resolution=0)
    batch = {key: values[:1].expand(300, *values.shape[1:]) for key, values in people(1).items()}
    result = SceneAugmenter(photo, AugmentParams(mask_shift_px=2, mask_holes=2))(batch, draw(), 64)
    hint, within = result["inputs"][:, 3:], result["within"]
    exact = (hint == torch.where(result["mask"] & within, 1.0, -1.0)).flatten(1).all(1)
    none = ((hint == 0) == within).flatten(1).all(1)
    assert exact.float().mean() == pytest.approx(0.3, abs=0.08)
    assert none.float().mean() == pytest.approx(0.4, abs=0.08)
    assert torch.equal(~none, result["hinted"])
    white = (result["inputs"][:, :3] == 255).all(1, keepdim=True)
    assert white[within & (hint < 0)].all()
    assert not white[within & (hint == 0)].all()
    imperfect = (~none & ~exact).nonzero()[:, 0]
    found, true = hint[imperfect] > 0, result["mask"][imperfect]
    overlap = (found & true).sum((1, 2, 3)) / (found | true).sum((1, 2, 3))
    assert overlap.min() > 0.4
    assert overlap.max() < 1
    assert (true & ~found).any()
    assert (found & ~true).any()


def test_a_mirrored_sample_shows_the_other_side_of_the_body():
    batch = people(8)
    photo = PhotoParams(
        empty=0,
        hint_exact=0,
        hint_imperfect=0,
        turn_deg=0,
        backgrounds=shares(own=1),
        jpeg=0,
        low_resolution=0,
    )
    plain, mirrored = (SceneAugmenter(photo, AugmentParams(flip=flip))(batch, draw(), SIZE) for flip in (0.0, 1.0))
    torch.testing.assert_close(mirrored["inputs"].flip(3), plain["inputs"], atol=2e-3, rtol=0)
    assert torch.equal(mirrored["mask"].flip(3), plain["mask"])
    torch.testing.assert_close(mirrored["relief"].flip(3), plain["relief"], atol=1e-4, rtol=0)
    sides = torch.tensor([-1.0, 1.0, 1.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(mirrored["normals"].flip(3) * sides, plain["normals"], atol=1e-4, rtol=0)
    parts = plain["vui"][:, 2][plain["mask"][:, 0]].long()
    other = torch.tensor(OTHER_SIDE)[parts]
    assert torch.equal(mirrored["vui"].flip(3)[:, 2][plain["mask"][:, 0]].long(), other)


def test_a_batch_without_scenes_is_refused():
    batch = people(2)
    del batch["scene"]
    with pytest.raises(DataError, match="no pictures with background"):
        SceneAugmenter(PHOTO, STRONG)(batch, draw(), SIZE)
