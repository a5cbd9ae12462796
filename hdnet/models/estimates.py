"""Estimates of the network for photographs in the camera of the picture that it saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hdnet.geometry import CameraLike, depth_from_relief, turn_normals, view_of
from hdnet.models.hdnet import unit_normals
from hdnet.models.hourglass import NormalEstimator
from hdnet.models.lite import LiteEstimator, PersonMaps

# Distance of a person whose size is not known, as in the training data.
MEDIAN_M = 4.0
# Pixels of the picture that a pixel of the body map stands for.
BODY_STRIDE = 4


class Estimates(NamedTuple):
    """Maps of a batch of pictures.

    Attributes:
        depth_b1hw: z in metres in the picture's camera, a person's median distance 4 m.
        normals_b3hw: Unit vectors in the picture's camera.
        maps: What the network gave.
    """

    depth_b1hw: Tensor
    normals_b3hw: Tensor
    maps: PersonMaps


def person_inputs(scene_b3hw: Tensor, mask_b1hw: Tensor | None) -> Tensor:
    """Return (B, 4, H, W), the network's input of whole pictures: colours, and the mask as a hint or no hint.

    Args:
        scene_b3hw: RGB 0..255 with the background.
        mask_b1hw: bool; None where the person is to be found.
    """
    colours = scene_b3hw.float()
    hint = torch.zeros_like(colours[:, :1]) if mask_b1hw is None else 2 * mask_b1hw.to(colours) - 1
    return torch.cat([colours, hint], dim=1)


def estimate(model: nn.Module, scene_b3hw: Tensor, mask_b1hw: Tensor | None, camera: CameraLike) -> Estimates:
    """Run the network on whole pictures and turn its maps into their cameras.

    Args:
        model: :class:`hdnet.models.lite.LiteEstimator`, or what wraps one.
        scene_b3hw: RGB 0..255 with the background.
        mask_b1hw: bool, the hint; None for no hint.
        camera: One camera, or ``camera_b7``.
    """
    maps: PersonMaps = model(person_inputs(scene_b3hw, mask_b1hw))
    return in_camera(maps, camera)


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
    part_hw = maps.parts_b25hw[0].argmax(0)
    uv_2hw = (255 * maps.uv_b2hw[0].clamp(0, 1)).round() * (part_hw > 0)
    small_hw3 = torch.cat([part_hw[None].to(uv_2hw), uv_2hw]).permute(1, 2, 0).to(torch.uint8)
    large: np.ndarray = small_hw3.repeat_interleave(BODY_STRIDE, 0).repeat_interleave(BODY_STRIDE, 1).cpu().numpy()
    return large


def in_camera(maps: PersonMaps, camera: CameraLike) -> Estimates:
    """Turn the network's maps of whole pictures into the pictures' cameras; both in float64.

    Args:
        maps: The network's maps.
        camera: One camera, or ``camera_b7``.
    """
    relief, normals = maps.relief_b1hw.double(), maps.normals_b3hw.double()
    height, width = relief.shape[-2:]
    view = view_of(_double(camera), (height, width))
    depth = depth_from_relief(relief, view, relief.new_full((len(relief),), MEDIAN_M))
    everywhere = torch.ones_like(relief, dtype=torch.bool)
    turned = turn_normals(unit_normals(normals, everywhere), view.crop_R_camera_b33.mT)
    return Estimates(depth, turned, maps)


def _double(camera: CameraLike) -> Tensor:
    return camera.double() if isinstance(camera, Tensor) else camera.as_tensor(torch.float64)[None]
