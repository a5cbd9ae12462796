"""Light, shading and backgrounds.

Light is a low-order ambient term (second-order spherical harmonics in the normal) with ambient occlusion,
plus one or two directional lights with cast shadows. It lives in the camera frame, so that a sequence keeps
it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from hdnet.data.synthetic.render import Hits, Scene
from hdnet.data.synthetic.surface import BoolArray, FloatArray, normalized

AMBIENT_REACH_M = 0.5
SHADOW_BIAS_M = 0.006
_AMBIENT_RAYS = 8


@dataclass(frozen=True, eq=False)
class Lamp:
    """A directional light: unit direction towards it (3,), linear RGB (3,), and whether it casts shadows."""

    direction: FloatArray
    rgb: FloatArray
    shadow: bool


@dataclass(frozen=True, eq=False)
class Light:
    """Everything about a picture's light and film.

    Attributes:
        ambient: (9,) coefficients of 1, x, y, z, xy, yz, zx, x^2 - y^2, 3 z^2 - 1 in the normal.
        ambient_rgb: (3,) its colour.
        lamps: Directional lights.
        exposure: Factor from radiance to film.
        gloss: Strength of the highlight.
        gamma: Film gamma, about 2.2.
    """

    ambient: FloatArray
    ambient_rgb: FloatArray
    lamps: tuple[Lamp, ...]
    exposure: float
    gloss: float
    gamma: float


def draw_light(rng: np.random.Generator) -> Light:
    """Indoor to outdoor light, mostly from above, from soft to hard."""
    softness = rng.beta(1.3, 1.7)
    # y points down: light from above brightens normals with negative y.
    slope = rng.normal(0, 0.28, 3) + np.array([0, -0.32, -0.12])
    ambient = np.concatenate([[1.0], slope, rng.normal(0, 0.07, 5)]) * (0.16 + 0.6 * softness)
    lamps = []
    for index in range(int(rng.integers(1, 3))):
        direction = normalized(rng.normal(0, 1, 3) * [1.0, 0.55, 0.6] + np.array([0, -0.75, -0.7]))
        strength = (1.4 - 1.0 * softness) * rng.uniform(0.6, 1.2) * (1.0 if index == 0 else 0.5)
        lamps.append(Lamp(direction, strength * _tint(rng, 0.09), index == 0 or softness < 0.4))
    facing = np.array([[0.0, 0.0, -1.0], [0.4, -0.5, -0.77], [-0.4, -0.5, -0.77]])
    seen = ambient_light(ambient, facing).mean()
    seen += sum(np.clip(facing @ lamp.direction, 0, None).mean() * lamp.rgb.mean() for lamp in lamps)
    return Light(
        ambient=ambient,
        ambient_rgb=_tint(rng, 0.08),
        lamps=tuple(lamps),
        exposure=float(rng.uniform(0.9, 1.9) / seen),
        gloss=float(rng.uniform(0.0, 0.12)),
        gamma=float(rng.uniform(2.0, 2.4)),
    )


def ambient_light(coefficients: FloatArray, normals: FloatArray) -> FloatArray:
    """Second-order ambient light (N,) at normals (N, 3), never negative."""
    x, y, z = normals.T
    basis = np.stack([np.ones_like(x), x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1], axis=1)
    return np.asarray(np.maximum(basis @ coefficients, 0.04))


def shade(
    light: Light, scene: Scene, hits: Hits, normals: FloatArray, colours: FloatArray, openness: FloatArray
) -> FloatArray:
    """Film colours (N, 3) in 0..1 of hit points.

    Args:
        light: The light.
        scene: What casts shadows.
        hits: Where the rays ended.
        normals: (N, 3) shading normals.
        colours: (N, 3) albedo, linear.
        openness: (N,) share of the sky that is not occluded.
    """
    flat = hits.facing_face_normals()
    start = hits.points() + flat * SHADOW_BIAS_M
    irradiance = (ambient_light(light.ambient, normals) * openness)[:, None] * light.ambient_rgb
    view = -normalized(hits.directions)
    radiance = np.zeros_like(colours)
    for lamp in light.lamps:
        cosine = np.clip(normals @ lamp.direction, 0, None)
        # A smooth normal may see a lamp that the flat face cannot: fade instead of a jagged terminator.
        cosine = cosine * np.clip((flat @ lamp.direction + 0.05) / 0.2, 0, 1)
        lit = np.flatnonzero(cosine > 0)
        if lamp.shadow and len(lit):
            towards = np.broadcast_to(lamp.direction, (len(lit), 3))
            cosine[lit[scene.occluded(start[lit], towards, 4.0)]] = 0
        half = normalized(view + lamp.direction)
        shine = light.gloss * np.clip(np.einsum("ij,ij->i", half, normals), 0, 1) ** 20 * (cosine > 0)
        irradiance = irradiance + cosine[:, None] * lamp.rgb
        radiance += shine[:, None] * lamp.rgb
    return film(light, radiance + colours * irradiance)


def film(light: Light, radiance: FloatArray) -> FloatArray:
    """Linear radiance to display values 0..1, with a soft shoulder."""
    exposed = np.maximum(radiance, 0) * light.exposure
    return np.asarray(np.clip(exposed * (1 + exposed / 3) / (1 + exposed), 0, 1) ** (1 / light.gamma))


def sky_openness(scene: Scene, hits: Hits, normals: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Share of the hemisphere that is open at each pixel, (H, W); 1 where nothing is hit.

    Rays leave from every second pixel of every second row; the result is blurred over hit pixels.

    Args:
        scene: What occludes.
        hits: Hits of pixel-centre rays whose ``ray`` is the flat pixel number.
        normals: (N, 3) at the hits.
        shape: (H, W).
    """
    row, column = np.divmod(hits.ray, shape[1])
    chosen = np.flatnonzero((row % 2 == 0) & (column % 2 == 0))
    normal = normals[chosen]
    helper = np.where(np.abs(normal[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    side = normalized(np.cross(helper, normal))
    other = np.cross(normal, side)
    sample = np.arange(_AMBIENT_RAYS)
    # Cosine-weighted spiral, turned from pixel to pixel by an ordered pattern (no random numbers needed).
    radius = np.sqrt((sample + 0.5) / _AMBIENT_RAYS)
    turn = 2.399963 * sample + (row[chosen] * 5 + column[chosen] * 3)[:, None] * 0.7
    directions = (
        side[:, None] * (radius * np.cos(turn))[..., None]
        + other[:, None] * (radius * np.sin(turn))[..., None]
        + normal[:, None] * np.sqrt(1 - radius**2)[:, None]
    )
    start = (hits.points() + hits.facing_face_normals() * SHADOW_BIAS_M)[chosen]
    closed = scene.occluded(np.repeat(start, _AMBIENT_RAYS, axis=0), directions.reshape(-1, 3), AMBIENT_REACH_M)
    value, weight = np.zeros(shape), np.zeros(shape)
    value[row[chosen], column[chosen]] = 1 - closed.reshape(-1, _AMBIENT_RAYS).mean(1)
    weight[row[chosen], column[chosen]] = 1
    spread = gaussian_filter(weight, 1.3)
    return np.where(spread > 1e-4, gaussian_filter(value, 1.3) / np.maximum(spread, 1e-4), 1.0)


def draw_background(rng: np.random.Generator, size: int, light: Light) -> FloatArray:
    """A room or an outdoor blur, display values (size, size, 3)."""
    y = np.linspace(0, 1, size)[:, None, None]
    colours = rng.uniform(0.1, 0.95, (4, 1, 1, 3))
    colours = colours.mean(-1, keepdims=True) + (colours - colours.mean(-1, keepdims=True)) * rng.uniform(0.1, 0.8)
    picture = np.broadcast_to(colours[0] + (colours[1] - colours[0]) * y * rng.uniform(0, 0.7), (size, size, 3)).copy()
    for _ in range(int(rng.integers(0, 6))):
        left, top = rng.integers(0, size, 2)
        width, height = rng.integers(size // 12, size // 2, 2)
        picture[top : top + height, left : left + width] = colours[2] * rng.uniform(0.4, 1.2) + rng.normal(0, 0.06, 3)
    horizon = int(size * rng.uniform(0.62, 0.9))
    if rng.random() < 0.8:
        picture[horizon:] = colours[3] * (1.1 - 0.5 * y[horizon:])
    for cells, strength in ((4, 0.10), (16, 0.06), (64, 0.03)):
        grid = rng.normal(0, strength * rng.uniform(0.3, 1.2), (cells + 1, cells + 1))
        picture = picture * (1 + zoom(grid, (size + 1) / (cells + 1), order=1)[:size, :size, None])
    picture = gaussian_filter(picture, (rng.uniform(0, 2.5),) * 2 + (0,))
    return np.asarray(np.clip(picture * (0.7 + 0.3 * light.ambient_rgb), 0, 1))


def develop(rng: np.random.Generator, picture: FloatArray) -> FloatArray:
    """Lens blur and sensor noise of one frame; display values in, uint8 (H, W, 3) out."""
    picture = gaussian_filter(picture, (rng.uniform(0.25, 0.55),) * 2 + (0,))
    picture = picture + rng.normal(0, rng.uniform(0.002, 0.012), picture.shape)
    return np.asarray(np.clip(np.round(picture * 255), 0, 255).astype(np.uint8))


def _tint(rng: np.random.Generator, spread: float) -> FloatArray:
    colour = 1 + rng.normal(0, spread) * np.array([1.0, 0.1, -1.0]) + rng.normal(0, 0.02, 3)
    return np.clip(colour, 0.5, 1.5)


def mask_edges(label: FloatArray, depth_m: FloatArray, jump_m: float = 0.03) -> BoolArray:
    """Pixels (H, W) next to another label or behind a step in depth: those that need more than one ray."""
    edge = np.zeros(label.shape, dtype=bool)
    for axis in (0, 1):
        differs = (np.diff(label, axis=axis) != 0) | (np.abs(np.diff(depth_m, axis=axis)) > jump_m)
        before: tuple[slice, ...] = tuple(slice(0, -1) if a == axis else slice(None) for a in (0, 1))
        after: tuple[slice, ...] = tuple(slice(1, None) if a == axis else slice(None) for a in (0, 1))
        edge[before] |= differs
        edge[after] |= differs
    return edge
