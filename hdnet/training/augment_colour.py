"""Colour augmentation: light, white balance, blur and film noise on float pictures of 0..255."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hdnet.training.augment_geometry import constant

# Luminance, ITU-R BT.601.
_LUMINANCE = (0.299, 0.587, 0.114)
_BLUR_REACH = 3
_BANK_SIZE = 512


def recoloured(
    image_b3hw: Tensor, mask_b1hw: Tensor, gain_b3: Tensor, contrast_b: Tensor, saturation_b: Tensor, hue_b: Tensor
) -> Tensor:
    """Apply gain, then hue, saturation and contrast: together one linear function of each item's colours.

    Args:
        image_b3hw: RGB.
        mask_b1hw: The person, whose mean brightness contrast preserves.
        gain_b3: Factors of red, green and blue.
        contrast_b: Factor of the distance from the mean brightness.
        saturation_b: Factor of the distance from grey.
        hue_b: Rotation about the grey axis, radians.
    """
    like = image_b3hw
    luminance_3 = constant(_LUMINANCE, like.device, like.dtype)
    identity = torch.eye(3, dtype=like.dtype, device=like.device)
    saturation = saturation_b[:, None, None]
    grey_b33 = saturation * identity + (1 - saturation) * luminance_3.expand(3, 3)
    linear_b33 = grey_b33 @ _turn_about_grey(hue_b) * gain_b3[:, None, :]
    flat_b3n = image_b3hw.flatten(2)
    weight_bn1 = mask_b1hw.flatten(2).to(like.dtype).mT
    mean_b31 = flat_b3n @ weight_bn1 / weight_bn1.sum(1, keepdim=True).clamp(min=1)
    brightness_b11 = luminance_3 @ (linear_b33 @ mean_b31)
    contrast = contrast_b[:, None, None]
    offset_b31 = ((1 - contrast) * brightness_b11[:, None]).expand(-1, 3, 1)
    return torch.baddbmm(offset_b31, contrast * linear_b33, flat_b3n).view_as(image_b3hw)


def _turn_about_grey(angle_b: Tensor) -> Tensor:
    """Rotations about (1, 1, 1) / sqrt(3): every row is (a, b, c) shifted by one place."""
    cosine, sine = angle_b.cos(), angle_b.sin() / 3**0.5
    a, b, c = (1 + 2 * cosine) / 3, (1 - cosine) / 3 - sine, (1 - cosine) / 3 + sine
    return torch.stack([a, b, c, c, a, b, b, c, a], 1).view(-1, 3, 3)


def gamma_corrected(image_b3hw: Tensor, exponent_b: Tensor) -> Tensor:
    """Raise brightness 0..1 to the exponent; black and white stay."""
    return (image_b3hw / 255).clamp_(0, 1).pow_(exponent_b[:, None, None, None]).mul_(255)


def blurred(image_b3hw: Tensor, mask_b1hw: Tensor, sigma_b: Tensor) -> Tensor:
    """Blur the person with a Gaussian, without mixing in the background, which stays as it is.

    Args:
        image_b3hw: RGB.
        mask_b1hw: The person.
        sigma_b: Standard deviation in pixels; 0 leaves the item as it is. The kernel ends at 3 pixels.
    """
    mask = mask_b1hw.bool()
    offset = torch.arange(-_BLUR_REACH, _BLUR_REACH + 1, device=image_b3hw.device, dtype=image_b3hw.dtype)
    # 1e-3 px is no blur: the neighbours' weight is 0 in any precision.
    kernel_bk = (-0.5 * (offset / sigma_b.clamp(min=1e-3)[:, None]).square()).exp()
    weight = mask.to(image_b3hw.dtype)
    values = torch.cat([image_b3hw * weight, weight], 1)
    for dim in (2, 3):
        values = _along(values, kernel_bk, dim)
    return torch.where(mask, values[:, :3] / torch.where(mask, values[:, 3:], 1), image_b3hw)


def _along(values_bchw: Tensor, kernel_bk: Tensor, dim: int) -> Tensor:
    size = values_bchw.shape[dim]
    total = values_bchw * kernel_bk[:, _BLUR_REACH, None, None, None]
    for reach in range(1, min(_BLUR_REACH, size - 1) + 1):
        weight = kernel_bk[:, _BLUR_REACH + reach, None, None, None]
        near, far = (0, size - reach), (reach, size - reach)
        total.narrow(dim, *near).addcmul_(values_bchw.narrow(dim, *far), weight)
        total.narrow(dim, *far).addcmul_(values_bchw.narrow(dim, *near), weight)
    return total


# Random numbers of an item that each variation of colours, blur and noise takes.
COLOUR_NUMBERS = {
    "brightness": 1,
    "contrast": 1,
    "saturation": 1,
    "hue": 1,
    "balance": 3,
    "gamma": 1,
    "blur": 1,
    "noise": 3,
}


def about_1(chance: Tensor, strength: float) -> Tensor:
    """Return factors from 1 - strength to 1 + strength for numbers in 0..1."""
    return 1 + (2 * chance - 1) * strength


class NoiseBank:
    """Film noise, equal on every device: windows of one large picture of standard normal numbers.

    Args:
        size: Rows and columns of that picture.
    """

    def __init__(self, size: int = _BANK_SIZE) -> None:
        bank = np.random.default_rng(0).standard_normal((size, 3, size), dtype=np.float32)
        self._bank = torch.from_numpy(bank)

    def pictures(self, place_b2: Tensor, like_bchw: Tensor) -> Tensor:
        """Return noise of standard deviation 1, (B, 3, H, W).

        Args:
            place_b2: Position of the window, (B, 2) in 0..1.
            like_bchw: Tensor of the size, device and type to return.
        """
        bank_size = self._on(like_bchw.device).shape[0]
        first_b2 = (place_b2 * bank_size).long()
        rows, columns = (
            (first_b2[:, k, None] + torch.arange(size, device=like_bchw.device)) % bank_size
            for k, size in enumerate(like_bchw.shape[-2:])
        )
        height, width = like_bchw.shape[-2:]
        # Whole rows of memory first: twice as fast as both at once.
        noise_bh3w = self._bank[rows]
        places_bh3w = columns[:, None, None, :].expand(-1, height, 3, width)
        return noise_bh3w.gather(3, places_bh3w).transpose(1, 2).to(like_bchw.dtype).contiguous()

    def added(self, image_b3hw: Tensor, places: Sequence[Sequence[float]], deviation_b111: Tensor) -> Tensor:
        """Add noise to pictures in place, from windows that are not copied: a fourth of the time.

        Args:
            image_b3hw: The pictures, not larger than the bank.
            places: Position of each window, two numbers in 0..1.
            deviation_b111: Standard deviation of each picture's noise.
        """
        bank = self._on(image_b3hw.device)
        height, width = image_b3hw.shape[-2:]
        for image, deviation, (down, right) in zip(image_b3hw, deviation_b111, places, strict=True):
            top, left = int(down * (bank.shape[0] - height + 1)), int(right * (bank.shape[2] - width + 1))
            window = bank[top : top + height, :, left : left + width].transpose(0, 1)
            image.addcmul_(window.to(image.dtype), deviation)
        return image_b3hw

    def _on(self, device: torch.device) -> Tensor:
        if self._bank.device != device:
            self._bank = self._bank.to(device)
        return self._bank
