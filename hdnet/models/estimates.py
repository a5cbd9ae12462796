"""Estimates of the network for photographs in the camera of the picture that it saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdnet.geometry import MEDIAN_DEPTH_M, CameraLike, depth_from_relief, turn_normals, unit_vectors, view_of
from hdnet.models.hdnet import unit_normals
from hdnet.models.hourglass import NormalEstimator
from hdnet.models.lite import LiteEstimator, PersonMaps

# Pixels of the picture that a pixel of the body map stands for.
BODY_STRIDE = 4


class Estimates(NamedTuple):
    """Maps of a batch of pictures.

    Attributes:
        depth_b1hw: z in metres in the picture's camera; a person's median distance is 4 m where it is not estimated.
        normals_b3hw: Unit vectors in the picture's camera.
        maps: What the network gave.
    """

    depth_b1hw: Tensor
    normals_b3hw: Tensor
    maps: PersonMaps


def person_inputs(scene_b3hw: Tensor, mask_b1hw: Tensor | None) -> Tensor:
    """Return (B, 4, H, W), the network's input of whole pictures: colours, and the mask as a hint or no hint.

    Outside a mask the picture is white, as the hourglasses have it: what is behind the person only misleads.

    Args:
        scene_b3hw: RGB 0..255 with the background.
        mask_b1hw: bool; None where the person is to be found.
    """
    colours = scene_b3hw.float()
    if mask_b1hw is None:
        return torch.cat([colours, torch.zeros_like(colours[:, :1])], dim=1)
    return torch.cat([colours.where(mask_b1hw.bool(), 255.0), 2 * mask_b1hw.to(colours) - 1], dim=1)


def estimate(
    model: nn.Module, scene_b3hw: Tensor, mask_b1hw: Tensor | None, camera: CameraLike, sized_b: Tensor | None = None
) -> Estimates:
    """Run the network on whole pictures and turn its maps into their cameras.

    Args:
        model: :class:`hdnet.models.lite.LiteEstimator`, or what wraps one.
        scene_b3hw: RGB 0..255 with the background.
        mask_b1hw: bool, the hint; None for no hint.
        camera: One camera, or ``camera_b7``.
        sized_b: As of :func:`in_camera`.
    """
    maps: PersonMaps = model(person_inputs(scene_b3hw, mask_b1hw))
    return in_camera(maps, camera, sized_b)


def estimated_normals(model: NormalEstimator | LiteEstimator, pictures: Mapping[str, Tensor]) -> Tensor:
    """Run a network on prepared pictures for the unit normals inside their masks, in their cameras.

    Args:
        model: The network.
        pictures: "image" for an hourglass; "scene" and "camera" for the network for photographs; "mask".

    Returns:
        normals_b3hw, 0 outside the mask.
    """
    if isinstance(model, LiteEstimator):
        raw = estimate(model, pictures["scene"], pictures["mask"], pictures["camera"]).normals_b3hw.float()
    else:
        raw = model(pictures["image"])
    return unit_normals(raw, pictures["mask"])


def body_map(maps: PersonMaps) -> np.ndarray:
    """Return the first picture's body map (H, W, 3) uint8 in the order I, U, V, at the size of the other maps.

    Between the network's pixels, a quarter as many along a side, the part is that of the four neighbours' whose
    interpolated logit is the largest. U and V, which jump across a border of parts, are interpolated among the
    neighbours of that part.
    """
    logits_25n, uv_2n = maps.parts_b25hw[0].flatten(1).float(), maps.uv_b2hw[0].flatten(1).float().clamp(0, 1)
    height, width = maps.parts_b25hw.shape[-2:]
    part_n = logits_25n.argmax(0)
    near_11hw = F.max_pool2d((part_n > 0).float().view(1, 1, height, width), 3, 1, 1)
    near_hw = near_11hw[0, 0].repeat_interleave(BODY_STRIDE, 0).repeat_interleave(BODY_STRIDE, 1)
    at_4m, share_4m, row_m, column_m = _neighbours(near_hw)
    candidate_4m = part_n[at_4m]
    logit_4m = torch.stack([(share_4m * logits_25n[one_m, at_4m]).sum(0) for one_m in candidate_4m])
    best_1m = logit_4m.masked_fill(share_4m == 0, -torch.inf).argmax(0, keepdim=True)
    part_1m = candidate_4m.gather(0, best_1m)
    share_4m = share_4m * (candidate_4m == part_1m)
    uv_2m = (share_4m * uv_2n[:, at_4m]).sum(1) / share_4m.sum(0)
    iuv_m3 = torch.cat([part_1m, (255 * uv_2m).round() * (part_1m > 0)]).T
    iuv_hw3 = torch.zeros(*near_hw.shape, 3, dtype=torch.uint8)
    iuv_hw3[row_m.cpu(), column_m.cpu()] = iuv_m3.to(torch.uint8).cpu()
    large: np.ndarray = iuv_hw3.numpy()
    return large


def nearest_of_body(size: int) -> np.ndarray:
    """Return the index of the network's body map's pixel that is nearest to each of ``size`` pixels along a side."""
    index: np.ndarray = ((np.arange(size) + BODY_STRIDE // 2) // BODY_STRIDE).clip(max=size // BODY_STRIDE - 1)
    return index


def _neighbours(chosen_hw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Bilinear interpolation of a map of a quarter of the size at chosen pixels of the whole.

    Returns:
        Index of the four neighbours in the flat map and their shares, (4, M) each; row and column of the pixels, (M,).
    """
    height, width = (side // BODY_STRIDE for side in chosen_hw.shape)
    row_m, column_m = chosen_hw.nonzero().unbind(1)
    at, shares = [], []
    for down in (0, 1):
        for right in (0, 1):
            # Pixel 4 k of the whole is pixel k of the map.
            y_m = (row_m // BODY_STRIDE + down).clamp(max=height - 1)
            x_m = (column_m // BODY_STRIDE + right).clamp(max=width - 1)
            share_y_m = (row_m % BODY_STRIDE / BODY_STRIDE - (1 - down)).abs()
            share_x_m = (column_m % BODY_STRIDE / BODY_STRIDE - (1 - right)).abs()
            at.append(y_m * width + x_m)
            shares.append(share_y_m * share_x_m)
    return torch.stack(at), torch.stack(shares), row_m, column_m


def in_camera(maps: PersonMaps, camera: CameraLike, sized_b: Tensor | None = None) -> Estimates:
    """Turn the network's maps of whole pictures into the pictures' cameras; both in float64.

    Args:
        maps: The network's maps.
        camera: One camera, or ``camera_b7``.
        sized_b: bool, pictures whose distance is the one that the scale head tells, focal length / (pixels per metre);
            others, all without it, have a median of 4 m.
    """
    relief, normals = maps.relief_b1hw.double(), maps.normals_b3hw.double()
    height, width = relief.shape[-2:]
    view = view_of(_double(camera), (height, width))
    median_m_b = relief.new_full((len(relief),), MEDIAN_DEPTH_M)
    if sized_b is not None:
        median_m_b = torch.where(sized_b, view.focal_b / maps.log_scale_b1[:, 0].double().exp(), median_m_b)
    depth = depth_from_relief(relief, view, median_m_b)
    turned = turn_normals(unit_vectors(normals), view.crop_R_camera_b33.mT)
    return Estimates(depth, turned, maps)


def _double(camera: CameraLike) -> Tensor:
    return camera.double() if isinstance(camera, Tensor) else camera.as_tensor(torch.float64)[None]
