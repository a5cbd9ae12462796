"""Training samples of `lite`: photographs with varied framing, background, colours, faults of the camera, and hints.

As in :mod:`hdnet.training.augment`, every number is drawn on the processor from the step's draw and the item's place,
and nothing of an item depends on the others: resumed trainings and any number of processes see the same samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hdnet.data.store.batches import prepare
from hdnet.errors import DataError
from hdnet.params import AugmentParams, PhotoParams
from hdnet.training import augment_faults as faults
from hdnet.training import backgrounds
from hdnet.training.augment import Draw
from hdnet.training.augment_colour import NoiseBank, recoloured
from hdnet.training.augment_geometry import box_of, moved
from hdnet.training.jpeg import jpeg, lower_resolution
from hdnet.training.scene_crops import labels_of, pictures_of, random_windows, whole_window

Batch = dict[str, Any]
Chance = dict[str, Tensor]

BEYOND = 127.0
"""Colour beyond the picture's edge."""

# How many numbers each variation takes of an item's chance. All are drawn, whatever is switched on.
_COLOURS = {
    "brightness": 1,
    "contrast": 1,
    "saturation": 1,
    "hue": 1,
    "balance": 3,
    "gamma": 1,
    "blur": 1,
    "noise": 3,
    "low_resolution": 2,
    "jpeg": 2,
}
_HINT = {
    "hint": 1,
    "mask_field": faults.FIELD_CELLS**2,
    "mask_holes": faults.RECTANGLE_NUMBERS,
    "mask_additions": faults.RECTANGLE_NUMBERS,
}
_SCENE = {"flip": 1, "tight": 1, "fill": 1, "place": 2, "turn": 1, "background": 1, "soft_edge": 1}
_BACKGROUND = {f"background_{name}": count for name, count in backgrounds.NUMBERS.items()}

# Blurs of a smaller deviation in pixels change nothing.
_LEAST_BLUR_PX = 0.3
_BLUR_REACH = 3
# Of the pictures whose saturation is varied, those without colours.
_GREY = 0.05
_QUALITIES = (25, 90)
# Smaller pictures over the size of the crop, and those of them that are compressed too.
_LOW_SIZES = (0.4, 0.875)
_LOW_AND_JPEG = 0.5
# Half sides of holes and additions over the picture's size.
_HOLE_SIZES, _ADDITION_SIZES = (0.01, 0.08), (0.01, 0.08)


class SceneAugmenter:
    """Makes training samples of `lite` from stored photographs.

    Args:
        photo: Framing, backgrounds, hints, compression.
        augment: Strength of colours, blur, noise, mirroring and of the faults of a given mask.
    """

    def __init__(self, photo: PhotoParams, augment: AugmentParams) -> None:
        self.photo, self.augment = photo, augment
        self._noise = NoiseBank()
        self._backgrounds = backgrounds.Backgrounds(photo, self._noise)

    def __call__(self, stored: Batch, draw: Draw, size: int, stream: str = "labelled") -> Batch:
        """Return a training batch.

        Args:
            stored: Labelled people with scenes, see :class:`hdnet.data.store.datasets.LabelledDataset`, as stored or
                prepared, on any device.
            draw: Random numbers of the step.
            size: Pixels of the square pictures.
            stream: Name of the batch's stream.

        Returns:
            "inputs" (B, 4, size, size) float32: RGB 0..255, 127 beyond the picture's edge, and the hint: 1 inside, -1
            outside and beyond the edge, 0 unknown; "within" bool: inside the picture; "mask" bool; "normals" unit
            vectors in the frame of the crop's middle ray, or 0; "relief"; "vui" 0..255; "log_scale" (B,), the logarithm
            of pixels per metre, nan where the data does not tell; "hinted" (B,) bool; "window" (B, 2, 3) float64 and
            "camera" (B, 7), of which :func:`hdnet.geometry.relief.view_of` makes the crop's view.

        Raises:
            DataError: The batch has no pictures with background.
        """
        frame = _with_scenes(stored)
        chosen, chance = _drawn(draw, stream, frame, _SCENE | _COLOURS | _HINT | _BACKGROUND)
        kinds = backgrounds.kinds_of(chosen["background"][:, 0], self.photo.backgrounds)
        replaced = [b for b, kind in enumerate(kinds) if kind != "own"]
        mirrored_b = chance["flip"][:, 0] < self.augment.flip
        replaced_b = moved(torch.tensor([kind != "own" for kind in kinds]), mirrored_b.device)
        box = box_of(frame["mask"])
        boundless_b = replaced_b & ~_touches_edge(box, frame["mask"].shape[-2:])
        window_b23 = random_windows(frame["mask"], box, chance, self.photo, mirrored_b, boundless_b, size)
        mirrored = (chosen["flip"][:, 0] < self.augment.flip).nonzero()[:, 0]
        labels = labels_of(frame, window_b23, (size, size), moved(mirrored, mirrored_b.device))
        labels["within"] = labels["within"] | boundless_b[:, None, None, None]
        # Colours of those whose background is replaced are weighted with the mask.
        shown = frame["mask"] | ~replaced_b[:, None, None, None]
        source = torch.cat([torch.where(shown, frame["scene"], 0), frame["mask"].to(frame["scene"].dtype)], 1)
        image, alpha = torch.split(pictures_of(source, window_b23, (size, size)), [3, 1], 1)
        if replaced:
            image = self._replaced(image, alpha, frame, labels["mask"], kinds, replaced, chosen, chance)
        image = self._photographed(image, labels["within"], chosen, chance)
        hint, hinted_b = self._hints(labels["mask"], chosen, chance)
        return _complete(frame, labels, image, hint, hinted_b, window_b23)

    def _replaced(
        self,
        image: Tensor,
        alpha: Tensor,
        frame: Batch,
        mask: Tensor,
        kinds: Sequence[str],
        items: list[int],
        chosen: Chance,
        chance: Chance,
    ) -> Tensor:
        """Put the people of some items before other backgrounds."""
        index = moved(torch.tensor(items), image.device)
        on_host, on_device = (
            {name: values[f"background_{name}"][places] for name in backgrounds.NUMBERS}
            for values, places in ((chosen, torch.tensor(items)), (chance, index))
        )
        others = (frame["other_scene"][index], frame["other_mask"][index])
        behind = self._backgrounds.of_kinds([kinds[b] for b in items], on_host, on_device, others, mask[index])
        person, edge = image[index], alpha[index]
        # A softer edge for half of them, never beyond the person.
        soft = F.avg_pool2d(edge, 3, 1, 1, count_include_pad=False).minimum(edge)
        is_soft = chance["soft_edge"][index, :, None, None] < 0.5
        share = torch.where(is_soft, (soft + edge) / 2, edge)
        composed = torch.addcmul(person * (share / edge.clamp(min=1e-3)), 1 - share, behind)
        return image.index_copy(0, index, composed)

    def _photographed(self, image: Tensor, within: Tensor, chosen: Chance, chance: Chance) -> Tensor:
        """Vary colours and what a camera and a compression do to the whole picture."""
        params = self.augment
        if params.brightness or params.contrast or params.saturation or params.hue_deg or params.white_balance:
            saturation = chance["saturation"][:, 0]
            grey = (saturation < _GREY) & bool(params.saturation)
            image = recoloured(
                image,
                within,
                gain_b3=_about_1(chance["brightness"], params.brightness)
                * _about_1(chance["balance"], params.white_balance),
                contrast_b=_about_1(chance["contrast"][:, 0], params.contrast),
                saturation_b=torch.where(grey, 0, _about_1(saturation, params.saturation)),
                hue_b=(2 * chance["hue"][:, 0] - 1) * math.radians(params.hue_deg),
            )
        image = image.clamp(0, 255)
        if params.gamma:
            exponent = ((2 * chance["gamma"] - 1) * params.gamma).exp()[:, :, None, None]
            # Three times as fast as a power.
            image = image.div_(255).log2_().mul_(exponent).exp2_().mul_(255)
        soft = (chosen["blur"][:, 0] * params.blur_px >= _LEAST_BLUR_PX).nonzero()[:, 0]
        if len(soft):
            soft = moved(soft, image.device)
            sigma = chance["blur"][soft, 0] * params.blur_px
            image[soft] = _blurred(image[soft], sigma)
        if params.noise:
            deviation = (chance["noise"][:, 0] * params.noise)[:, None, None, None]
            image = image.addcmul_(self._noise.pictures(chance["noise"][:, 1:], image), deviation).clamp_(0, 255)
        return self._compressed(image, chosen)

    def _compressed(self, image: Tensor, chosen: Chance) -> Tensor:
        """Compress some pictures, and reduce the resolution of some."""
        low = chosen["low_resolution"][:, 0] < self.photo.low_resolution
        is_jpeg = chosen["jpeg"][:, 0] < self.photo.jpeg
        worst, best = _QUALITIES
        quality = (worst + chosen["jpeg"][:, 1] * (best - worst)).round().int().tolist()
        items = (is_jpeg & ~low).nonzero()[:, 0]
        if len(items):
            index = moved(items, image.device)
            image[index] = jpeg(image[index], [quality[b] for b in items.tolist()])
        smallest, largest = _LOW_SIZES
        for b in low.nonzero()[:, 0].tolist():
            size = round(image.shape[-2] * (smallest + float(chosen["low_resolution"][b, 1]) * (largest - smallest)))
            image[b : b + 1] = lower_resolution(image[b : b + 1], size, quality[b] if is_jpeg[b] else None)
        return image

    def _hints(self, mask: Tensor, chosen: Chance, chance: Chance) -> tuple[Tensor, Tensor]:
        """Return the hint of every item, (B, 1, H, W): 1, -1, or 0 where there is none; and who has one, (B,)."""
        photo, share = self.photo, chosen["hint"][:, 0]
        imperfect = (share >= photo.hint_exact) & (share < photo.hint_exact + photo.hint_imperfect)
        hinted_b = moved(share < photo.hint_exact + photo.hint_imperfect, mask.device)
        given, items = mask, imperfect.nonzero()[:, 0]
        if len(items):
            index = moved(items, mask.device)
            given = mask.index_copy(0, index, self._found(mask[index], chance, index))
        hint = torch.where(given, 1.0, -1.0)
        return torch.where(hinted_b[:, None, None, None], hint, 0.0), hinted_b

    def _found(self, mask: Tensor, chance: Chance, index: Tensor) -> Tensor:
        """Return masks as an imperfect segmenter finds them: a wrong outline, holes, and parts of the background."""
        params, box = self.augment, faults.person_box(mask)
        found = faults.noisy_outline(mask, chance["mask_field"][index], params.mask_shift_px)
        if params.mask_holes:
            holes = faults.rectangles(chance["mask_holes"][index], params.mask_holes, box, _HOLE_SIZES, mask)
            more = faults.rectangles(chance["mask_additions"][index], params.mask_holes, box, _ADDITION_SIZES, mask)
            found = (found & ~holes) | (more & ~mask)
        return found


def whole_pictures(stored: Batch, hint: Literal["none", "exact"], size: int | None = None) -> Batch:
    """Return pictures as they are, for validation and evaluation.

    Args:
        stored: Labelled people with scenes, as stored or prepared, on any device.
        hint: None, or the mask.
        size: Pixels of the square pictures, the longer side scaled to it; without it, the stored size, with sides
            filled up to multiples of 32.

    Returns:
        As :class:`SceneAugmenter`.

    Raises:
        DataError: The batch has no pictures with background.
    """
    frame = _with_scenes(stored)
    mask = frame["mask"]
    height, width = mask.shape[-2:]
    new = (size, size) if size else (height + -height % 32, width + -width % 32)
    window_b23 = whole_window(height, width, new, mask).expand(len(mask), 2, 3)
    labels = labels_of(frame, window_b23, new)
    image = pictures_of(frame["scene"], window_b23, new)
    hinted_b = torch.full((len(mask),), hint == "exact", device=mask.device)
    given = torch.where(labels["mask"], 1.0, -1.0) if hint == "exact" else torch.zeros_like(image[:, :1])
    return _complete(frame, labels, image, given, hinted_b, window_b23)


def _with_scenes(stored: Batch) -> Batch:
    if "scene" not in stored:
        raise DataError("the batch has no pictures with background; open the data set with scenes")
    return prepare(stored)


def _complete(frame: Batch, labels: Batch, image: Tensor, hint: Tensor, hinted_b: Tensor, window_b23: Tensor) -> Batch:
    within = labels["within"]
    inputs = torch.cat([torch.where(within, image, BEYOND), torch.where(within, hint, -1.0)], 1)
    return {"inputs": inputs, **labels, "hinted": hinted_b, "window": window_b23, "camera": frame["camera"]}


def _touches_edge(box: tuple[Tensor, Tensor], size: torch.Size) -> Tensor:
    (first_b2, last_b2), (height, width) = box, size
    return (first_b2 == 0).any(1) | (last_b2[:, 0] == width - 1) | (last_b2[:, 1] == height - 1)


def _blurred(image_b3hw: Tensor, sigma_b: Tensor) -> Tensor:
    """Blur whole pictures with a Gaussian of a deviation above 0; the kernel ends at 3 pixels."""
    batch, channels = image_b3hw.shape[:2]
    offset = torch.arange(-_BLUR_REACH, _BLUR_REACH + 1, device=image_b3hw.device, dtype=image_b3hw.dtype)
    kernel_bk = (-0.5 * (offset / sigma_b[:, None]).square()).exp()
    kernel_bk = (kernel_bk / kernel_bk.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = image_b3hw.view(1, batch * channels, *image_b3hw.shape[-2:])
    for sides, shape in (((0, 0, 1, 1), (-1, 1, len(offset), 1)), ((1, 1, 0, 0), (-1, 1, 1, len(offset)))):
        padded = F.pad(flat, [side * _BLUR_REACH for side in sides], mode="replicate")
        flat = F.conv2d(padded, kernel_bk.view(shape), groups=batch * channels)
    return flat.view_as(image_b3hw)


def _about_1(chance: Tensor, strength: float) -> Tensor:
    return 1 + (2 * chance - 1) * strength


def _drawn(draw: Draw, stream: str, frame: Batch, layout: dict[str, int]) -> tuple[Chance, Chance]:
    """Return the items' numbers by name, (B, n) each, on the processor and on the batch's device."""
    mask = frame["mask"]
    numbers = draw.numbers(stream, len(mask), sum(layout.values()))
    host, device = (
        dict(zip(layout, torch.split(values, list(layout.values()), dim=1), strict=True))
        for values in (numbers, moved(numbers, mask.device))
    )
    return host, device
