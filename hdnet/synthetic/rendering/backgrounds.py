"""Backgrounds: rendered once for all frames, with the light and camera of the person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hdnet.synthetic.person import PosedPerson
from hdnet.synthetic.rendering.alike import tinted
from hdnet.synthetic.rendering.antialiasing import averaged, edges, scatter, subpixels
from hdnet.synthetic.rendering.light import Light
from hdnet.synthetic.rendering.outdoors import draw_outdoors, sky
from hdnet.synthetic.rendering.rays import Hits, Scene, pixel_directions
from hdnet.synthetic.rendering.rooms import draw_room, draw_studio
from hdnet.synthetic.rendering.shading import IncomingLight, blur, incoming_light
from hdnet.synthetic.rendering.solids import Solid, merged
from hdnet.synthetic.rendering.surroundings import Surroundings
from hdnet.synthetic.rendering.textures import texture, value_noise
from hdnet.synthetic.rendering.view import PICTURE_SIZE, View
from hdnet.synthetic.surface import BoolArray, FloatArray

_MARGIN_M, _FADE_M = 1.6, 0.6
_STRIDE = 2
# Step in the logarithm of the depth.
_EDGE_STEP = 0.04
_TINT = 0.9


@dataclass(frozen=True, eq=False)
class Background:
    """Background without the person.

    Attributes:
        radiance: (256, 256, 3) linear.
        depth_m: (H * W,) z of the surface, 0 for the sky.
        normals: (H * W, 3) unit, camera frame, towards the camera.
        ambient: (H * W, 3) ambient irradiance.
        direct: (lamps, H * W) cosines of the lamps, 0 in the shade of the background itself.
        focus_m: Depth of the person, on whom the camera is focused.
        soft_px: Blur far behind the person.
    """

    radiance: FloatArray
    depth_m: FloatArray
    normals: FloatArray
    ambient: FloatArray
    direct: FloatArray
    focus_m: float
    soft_px: float

    def with_shadows(self, scene: Scene, view: View, light: Light, body: FloatArray, covered: BoolArray) -> FloatArray:
        """Return radiance (256, 256, 3) with the shadows of person and furniture on what is near them.

        Args:
            scene: Occluders.
            view: View of the camera.
            light: Light that the background was drawn with.
            body: (N, 3) world points of the person.
            covered: (H * W,) where the background is hidden.
        """
        y, x = (grid.ravel() for grid in np.mgrid[0:PICTURE_SIZE:_STRIDE, 0:PICTURE_SIZE:_STRIDE])
        pixels = y * PICTURE_SIZE + x
        pixels = pixels[(self.depth_m[pixels] > 0) & ~covered[pixels]]
        points = pixel_directions(view.camera, pixels % PICTURE_SIZE, pixels // PICTURE_SIZE)
        points *= self.depth_m[pixels, None]
        place = view.world_points(points)
        low, high = body[::7].min(0), body[::7].max(0)
        away = np.maximum(np.maximum(low - place, place - high), 0).max(axis=1)
        near = np.flatnonzero(away < _MARGIN_M)
        if not len(near):
            return self.radiance
        pixels, points, away = pixels[near], points[near], away[near]
        here = incoming_light(scene, view, light, pixels, points, self.normals[pixels], stride=_STRIDE)
        whole = np.zeros((1, PICTURE_SIZE, PICTURE_SIZE), dtype=np.float32)
        whole.reshape(-1)[pixels] = np.clip((_MARGIN_M - away) / _FADE_M, 0, 1)
        strength = np.clip(blur(whole, _STRIDE)[0].reshape(-1, 1) * _STRIDE**2, 0, 1)
        before, after = self.ambient, self.ambient * here.openness[:, None]
        for number, lamp in enumerate(light.lamps):
            arriving_light = self.direct[number][:, None] * lamp.rgb.astype(np.float32)
            before = before + arriving_light
            after = after + arriving_light * here.lit[number][:, None]
        share = 1 + strength * (after / np.maximum(before, 1e-6) - 1)
        return np.asarray(self.radiance * share.reshape(self.radiance.shape))


def draw_background(
    rng: np.random.Generator,
    view: View,
    light: Light,
    posed: Sequence[PosedPerson],
    surroundings: Surroundings | None = None,
    *,
    others: Sequence[Solid] = (),
    tint: FloatArray | None = None,
) -> Background:
    """Draw a room, an outdoor scene or a studio that matches the light, or show given surroundings.

    Args:
        rng: Stream of the light.
        view: View of the camera.
        light: Light of the person.
        posed: All frames of the person, in the world; nothing is placed where they stand.
        surroundings: Surroundings to show instead.
        others: Other people, for whom there has to be room.
        tint: (3,) linear RGB that floor and walls take on, and things partly.
    """
    if surroundings is not None:
        return _shown(rng, view, light, posed, surroundings)
    plans = [frame.vertices[::7, :2] for frame in posed] + [other.vertices[::7, :2] for other in others]
    ends = np.concatenate([[plan.min(0), plan.max(0)] for plan in plans])
    standing = np.concatenate([view.centre_m[None, :2], ends])
    night = light.place == "night"
    if light.place == "studio":
        shell, things = draw_studio(rng, standing)
    elif light.place == "room":
        shell, things = draw_room(
            rng, standing, light.kind == "window" or (light.kind == "ceiling" and rng.random() < 0.4)
        )
    else:
        shell, things = draw_outdoors(rng, standing, night)
    if tint is not None:
        shell, things = tinted(shell, tint, _TINT), tinted(things, tint, 0.5 * _TINT)
    solid = merged(shell + things)
    y, x = (grid.ravel() for grid in np.mgrid[:PICTURE_SIZE, :PICTURE_SIZE])
    directions = pixel_directions(view.camera, x, y)
    scene = Scene(view.points(solid.vertices), solid.faces)
    hits = scene.cast(directions)
    flat = hits.facing_face_normals()
    light_here = _coarse_light(view, light, hits, flat, merged(things or shell))
    depth, normals = scatter(hits.ray, hits.depth_m), scatter(hits.ray, flat).reshape(-1, 3)
    orientation = np.round(2 * flat @ np.array([1.0, 3.0, 9.0], dtype=np.float32))
    label = scatter(hits.ray, solid.finish[hits.face] * 100 + orientation, -1)
    edge = edges(label, np.log(np.maximum(depth, 0.1)), _EDGE_STEP).ravel()
    x, y, pixel = subpixels(edge)
    fine = scene.cast(pixel_directions(view.camera, x, y)).renumbered(pixel)
    samples = hits.chosen(~edge[hits.ray]).joined(fine)
    person_z = _person_z(view, posed)
    total, covered = averaged(edge, samples.ray, _radiance(view, light, solid, samples, light_here, person_z))
    empty = np.flatnonzero(covered < 1)
    if len(empty):
        above = sky(rng, light, view.world_directions(directions[empty]))
        total[empty] += (1 - covered[empty, None]) * above
    soft_px = _draw_blur(rng)
    picture = _defocused(total.reshape(PICTURE_SIZE, PICTURE_SIZE, 3), depth.ravel(), person_z, soft_px)
    ambient, direct = irradiance(view, light, normals, light_here.openness, light_here.lit)
    return Background(picture, depth.ravel(), normals, ambient, direct, person_z, soft_px)


def _shown(
    rng: np.random.Generator, view: View, light: Light, posed: Sequence[PosedPerson], surroundings: Surroundings
) -> Background:
    person = posed[0].vertices[::50].mean(0, dtype=np.float64)
    beyond = surroundings.beyond(rng, light.exposure, view, person)
    picture = beyond.radiance.reshape(PICTURE_SIZE, PICTURE_SIZE, 3)
    person_z, soft_px = _person_z(view, posed), _draw_blur(rng)
    picture = _defocused(picture, beyond.depth_m, person_z, soft_px)
    up = view.directions(np.array([[0.0, 0.0, 1.0]]))
    normals = np.where(beyond.depth_m[:, None] > 0, up, np.float32(0))
    nothing_hidden = np.ones(len(normals), dtype=np.float32)
    ambient, direct = irradiance(view, light, normals, nothing_hidden, nothing_hidden)
    return Background(picture, beyond.depth_m, normals, ambient, direct, person_z, soft_px)


def _person_z(view: View, posed: Sequence[PosedPerson]) -> float:
    return float(np.median(view.points(posed[0].vertices[::50])[:, 2]))


def _coarse_light(view: View, light: Light, hits: Hits, flat: FloatArray, blocking: Solid) -> IncomingLight:
    """Compute the shadows that things of the background cast on each other, at a quarter of the resolution."""
    y, x = np.divmod(hits.ray, PICTURE_SIZE)
    coarse = np.flatnonzero((x % 4 == 0) & (y % 4 == 0) & (hits.depth_m < 12))
    scene = Scene(view.points(blocking.vertices), blocking.faces)
    return incoming_light(scene, view, light, hits.ray[coarse], hits.points()[coarse], flat[coarse], stride=4)


def irradiance(
    view: View, light: Light, normals: FloatArray, openness: FloatArray, lit: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return ambient irradiance (N, 3), and the cosine (lamps, N) of each visible lamp."""
    ambient = light.ambient(view.world_directions(normals)) * openness[:, None]
    towards = view.directions(np.array([lamp.direction for lamp in light.lamps]).reshape(-1, 3))
    return ambient, np.clip(towards @ normals.T, 0, None) * lit


def brightness(light: Light, depth_m: FloatArray, person_z: float) -> FloatArray:
    """Return the brightness (N,) of the light at depths (N,), relative to that at the person."""
    return np.asarray(1 + (light.behind - 1) * np.clip((depth_m - person_z) / 1.5, 0, 1))


def _radiance(
    view: View, light: Light, solid: Solid, hits: Hits, light_here: IncomingLight, person_z: float
) -> FloatArray:
    """Return radiance (N, 3) of samples whose ``ray`` is the flat pixel number."""
    flat, where = hits.facing_face_normals(), view.world_points(hits.points())
    colour, glow = texture(solid, hits.face, where, view.world_directions(flat), hits.pixel_m(view.camera))
    arriving, direct = irradiance(view, light, flat, light_here.openness[hits.ray], light_here.lit[:, hits.ray])
    for cosine, lamp in zip(direct, light.lamps, strict=True):
        arriving = arriving + cosine[:, None] * lamp.rgb.astype(np.float32)
    behind = brightness(light, hits.depth_m, person_z)
    # Real places are lit unevenly.
    pools = 1 + 0.1 * value_noise(0.45 * where[:, 0] + 0.45 * where[:, 1], 0.6 * where[:, 2] + 0.4 * where[:, 1])
    return np.asarray(colour * (arriving * (behind * pools)[:, None] + glow[:, None] / light.exposure))


def _draw_blur(rng: np.random.Generator) -> float:
    return float(rng.choice([rng.uniform(0.55, 1.0), rng.uniform(1.0, 5.0)], p=[0.6, 0.4]))


def _defocused(radiance: FloatArray, depth_m: FloatArray, person_z: float, soft_px: float) -> FloatArray:
    """Blur the picture with the distance behind the person, up to ``soft_px``."""
    planes = np.ascontiguousarray(np.moveaxis(radiance, -1, 0))
    soft, sharp = blur(planes, soft_px), blur(planes, 0.55)
    behind = np.where(depth_m > 0, 1 - person_z / np.maximum(depth_m, person_z), 1.0).reshape(planes.shape[1:])
    share = blur(np.clip(2 * behind, 0, 1).astype(np.float32)[None], 1.0)
    return np.asarray(np.moveaxis(sharp + share * (soft - sharp), 0, -1))
