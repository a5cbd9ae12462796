"""Estimates of the network for photographs in the camera of the picture that it saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdnet.geometry import MEDIAN_DEPTH_M, CameraLike, depth_from_relief, turn_normals, view_of
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
    """Return the first picture's body map (H, W, 3) uint8 in the order I, U, V, at the size of the other maps."""
    part_11hw = maps.parts_b25hw[:1].argmax(1, keepdim=True).to(maps.uv_b2hw)
    uv_12hw = maps.uv_b2hw[:1].clamp(0, 1)
    # Across a border of parts U and V jump: there the nearest pixel counts, elsewhere they are interpolated.
    is_inner = F.max_pool2d(part_11hw, 3, 1, 1) == -F.max_pool2d(-part_11hw, 3, 1, 1)
    part, inner, nearest = (_enlarged(one, "nearest") for one in (part_11hw, is_inner.to(uv_12hw), uv_12hw))
    uv = torch.where(inner > 0, _enlarged(uv_12hw, "bilinear"), nearest)
    iuv_3hw = torch.cat([part, (255 * uv).round() * (part > 0)], dim=1)[0]
    large: np.ndarray = iuv_3hw.permute(1, 2, 0).to(torch.uint8).cpu().numpy()
    return large


def _enlarged(map_bchw: Tensor, mode: str) -> Tensor:
    """A map at a quarter of the size at the whole: its pixels are every fourth of the picture's, from the first on."""
    if mode == "nearest":
        # Pixel 4 k of the picture is pixel k of the map: the nearest one changes half-way.
        shifted = F.pad(map_bchw, (0, 1, 0, 1), mode="replicate")
        large = shifted.repeat_interleave(BODY_STRIDE, 2).repeat_interleave(BODY_STRIDE, 3)
        offset, (height, width) = BODY_STRIDE // 2, map_bchw.shape[-2:]
        return large[..., offset : offset + BODY_STRIDE * height, offset : offset + BODY_STRIDE * width]
    height, width = (BODY_STRIDE * side for side in map_bchw.shape[-2:])
    extended = F.pad(map_bchw, (0, 1, 0, 1), mode="replicate")
    return F.interpolate(extended, size=(height + 1, width + 1), mode="bilinear", align_corners=True)[
        ..., :height, :width
    ]


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
    everywhere = torch.ones_like(relief, dtype=torch.bool)
    turned = turn_normals(unit_normals(normals, everywhere), view.crop_R_camera_b33.mT)
    return Estimates(depth, turned, maps)


def _double(camera: CameraLike) -> Tensor:
    return camera.double() if isinstance(camera, Tensor) else camera.as_tensor(torch.float64)[None]
