"""A dressed person: shape, outfit and looks that stay the same over all frames, and the mesh of one pose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from hdnet.data.synthetic.body import SKIN_VERTICES, Phenotype, body_model
from hdnet.data.synthetic.clothing import Garment, fit, make_folds
from hdnet.data.synthetic.garments import ARM, LEG, Cut, canonical, limb_position, pattern
from hdnet.data.synthetic.motion import Pose, fold_drivers, rotations
from hdnet.data.synthetic.surface import FloatArray, IntArray, Surface

SKIN, EYES, HAIR, TOP, BOTTOM, SHOES = range(6)
"""Albedo slots of the mesh's faces."""


@dataclass(frozen=True, eq=False)
class Person:
    """What all frames of a person share.

    Attributes:
        rest: (V, 3) body vertices in the rest pose.
        joints: Bone name to (3,) rest position.
        garments: What they wear, hair and shoes included.
        faces: (F, 3) all faces that are rendered.
        labels: (F,) albedo slot of each face.
        canonical: (M, 3) position of each vertex on the canonical body, for textures.
        gender: 0 male .. 1 female.
    """

    rest: FloatArray
    joints: dict[str, FloatArray]
    garments: tuple[Garment, ...]
    faces: IntArray
    labels: IntArray
    canonical: FloatArray
    gender: float


@dataclass(frozen=True, eq=False)
class PosedPerson:
    """One pose of a person, in the body frame with the floor at z = 0.

    Attributes:
        vertices: (M, 3) float32, skin first.
        normals: (M, 3) float32 outward unit normals.
        person: Whose faces, labels and canonical positions belong to the vertices.
    """

    vertices: FloatArray
    normals: FloatArray
    person: Person


def draw_person(person_rng: np.random.Generator, clothes_rng: np.random.Generator) -> Person:
    """Draw shape and outfit from two independent streams."""
    model = body_model()
    gender = float(person_rng.choice([person_rng.beta(1, 9), person_rng.beta(9, 1)]))
    phenotype = Phenotype(
        gender=gender,
        age=person_rng.uniform(2 / 3, 0.9),
        muscle=person_rng.beta(3, 3),
        weight=person_rng.beta(3, 3.5),
        height=person_rng.beta(4, 4),
        proportions=person_rng.beta(4, 3),
        race=tuple(person_rng.dirichlet([1.0, 1.0, 1.0])),
    )
    rest = model.shape(phenotype)
    joints = dict(zip(model.bone_names, model.joints(rest), strict=True))
    garments = _draw_outfit(clothes_rng, gender)
    faces, labels, texture = _assemble(garments)
    return Person(rest, joints, garments, faces, labels, texture, gender)


def pose_person(person: Person, pose: Pose) -> PosedPerson:
    """The dressed mesh of one pose."""
    model = body_model()
    body = model.pose(person.rest, rotations(pose, person.joints))
    bends = fold_drivers(pose)
    skin = body[:SKIN_VERTICES]
    eyes = np.unique(model.triangles["eyes"])
    vertices = [skin, body[eyes]]
    normals = [_skin_surface().normals(skin), _eye_surface().normals(body[eyes])]
    for garment in person.garments:
        points, outward = fit(garment, body, bends)
        vertices.append(points)
        normals.append(outward)
    points = np.concatenate(vertices).astype(np.float32)
    points[:, 2] -= points[:, 2].min()
    return PosedPerson(points, np.concatenate(normals), person)


@cache
def _skin_surface() -> Surface:
    return Surface(body_model().triangles["skin"], SKIN_VERTICES)


@cache
def _eye_surface() -> Surface:
    used, faces = np.unique(body_model().triangles["eyes"], return_inverse=True)
    return Surface(faces.reshape(-1, 3), len(used))


def _assemble(garments: tuple[Garment, ...]) -> tuple[IntArray, IntArray, FloatArray]:
    body, _ = canonical()
    hidden = np.any([pattern(garment.cut).hidden_skin for garment in garments], axis=0)
    used = np.unique(body_model().triangles["eyes"])
    faces = [body_model().triangles["skin"][~hidden], _eye_surface().faces + SKIN_VERTICES]
    labels = [np.full(len(faces[0]), SKIN), np.full(len(faces[1]), EYES)]
    texture = [body.vertices[:SKIN_VERTICES], body.vertices[used]]
    start = SKIN_VERTICES + len(used)
    for garment in garments:
        piece = pattern(garment.cut)
        faces.append(piece.fine.faces + start)
        labels.append(np.full(len(piece.fine.faces), garment.label))
        texture.append(piece.canonical)
        start += len(piece.canonical)
    return (
        np.concatenate(faces).astype(np.int32),
        np.concatenate(labels).astype(np.int8),
        np.concatenate(texture).astype(np.float32),
    )


def _draw_outfit(rng: np.random.Generator, gender: float) -> tuple[Garment, ...]:
    top_cut = Cut("top", float(rng.choice([0.45, 0.65, 0.65, 1.5, 1.92, 1.92])), float(rng.choice([-0.05, 0.0, 0.05])))
    fabric = rng.uniform(0.45, 1.25)
    garments = [_top(rng, top_cut, fabric)]
    if rng.random() < 0.32 * gender:
        garments.append(_skirt(rng, Cut("skirt", float(rng.choice([0.2, 0.3, 0.42])))))
    else:
        legs = float(rng.choice([0.5, 0.8, 1.8, 1.95, 1.95, 1.95]))
        garments.append(_trousers(rng, Cut("trousers", legs)))
    if rng.random() < 1 - 0.1 * (gender < 0.5):
        garments.append(_hair(rng, gender))
    for side in ("shoe.L", "shoe.R"):
        garments.append(_plain(rng, Cut(side), ease=0.012, floor=0.004, smoothing=3, folds=0.0, label=SHOES))
    return tuple(garments)


def _top(rng: np.random.Generator, cut: Cut, fabric: float) -> Garment:
    points, arm = _coarse(cut), pattern(cut).arm
    body, _ = canonical()
    hip = body.joints["upperleg01.L"][2]
    loose = rng.uniform(0.006, 0.030)
    flare = rng.uniform(0.0, 0.018)
    low = np.clip((hip + 0.35 - points[:, 2]) / 0.35, 0, 1)
    collar = np.clip((np.linalg.norm(points - body.joints["neck01"], axis=1) - 0.07) / 0.13, 0, 1)
    sleeve_low = np.clip(limb_position(body, points, ARM), 0, 2) / 2
    sleeve = loose * 0.45 + rng.uniform(0, 0.012) * sleeve_low
    arm = pattern(cut).surface.smooth(arm, 4)
    ease = collar * ((1 - arm) * (loose + flare * low) + arm * sleeve)
    # Over the waistband of what is worn below.
    over = np.clip((hip + 0.15 - points[:, 2]) / 0.04, 0, 1) * (1 - arm)
    floor = 0.002 + 0.010 * over
    ease = np.maximum(ease, floor + 0.002)
    folds = make_folds(rng, cut, fabric * (0.55 + 18 * loose))
    return Garment(cut, ease, floor, int(rng.integers(4, 10)), folds, TOP)


def _trousers(rng: np.random.Generator, cut: Cut) -> Garment:
    points = _coarse(cut)
    body, _ = canonical()
    hip = body.joints["upperleg01.L"][2]
    along = np.clip(limb_position(body, points, LEG), 0, 2)
    loose, wide = rng.uniform(0.003, 0.018), rng.uniform(-0.004, 0.026)
    below_waist = np.clip((hip + 0.02 - points[:, 2]) / 0.15, 0, 1)
    ease = 0.002 + below_waist * (loose + np.maximum(wide, -loose + 0.002) * along / 2)
    folds = make_folds(rng, cut, rng.uniform(0.4, 1.1) * (0.5 + 22 * loose))
    return Garment(cut, ease, np.full(len(points), 0.001), int(rng.integers(3, 8)), folds, BOTTOM)


def _skirt(rng: np.random.Generator, cut: Cut) -> Garment:
    points = _coarse(cut)
    low = np.clip((points[:, 2].max() - points[:, 2]) / 0.4, 0, 1)
    ease = 0.003 + rng.uniform(0, 0.03) * low
    folds = make_folds(rng, cut, rng.uniform(0.6, 1.5))
    return Garment(cut, ease, np.full(len(points), 0.001), 4, folds, BOTTOM)


def _hair(rng: np.random.Generator, gender: float) -> Garment:
    cut = Cut("hair")
    thickness = rng.uniform(0.005, 0.022) if gender < 0.5 else rng.uniform(0.012, 0.032)
    if rng.random() < 0.15:
        thickness *= 2.2
    ease = thickness * np.clip(pattern(cut).edge_m / 0.03, 0.12, 1)
    return Garment(cut, ease, np.full(len(ease), 0.001), 2, make_folds(rng, cut, rng.uniform(0.3, 1.2)), HAIR)


def _plain(
    rng: np.random.Generator, cut: Cut, ease: float, floor: float, smoothing: int, folds: float, label: int
) -> Garment:
    count = pattern(cut).surface.vertex_count
    return Garment(cut, np.full(count, ease), np.full(count, floor), smoothing, make_folds(rng, cut, folds), label)


def _coarse(cut: Cut) -> FloatArray:
    body, _ = canonical()
    return np.asarray(pattern(cut).coarse @ body.vertices)
