"""Crops of photographs: a window of the stored picture, with the labels in the frame of the window's middle ray.

Windows are (B, 2, 3) float64: pixel (u, v, 1) of the crop to pixel (x, y) of the stored picture.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hdnet.data.store.batches import is_sized
from hdnet.geometry.relief import View, masked_median, relief_from_depth, turn_normals, view_of
from hdnet.models.fast_paths import mean_pool
from hdnet.params import PhotoParams
from hdnet.training.augment_geometry import MAX_RELATIVE_STEP, mirrored_vui, unit

Batch = dict[str, Any]

# Range of the person's size where it fits tightly.
_TIGHT_FILL = (0.68, 0.97)
# Stored pixels per pixel of the crop, at least: more enlargement shows no more of the person.
_LEAST_SCALE = 0.42
# The largest window over the picture's longer side, where the rest has no background.
_LARGEST_SPAN = 1.3
# A window keeps at least so much of the person, and so much of the crop is person, or the whole person is taken.
_LEAST_KEPT, _LEAST_FILLED = 0.3, 0.009
_WHOLE_FILL = 0.85
_COARSE = 4
# The smallest pictures to sample from have one pixel for 2^3 in each direction.
_DEEPEST = 3
# Of 1 / depth times the person's share of a pixel, which is a quarter at least where the nearest pixel is the person.
_LEAST_INVERSE = 1e-3


def random_windows(
    mask_b1hw: Tensor,
    box: tuple[Tensor, Tensor],
    chance: dict[str, Tensor],
    photo: PhotoParams,
    mirrored_b: Tensor,
    boundless_b: Tensor,
    size: int,
) -> Tensor:
    """Return a random window about each person.

    Args:
        mask_b1hw: The person in the stored picture.
        box: Of the mask, see :func:`hdnet.training.augment_geometry.box_of`.
        chance: "tight" (B, 1), "fill" (B, 1), "place" (B, 2), "turn" (B, 1), numbers in 0..1.
        photo: Range of the person's size, how often it fits tightly, range of the roll.
        mirrored_b: Items that are mirrored.
        boundless_b: Items whose background is replaced, also beyond the picture's edge.
        size: Pixels of the square crop.

    Returns:
        (B, 2, 3). Each window keeps 30 % of the person, or the whole person.
    """
    first_b2, last_b2 = (corner.double() for corner in box)
    box_b2, middle_b2 = last_b2 - first_b2 + 1, (first_b2 + last_b2) / 2
    longer_b = box_b2.amax(1)
    tight_b = chance["tight"][:, 0] < photo.tight
    low, high = photo.fill
    tight_low, tight_high = (min(max(end, low), high) for end in _TIGHT_FILL)
    fill_b = chance["fill"][:, 0].double()
    fill_b = torch.where(tight_b, _between_logs(fill_b, tight_low, tight_high), _between_logs(fill_b, low, high))
    span_b = longer_b / fill_b
    span_b = torch.where(boundless_b, span_b, span_b.clamp(max=_LARGEST_SPAN * max(mask_b1hw.shape[-2:])))
    span_b = span_b.clamp(min=_LEAST_SCALE * size)
    span_b1 = span_b[:, None]
    reach_b2 = torch.where(tight_b[:, None], 0.07 * span_b1, 0.4 * (span_b1 - box_b2).abs() + 0.08 * span_b1)
    shift_b2 = (2 * chance["place"].double() - 1) * reach_b2
    # Normal numbers, up to three standard deviations.
    turn_b = math.sqrt(2) * torch.special.erfinv(0.9973 * (2 * chance["turn"][:, 0].double() - 1))
    turn_b = turn_b * math.radians(photo.turn_deg)
    drawn = _window(middle_b2 + shift_b2, span_b / size, turn_b, mirrored_b, size)
    whole_span_b = (longer_b / _WHOLE_FILL).clamp(min=_LEAST_SCALE * size)
    whole = _window(middle_b2, whole_span_b / size, torch.zeros_like(turn_b), mirrored_b, size)
    # A picture of nobody keeps whatever it shows.
    keeps_b = _keeps_enough(mask_b1hw, drawn, size) | ~mask_b1hw.flatten(1).any(1)
    return torch.where(keeps_b[:, None, None], drawn, whole)


def _between_logs(share_b: Tensor, low: float, high: float) -> Tensor:
    return (math.log(low) + share_b * (math.log(high) - math.log(low))).exp()


def _window(middle_b2: Tensor, scale_b: Tensor, turn_b: Tensor, mirrored_b: Tensor, size: int) -> Tensor:
    cosine_b, sine_b = scale_b * turn_b.cos(), scale_b * turn_b.sin()
    side_b = 1 - 2 * mirrored_b.to(cosine_b.dtype)
    linear_b22 = torch.stack([side_b * cosine_b, -sine_b, side_b * sine_b, cosine_b], 1).view(-1, 2, 2)
    offset_b2 = middle_b2 - linear_b22.sum(2) * ((size - 1) / 2)
    return torch.cat([linear_b22, offset_b2[:, :, None]], 2)


def _keeps_enough(mask_b1hw: Tensor, window_b23: Tensor, size: int) -> Tensor:
    """Count the person's pixels in every fourth row and column of the crop."""
    coarse = size // _COARSE
    linear_b22 = window_b23[:, :, :2]
    offset_b2 = window_b23[:, :, 2] + linear_b22.sum(2) * ((_COARSE - 1) / 2)
    places = torch.cat([linear_b22 * _COARSE, offset_b2[:, :, None]], 2)
    kept_b = sampled(mask_b1hw.float(), places, (coarse, coarse), "nearest", "zeros").sum((1, 2, 3))
    share_b = kept_b * (_COARSE**2) * _area(window_b23) / mask_b1hw.sum((1, 2, 3)).clamp(min=1)
    return (share_b >= _LEAST_KEPT) & (kept_b >= _LEAST_FILLED * coarse**2)


def _area(window_b23: Tensor) -> Tensor:
    return (window_b23[:, 0, 0] * window_b23[:, 1, 1] - window_b23[:, 0, 1] * window_b23[:, 1, 0]).abs()


def sampled(
    maps_bchw: Tensor, window_b23: Tensor, size: tuple[int, int], mode: str = "bilinear", padding: str = "border"
) -> Tensor:
    """Sample maps at the pixels of a window, (B, C, *size).

    Args:
        maps_bchw: The maps.
        window_b23: The window of each item.
        size: Height and width of the result.
        mode: As of ``grid_sample``.
        padding: As of ``grid_sample``; or "sideways": reflected left and right, the outermost row above and below.
    """
    grid_bhw2 = _grid(*positions(window_b23, size, maps_bchw.dtype), maps_bchw.shape[-2:])
    if padding == "sideways":
        grid_bhw2[..., 1].clamp_(-1, 1)
        padding = "reflection"
    return F.grid_sample(maps_bchw, grid_bhw2, mode, padding, align_corners=True)


def _grid(x_bhw: Tensor, y_bhw: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return positions for grid_sample: -1 and 1 at the centres of the outermost pixels of a picture of ``size``."""
    grid_bhw2 = x_bhw.new_empty((*x_bhw.shape, 2))
    for axis, (place_bhw, count) in enumerate(((x_bhw, size[1]), (y_bhw, size[0]))):
        torch.add(place_bhw, -(count - 1) / 2, out=grid_bhw2[..., axis])
        grid_bhw2[..., axis] *= 2 / max(count - 1, 1)
    return grid_bhw2


def positions(window_b23: Tensor, size: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return x and y in the stored picture of a crop's pixels, (B, H, W) each."""
    height, width = size
    new_w = torch.arange(width, device=window_b23.device, dtype=torch.float64)
    new_h = torch.arange(height, device=window_b23.device, dtype=torch.float64)
    along_w = (window_b23[:, :, :1] * new_w + window_b23[:, :, 2:]).to(dtype)[:, :, None, :]
    along_h = (window_b23[:, :, 1:2] * new_h).to(dtype)[:, :, :, None]
    x_bhw, y_bhw = (along_w + along_h).unbind(1)
    return x_bhw, y_bhw


def pictures_of(maps_bchw: Tensor, window_b23: Tensor, size: tuple[int, int], padding: str = "border") -> Tensor:
    """Sample pictures, those that are reduced from means of 2 x 2, 4 x 4 or 8 x 8 pixels: without aliasing.

    Args:
        maps_bchw: The pictures.
        window_b23: The window of each item.
        size: Height and width of the result.
        padding: As of :func:`sampled`.
    """
    deepest = min(int(math.log2(min(maps_bchw.shape[-2:]))), _DEEPEST)
    # Below a scale of 1.3 pictures are sampled as they are.
    level_b = (_area(window_b23).clamp(min=1).log2() / 2 + 0.6).floor().clamp(max=deepest)
    result = maps_bchw.new_empty((len(maps_bchw), maps_bchw.shape[1], *size))
    for level in range(deepest + 1):
        chosen_b = level_b == level
        if _may_ask(level_b.device):
            items = chosen_b.nonzero()[:, 0]
            if len(items) == len(maps_bchw):
                return _of_level(maps_bchw, window_b23, size, level, padding)
            if len(items):
                result[items] = _of_level(maps_bchw[items], window_b23[items], size, level, padding)
        else:  # all items of all levels
            one = _of_level(maps_bchw, window_b23, size, level, padding)
            result = torch.where(chosen_b[:, None, None, None], one, result)
    return result


def _may_ask(device: torch.device) -> bool:
    """Return whether the values of a tensor cost no waiting, as on a GPU."""
    return device.type == "cpu"


def _of_level(maps_bchw: Tensor, window_b23: Tensor, size: tuple[int, int], level: int, padding: str) -> Tensor:
    if level:
        shrink = 0.5**level
        for _ in range(level):
            maps_bchw = mean_pool(maps_bchw)
        # Pixel x of the picture is x / 2^level - (1 - 1 / 2^level) / 2 of the means.
        centre = window_b23.new_zeros(2, 3)
        centre[:, 2] = (1 - shrink) / 2
        window_b23 = window_b23 * shrink - centre
    return sampled(maps_bchw, window_b23, size, padding=padding)


def labels_of(frame: Batch, window_b23: Tensor, size: tuple[int, int], mirrored: Tensor | None = None) -> Batch:
    """Crop the labels of a prepared batch, and turn them into the frame of the crop's middle ray.

    Normals are interpolated between the person's pixels only, and depth by its inverse, which is linear over a plane.
    The nearest pixel counts where that would mix two surfaces, and for mask and DensePose.

    Args:
        frame: See :func:`hdnet.data.store.batches.prepare`; "normals" and "depth" may be missing.
        window_b23: The windows.
        size: Height and width of the crop.
        mirrored: Numbers of the items whose window mirrors.

    Returns:
        "within", "mask" (B, 1, H, W) bool, "vui" (B, 3, H, W); with normals, "normals" (B, 3, H, W); with depth,
        "relief" (B, 1, H, W) and "log_scale" (B,).
    """
    mask, dtype = frame["mask"], frame["vui"].dtype
    height, width = mask.shape[-2:]
    x_bhw, y_bhw = positions(window_b23, size, dtype)
    within = ((x_bhw > -0.5) & (x_bhw < width - 0.5) & (y_bhw > -0.5) & (y_bhw < height - 0.5))[:, None]
    weight = mask.to(dtype)
    smooth, exact = [weight], [weight, frame["vui"]]
    if "depth" in frame:
        depth = frame["depth"] - frame["shift_m"][:, :, None, None] if "shift_m" in frame else frame["depth"]
        smooth.append(weight / torch.lerp(torch.ones_like(weight), depth, weight))
        exact.append(depth)
    if "normals" in frame:
        smooth.append(frame["normals"])
    grid = _grid(x_bhw, y_bhw, (height, width))
    smooth_bchw = F.grid_sample(torch.cat(smooth, 1), grid, "bilinear", "border", align_corners=True)
    exact_bchw = F.grid_sample(torch.cat(exact, 1), grid, "nearest", "border", align_corners=True)
    new_mask = (exact_bchw[:, :1] > 0.5) & within
    # On a processor, products and interpolations between two values take a sixth of the time of `where`.
    vui = exact_bchw[:, 1:4].mul_(within)
    if mirrored is not None and len(mirrored):
        vui[mirrored] = mirrored_vui(vui[mirrored])
    labels = {"within": within, "mask": new_mask, "vui": vui}
    view = View(*(values.to(dtype) for values in view_of(frame["camera"], size, window_b23)))
    if "normals" in frame:
        labels["normals"] = unit(turn_normals(smooth_bchw[:, -3:], view.crop_R_camera_b33), new_mask)
    if "depth" in frame:
        nearest, inverse = exact_bchw[:, 4:5], smooth_bchw[:, 1:2]
        between = smooth_bchw[:, :1] / inverse.clamp(min=_LEAST_INVERSE)
        is_one_surface = (between - nearest).abs() < MAX_RELATIVE_STEP * nearest
        depth = torch.where(is_one_surface, between, nearest)
        labels["relief"] = relief_from_depth(depth, new_mask, view)
        scale_b = view.focal_b / masked_median(depth * view.along_b1hw, new_mask)
        sized_b = is_sized(frame)
        unknown_b = torch.full_like(scale_b, torch.nan)
        labels["log_scale"] = unknown_b if sized_b is None else torch.where(sized_b, scale_b.log(), unknown_b)
    return labels
