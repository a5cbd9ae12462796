"""Garment patterns: pieces of the body model's clothing helpers, cut once a process on the canonical body.

A pattern is a sparse map from the body's vertices to the garment's, so that a garment fits every shape of the body
before it gets its ease and is draped (:mod:`hdnet.synthetic.clothes.simulation`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import CanonicalBody, canonical_body
from hdnet.synthetic.surface import (
    BoolArray,
    FloatArray,
    IntArray,
    Surface,
    clip,
    edges_of,
    largest_piece,
    loop_subdivide,
    submesh,
)

Kind = Literal["top", "trousers", "skirt"]
Neck = Literal["crew", "wide", "v", "high"]
ARM = ("upperarm01", "lowerarm01", "wrist")
LEG = ("upperleg01", "lowerleg01", "foot")
# Skin nearer than this to a garment's edge stays visible (under hems and in sleeves).
HIDE_MARGIN_M = 0.03

Field = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class Cut:
    """Parameters of a pattern.

    Attributes:
        kind: Kind of garment.
        length: End of sleeves or legs: 0 at the shoulder or hip, 1 at elbow or knee, 2 at wrist or ankle; for a
            skirt metres below the hip joint.
        edge_m: Height over the hip joint, on the canonical body, of a top's hem or of the waist of trousers or skirt.
        neck: Shape of a top's neck hole.
        opening_m: Half the width by which a top stands open in front, 0 for a closed one.
    """

    kind: Kind
    length: float
    edge_m: float = 0.0
    neck: Neck = "crew"
    opening_m: float = 0.0


@dataclass(frozen=True, eq=False)
class Pattern:
    """Garment pattern as maps from the body's vertices.

    Attributes:
        coarse: (N, V) sparse map from body vertices to the coarse garment.
        surface: The coarse garment's surface.
        refine: (M, N) sparse map to the fine garment that is rendered.
        fine: The fine surface.
        canonical: (M, 3) fine vertices on the canonical body.
        canonical_normals: (M, 3) their normals.
        coarse_canonical: (N, 3) coarse vertices on the canonical body.
        edge_m: (N,) distance from the nearest cut in metres, roughly, on the canonical body.
        fine_edge_m: (M,) the same of the fine vertices.
        arm: (N,) share of the arms in the skin weights.
        hidden_skin: (F,) skin faces that the garment covers.
        rim: (R,) coarse vertices on the garment's edges.
        along_rim: (R, N) sparse mean over the two neighbours along the edge.
    """

    coarse: Any
    surface: Surface
    refine: Any
    fine: Surface
    canonical: FloatArray
    canonical_normals: FloatArray
    coarse_canonical: FloatArray
    edge_m: FloatArray
    fine_edge_m: FloatArray
    arm: FloatArray
    hidden_skin: BoolArray
    rim: IntArray
    along_rim: Any


@lru_cache(maxsize=64)
def pattern(cut: Cut) -> Pattern:
    """Cut a pattern; results are cached for the process."""
    body = canonical_body()
    skin = body_model().triangles["skin"]
    field = _field(cut, body)
    matrix, faces, points, arm = _cloth("skirt" if cut.kind == "skirt" else "tights")
    edge = field(points, arm)
    matrix, faces = clip(matrix, faces, edge) if (edge <= 0).any() else largest_piece(matrix, faces)
    refine, fine_faces = loop_subdivide(faces, matrix.shape[0])
    fine = Surface(fine_faces, refine.shape[0])
    coarse_points = np.asarray(matrix @ body.vertices)
    points = np.asarray(refine @ coarse_points)
    edge = np.maximum(field(coarse_points, matrix @ _arm_weight()), 0)
    centre = body.vertices[skin].mean(1)
    rim, along_rim = _rim(faces, matrix.shape[0])
    return Pattern(
        coarse=matrix,
        surface=Surface(faces, matrix.shape[0]),
        refine=refine,
        fine=fine,
        canonical=points,
        canonical_normals=fine.normals(points),
        coarse_canonical=coarse_points,
        edge_m=edge,
        fine_edge_m=np.asarray(refine @ edge),
        arm=np.asarray(matrix @ _arm_weight()),
        hidden_skin=_hidden(cut, field, centre, _arm_weight()[skin].mean(1), body.region_of_faces(skin)),
        rim=rim,
        along_rim=along_rim,
    )


def limb_position(body: CanonicalBody, points: FloatArray, joints: tuple[str, str, str]) -> FloatArray:
    """Return positions (N,) along a limb: 0 at its first joint, 1 at the second, 2 at the third."""
    result = np.zeros(len(points))
    for side, here in ((".L", points[:, 0] >= 0), (".R", points[:, 0] < 0)):
        total = np.zeros(int(here.sum()))
        for step, (start, end) in enumerate(pairwise(joints)):
            origin, axis, length = body.axis(start + side, end + side)
            share = (points[here] - origin) @ axis / length
            total += np.maximum(share, 0) if step else np.clip(share, -0.3, 1)
        result[here] = total
    return result


@cache
def _arm_weight() -> FloatArray:
    """Return the share (V,) of the arms in the body's skin weights."""
    body = canonical_body()
    parts = [f"{part}.{side}" for part in ("upperarm", "forearm", "hand") for side in "LR"]
    return np.asarray(np.sum([body.region_weights[part] for part in parts], axis=0))


@cache
def _cloth(helper: str) -> tuple[Any, IntArray, FloatArray, FloatArray]:
    """Return an uncut helper mesh, subdivided once: its map, faces, canonical positions and share of the arms."""
    body = canonical_body()
    matrix, faces = submesh(body_model().triangles[helper], len(body.vertices))
    finer, faces = loop_subdivide(faces, matrix.shape[0])
    matrix = (finer @ matrix).tocsr()
    return matrix, faces, np.asarray(matrix @ body.vertices), np.asarray(matrix @ _arm_weight())


def _rim(faces: IntArray, vertex_count: int) -> tuple[IntArray, Any]:
    edges, _, counts = edges_of(faces)
    ends = edges[counts == 1]
    links = sp.coo_matrix((np.ones(len(ends), np.float32), ends.T), (vertex_count, vertex_count))
    links = (links + links.T).tocsr()
    rim = np.unique(ends)
    degree = np.asarray(links.sum(1)).ravel()[rim]
    return rim, (sp.diags((1 / degree).astype(np.float32)) @ links[rim]).tocsr()


def _field(cut: Cut, body: CanonicalBody) -> Field:
    """Return the distance to the nearest cut, roughly in metres, positive inside the garment."""
    hip = float(body.joints["upperleg01.L"][2])
    if cut.kind == "top":
        return _top_field(body, cut, hip)

    def trousers(points: FloatArray, arm: FloatArray) -> FloatArray:
        leg_length_m = 0.45
        leg = (cut.length - limb_position(body, points, LEG)) * leg_length_m
        waist = (hip + cut.edge_m) - points[:, 2]
        return np.where(arm > 0.5, -1.0, np.minimum(leg, waist))

    def skirt(points: FloatArray, _: FloatArray) -> FloatArray:
        return np.asarray(np.minimum(points[:, 2] - (hip - cut.length), (hip + cut.edge_m) - points[:, 2]))

    return trousers if cut.kind == "trousers" else skirt


# Half axes (x, y, z) in metres and middle below the root of the neck.
_NECK_HOLES = {"crew": (0.084, 0.10, 0.066), "wide": (0.122, 0.118, 0.078), "v": (0.085, 0.095, 0.062)}
_HIGH_NECK_M = 0.045


def _top_field(body: CanonicalBody, cut: Cut, hip: float) -> Field:
    neck = body.joints["neck01"]

    def field(points: FloatArray, arm: FloatArray) -> FloatArray:
        arm_length_m = 0.27
        sleeve = np.where(arm > 0.5, (cut.length - limb_position(body, points, ARM)) * arm_length_m, 0.3)
        result = np.minimum(sleeve, points[:, 2] - (hip + cut.edge_m))
        away = points - neck - [0, -0.02, 0.015]
        if cut.neck == "high":
            result = np.minimum(result, _HIGH_NECK_M - away[:, 2] - 0.6 * away[:, 1])
        else:
            result = np.minimum(result, (np.linalg.norm(away / _NECK_HOLES[cut.neck], axis=1) - 1) * 0.06)
        front = points[:, 1] < neck[1]
        if cut.neck == "v":
            slope = np.abs(points[:, 0]) - 0.45 * np.clip(away[:, 2] + 0.15, 0, None)
            result = np.where(front, np.minimum(result, slope + 0.002), result)
        if cut.opening_m > 0:
            wider = cut.opening_m * (1 + 0.6 * np.clip((neck[2] - points[:, 2]) / 0.5, 0, 1))
            result = np.where(front, np.minimum(result, np.abs(points[:, 0]) - wider), result)
        return np.asarray(result)

    return field


def _hidden(cut: Cut, field: Field, centre: FloatArray, arm: FloatArray, region: IntArray) -> BoolArray:
    if cut.kind == "skirt":
        return np.asarray((field(centre, arm) > 0.05) & (region == "torso"))
    # Heads and hands can lie inside the field's bounds; they are never under a garment.
    covered = field(centre, arm) > HIDE_MARGIN_M
    return np.asarray(covered & ~np.isin(region, ("head", "hand.L", "hand.R", "foot.L", "foot.R")))
