"""Augmentation with faulty inputs: missing DensePose, masks with a wrong outline or holes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hdnet.params.training import MAX_RECTANGLES
from hdnet.training.augment_geometry import box_of

Batch = dict[str, Any]

RECTANGLE_NUMBERS = 1 + 4 * MAX_RECTANGLES
"""Random numbers per item that :func:`rectangles` takes."""
FIELD_CELLS = 12
"""Cells per side of the picture; the outline moves by cells."""

# Of the outline, a third moves in and a third moves out.
_IN_BELOW, _OUT_ABOVE = 0.42, 0.58

Box = tuple[Tensor, Tensor]


def person_box(mask_b1hw: Tensor) -> Box:
    """First and last (x, y) of the mask, (B, 2) each."""
    return box_of(mask_b1hw)


def rectangles(chance_bn: Tensor, most: int, box: Box, half_size: tuple[float, float], like_b1hw: Tensor) -> Tensor:
    """Draw rectangles around random places of a box.

    Args:
        chance_bn: Random numbers, (B, RECTANGLE_NUMBERS) in 0..1.
        most: Largest number of rectangles per item.
        box: Box of their centres.
        half_size: Smallest and largest half side over the picture's size.
        like_b1hw: Tensor of the size to return.

    Returns:
        (B, 1, H, W) bool.
    """
    height, width = like_b1hw.shape[-2:]
    count_b1 = (chance_bn[:, :1] * (most + 1)).floor()
    is_there_bk = torch.arange(MAX_RECTANGLES, device=chance_bn.device) < count_b1
    x, y, half_w, half_h = chance_bn[:, 1:].reshape(-1, 4, MAX_RECTANGLES).unbind(1)
    first_b2, last_b2 = (corner.to(chance_bn.dtype) for corner in box)
    low, high = half_size

    def spans(middle: Tensor, half: Tensor, axis: int, size: int) -> Tensor:
        middle_bk = first_b2[:, axis, None] + middle * (last_b2 - first_b2)[:, axis, None]
        half_bk = (low + (high - low) * half) * size
        places = torch.arange(size, device=chance_bn.device, dtype=chance_bn.dtype)
        return (places - middle_bk[..., None]).abs() <= half_bk[..., None]

    columns_bkw = (spans(x, half_w, 0, width) & is_there_bk[..., None]).to(chance_bn.dtype)
    rows_bkh = spans(y, half_h, 1, height).to(chance_bn.dtype)
    return (rows_bkh.mT @ columns_bkw)[:, None] > 0


def dropped_parts(
    vui_b3hw: Tensor, chance_all_b1: Tensor, chance_part_bp: Tensor, all_probability: float, part_probability: float
) -> Tensor:
    """Choose pixels without IUV, because the whole map or their part is dropped, (B, 1, H, W) bool.

    Args:
        vui_b3hw: DensePose as V, U, I.
        chance_all_b1: Random numbers in 0..1.
        chance_part_bp: Random numbers, (B, 24) in 0..1.
        all_probability: Probability of dropping the whole map.
        part_probability: Probability of dropping each part.
    """
    is_dropped_bp = (chance_all_b1 < all_probability) | (chance_part_bp < part_probability)
    is_dropped_bp = F.pad(is_dropped_bp, (1, 0))  # part 0 has no IUV
    part_bn = vui_b3hw[:, 2].flatten(1).long().clamp_(0, chance_part_bp.shape[1])
    return is_dropped_bp.gather(1, part_bn).view_as(vui_b3hw[:, :1])


def noisy_outline(mask_b1hw: Tensor, chance_bn: Tensor, shift_px: int) -> Tensor:
    """Move stretches of a mask's outline in or out, (B, 1, H, W) bool.

    Args:
        mask_b1hw: The true mask.
        chance_bn: Random numbers, (B, FIELD_CELLS^2) in 0..1.
        shift_px: Size of the shift; 0 returns the mask itself.
    """
    mask = mask_b1hw.bool()
    if shift_px == 0:
        return mask
    field = F.interpolate(
        chance_bn.view(-1, 1, FIELD_CELLS, FIELD_CELLS), mask.shape[-2:], mode="bilinear", align_corners=True
    )
    smaller, larger = ~_grown(~mask, shift_px), _grown(mask, shift_px)
    return torch.where(field < _IN_BELOW, smaller, torch.where(field > _OUT_ABOVE, larger, mask))


def _grown(mask: Tensor, by_px: int) -> Tensor:
    """Dilate a mask by so many rows and columns; shifted bits are faster than pooling."""
    for dim in (2, 3):
        size, grown = mask.shape[dim], mask.clone()
        for reach in range(1, min(by_px, size - 1) + 1):
            near, far = (0, size - reach), (reach, size - reach)
            grown.narrow(dim, *near).logical_or_(mask.narrow(dim, *far))
            grown.narrow(dim, *far).logical_or_(mask.narrow(dim, *near))
        mask = grown
    return mask


def with_found_mask(frame: Batch, found_b1hw: Tensor, behind_b3: Tensor) -> Batch:
    """Return the frame with the mask of an imperfect segmenter.

    The picture is white outside the segmenter's mask, and has one background colour where that exceeds the person.
    Depth and normals count where both masks agree: outside the segmenter's mask the network has no input, outside the
    person there is no truth. DensePose sees the whole picture and stays.

    Args:
        frame: See :func:`hdnet.data.store.batches.prepare`.
        found_b1hw: The segmenter's mask.
        behind_b3: Colour of the background.
    """
    true = frame["mask"].bool()
    both = true & found_b1hw
    result = {**frame, "mask": both}
    behind = torch.where(found_b1hw, behind_b3[:, :, None, None].to(frame["image"].dtype), 255)
    result["image"] = torch.where(both, frame["image"], behind)
    for key in ("depth", "normals", "input_normals"):
        if key in frame:
            result[key] = torch.where(both, frame[key], 0)
    return result
