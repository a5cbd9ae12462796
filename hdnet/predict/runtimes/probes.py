"""Made-up pictures of a figure, like those that the networks are made for.

A runtime's time and its difference from float32 depend on the picture: noise has no background, no edges and no body
parts. These figures need no data, which a service does not have.
"""

from __future__ import annotations

import numpy as np

from hdnet.pictures.crop import NETWORK_SIZE

# DensePose part, both ends (x, y) and radius in pixels of the square.
_LIMBS = (
    (1, (128, 70), (128, 135), 30),
    (2, (128, 100), (128, 138), 28),
    (9, (117, 140), (112, 185), 15),
    (10, (139, 140), (146, 185), 15),
    (13, (112, 185), (110, 228), 11),
    (14, (146, 185), (150, 228), 11),
    (6, (110, 232), (102, 234), 7),
    (5, (150, 232), (158, 234), 7),
    (17, (102, 62), (84, 105), 10),
    (18, (154, 62), (175, 100), 10),
    (21, (84, 105), (80, 145), 8),
    (22, (175, 100), (190, 136), 8),
    (4, (79, 150), (78, 156), 7),
    (3, (192, 142), (195, 147), 7),
    (23, (128, 38), (128, 34), 17),
    (24, (128, 38), (130, 38), 15),
)
_PARTS = 25


def probe_inputs(count: int, seed: int = 0) -> np.ndarray:
    """Draw figures of round limbs with random poses, colours, stripes and light.

    Args:
        count: Number of figures.
        seed: Every figure depends on this and its number only.

    Returns:
        (count, 7, 256, 256) float32 as :meth:`hdnet.models.HDNet.forward` takes it.
    """
    return np.stack([_figure(np.random.default_rng([seed, number])) for number in range(count)])


def person_probe_inputs(count: int, seed: int = 0) -> np.ndarray:
    """Draw the same figures before made-up backgrounds, every other one with its mask as a hint.

    Returns:
        (count, 4, 256, 256) float32 as :meth:`hdnet.models.PersonModel.forward` takes it.
    """
    figures = probe_inputs(count, seed)
    return np.stack(
        [_scene(figure, np.random.default_rng([seed, k, 1]), k % 2 == 1) for k, figure in enumerate(figures)]
    )


def _scene(figure_7hw: np.ndarray, rng: np.random.Generator, has_hint: bool) -> np.ndarray:
    y, x = np.mgrid[:NETWORK_SIZE, :NETWORK_SIZE] / NETWORK_SIZE
    wall, floor = rng.uniform(20, 235, (2, 3, 1, 1))
    background = np.where(y < rng.uniform(0.6, 0.9), wall + 60 * (x - 0.5), floor - 40 * (y - 0.5))
    for _ in range(8):  # furniture
        left, top, width, height = rng.uniform(0, 0.8, 2).tolist() + rng.uniform(0.05, 0.4, 2).tolist()
        inside = (x > left) & (x < left + width) & (y > top) & (y < top + height)
        background = np.where(inside, rng.uniform(0, 255, (3, 1, 1)) + rng.normal(0, 6, x.shape), background)
    mask = figure_7hw[6] > 0
    scene = np.where(mask, figure_7hw[:3], background).clip(0, 255).round()
    hint = np.where(mask, 1, -1) if has_hint else np.zeros_like(x)
    return np.concatenate([scene, hint[None]]).astype(np.float32)


def _figure(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:NETWORK_SIZE, :NETWORK_SIZE].astype(np.float64)
    height = np.full(x.shape, -np.inf)
    part, along, across, normals = np.zeros(x.shape, int), np.zeros(x.shape), np.zeros(x.shape), np.zeros((*x.shape, 3))
    for number, start, end, radius in _LIMBS:
        axis = np.subtract(end, start) + rng.normal(0, 5, 2)
        share = ((x - start[0]) * axis[0] + (y - start[1]) * axis[1]) / (axis @ axis)
        share = share.clip(0, 1)
        dx, dy = x - start[0] - share * axis[0], y - start[1] - share * axis[1]
        squared = radius**2 - dx**2 - dy**2
        limb_height = np.sqrt(squared.clip(0))
        front = (squared > 0) & (limb_height > height)
        height[front], part[front] = limb_height[front], number
        along[front], across[front] = 255 * share[front], 127 * (1 + dx[front] / radius)
        normals[front] = np.stack([dx, dy, -limb_height], axis=2)[front] / radius
    mask = part > 0
    light = rng.normal(size=3)
    shade = 0.45 + 0.55 * (normals @ (light / np.linalg.norm(light))).clip(0, 1)
    stripes = 1 + 0.15 * np.sin(x * rng.uniform(0.1, 0.6) + y * rng.uniform(0.1, 0.6))
    colours = rng.uniform(40, 240, (_PARTS, 3))[part] * (shade * stripes)[..., None]
    colours = (colours + rng.normal(0, 4, colours.shape)).clip(0, 254)
    image = np.where(mask[..., None], colours, 255)
    inputs_hw7 = np.concatenate([image, np.stack([part, along, across, mask], axis=2)], axis=2)
    return inputs_hw7.round().transpose(2, 0, 1).astype(np.float32, order="C")
