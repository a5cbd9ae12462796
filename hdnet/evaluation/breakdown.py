"""Errors by body part, by angle of view, and by what is known of a picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from hdnet.geometry import Camera, pixel_rays
from hdnet.metrics.depth import shifted_map
from hdnet.metrics.normals import angles_deg, has_normal

# DensePose's 24 parts (Guler et al., CVPR 2018), left and right, front and back together; 0 is hair and loose cloth.
PARTS_OF_GROUP: dict[str, tuple[int, ...]] = {
    "part_torso": (1, 2),
    "part_hands": (3, 4),
    "part_feet": (5, 6),
    "part_upper_legs": (7, 8, 9, 10),
    "part_lower_legs": (11, 12, 13, 14),
    "part_upper_arms": (15, 16, 17, 18),
    "part_lower_arms": (19, 20, 21, 22),
    "part_head": (23, 24),
    "part_none": (0,),
}
# Groups that numbers are divided into; as few values are a group each.
_FEW_VALUES = 3
VIEW_EDGES_DEG = (0, 30, 60, 90)
VIEW_GROUPS = tuple(f"view_{low:02d}_{high}" for low, high in pairwise(VIEW_EDGES_DEG))


def part_groups(part: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """(H, W) bool of every group of body parts that is seen.

    Args:
        part: (H, W) DensePose part 0..24.
        mask: (H, W) bool.
    """
    found = {group: mask & np.isin(part, parts) for group, parts in PARTS_OF_GROUP.items()}
    return {group: where for group, where in found.items() if where.any()}


def view_groups(true_normals: np.ndarray, mask: np.ndarray, camera: Camera) -> dict[str, np.ndarray]:
    """(H, W) bool of every bin of the angle between the true normal and the direction to the camera.

    0 degrees is a surface that faces the camera, 90 one seen edgewise; larger angles, visible by rounding alone, count
    in the last bin, pixels without a true normal in none.

    Args:
        true_normals: (H, W, 3).
        mask: (H, W) bool.
        camera: Of the picture.
    """
    rays_13hw = pixel_rays(mask.shape[0], mask.shape[1], camera, torch.zeros(1, dtype=torch.float64))
    angle = angles_deg(true_normals, -rays_13hw[0].permute(1, 2, 0).numpy())
    known = mask & has_normal(true_normals)
    place = np.searchsorted(VIEW_EDGES_DEG[1:-1], angle, side="right")
    found = {group: known & (place == k) for k, group in enumerate(VIEW_GROUPS)}
    return {group: where for group, where in found.items() if where.any()}


def group_metrics(
    groups: dict[str, np.ndarray],
    depth_m: np.ndarray,
    true_m: np.ndarray,
    mask: np.ndarray,
    normals: np.ndarray,
    true_normals: np.ndarray | None,
) -> dict[str, dict[str, float]]:
    """Errors of one sample within each group of its pixels.

    Args:
        groups: (H, W) bool within the mask, by name.
        depth_m: (H, W) predicted depth.
        true_m: (H, W).
        mask: (H, W) bool of the whole person.
        normals: (H, W, 3) predicted normals.
        true_normals: (H, W, 3), None if unknown.

    Returns:
        By group ``depth_mae_mm``, after the *whole person* was shifted to the true median; ``normal_mean_deg``, if the
        group has a true normal; ``share_pct``, the group's share of the person's pixels.
    """
    error_mm = np.abs(shifted_map(depth_m, true_m, mask) - true_m) * 1000
    found = {}
    for name, where in groups.items():
        values = {"depth_mae_mm": float(error_mm[where].mean()), "share_pct": float(100 * where.sum() / mask.sum())}
        if true_normals is not None:
            known = where & has_normal(true_normals)
            if known.any():
                values["normal_mean_deg"] = float(angles_deg(normals[known], true_normals[known]).mean())
        found[name] = values
    return found


def fact_groups(facts: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """(N,) bool of the pictures of every group, by fact and group.

    Args:
        facts: (N,) structured, see :attr:`hdnet.data.store.people.PackedPeople.facts`.

    Returns:
        Of numbers up to three groups of equal size, named by their range; of texts one group a word. Facts that do not
        vary are left out.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in facts.dtype.names or ():
        values = facts[name]
        groups = _word_groups(values) if values.dtype.kind == "U" else _range_groups(values)
        if len(groups) > 1:
            found[name] = groups
    return found


def _word_groups(values: np.ndarray) -> dict[str, np.ndarray]:
    words = sorted({word for text in values for word in text.split()})
    return {word: np.array([word in text.split() for text in values]) for word in words}


def _range_groups(values: np.ndarray) -> dict[str, np.ndarray]:
    known = values[np.isfinite(values)]
    if not known.size:
        return {}
    different = np.unique(known)
    if len(different) <= _FEW_VALUES:
        return {f"{value:g}": values == value for value in different}
    ends = np.quantile(known, np.linspace(0, 1, _FEW_VALUES + 1))
    place = np.searchsorted(ends[1:-1], values, side="right")
    groups = {
        f"{low:.3g} to {high:.3g}": (place == k) & np.isfinite(values) for k, (low, high) in enumerate(pairwise(ends))
    }
    return {name: where for name, where in groups.items() if where.any()}
