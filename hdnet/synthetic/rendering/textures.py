"""Procedural textures of furniture, rooms and streets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hdnet.synthetic.materials import hue_rgb
from hdnet.synthetic.rendering.solids import Finish, Pattern, Solid
from hdnet.synthetic.surface import FloatArray, IntArray

_TABLE = np.random.default_rng(5).standard_normal((64, 64)).astype(np.float32)
_WOODS = np.array([[0.34, 0.19, 0.09], [0.2, 0.1, 0.05], [0.55, 0.36, 0.2], [0.09, 0.05, 0.03], [0.6, 0.5, 0.38]])


def draw_paint_colour(rng: np.random.Generator, value: tuple[float, float], saturation: float = 0.25) -> FloatArray:
    """Draw a linear colour: value as displayed (0..1), mostly muted, warm ones more often than others."""
    hue = rng.choice([rng.normal(0.09, 0.05), rng.normal(0.58, 0.07), rng.uniform()], p=[0.5, 0.25, 0.25])
    strength = saturation * rng.beta(1.2, 2.0)
    return np.asarray((rng.uniform(*value) * (1 - strength + strength * hue_rgb(hue))) ** 2.2)


def draw_wood(rng: np.random.Generator) -> Finish:
    """Draw wood, from birch to nearly black, or painted."""
    if rng.random() < 0.3:
        return Finish(np.tile(draw_paint_colour(rng, (0.1, 0.95)), (2, 1)), "plain", gloss=0.12)
    colour = _WOODS[rng.integers(len(_WOODS))] * rng.uniform(0.7, 1.2)
    return Finish(np.stack([colour, colour * rng.uniform(0.5, 0.85)]), "wood", (0.35, 0.03), 0.12)


def draw_upholstery(rng: np.random.Generator) -> Finish:
    """Draw the cover of a sofa or bed."""
    colour = draw_paint_colour(rng, (0.08, 0.85), 0.6)
    if rng.random() < 0.2:
        other = draw_paint_colour(rng, (0.1, 0.9), 0.6)
        return Finish(np.stack([colour, other]), "stripes", (rng.uniform(0.04, 0.2), 1.0), 0.02)
    return Finish(np.stack([colour, colour * 0.8]), "noise", (0.05, 0.05), 0.02)


def texture(
    solid: Solid, face: IntArray, points: FloatArray, normals: FloatArray, pixel_m: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return albedo (N, 3) and glow (N,) of faces.

    Args:
        solid: Solid with the finishes.
        face: (N,) faces of the solid.
        points: (N, 3) positions in the world.
        normals: (N, 3) in the world.
        pixel_m: (N,) size of a pixel on the surface; finer patterns fade to their mean.
    """
    finish = solid.finish[face]
    colour, glow = np.zeros((len(face), 3), dtype=np.float32), np.zeros(len(face), dtype=np.float32)
    across, up = _flat_coordinates(points, normals)
    order = np.argsort(finish, kind="stable")
    bounds = np.searchsorted(finish[order], np.arange(len(solid.finishes) + 1))
    for number, made_of in enumerate(solid.finishes):
        here = order[bounds[number] : bounds[number + 1]]
        if len(here):
            share, shade = _PATTERNS[made_of.pattern](made_of, across[here], up[here], pixel_m[here])
            first, second = made_of.colours.astype(np.float32)
            shade = shade + 0.015 * value_noise(3 * across[here], 3 * up[here])
            colour[here] = (first + (second - first) * share[:, None]) * shade[:, None]
            glow[here] = made_of.glow * (1 - share if made_of.pattern == "windows" else 1)
    return np.clip(colour, 0.003, 0.95), glow


def painted(solid: Solid, face: IntArray, weights: FloatArray, colour: FloatArray) -> FloatArray:
    """Return the solid's paint (N, 3) where it has some, ``colour`` (N, 3) elsewhere.

    Args:
        solid: Solid.
        face: (N,) faces of the solid.
        weights: (N, 3) barycentric weights of the faces' corners.
        colour: (N, 3) colours of the finishes.
    """
    if solid.paint is None:
        return colour
    paint = solid.at_vertices(solid.paint, face, weights)
    return np.where(paint[:, :1] < 0, colour, paint)


def gloss(solid: Solid, face: IntArray) -> FloatArray:
    """Return gloss (N,) of faces (N,)."""
    return np.array([finish.gloss for finish in solid.finishes], dtype=np.float32)[solid.finish[face]]


def value_noise(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return smooth noise (N,) with unit variance at the lattice, one unit apart, repeating after 64 units."""
    column, row = np.floor(x), np.floor(y)
    fx, fy = (x - column).astype(np.float32), (y - row).astype(np.float32)
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    i, j = column.astype(np.int64) & 63, row.astype(np.int64) & 63
    right, down = (i + 1) & 63, (j + 1) & 63
    above = _TABLE[j, i] * (1 - fx) + _TABLE[j, right] * fx
    below = _TABLE[down, i] * (1 - fx) + _TABLE[down, right] * fx
    return np.asarray(above * (1 - fy) + below * fy)


def _flat_coordinates(points: FloatArray, normals: FloatArray) -> tuple[FloatArray, FloatArray]:
    level = np.abs(normals[:, 2]) > 0.7
    tangent = np.stack([-normals[:, 1], normals[:, 0]], axis=1)
    tangent /= np.maximum(np.hypot(*tangent.T), 1e-6)[:, None]
    across = np.where(level, points[:, 0], points[:, 0] * tangent[:, 0] + points[:, 1] * tangent[:, 1])
    return across, np.where(level, points[:, 1], points[:, 2])


Shares = tuple[FloatArray, FloatArray]
"""(share of the second colour, brightness), both (N,)."""


def _inside(distance: FloatArray, half_width: float, pixel: FloatArray) -> FloatArray:
    """Return the share of a pixel within a band: 1 in it, 0 outside, the mean where bands are finer than pixels."""
    pixel = np.maximum(pixel, 1e-4)
    return np.clip((half_width - distance) / pixel + 0.5, 0, 1) * np.minimum(1, 2 * half_width / pixel)


def _plain(_finish: Finish, x: FloatArray, _y: FloatArray, _pixel_m: FloatArray) -> Shares:
    return np.zeros(len(x), dtype=np.float32), np.ones(len(x), dtype=np.float32)


def _noise(finish: Finish, x: FloatArray, y: FloatArray, pixel_m: FloatArray) -> Shares:
    wide, high = finish.size_m
    x, y, fade = x / wide, y / high, np.clip(1.3 * min(wide, high) / np.maximum(pixel_m, 1e-4), 0, 1)
    rough = value_noise(x, y) + 0.6 * value_noise(2.3 * x, 2.3 * y)
    slow = value_noise(0.11 * x, 0.11 * y)
    return np.clip(0.5 + 0.3 * rough * fade + 0.15 * slow, 0, 1), np.ones(len(x), dtype=np.float32)


def _wood(finish: Finish, x: FloatArray, y: FloatArray, pixel_m: FloatArray) -> Shares:
    wide, high = finish.size_m
    fade = np.clip(high / np.maximum(pixel_m, 1e-4), 0, 1)
    return np.clip(0.4 + 0.3 * fade * value_noise(1.2 * x / wide, y / high), 0, 1), np.ones(len(x), dtype=np.float32)


def _planks(finish: Finish, x: FloatArray, y: FloatArray, pixel_m: FloatArray) -> Shares:
    wide, high = finish.size_m
    row = np.floor(y / high)
    fade = np.clip(0.1 * high / np.maximum(pixel_m, 1e-4), 0, 1)
    fibre = value_noise(1.2 * x / wide + 7.3 * row, 9 * y / high) * fade
    board = value_noise(1.7 * row, 0.3 * row + np.floor(0.35 * x / wide + 0.4 * row))
    tone = 1 + 0.12 * board * np.clip(high / np.maximum(pixel_m, 1e-4), 0, 1)
    gap = _inside(np.abs(y - high * np.round(y / high)), 0.003, pixel_m)
    return np.clip(0.4 + 0.3 * fibre, 0, 1), tone * (1 - 0.5 * gap)


def _tiles(finish: Finish, x: FloatArray, y: FloatArray, pixel_m: FloatArray) -> Shares:
    wide, high = finish.size_m
    row = np.floor(y / high)
    shifted = x + (0.5 * wide * row if finish.pattern == "bricks" else 0)
    seam = np.maximum(
        _inside(np.abs(shifted - wide * np.round(shifted / wide)), 0.006, pixel_m),
        _inside(np.abs(y - high * np.round(y / high)), 0.006, pixel_m),
    )
    fade = np.clip(high / np.maximum(pixel_m, 1e-4), 0, 1)
    vary = 0.13 if finish.pattern == "bricks" else 0.04
    return seam, 1 + vary * fade * value_noise(np.floor(shifted / wide) * 5.3, row * 3.7)


def _stripes(finish: Finish, x: FloatArray, _y: FloatArray, pixel_m: FloatArray) -> Shares:
    wide = finish.size_m[0]
    share = _inside(np.abs(x - wide * (np.floor(x / wide) + 0.5)), wide / 4, np.minimum(pixel_m, wide / 2))
    return share, np.ones(len(x), dtype=np.float32)


def _windows(finish: Finish, x: FloatArray, y: FloatArray, pixel_m: FloatArray) -> Shares:
    wide, high = finish.size_m
    pane = _inside(np.abs(x / wide - np.floor(x / wide) - 0.5), 0.27, pixel_m / wide) * _inside(
        np.abs(y / high - np.floor(y / high) - 0.5), 0.32, pixel_m / high
    )
    lit = value_noise(np.floor(x / wide) * 5.1, np.floor(y / high) * 3.3) > 0.2
    return 1 - pane * (lit | (finish.glow == 0)), np.ones(len(x), dtype=np.float32)


def _books(finish: Finish, x: FloatArray, y: FloatArray, _pixel_m: FloatArray) -> Shares:
    wide, high = finish.size_m
    spine, row = np.floor(x / wide), np.floor(y / high)
    tone = 1 + 0.5 * np.clip(value_noise(spine * 5.7, row * 2.1), -1.6, 1)
    return np.clip(0.5 + 0.5 * value_noise(spine * 3.1, row * 7.7), 0, 1), tone


_PATTERNS: dict[Pattern, Callable[[Finish, FloatArray, FloatArray, FloatArray], Shares]] = {
    "plain": _plain,
    "noise": _noise,
    "wood": _wood,
    "planks": _planks,
    "tiles": _tiles,
    "bricks": _tiles,
    "stripes": _stripes,
    "windows": _windows,
    "books": _books,
}
