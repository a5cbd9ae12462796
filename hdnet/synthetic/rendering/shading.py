"""Shading in the camera frame: incoming light with shadows and ambient occlusion, and outgoing radiance.

Shadow and occlusion rays are few and follow an ordered pattern from pixel to pixel; a small blur over the surface
averages neighbours, which costs less than many rays and leaves no grain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import correlate1d

from hdnet.synthetic.rendering.light import Lamp, Light
from hdnet.synthetic.rendering.rays import Hits, Scene, unit
from hdnet.synthetic.rendering.view import PICTURE_SIZE, View
from hdnet.synthetic.surface import FloatArray, IntArray

AMBIENT_REACH_M = 0.55
SHADOW_REACH_M = 4.0
BIAS_M = 0.005
_AMBIENT_RAYS = 8
_GOLDEN_ANGLE = 2.399963
# Gloss beyond which a surface mirrors its surroundings in its own colour: metal.
_SATIN = 0.35
_HELPERS = np.array([[0, 0, 1], [1, 0, 0]], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class IncomingLight:
    """Visibility of the light at each pixel of a picture.

    Attributes:
        openness: (H * W,) share of the hemisphere that is open.
        lit: (lamps, H * W) share of each lamp that is not hidden.
    """

    openness: FloatArray
    lit: FloatArray


def incoming_light(
    scene: Scene, view: View, light: Light, pixels: IntArray, points: FloatArray, flat: FloatArray, stride: int = 1
) -> IncomingLight:
    """Compute ambient occlusion and soft shadows, interpolated to nearby pixels.

    Args:
        scene: Occluders.
        view: View of the camera.
        light: Light with the lamps.
        pixels: (N,) flat pixel numbers of the points.
        points: (N, 3) in the camera frame.
        flat: (N, 3) geometric normals towards the camera.
        stride: Spacing of the pixels in rows and columns.
    """
    row, column = (number // stride for number in np.divmod(pixels, PICTURE_SIZE))
    start = points + flat * BIAS_M
    every = 2 if stride == 1 else 1
    coarse = np.flatnonzero((row % every == 0) & (column % every == 0))
    turn = (row * 5 + column * 3)[coarse] * 0.7
    open_share = _openness(scene, start[coarse], flat[coarse], turn)
    openness = _spread(pixels[coarse], open_share, 1.4 if stride == 1 else stride)
    lit = np.ones((len(light.lamps), PICTURE_SIZE**2), dtype=np.float32)
    for number, lamp in enumerate(light.lamps):
        share = _lamp_share(scene, view, lamp, start, flat, row % 2 + 2 * (column % 2))
        lit[number] = _spread(pixels, share, stride * (0.6 if lamp.spread < 0.03 else 1.2))
    return IncomingLight(openness, lit)


def _openness(scene: Scene, start: FloatArray, normals: FloatArray, turn: FloatArray) -> FloatArray:
    helper = np.where(np.abs(normals[:, 2:]) < 0.9, _HELPERS[:1], _HELPERS[1:])
    side = unit(np.cross(helper, normals))
    other = np.cross(normals, side)
    sample = np.arange(_AMBIENT_RAYS)
    # A cosine-weighted spiral.
    radius = np.sqrt((sample + 0.5) / _AMBIENT_RAYS).astype(np.float32)
    angle = (_GOLDEN_ANGLE * sample + turn[:, None]).astype(np.float32)
    directions = (
        side[:, None] * (radius * np.cos(angle))[..., None]
        + other[:, None] * (radius * np.sin(angle))[..., None]
        + normals[:, None] * np.sqrt(1 - radius**2)[:, None]
    )
    origins = np.repeat(start, _AMBIENT_RAYS, axis=0)
    closed = scene.occluded(origins, directions.reshape(-1, 3), AMBIENT_REACH_M)
    return np.asarray(1 - closed.reshape(-1, _AMBIENT_RAYS).mean(1, dtype=np.float32))


def _lamp_share(
    scene: Scene, view: View, lamp: Lamp, start: FloatArray, flat: FloatArray, cell: IntArray
) -> FloatArray:
    """Return the share (N,) of a lamp's disc that is visible, from 1 or 2 of its 8 points."""
    towards = view.directions(lamp.direction[None])[0]
    share = np.zeros(len(start), dtype=np.float32)
    facing = np.flatnonzero(flat @ towards > -0.05 - lamp.spread)
    rays = 1 if lamp.spread < 0.03 else 2
    disc = _disc_points(towards, lamp.spread)
    for ray in range(rays):
        directions = disc[(cell[facing] * rays + ray) % len(disc)]
        share[facing] += ~scene.occluded(start[facing], directions, SHADOW_REACH_M)
    return share / rays


def _disc_points(towards: FloatArray, spread: float) -> FloatArray:
    sample = np.arange(8)
    radius, angle = spread * np.sqrt((sample + 0.5) / 8), _GOLDEN_ANGLE * sample
    helper = _HELPERS[0] if abs(towards[2]) < 0.9 else _HELPERS[1]
    side = np.cross(helper, towards)
    side /= np.linalg.norm(side)
    other = np.cross(towards, side)
    points = towards + radius[:, None] * (np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other)
    return unit(points.astype(np.float32))


def _spread(pixels: IntArray, values: FloatArray, sigma: float) -> FloatArray:
    """Average values (N,) at pixels over nearby pixels, (H * W,); 1 far from all."""
    size, reach = PICTURE_SIZE, int(np.ceil(2.5 * sigma)) + 1
    result = np.ones((size, size), dtype=np.float32)
    if not len(pixels):
        return result.ravel()
    row, column = np.divmod(pixels, size)
    top, left = max(row.min() - reach, 0), max(column.min() - reach, 0)
    window = result[top : row.max() + reach + 1, left : column.max() + reach + 1]
    both = np.zeros((2, *window.shape), dtype=np.float32)
    both[0, row - top, column - left] = values
    both[1, row - top, column - left] = 1
    total, weight = blur(both, sigma)
    np.copyto(window, total / np.maximum(weight, 1e-3), where=weight > 1e-3)
    return result.ravel()


def blur(planes: FloatArray, sigma: float) -> FloatArray:
    """Blur float32 planes (..., H, W) with a Gaussian, in float32."""
    if sigma <= 0.05:
        return planes
    reach = max(1, int(np.ceil(2.5 * sigma)))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    down = correlate1d(planes, weights, axis=-2, mode="nearest")
    return np.asarray(correlate1d(down, weights, axis=-1, mode="nearest"))


def outgoing_radiance(
    light: Light,
    view: View,
    hits: Hits,
    normals: FloatArray,
    colours: FloatArray,
    gloss: FloatArray,
    openness: FloatArray,
    lit: FloatArray,
) -> FloatArray:
    """Return radiance (N, 3) towards the camera.

    Args:
        light: The light.
        view: View of the camera.
        hits: The points.
        normals: (N, 3) shading normals.
        colours: (N, 3) albedo, linear.
        gloss: (N,) 0 matt .. 1 metal or glass.
        openness: (N,) share of the hemisphere that is open.
        lit: (lamps, N) share of each lamp that is seen.
    """
    flat = hits.facing_face_normals()
    to_camera = -unit(hits.directions)
    closed = 1 - openness[:, None]
    # Interreflection from nearby surface of the same colour.
    ambient = light.ambient(view.world_directions(normals)) * (openness[:, None] / (1 - 0.8 * colours * closed))
    facing = np.clip(np.einsum("ij,ij->i", normals, to_camera), 0, 1)
    power = 6 + 90 * gloss
    fresnel = (0.02 + 0.1 * (1 - facing) ** 4 * openness) * np.minimum(4 * gloss, 1)
    if light.mirror is None:
        radiance = colours * ambient + (fresnel * openness)[:, None] * ambient
    else:
        bounced = 2 * facing[:, None] * normals - to_camera
        mirrored = light.mirror.sample(view.world_directions(bounced)) * openness[:, None]
        polished = np.clip((gloss - _SATIN) / (1 - _SATIN), 0, 1)[:, None]
        radiance = colours * (ambient + polished * (mirrored - ambient)) + fresnel[:, None] * mirrored
    for number, lamp in enumerate(light.lamps):
        towards = view.directions(lamp.direction[None])[0]
        rgb = lamp.rgb.astype(np.float32)
        # A smooth normal may face a lamp that the flat face does not: fade to avoid a jagged terminator.
        bent = np.clip((normals @ towards + lamp.spread * 0.5) / (1 + lamp.spread * 0.5), 0, None)
        cosine = bent * np.clip((flat @ towards + 0.05 + lamp.spread) / 0.2, 0, 1) * lit[number]
        half = unit(to_camera + towards)
        shine = np.clip(np.einsum("ij,ij->i", half, normals), 0, 1) ** (power / (1 + 8 * lamp.spread))
        shine *= gloss * (0.35 + 0.8 * gloss) * (cosine > 0) * lit[number]
        radiance += (colours * cosine[:, None] + shine[:, None]) * rgb
    return np.asarray(radiance)
