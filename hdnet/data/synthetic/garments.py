"""Garment patterns: pieces of the body model's clothing helpers, cut once a process on the canonical body.

A pattern is a sparse map from the body's vertices to the garment's, so that a garment follows every shape
and pose of the body before it gets its ease and folds (:mod:`hdnet.data.synthetic.clothing`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from scipy.spatial import cKDTree

from hdnet.data.synthetic.body import Phenotype, body_model
from hdnet.data.synthetic.iuv import CanonicalBody, SurfaceCoordinates, canonical_body, surface_coordinates
from hdnet.data.synthetic.surface import (
    BoolArray,
    FloatArray,
    IntArray,
    Surface,
    clip,
    largest_piece,
    loop_subdivide,
    submesh,
)

Kind = Literal["top", "trousers", "skirt", "hair", "shoe.L", "shoe.R"]
CANONICAL_SHAPE = Phenotype(0.5, 0.8, 0.5, 0.5, 0.5, 0.5, (1 / 3, 1 / 3, 1 / 3))
# Skin nearer than this to a garment's edge stays visible (under hems and in sleeves).
HIDE_MARGIN_M = 0.035
# Above the ankle joint.
SHOE_TOP_M = 0.015

Field = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class Cut:
    """Which piece: its kind and where it ends.

    Attributes:
        kind: "top", "trousers", "skirt", "hair", "shoe.L" or "shoe.R".
        length: Where sleeves or legs end: 0 at the shoulder or hip, 1 at elbow or knee, 2 at wrist or ankle;
            for a skirt metres below the hip joint; unused for hair and shoes.
        hem_m: Height of a top's hem over the hip joint in metres, on the canonical body.
    """

    kind: Kind
    length: float = 0.0
    hem_m: float = 0.0


@dataclass(frozen=True, eq=False)
class Pattern:
    """A cut garment.

    Attributes:
        coarse: (N, V) sparse map from body vertices to the coarse garment.
        surface: The coarse garment's surface.
        refine: (M, N) sparse map to the fine garment that is rendered.
        fine: The fine surface.
        canonical: (M, 3) fine vertices on the canonical body.
        canonical_normals: (M, 3) their normals.
        edge_m: (N,) distance from the cut in metres, roughly, on the canonical body.
        arm: (N,) share of the arms in the skin weights.
        hidden_skin: (F,) skin faces that the garment covers.
        tree: Nearest-neighbour tree over ``canonical``.
    """

    coarse: Any
    surface: Surface
    refine: Any
    fine: Surface
    canonical: FloatArray
    canonical_normals: FloatArray
    edge_m: FloatArray
    arm: FloatArray
    hidden_skin: BoolArray
    tree: Any


@lru_cache(maxsize=1)
def canonical() -> tuple[CanonicalBody, SurfaceCoordinates]:
    """The canonical body and its charts, once a process."""
    model = body_model()
    body = canonical_body(model, model.shape(CANONICAL_SHAPE))
    return body, surface_coordinates(body, model.triangles["skin"])


@lru_cache(maxsize=64)
def pattern(cut: Cut) -> Pattern:
    """Cut a garment; results are kept for the process."""
    body, _ = canonical()
    skin = body_model().triangles["skin"]
    arm_weight = np.sum(
        [body.region_weights[f"{part}.{s}"] for part in ("upperarm", "forearm", "hand") for s in "LR"], axis=0
    )
    faces, field, levels = _source(cut, body, skin)
    matrix, faces = submesh(faces, len(body.vertices))
    for _ in range(levels):
        finer, faces = loop_subdivide(faces, matrix.shape[0])
        matrix = (finer @ matrix).tocsr()
    edge = field(matrix @ body.vertices, matrix @ arm_weight)
    matrix, faces = clip(matrix, faces, edge) if (edge <= 0).any() else largest_piece(matrix, faces)
    refine, fine_faces = loop_subdivide(faces, matrix.shape[0])
    fine = Surface(fine_faces, refine.shape[0])
    points = np.asarray(refine @ (matrix @ body.vertices))
    centre = body.vertices[skin].mean(1)
    return Pattern(
        coarse=matrix,
        surface=Surface(faces, matrix.shape[0]),
        refine=refine,
        fine=fine,
        canonical=points,
        canonical_normals=fine.normals(points),
        edge_m=np.maximum(field(matrix @ body.vertices, matrix @ arm_weight), 0),
        arm=np.asarray(matrix @ arm_weight),
        hidden_skin=_hidden(cut, field, centre, arm_weight[skin].mean(1), body.region_of_faces(skin)),
        tree=cKDTree(points),
    )


def limb_position(body: CanonicalBody, points: FloatArray, joints: tuple[str, str, str]) -> FloatArray:
    """Where points lie along a limb: 0 at its first joint, 1 at the second, 2 at the third, (N,)."""
    result = np.zeros(len(points))
    for side, here in ((".L", points[:, 0] >= 0), (".R", points[:, 0] < 0)):
        total = np.zeros(int(here.sum()))
        for step, (start, end) in enumerate(pairwise(joints)):
            origin, axis, length = body.axis(start + side, end + side)
            share = (points[here] - origin) @ axis / length
            total += np.maximum(share, 0) if step else np.clip(share, -0.3, 1)
        result[here] = total
    return result


ARM = ("upperarm01", "lowerarm01", "wrist")
LEG = ("upperleg01", "lowerleg01", "foot")


def _source(cut: Cut, body: CanonicalBody, skin: IntArray) -> tuple[IntArray, Field, int]:
    model = body_model()
    hip = float(body.joints["upperleg01.L"][2])
    if cut.kind in ("top", "trousers"):
        tights = model.triangles["tights"]
        field = _top_field(body, cut, hip) if cut.kind == "top" else _trousers_field(body, cut, hip)
        return tights, field, 1
    if cut.kind == "skirt":
        return model.triangles["skirt"], lambda points, _: points[:, 2] - (hip - cut.length), 1
    if cut.kind == "hair":
        head = body.joints["head"]

        def scalp(points: FloatArray, _: FloatArray) -> FloatArray:
            back, above = points[:, 1] - head[1], points[:, 2] - head[2]
            # The hairline runs from the forehead over the temples down behind the ears to the neck.
            return np.asarray(np.minimum(above + 0.75 * back - 0.047, above + 0.045))

        centre = body.vertices[skin].mean(1)
        near_scalp = (body.region_of_faces(skin) == "head") & (scalp(centre, centre) > -0.03)
        return skin[near_scalp], scalp, 0
    side = cut.kind[-2:]
    foot = body.joints["foot" + side]
    tights = model.triangles["tights"]
    # The feet of the tights have no toes, as shoes.
    near_foot = np.abs(body.vertices[tights][..., 0].mean(1) - foot[0]) < 0.15
    low = body.vertices[tights][..., 2].mean(1) < foot[2] + 0.06
    return tights[near_foot & low], lambda points, _: foot[2] + SHOE_TOP_M - points[:, 2], 1


def _top_field(body: CanonicalBody, cut: Cut, hip: float) -> Field:
    neck = body.joints["neck01"]

    def field(points: FloatArray, arm: FloatArray) -> FloatArray:
        arm_length_m = 0.27
        sleeve = np.where(arm > 0.5, (cut.length - limb_position(body, points, ARM)) * arm_length_m, 0.3)
        hole = (points - neck - [0, -0.02, 0.015]) / [0.075, 0.085, 0.055]
        collar = (np.linalg.norm(hole, axis=1) - 1) * 0.06
        return np.asarray(np.minimum(np.minimum(sleeve, points[:, 2] - (hip + cut.hem_m)), collar))

    return field


def _trousers_field(body: CanonicalBody, cut: Cut, hip: float) -> Field:
    def field(points: FloatArray, arm: FloatArray) -> FloatArray:
        leg_length_m = 0.45
        leg = (cut.length - limb_position(body, points, LEG)) * leg_length_m
        waist = (hip + 0.085) - points[:, 2]
        return np.where(arm > 0.5, -1.0, np.minimum(leg, waist))

    return field


def _hidden(cut: Cut, field: Field, centre: FloatArray, arm: FloatArray, region: IntArray) -> BoolArray:
    if cut.kind in ("top", "trousers"):
        # Heads and hands can lie inside the field's bounds; they are never under a garment.
        covered = field(centre, arm) > HIDE_MARGIN_M
        return np.asarray(covered & ~np.isin(region, ("head", "hand.L", "hand.R", "foot.L", "foot.R")))
    if cut.kind.startswith("shoe"):
        return np.asarray((field(centre, arm) > HIDE_MARGIN_M) & np.char.endswith(region, cut.kind[-2:]))
    return np.zeros(len(centre), dtype=bool)
