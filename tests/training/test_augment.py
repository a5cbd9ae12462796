from dataclasses import replace

import pytest
import torch
from annotated_types import Le

from hdnet.errors import ParamsError
from hdnet.geometry import Camera
from hdnet.params import AugmentParams, Params, parse_section
from hdnet.training.augment import Augmenter, Draw

SIZE = 64
STRONG = AugmentParams(
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    hue_deg=20,
    white_balance=0.1,
    gamma=0.3,
    blur_px=1.0,
    noise=10,
    flip=0.5,
    zoom=0.2,
    shift=0.1,
    iuv_drop=0.2,
    iuv_part_drop=0.2,
    iuv_patches=3,
    mask_shift_px=2,
    mask_holes=2,
)
HIGHEST = {
    name: next(limit.le for limit in field.metadata if isinstance(limit, Le))
    for name, field in AugmentParams.model_fields.items()
}


def frames(batch: int, seed: int, with_depth: bool = True) -> dict:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(batch, 1, SIZE, SIZE, dtype=torch.bool)
    mask[..., 8:56, 14:50] = True
    part = torch.arange(SIZE).mul(24).div(SIZE, rounding_mode="floor").add(1)
    vui = torch.randint(1, 256, (batch, 3, SIZE, SIZE), generator=generator).float()
    vui[:, 2] = part.float()
    normals = torch.nn.functional.normalize(torch.randn(batch, 3, SIZE, SIZE, generator=generator), dim=1)
    result = {
        "image": torch.where(mask, torch.rand(batch, 3, SIZE, SIZE, generator=generator) * 250, 255.0),
        "vui": vui * mask,
        "mask": mask,
        "normals": normals * mask,
        "camera": Camera.centred(80.0, SIZE).as_tensor().repeat(batch, 1),
    }
    if with_depth:
        result["depth"] = (4 + 0.1 * torch.rand(batch, 1, SIZE, SIZE, generator=generator)) * mask
    return result


def pairs(batch: int) -> dict:
    generator = torch.Generator().manual_seed(9)
    rows = torch.randint(20, 45, (200, 6), generator=generator)
    rows[:, 0] = rows[:, 0] % batch
    rows[:, 1] = 1 + (rows[:, 3] - 1) * 24 // SIZE
    rows[:, 5] = rows[:, 3]
    return {"i": frames(batch, 3, False), "j": frames(batch, 4, False), "rows": rows}


def draw(step: int = 0, first: int = 0) -> Draw:
    return Draw(7, step, {"labelled": first, "pairs": first})


def leaves(batch: dict, name: str = "") -> dict[str, torch.Tensor]:
    found = {}
    for key, value in batch.items():
        found |= leaves(value, f"{name}{key}.") if isinstance(value, dict) else {name + key: value}
    return found


def assert_same(one: dict, other: dict, equal: bool = True) -> None:
    one, other = leaves(one), leaves(other)
    assert set(one) == set(other)
    assert all(torch.equal(one[key], other[key]) for key in one) == equal


def test_off_is_off():
    batch = {"labelled": frames(2, 0), "pairs": pairs(2)}
    assert AugmentParams().is_off
    assert Augmenter(AugmentParams())(batch, draw()) is batch


@pytest.mark.parametrize("name", list(AugmentParams.model_fields))
def test_each_strength_alone_is_not_off_and_keeps_shapes_types_and_input(name):
    params = AugmentParams(
        **{name: min(HIGHEST[name], 1 if AugmentParams.model_fields[name].annotation is float else 3)}
    )
    assert not params.is_off
    batch = {"labelled": frames(2, 0), "pairs": pairs(2)}
    before = {key: value.clone() for key, value in leaves(batch).items()}
    result = Augmenter(params)(batch, draw(3))
    assert_same(leaves(batch), before)
    assert_same(leaves(result), before, equal=False)
    for key, value in leaves(result).items():
        assert value.shape == before[key].shape
        assert value.dtype == before[key].dtype
        assert value.isfinite().all()


def test_white_stays_white_and_maps_stay_in_the_mask():
    result = Augmenter(STRONG.model_copy(update={"mask_shift_px": 0}))({"labelled": frames(4, 0)}, draw())["labelled"]
    outside = ~result["mask"]
    assert 0.05 < result["mask"].float().mean() < 0.9
    assert (result["depth"][outside] == 0).all()
    assert (result["normals"][outside.expand(-1, 3, -1, -1)] == 0).all()
    assert result["image"].min() >= 0
    assert result["image"].max() <= 255
    same_outline = STRONG.model_copy(update={"mask_shift_px": 0, "mask_holes": 0})
    without_holes = Augmenter(same_outline)({"labelled": frames(4, 0)}, draw())
    plain = without_holes["labelled"]
    assert (plain["image"][~plain["mask"].expand(-1, 3, -1, -1)] == 255).all()
    length = result["normals"].norm(dim=1, keepdim=True)[result["mask"]]
    assert ((length - 1).abs() < 1e-4).float().mean() > 0.99


def test_chance_follows_from_seed_step_and_place_alone():
    batch = {"labelled": frames(3, 0), "pairs": pairs(3)}
    first, again = (Augmenter(STRONG)(batch, draw(5)) for _ in range(2))
    assert_same(first, again)
    assert_same(first, Augmenter(STRONG)(batch, draw(6)), equal=False)
    assert_same(first, Augmenter(STRONG)(batch, replace(draw(5), seed=8)), equal=False)
    # The second of two processes, which has the last item only.
    last = {"labelled": {key: value[2:] for key, value in batch["labelled"].items()}}
    alone = Augmenter(STRONG)(last, draw(5, first=2))["labelled"]
    for key, values in alone.items():
        torch.testing.assert_close(values, first["labelled"][key][2:], rtol=1e-6, atol=1e-4)


def test_switching_one_on_does_not_change_the_others():
    batch = {"labelled": frames(2, 0)}
    both = Augmenter(AugmentParams(zoom=0.3, flip=0.5, noise=9.0, iuv_part_drop=0.4))(batch, draw())["labelled"]
    one = Augmenter(AugmentParams(zoom=0.3, flip=0.5))(batch, draw())["labelled"]
    for key in ("camera", "depth", "mask", "normals"):
        assert torch.equal(both[key], one[key])


def test_both_frames_of_a_pair_are_framed_alike_and_coloured_apart():
    batch = pairs(2)
    batch["j"] = {key: value.clone() for key, value in batch["i"].items()}
    batch |= {"turn_deg": torch.tensor([30.0, float("nan")]), "gap_frames": torch.tensor([4.0, -2.0])}
    result = Augmenter(AugmentParams(flip=1.0, zoom=0.2, shift=0.1, brightness=0.5))({"pairs": batch}, draw())["pairs"]
    for key in ("camera", "mask", "vui", "normals"):
        assert torch.equal(result["i"][key], result["j"][key])
    assert not torch.equal(result["i"]["image"], result["j"]["image"])
    assert result["turn_deg"][0] == -30
    assert result["turn_deg"][1].isnan()
    assert torch.equal(result["gap_frames"], batch["gap_frames"])
    rows = result["rows"]
    kept = rows[:, 0] >= 0
    assert kept.sum() > 50
    item, part, r, c = rows[kept][:, :4].T
    assert (result["i"]["vui"][item, 2, r - 1, c - 1] == part).all()


def test_about_the_given_share_is_mirrored_and_dropped():
    batch = {"labelled": {key: value[:1].expand(200, *value.shape[1:]) for key, value in frames(1, 0).items()}}
    batch["labelled"] = {k: v[..., 24:40, 24:40] if v.ndim == 4 else v for k, v in batch["labelled"].items()}
    result = Augmenter(AugmentParams(flip=0.3, iuv_drop=0.2))(batch, draw())["labelled"]
    is_dropped = result["vui"].flatten(1).amax(1) == 0
    assert is_dropped.float().mean() == pytest.approx(0.2, abs=0.08)
    is_mirrored = (result["depth"] != batch["labelled"]["depth"]).flatten(1).any(1)
    assert is_mirrored.float().mean() == pytest.approx(0.3, abs=0.09)


def test_a_batch_as_it_is_stored_is_prepared_first():
    people = frames(1, 0)
    stored = {
        "white_image": people["image"].to(torch.uint8),
        "vui": people["vui"].to(torch.uint8),
        "mask": people["mask"],
        "depth_m": people["depth"],
        "normals": (people["normals"] * 30000).to(torch.int16),
        "camera": people["camera"],
    }
    result = Augmenter(STRONG)({"labelled": stored}, draw())["labelled"]
    assert set(result) == {"image", "vui", "mask", "depth", "normals", "camera"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"flip": 1.5}, r"augment\.flip: .* less than or equal to 1, found 1\.5"),
        ({"noise": -1.0}, r"augment\.noise: .* greater than or equal to 0, found -1\.0"),
        ({"zoom": float("nan")}, r"augment\.zoom: .* finite number, found nan"),
        ({"mask_holes": 1.5}, r"augment\.mask_holes: .* valid integer"),
        ({"mask_holes": 9}, r"augment\.mask_holes: .* less than or equal to 8, found 9"),
    ],
)
def test_strengths_out_of_range_are_refused_by_name(values, named):
    with pytest.raises(ValueError, match=next(iter(values))):
        AugmentParams(**values)
    with pytest.raises(ParamsError, match=named):
        parse_section(Params, Params().model_dump(by_alias=True) | {"augment": STRONG.model_dump() | values}, "mine")
