"""Colours, faults of the camera, compression, and hints of training pictures of `lite`."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hdnet.params import AugmentParams, PhotoParams
from hdnet.training import augment_faults as faults
from hdnet.training.augment_colour import COLOUR_NUMBERS, NoiseBank, about_1, recoloured
from hdnet.training.augment_geometry import moved
from hdnet.training.jpeg import jpeg, lower_resolution

Chance = dict[str, Tensor]

# How many numbers each variation takes of an item's chance. All are drawn, whatever is switched on.
COLOURS = {
    **COLOUR_NUMBERS,
    "low_resolution": 2,
    "jpeg": 2,
}
HINT = {
    "hint": 1,
    "mask_field": faults.FIELD_CELLS**2,
    "mask_holes": faults.RECTANGLE_NUMBERS,
    "mask_additions": faults.RECTANGLE_NUMBERS,
}

# Blurs of a smaller deviation in pixels change nothing.
_LEAST_BLUR_PX = 0.3
_BLUR_REACH = 3
# Of the pictures whose saturation is varied, those without colours.
_GREY = 0.05
_QUALITIES = (25, 90)
# Rows of a picture that was smaller once, over those of the crop.
_LOW_SIZES = (0.4, 0.875)
# Half sides of holes and additions over the picture's size.
_HOLE_SIZES, _ADDITION_SIZES = (0.01, 0.08), (0.01, 0.08)


class SceneEffects:
    """Effects of light, camera and storage on whole pictures, and masks as callers give them.

    Args:
        photo: Shares of hints and of compressed and small pictures.
        augment: Strength of the others.
        noise: Source of film noise.
    """

    def __init__(self, photo: PhotoParams, augment: AugmentParams, noise: NoiseBank) -> None:
        self.photo, self.augment, self._noise = photo, augment, noise

    def photographed(self, image: Tensor, within: Tensor, chosen: Chance, chance: Chance) -> Tensor:
        """Vary colours and what a camera and a compression do to the whole picture.

        Args:
            image: (B, 3, H, W) 0..255; may be overwritten.
            within: (B, 1, H, W), the pixels that give the mean brightness.
            chosen: :data:`COLOURS` on the processor.
            chance: The same on the device.
        """
        params = self.augment
        if params.brightness or params.contrast or params.saturation or params.hue_deg or params.white_balance:
            saturation = chance["saturation"][:, 0]
            grey = (saturation < _GREY) & bool(params.saturation)
            image = recoloured(
                image,
                within,
                gain_b3=about_1(chance["brightness"], params.brightness)
                * about_1(chance["balance"], params.white_balance),
                contrast_b=about_1(chance["contrast"][:, 0], params.contrast),
                saturation_b=torch.where(grey, 0, about_1(saturation, params.saturation)),
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
            image = self._noise.added(image, chosen["noise"][:, 1:].tolist(), deviation).clamp_(0, 255)
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

    def hints(self, mask: Tensor, chosen: Chance, chance: Chance) -> tuple[Tensor, Tensor]:
        """Return the hint of every item, (B, 1, H, W): 1, -1, or 0 where there is none; and who has one, (B,).

        Args:
            mask: (B, 1, H, W), the person.
            chosen: :data:`HINT` on the processor.
            chance: The same on the device.
        """
        photo, share = self.photo, chosen["hint"][:, 0]
        imperfect = (share >= photo.hint_exact) & (share < photo.hint_exact + photo.hint_imperfect)
        hinted_b = moved(share < photo.hint_exact + photo.hint_imperfect, mask.device)
        given, items = mask, imperfect.nonzero()[:, 0]
        if len(items):
            index = moved(items, mask.device)
            given = mask.index_copy(0, index, self._found(mask[index], chance, index))
        hint = given.float().mul_(2).sub_(1)
        return hint.mul_(hinted_b[:, None, None, None]), hinted_b

    def _found(self, mask: Tensor, chance: Chance, index: Tensor) -> Tensor:
        """Return masks as an imperfect segmenter finds them: a wrong outline, holes, and parts of the background."""
        params, box = self.augment, faults.person_box(mask)
        found = faults.noisy_outline(mask, chance["mask_field"][index], params.mask_shift_px)
        if params.mask_holes:
            holes = faults.rectangles(chance["mask_holes"][index], params.mask_holes, box, _HOLE_SIZES, mask)
            more = faults.rectangles(chance["mask_additions"][index], params.mask_holes, box, _ADDITION_SIZES, mask)
            found = (found & ~holes) | (more & ~mask)
        return found


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
