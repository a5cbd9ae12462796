"""Dressing: an outfit draped over a moving body."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.clothes.garments import Garment
from hdnet.synthetic.clothes.patterns import pattern
from hdnet.synthetic.clothes.simulation import Collider, Sheet, drape
from hdnet.synthetic.clothes.trims import trim_surface, trim_vertices
from hdnet.synthetic.components import PosedBody
from hdnet.synthetic.surface import FloatArray, IntArray, Surface, compacted

_CUT_SMOOTHING = 5


def garment_surfaces(garment: Garment) -> list[Surface]:
    """Return the surfaces of a garment and its trims, in the order of :func:`dress`."""
    return [pattern(garment.cut).fine, *(trim_surface(trim) for trim in garment.trims)]


def garment_textures(garment: Garment) -> list[FloatArray]:
    """Return the canonical positions of the vertices of a garment and its trims, for the material."""
    body = canonical_body()
    rest = PosedBody.at_rest(body.vertices, body.joints)
    points = pattern(garment.cut).canonical
    return [points, *(trim_vertices(garment.cut, trim, points, rest) for trim in garment.trims)]


def dress(outfit: Sequence[Garment], bodies: Sequence[PosedBody], keep: Sequence[int]) -> list[list[FloatArray]]:
    """Drape an outfit, innermost garment first, over a body that moves from the rest pose on.

    Args:
        outfit: Garments from the skin outwards.
        bodies: All frames, the rest pose first.
        keep: Numbers of the frames to return.

    Returns:
        For each kept frame the vertices of every garment and its trims, as :func:`garment_surfaces` lists them.

    Raises:
        DataError: A package is missing or a simulation diverged.
    """
    vertices, below_faces, soften = _body_collider()
    below = np.stack([soften @ body.vertices[vertices] for body in bodies]).astype(np.float32)
    kept: list[list[FloatArray]] = [[] for _ in keep]
    for garment in outfit:
        moving = _drape(garment, bodies, Collider(below, below_faces))
        for frame, result in zip(keep, kept, strict=True):
            fine = _finish(garment, moving[frame])
            result.append(fine)
            result += [trim_vertices(garment.cut, trim, fine, bodies[frame]) for trim in garment.trims]
        below_faces = np.concatenate([below_faces, pattern(garment.cut).surface.faces + below.shape[1]])
        below = np.concatenate([below, moving], axis=1)
    return kept


def _drape(garment: Garment, bodies: Sequence[PosedBody], collider: Collider) -> FloatArray:
    piece = pattern(garment.cut)
    surface = piece.surface
    # Rest lengths come from the body at rest plus ease, spanning hollows instead of following them.
    rest = np.asarray(piece.coarse @ bodies[0].shape.rest)
    cut = surface.smooth(rest + surface.normals(rest) * garment.ease_m[:, None], _CUT_SMOOTHING)
    reach = np.where(garment.pinned, garment.stand_off_m, garment.ease_m)[:, None]
    targets = np.empty((len(bodies), *cut.shape), np.float32)
    for frame, body in enumerate(bodies):
        base = np.asarray(piece.coarse @ body.vertices)
        targets[frame] = base + surface.normals(base) * reach
    start = surface.smooth(targets[0], _CUT_SMOOTHING)
    start[garment.pinned] = targets[0][garment.pinned]
    free = np.where(garment.pinned, 0.0, garment.carry)
    sheet = Sheet(surface, cut, garment.slack, free, garment.reach_m, garment.fabric)
    return drape(sheet, start, targets, collider)


def _finish(garment: Garment, coarse: FloatArray) -> FloatArray:
    """Smooth the edges, subdivide, and add hems and pockets."""
    piece = pattern(garment.cut)
    even = coarse.astype(np.float32)
    for _ in range(4):
        even[piece.rim] = 0.5 * even[piece.rim] + 0.5 * (piece.along_rim @ even)
    fine = np.asarray(piece.refine @ even)
    return np.asarray(fine + piece.fine.normals(fine) * garment.relief_m[:, None], np.float32)


@cache
def _body_collider() -> tuple[IntArray, IntArray, Any]:
    """Return skin vertices (K,) and faces that clothes rest on, and a sparse (K, K) map that softens the chest.

    Head, hands and feet are left out: their triangles are many. The chest is softened as underwear does.
    """
    body = canonical_body()
    skin = body_model().triangles["skin"]
    bare = np.isin(body.region_of_faces(skin), ["head", "hand.L", "hand.R", "foot.L", "foot.R"])
    used, faces = compacted(skin[~bare])
    points = body.vertices[used]
    chest = (points[:, 1] < -0.05) & (np.abs(points[:, 2] - body.joints["spine01"][2] + 0.03) < 0.12)
    chest &= np.abs(points[:, 0]) < 0.16
    share = sp.diags(0.7 * chest.astype(np.float32))
    step = sp.identity(len(used), np.float32) + share @ (
        Surface(faces, len(used)).mean_of_neighbours - sp.identity(len(used), np.float32)
    )
    soften = step
    for _ in range(3):
        soften = soften @ soften
    return used, faces, soften.tocsr()
