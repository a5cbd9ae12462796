"""Solids put into a background that has been rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hdnet.synthetic.rendering.antialiasing import averaged, edges, scatter, subpixels
from hdnet.synthetic.rendering.backgrounds import Background, brightness, irradiance
from hdnet.synthetic.rendering.light import Light
from hdnet.synthetic.rendering.rays import Hits, Scene, pixel_directions, project_points
from hdnet.synthetic.rendering.shading import blur, incoming_light, outgoing_radiance
from hdnet.synthetic.rendering.solids import Solid
from hdnet.synthetic.rendering.textures import gloss, painted, texture
from hdnet.synthetic.rendering.view import PICTURE_SIZE, View
from hdnet.synthetic.surface import BoolArray, FloatArray

# Step in depth at an outline.
_EDGE_STEP_M = 0.04


def overlaid(background: Background, view: View, light: Light, solids: Sequence[Solid]) -> Background:
    """Put solids, such as other people, into a background: lit, shaded, blurred with their distance.

    Args:
        background: Background, of which what is nearer stays in front.
        view: View of the camera.
        light: Light that the background was drawn with.
        solids: Solids in the world, which cast shadows on the floor.
    """
    for solid in sorted(solids, key=lambda one: -float(view.points(one.vertices[::7])[:, 2].mean())):
        background = _with_one(background, view, light, solid)
    return background


def _with_one(background: Background, view: View, light: Light, solid: Solid) -> Background:
    vertices = view.points(solid.vertices)
    scene = Scene(vertices, solid.faces)
    window = np.mgrid[_window_of(view, vertices)]
    pixels = (window[0] * PICTURE_SIZE + window[1]).ravel()
    hits = scene.cast(pixel_directions(view.camera, pixels % PICTURE_SIZE, pixels // PICTURE_SIZE)).renumbered(pixels)
    hits = _nearest(hits, background.depth_m)
    if not len(hits.ray):
        return background
    depth = scatter(hits.ray, hits.depth_m)
    edge = edges(scatter(hits.ray, np.ones(len(hits.ray), dtype=np.int8)), depth, _EDGE_STEP_M).ravel()
    x, y, pixel = subpixels(edge)
    fine = _nearest(scene.cast(pixel_directions(view.camera, x, y)).renumbered(pixel), background.depth_m)
    samples = hits.chosen(~edge[hits.ray]).joined(fine)
    flat = hits.facing_face_normals()
    light_here = incoming_light(scene, view, light, hits.ray, hits.points(), flat)
    smooth = np.zeros_like(vertices) if solid.normals is None else view.directions(solid.normals)
    radiance = outgoing_radiance(
        light,
        view,
        samples,
        samples.shading_normals(smooth),
        _colours(view, solid, samples),
        gloss(solid, samples.face),
        light_here.openness[samples.ray],
        light_here.lit[:, samples.ray],
    )
    radiance *= brightness(light, samples.depth_m, background.focus_m)[:, None]
    total, covered = averaged(edge, samples.ray, radiance)
    layer = np.concatenate([total.T, covered[None]]).reshape(4, PICTURE_SIZE, PICTURE_SIZE)
    layer = blur(
        layer, background.soft_px * float(np.clip(2 * (1 - background.focus_m / np.median(hits.depth_m)), 0, 1))
    )
    # Only the floor near the solid is looked at for its shadow.
    away = ~_near(view, solid)
    shaded = background.with_shadows(scene, view, light, solid.vertices, away | (covered > 0.99))
    picture = np.moveaxis(layer[:3], 0, -1) + (1 - layer[3, ..., None]) * shaded
    normals, ambient, direct = background.normals.copy(), background.ambient.copy(), background.direct.copy()
    normals[hits.ray] = flat
    ambient[hits.ray], direct[:, hits.ray] = irradiance(
        view, light, flat, light_here.openness[hits.ray], light_here.lit[:, hits.ray]
    )
    return replace(
        background,
        radiance=picture,
        depth_m=np.where(depth.ravel() > 0, depth.ravel(), background.depth_m),
        normals=normals,
        ambient=ambient,
        direct=direct,
    )


def _window_of(view: View, vertices: FloatArray) -> tuple[slice, slice]:
    """Return the rows and columns of the picture that vertices (V, 3) in the camera frame may touch."""
    pixels = project_points(view.camera, vertices[vertices[:, 2] > 0.1])
    if not len(pixels):
        return slice(0, 0), slice(0, 0)
    low = np.clip(np.floor(pixels.min(0)) - 1, 0, PICTURE_SIZE).astype(int)
    high = np.clip(np.ceil(pixels.max(0)) + 2, 0, PICTURE_SIZE).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _nearest(hits: Hits, depth_m: FloatArray) -> Hits:
    """Select the hits before a surface of depth (H * W,), 0 where there is none."""
    there = depth_m[hits.ray]
    return hits.chosen((there <= 0) | (hits.depth_m < there))


def _near(view: View, solid: Solid) -> BoolArray:
    """Return the pixels (H * W,) that may be in the shadow of a solid on the floor."""
    rows, columns = _window_of(view, view.points(solid.vertices[::5]))
    near = np.zeros((PICTURE_SIZE, PICTURE_SIZE), dtype=bool)
    wide, high = columns.stop - columns.start, rows.stop - rows.start
    top, left = (rows.start + rows.stop) // 2, max(columns.start - wide // 2, 0)
    near[top : rows.stop + high // 8, left : columns.stop + wide // 2] = True
    return np.asarray(near.ravel())


def _colours(view: View, solid: Solid, hits: Hits) -> FloatArray:
    """Return albedo (N, 3)."""
    normals = view.world_directions(hits.facing_face_normals())
    colour, _ = texture(solid, hits.face, view.world_points(hits.points()), normals, hits.pixel_m(view.camera))
    return painted(solid, hits.face, hits.weights, colour)
