"""Backgrounds behind a person: parts of other pictures, other people, clutter, flat colours, blurred pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hdnet.params import PhotoParams
from hdnet.params.training import BackgroundShares
from hdnet.training.augment_colour import NoiseBank
from hdnet.training.augment_geometry import box_of, moved
from hdnet.training.scene_crops import pictures_of

# One before the other; each is there or not.
_SHAPES = ("box", "box", "disc", "box", "bar", "box", "box", "disc", "bar", "box", "box", "disc", "box", "bar")
_MOST_SHAPES = len(_SHAPES)
_SHAPE_NUMBERS = 11
# Random numbers an item takes, whatever stands behind it.
NUMBERS = {
    "kind": 1,
    "which": 1,
    "mirror": 1,
    "part": 4,
    "person": 3,
    "blur": 1,
    "flat": 9,
    "count": 1,
    "floor": 2,
    "texture": 16,
    "shapes": (_MOST_SHAPES + 2) * _SHAPE_NUMBERS,
}
KINDS = tuple(BackgroundShares.model_fields)

# Of the pasted backgrounds without another person, those that are a part of another picture.
_FREE_PARTS = 0.55
# Of the soft backgrounds, the flat ones.
_FLAT = 0.55
# Stored pixels of a free part's width, if there are so many; fewer look blurred.
_PART_PX = 56
_LEAST_PART_PX = 16
# Height of another person over that of the person before them.
_BEHIND = (0.45, 0.85)
# Size of a picture that is enlarged to a blurred background.
_BLURRED_PX = (6, 40)
# Of the picture's side.
_SHAPE_SIZES = (8 / 256, 160 / 256)
_OCTAVES = 6

Chance = dict[str, Tensor]


def kinds_of(share_b: Tensor, shares: BackgroundShares) -> list[str]:
    """Choose the kind of background of every item by a number in 0..1 each."""
    weights = [getattr(shares, kind) for kind in KINDS]
    ends = torch.tensor(weights, dtype=torch.float64).cumsum(0)
    chosen = torch.bucketize(share_b.double() * ends[-1], ends, right=True).clamp(max=len(KINDS) - 1)
    return [KINDS[k] for k in chosen.tolist()]


class Backgrounds:
    """Maker of backgrounds.

    Args:
        photo: Share of backgrounds with another person.
    """

    def __init__(self, photo: PhotoParams, noise: NoiseBank) -> None:
        self.photo = photo
        self._noise = noise

    def of_kinds(
        self,
        kinds: Sequence[str],
        chosen: Chance,
        chance: Chance,
        others: tuple[Tensor, Tensor],
        mask_b1hw: Tensor,
    ) -> Tensor:
        """Return a background for every item.

        Args:
            kinds: "pasted", "soft" or "white" of every item.
            chosen: :data:`NUMBERS` on the processor.
            chance: The same on the device.
            others: Stored pictures (B, 3, H, W) uint8 and masks of other people.
            mask_b1hw: The person before it, in the crop.

        Returns:
            (B, 3, *size of the crop) in 0..255.
        """
        ways = [
            self._way(kind, *(float(chosen[name][b, 0]) for name in ("which", "kind"))) for b, kind in enumerate(kinds)
        ]
        size, device = mask_b1hw.shape[-2:], mask_b1hw.device
        result = torch.full((len(kinds), 3, *size), 255.0, device=device)
        for way in sorted(set(ways) - {"white"}):
            items = [b for b, one in enumerate(ways) if one == way]
            index = moved(torch.tensor(items), device)
            some = {name: values[index] for name, values in chance.items()}
            picture = self._made(way, some, (others[0][index], others[1][index]), mask_b1hw[index])
            if way.startswith("blurred"):
                picture = _blurred(picture, chosen["blur"][items, 0].tolist())
            mirrored_b = some["mirror"][:, 0] < 0.5
            result[index] = torch.where(mirrored_b[:, None, None, None], picture.flip(3), picture)
        return result

    def _way(self, kind: str, which: float, way: float) -> str:
        if kind == "pasted":
            if way < self.photo.people_behind:
                return "person"
            return "part" if which < _FREE_PARTS else "clutter"
        if kind == "soft":
            if way < _FLAT:
                return "flat"
            return "blurred part" if which < _FREE_PARTS else "blurred clutter"
        return "white"

    def _made(self, way: str, chance: Chance, others: tuple[Tensor, Tensor], mask_b1hw: Tensor) -> Tensor:
        size = (mask_b1hw.shape[-2], mask_b1hw.shape[-1])
        if way == "person":
            return person_behind(*others, mask_b1hw, chance["person"])
        if way == "flat":
            return flat(chance["flat"], size)
        if way.endswith("part"):
            return free_part(*others, chance["part"], size)
        return self.clutter(chance, size)

    def clutter(self, chance: Chance, size: tuple[int, int]) -> Tensor:
        """Paint a wall and a floor, and boxes, discs and bars before them, plain or with a texture."""
        height, width = size
        shapes_bkn = chance["shapes"].view(-1, _MOST_SHAPES + 2, _SHAPE_NUMBERS)
        y_h1, x_1w = _places(height, shapes_bkn)[:, None], _places(width, shapes_bkn)[None, :]
        has_floor_b11 = chance["floor"][:, :1, None] < 0.6
        below_b1 = 0.5 + 0.45 * chance["floor"][:, 1:, None]
        shown_bhw = ((y_h1 > below_b1) & has_floor_b11).to(torch.uint8).repeat(1, 1, width)
        is_there_bk = shapes_bkn[:, 2:, 4] < 0.2 + 0.8 * chance["count"]
        for k, kind in enumerate(_SHAPES):
            inside_bhw = _inside(kind, shapes_bkn[:, k + 2], x_1w, y_h1, is_there_bk[:, k])
            shown_bhw.masked_fill_(inside_bhw, k + 2)
        grey_bk1, colour_bk3, texture_bk1 = shapes_bkn[..., 6:7], shapes_bkn[..., 7:10], shapes_bkn[..., 10:11]
        palette_bk3 = 255 * grey_bk1 + 120 * (colour_bk3 - 0.5)
        # Half of the surfaces are plain.
        amplitude_bk1 = 240 * (texture_bk1 - 0.5).clamp(min=0)
        shown_b1n = shown_bhw.flatten(1).long()[:, None]
        looked_up = torch.cat([palette_bk3, amplitude_bk1], 2).mT.gather(2, shown_b1n.expand(-1, 4, -1))
        values = looked_up.view(-1, 4, height, width)
        texture = values[:, 3:] * self._texture(chance["texture"], x_1w, y_h1)
        tint_b3 = 0.5 + chance["texture"][:, :3]
        return values[:, :3].addcmul(texture, tint_b3[:, :, None, None]).clamp_(0, 255)

    def _texture(self, chance_bn: Tensor, x_1w: Tensor, y_h1: Tensor) -> Tensor:
        """Return noise of several octaves, or stripes or checks, (B, 1, H, W) in -1..1."""
        size = (y_h1.shape[0], x_1w.shape[1])
        fall_b111 = 0.6 + 0.3 * chance_bn[:, 3, None, None, None]
        noise = chance_bn.new_zeros((len(chance_bn), 1, 2, 2))
        for octave in range(1, _OCTAVES + 1):
            noise = F.interpolate(noise, scale_factor=2, mode="bilinear", align_corners=False)
            grains = self._noise.pictures((chance_bn[:, 3:5] + octave * 0.37) % 1, noise.expand(-1, 3, -1, -1))[:, :1]
            noise = noise + fall_b111**octave * grains
        noise = F.interpolate(noise, size, mode="bilinear", align_corners=False)
        noise = noise * (0.5 + chance_bn[:, 10, None, None, None])
        angle_b, rate_b2, edge_b = math.pi * chance_bn[:, 5], 3 + 37 * chance_bn[:, 6:8], 0.5 + 7 * chance_bn[:, 8]
        along, across = (
            _turned(x_1w, y_h1, angle_b + math.pi / 2 * k, 2 * math.pi * rate_b2[:, k]).sin_() for k in range(2)
        )
        stripes = along.mul_(edge_b[:, None, None]).clamp_(-1, 1)
        checks = stripes * across.mul_(edge_b[:, None, None]).clamp_(-1, 1)
        kind_b111 = chance_bn[:, 9, None, None, None]
        pattern = torch.where(kind_b111 < 0.8, stripes[:, None], checks[:, None])
        return torch.where(kind_b111 < 0.6, noise.clamp_(-1, 1), pattern)


def flat(chance_bn: Tensor, size: tuple[int, int]) -> Tensor:
    """Return plain colours, 60 % of them with a gradient."""
    kind_b1 = chance_bn[:, :1]
    grey_b3 = 255 * chance_bn[:, 1:2] + 16 * (chance_bn[:, 2:5] - 0.5)
    colour_b3 = torch.where(kind_b1 < 0.15, 0, torch.where(kind_b1 < 0.6, grey_b3, 255 * chance_bn[:, 2:5]))
    slope_b2 = 160 * (chance_bn[:, 5:7] - 0.5) * (chance_bn[:, 7:8] < 0.6)
    x_1w, y_h1 = _places(size[1], chance_bn)[None, :], _places(size[0], chance_bn)[:, None]
    slope = slope_b2[:, :1, None] * (x_1w - 0.5) + slope_b2[:, 1:, None] * (y_h1 - 0.5)
    return (colour_b3[:, :, None, None] + slope[:, None]).clamp_(0, 255)


def free_part(scene_b3hw: Tensor, mask_b1hw: Tensor, chance_b4: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge a part of another picture beside the person there to the whole background."""
    first_b2, last_b2 = (corner.double() for corner in box_of(mask_b1hw))
    height, width = mask_b1hw.shape[-2:]
    left_b, right_b = first_b2[:, 0] - 3, width - 4 - last_b2[:, 0]
    free_b = torch.maximum(left_b, right_b).clamp(min=_LEAST_PART_PX)
    least_b = free_b.clamp(max=_PART_PX)
    across_b = least_b + chance_b4[:, 0] * (free_b - least_b)
    begin_b = torch.where(left_b >= right_b, 0, width - free_b) + chance_b4[:, 1] * (free_b - across_b)
    along_b = (across_b * (1 + 0.6 * chance_b4[:, 2])).clamp(max=height)
    top_b = chance_b4[:, 3] * (height - along_b)
    scale_x, scale_y, nothing = across_b / size[1], along_b / size[0], torch.zeros_like(across_b)
    rows = [scale_x, nothing, begin_b + (scale_x - 1) / 2, nothing, scale_y, top_b + (scale_y - 1) / 2]
    return pictures_of(scene_b3hw.float(), torch.stack(rows, 1).view(-1, 2, 3), size)


def person_behind(scene_b3hw: Tensor, other_b1hw: Tensor, mask_b1hw: Tensor, chance_b3: Tensor) -> Tensor:
    """Place another picture so that the person there is smaller than ours, reflected left and right."""
    (first_b2, last_b2), (own_first_b2, own_last_b2) = (
        [c.double() for c in box_of(m)] for m in (other_b1hw, mask_b1hw)
    )
    height, width = mask_b1hw.shape[-2:]
    low, high = _BEHIND
    wanted_b = (own_last_b2 - own_first_b2 + 1)[:, 1] * (low + (high - low) * chance_b3[:, 0])
    scale_b = (last_b2 - first_b2 + 1)[:, 1].clamp(min=30) / wanted_b
    # Anywhere in the width, a little higher or lower than the middle.
    x_b, y_b = ((0.1 + 0.8 * chance_b3[:, 1]) * width), (0.4 + 0.2 * chance_b3[:, 2]) * height
    middle_b2, nothing = (first_b2 + last_b2) / 2, torch.zeros_like(scale_b)
    left_b, top_b = middle_b2[:, 0] - scale_b * x_b, middle_b2[:, 1] - scale_b * y_b
    window_b23 = torch.stack([scale_b, nothing, left_b, nothing, scale_b, top_b], 1).view(-1, 2, 3)
    return pictures_of(scene_b3hw.float(), window_b23, (height, width), padding="sideways")


def _blurred(picture_b3hw: Tensor, shares: Sequence[float]) -> Tensor:
    size, (low, high) = picture_b3hw.shape[-2:], _BLURRED_PX
    blurred = []
    for picture, share in zip(torch.split(picture_b3hw, 1), shares, strict=True):
        cells = low + int(share * (high - low))
        small = F.interpolate(picture, (cells, cells), mode="area")
        blurred.append(F.interpolate(small, size, mode="bicubic", align_corners=False))
    return torch.cat(blurred).clamp_(0, 255)


def _places(count: int, like: Tensor) -> Tensor:
    """Return the middles of pixels over the picture's size."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count


def _turned(x_1w: Tensor, y_h1: Tensor, angle_b: Tensor, scale_b: Tensor) -> Tensor:
    """Return scale (x cos + y sin), (B, H, W)."""
    along_x, along_y = (scale_b * angle_b.cos())[:, None, None], (scale_b * angle_b.sin())[:, None, None]
    return along_x * x_1w + along_y * y_h1


def _inside(kind: str, numbers_bn: Tensor, x_1w: Tensor, y_h1: Tensor, is_there_b: Tensor) -> Tensor:
    """Return the pixels of one shape an item, (B, H, W) bool; none where it is not there."""
    low, high = (math.log(end) for end in _SHAPE_SIZES)
    x_b, y_b = (1.1 * numbers_bn[:, k] - 0.05 for k in (0, 1))
    across_b, along_b = ((low + (high - low) * numbers_bn[:, k]).exp() / 2 for k in (2, 3))
    across_b = torch.where(is_there_b, across_b, 1e-9)
    x_b1w, y_bh1 = x_1w - x_b[:, None, None], y_h1 - y_b[:, None, None]
    if kind == "bar":  # long, narrow, in any direction
        angle_b = math.pi * numbers_bn[:, 5]
        p_bhw = _turned(x_b1w, y_bh1, angle_b, 10 / across_b).abs_()
        q_bhw = _turned(x_b1w, y_bh1, angle_b + math.pi / 2, 0.4 / along_b).abs_()
        return torch.maximum(p_bhw, q_bhw, out=p_bhw) < 1
    p_b1w, q_bh1 = x_b1w / across_b[:, None, None], y_bh1 / along_b[:, None, None]
    if kind == "disc":
        return p_b1w.square() + q_bh1.square() < 1
    return (p_b1w.abs() < 1) & (q_bh1.abs() < 1)
