"""Geometric augmentation: mirrored and cropped pictures, normals, DensePose, cameras and matches.

Neither moves the camera or the person in metres. A crop shows a part of the picture through the same camera: depth and
normals keep their values in other pixels, which the camera's crop fields describe. A mirror turns x into -x, in the
camera too. Unprojecting therefore gives the same points as before, or the mirrored ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hdnet.pictures.densepose import OTHER_SIDE

Batch = dict[str, Any]

# In a mirrored picture parts are those of the other side, whose charts are already mirrored on arms and legs. Charts
# have the same direction on both sides of the body where U goes around a hand, along a foot or around the head, and V
# across the torso: there the coordinate is reversed.
BACKWARD_U = (3, 4, 5, 6, 23, 24)
BACKWARD_V = (1, 2)
# By part: start of V and of U on the mirrored part, 0 or 255, and its number.
_MIRRORED = tuple(
    (255.0 * (part in BACKWARD_V), 255.0 * (part in BACKWARD_U), float(OTHER_SIDE[part])) for part in range(25)
)

# Relative difference of neighbours above which one occludes the other: no depth between them is on a surface.
MAX_RELATIVE_STEP = 0.01


@lru_cache(maxsize=64)
def constant(values: tuple[Any, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a small table on a device, copied there once, because a copy per step could wait for it. Read-only."""
    return torch.tensor(values, dtype=dtype, device=device)


def moved(values: Tensor, device: torch.device) -> Tensor:
    """Return values of the processor on a device, which is not waited for."""
    if device.type == "cuda":  # from pinned memory nobody waits for the copy
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


class Window(NamedTuple):
    """Window of a crop: ``old_x = scale * new_x + left``, and alike for y. Each (B,), float64.

    Attributes:
        left: Old x of the new column 0.
        top: Old y of the new row 0.
        scale: Old pixels per new one.
    """

    left: Tensor
    top: Tensor
    scale: Tensor


def mirror(frame: Batch, mirrored_b: Tensor) -> Batch:
    """Mirror some items of a prepared batch left to right.

    The frame is mirrored about the principal point, ``origin_x`` becomes 2 cx - origin_x - scale (W - 1): the new
    column W - 1 - x then has the mirrored ray of the old column x. The size of the frame, which is unknown, is not
    needed.

    Args:
        frame: See :func:`hdnet.data.store.batches.prepare`.
        mirrored_b: (B,) bool.
    """
    chosen = mirrored_b[:, None, None, None]
    result = dict(frame)
    for key, values in frame.items():
        if key == "camera":
            result[key] = torch.where(mirrored_b[:, None], _mirrored_camera(values, frame["mask"].shape[-1]), values)
            continue
        flipped = values.flip(-1)
        if key == "vui":
            flipped = mirrored_vui(flipped)
        elif key in ("normals", "input_normals"):
            flipped = torch.cat([-flipped[:, :1], flipped[:, 1:]], 1)
        result[key] = torch.where(chosen, flipped, values)
    return result


def _mirrored_camera(camera_b7: Tensor, width: int) -> Tensor:
    fx, fy, cx, cy, origin_x, origin_y, scale = camera_b7.double().unbind(1)
    return torch.stack([fx, fy, cx, cy, 2 * cx - origin_x - scale * (width - 1), origin_y, scale], 1).to(camera_b7)


def mirrored_vui(vui_b3hw: Tensor) -> Tensor:
    """Mirror the DensePose values of pictures whose pixels are mirrored already."""
    part = vui_b3hw[:, 2].long().clamp_(0, 24)
    new = constant(_MIRRORED, vui_b3hw.device)
    v_end, u_end, other = (column[part] for column in new.unbind(1))
    v, u, _ = vui_b3hw.unbind(1)
    # Forward |0 - v|, reversed |255 - v|.
    return torch.stack([(v_end - v).abs_(), (u_end - u).abs_(), other], 1).to(vui_b3hw.dtype)


def mirror_rows(rows_n6: Tensor, mirrored_b: Tensor, width: int) -> Tensor:
    """Mirror the matches of some pairs, both frames alike.

    Args:
        rows_n6: Item, part, r1, c1, r2, c2, rows and columns 1-based; item -1 does not count.
        mirrored_b: (B,) bool.
        width: Of the pictures.
    """
    item, part, r1, c1, r2, c2 = rows_n6.unbind(1)
    other = constant(OTHER_SIDE, rows_n6.device, rows_n6.dtype)[part]
    flipped = torch.stack([item, other, r1, width + 1 - c1, r2, width + 1 - c2], 1)
    return torch.where(mirrored_b[item.clamp(min=0)][:, None], flipped, rows_n6)


def window_about(mask_b1hw: Tensor, magnification_b: Tensor, shift_b2: Tensor) -> Window:
    """Return the crop that magnifies about the middle of the person's box and then shifts the person.

    Where the person is cut off by an edge of the picture, the crop ends there or before: it shows no other cuts.

    Args:
        mask_b1hw: The person; an empty mask stands for the whole picture.
        magnification_b: New size over old.
        shift_b2: Shift of the person right and down in pixels.
    """
    first, last = box_of(mask_b1hw)
    height, width = mask_b1hw.shape[-2:]
    end_2 = constant((width - 1, height - 1), first.device, torch.float64)
    is_cut_before, is_cut_behind = first == 0, last == end_2
    scale_b1 = 1 / magnification_b.double()[:, None]
    scale_b1 = torch.where((is_cut_before & is_cut_behind).any(1, keepdim=True), scale_b1.clamp(max=1), scale_b1)
    start_b2 = (first + last) / 2 - scale_b1 * ((first + last) / 2 + shift_b2.double())
    start_b2 = torch.where(is_cut_before, start_b2.clamp(min=0), start_b2)
    start_b2 = torch.where(is_cut_behind, start_b2.minimum(end_2 * (1 - scale_b1)), start_b2)
    return Window(start_b2[:, 0], start_b2[:, 1], scale_b1[:, 0])


def box_of(mask_b1hw: Tensor) -> tuple[Tensor, Tensor]:
    """Return first and last (x, y) of the mask, (B, 2) each; of the whole picture where it is empty."""
    first: list[Tensor] = []
    last: list[Tensor] = []
    inside_bhw = mask_b1hw[:, 0].to(torch.uint8)
    for dim in (1, 2):
        seen = inside_bhw.amax(dim)  # `any` of bool takes fifty times as long
        first.append(seen.argmax(1))
        last.append(seen.shape[1] - 1 - seen.flip(1).argmax(1))
    return torch.stack(first, 1), torch.stack(last, 1)


def crop(frame: Batch, window: Window) -> Batch:
    """Crop every item of a prepared batch to a window.

    Colours and normals are interpolated between the person's pixels only, without the white background, and depth by
    its inverse, which is linear over a plane. The nearest pixel counts where interpolation would mix two surfaces, and
    for the mask and DensePose, whose charts end abruptly.

    Args:
        frame: See :func:`hdnet.data.store.batches.prepare`.
        window: One per item; outside the old picture the crop is white and empty.
    """
    mask = frame["mask"]
    grid = _grid(window, mask.shape[-2], mask.shape[-1], frame["image"].dtype)
    vectors = [key for key in ("normals", "input_normals") if key in frame]
    has_depth = "depth" in frame
    weight = mask.to(grid.dtype)
    smooth = [weight, frame["image"] * weight, *(frame[key] for key in vectors)]
    exact = [weight, frame["vui"]]
    if has_depth:
        smooth.append(weight / torch.where(mask, frame["depth"], 1))
        exact.append(frame["depth"])
    smooth_bchw = F.grid_sample(torch.cat(smooth, 1), grid, "bilinear", "zeros", align_corners=True)
    exact_bchw = F.grid_sample(torch.cat(exact, 1), grid, "nearest", "zeros", align_corners=True)
    new_mask = exact_bchw[:, :1] > 0.5
    total = torch.where(new_mask, smooth_bchw[:, :1], 1)  # at least 1/4 on the mask: the nearest of the four counts
    result = dict(frame)
    result["mask"], result["vui"] = new_mask, exact_bchw[:, 1:4]
    result["image"] = torch.where(new_mask, (smooth_bchw[:, 1:4] / total).clamp(0, 255), 255)
    for place, key in enumerate(vectors):
        result[key] = unit(smooth_bchw[:, 4 + 3 * place : 7 + 3 * place], new_mask)
    if has_depth:
        nearest, inverse = exact_bchw[:, 4:5], smooth_bchw[:, -1:]
        between = total / torch.where(new_mask, inverse, 1)
        is_one_surface = (between - nearest).abs() < MAX_RELATIVE_STEP * nearest
        result["depth"] = torch.where(new_mask, torch.where(is_one_surface, between, nearest), 0)
    result["camera"] = cropped_camera(frame["camera"], window)
    return result


def unit(mixed_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Return interpolated normals with length 1 in the mask, and 0 outside it and where they cancel."""
    # Not F.normalize, which takes a processor ten times as long.
    x, y, z = (mixed_b3hw[:, k : k + 1] for k in range(3))
    squared = (x * x).addcmul_(y, y).addcmul_(z, z)
    is_normal = mask_b1hw & (squared > 1e-6)
    return mixed_b3hw * torch.where(is_normal, squared, torch.inf).rsqrt_()


def cropped_camera(camera_b7: Tensor, window: Window) -> Tensor:
    """:meth:`hdnet.geometry.Camera.crop` of every item."""
    fx, fy, cx, cy, origin_x, origin_y, scale = camera_b7.double().unbind(1)
    origin_x, origin_y = origin_x + scale * window.left, origin_y + scale * window.top
    return torch.stack([fx, fy, cx, cy, origin_x, origin_y, scale * window.scale], 1).to(camera_b7)


def _grid(window: Window, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Return old positions of the new pixels for grid_sample, -1 and 1 at the centres of the outermost pixels."""

    def places(start_b: Tensor, size: int) -> Tensor:
        new = torch.arange(size, device=start_b.device, dtype=torch.float64)
        old_bn = window.scale[:, None] * new + start_b[:, None]
        return (2 * old_bn / (size - 1) - 1).to(dtype)

    x_bw, y_bh = places(window.left, width), places(window.top, height)
    shape = (len(x_bw), height, width)
    return torch.stack([x_bw[:, None, :].expand(shape), y_bh[:, :, None].expand(shape)], -1)


def crop_rows(rows_n6: Tensor, windows: Sequence[Window], before: list[Batch], after: list[Batch]) -> Tensor:
    """Map matches to the pixels of crops, to the nearest pixel; dropped ones get item -1.

    Dropped are matches with an end outside the crop, or on a pixel that shows another part because of rounding.

    Args:
        rows_n6: Item, part, r1, c1, r2, c2, rows and columns 1-based; item -1 does not count.
        windows: The crop of each of the two frames.
        before: Both frames as they were.
        after: Both frames as cropped.
    """
    item, part = rows_n6[:, 0].clamp(min=0), rows_n6[:, 1]
    is_kept = rows_n6[:, 0] >= 0
    columns = []
    for side, (window, old, new) in enumerate(zip(windows, before, after, strict=True)):
        left, top, scale = (value[item] for value in window)
        old_r, old_c = rows_n6[:, 2 + 2 * side] - 1, rows_n6[:, 3 + 2 * side] - 1
        r, c = ((old_r - top) / scale).round().long(), ((old_c - left) / scale).round().long()
        height, width = new["mask"].shape[-2:]
        is_kept = is_kept & (r >= 0) & (r < height) & (c >= 0) & (c < width)
        r, c = r.clamp(0, height - 1), c.clamp(0, width - 1)
        # Matches that disagreed with DensePose before are kept.
        agreed, agrees = old["vui"][item, 2, old_r, old_c] == part, new["vui"][item, 2, r, c] == part
        is_kept = is_kept & (agrees | ~agreed)
        columns += [r + 1, c + 1]
    return torch.stack([torch.where(is_kept, item, -1), part, *columns], 1)
