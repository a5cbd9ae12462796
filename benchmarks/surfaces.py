"""Depth maps whose true normals are known: analytic ones, and synthetic people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hdnet.data.layout.folders import TangFolder, shift_to_median
from hdnet.geometry import Camera, NormalRule, depth_to_normals, pixel_rays
from hdnet.models.hdnet import depth_inputs

SIZE = 256

# Depth in metres, true normals, mask and camera as the training tasks take them; of people also the network's inputs.
People = dict[str, Any]


def read_people(folder: Path, count: int) -> list[People]:
    """People spread evenly over the folder, depth at a median of 4 m as in training."""
    tang = TangFolder(folder)
    names = tang.names()
    people = []
    for name in names[:: max(1, len(names) // count)][:count]:
        sample = tang.read(name)
        depth = torch.from_numpy(shift_to_median(sample.depth_m, sample.mask))[None, None]
        image, vui, normals = (
            torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
            for picture in (sample.white_image, sample.iuv[..., ::-1], sample.normals)
        )
        inputs = depth_inputs(image, F.normalize(normals, dim=1), vui)
        mask = torch.from_numpy(sample.mask)[None, None]
        people.append(surface(depth, normals, mask, sample.camera) | {"inputs": inputs})
    return people


def surface(depth: Tensor, normals: Tensor, mask: Tensor, camera: Camera) -> People:
    """One depth map whose normals are known."""
    return {"depth": depth, "normals": F.normalize(normals, dim=1) * mask, "mask": mask, "camera": camera}


def plane(depth_m: float) -> People:
    """A plane that faces the camera and fills the picture."""
    depth = torch.full((1, 1, SIZE, SIZE), depth_m)
    normals = torch.tensor([0.0, 0.0, -1.0])[:, None, None].expand(1, 3, SIZE, SIZE)
    return surface(depth, normals, depth > 0, Camera.centred())


def sphere(radius_m: float = 0.8, distance_m: float = 4.0) -> People:
    """A sphere in the middle of the picture: |depth ray - centre| = radius, the nearer solution."""
    rays = pixel_rays(SIZE, SIZE, Camera.centred(), torch.zeros(1, dtype=torch.float64))
    squared = rays.square().sum(1, keepdim=True)
    inside = distance_m**2 - squared * (distance_m**2 - radius_m**2)
    depth = torch.where(inside > 0, (distance_m - inside.clamp(min=0).sqrt()) / squared, 0)
    centre = torch.tensor([0.0, 0.0, distance_m])[:, None, None]
    return surface(depth.float(), (rays * depth - centre).float(), inside > 0, Camera.centred())


def normals_of(one: People, rule: NormalRule) -> Tensor:
    """Normals of the depth."""
    return depth_to_normals(one["depth"].double(), one["mask"], one["camera"], rule)


def angles_deg(one: People, rule: NormalRule) -> Tensor:
    """Angle between the depth's normals and the true ones, (b, 1, h, w)."""
    found, true = normals_of(one, rule), one["normals"].double()
    return torch.atan2(torch.linalg.cross(found, true, dim=1).norm(dim=1), (found * true).sum(1))[:, None].rad2deg()
