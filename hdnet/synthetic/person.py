"""Dressed person: body, components and outfit, and their meshes in the frames of a motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from hdnet.synthetic.accessories import draw_head, draw_jewellery, draw_shoes, hidden_skin
from hdnet.synthetic.accessories.hanging import Hanging
from hdnet.synthetic.body import SKIN_VERTICES, Phenotype, body_model, draw_expression, draw_traits
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.clothes.dressing import dress, garment_surfaces, garment_textures
from hdnet.synthetic.clothes.garments import Garment
from hdnet.synthetic.clothes.outfits import draw_outfit
from hdnet.synthetic.clothes.patterns import pattern
from hdnet.synthetic.clothes.trims import HOOD, RIB_COLLAR
from hdnet.synthetic.components import Component, Material, PosedBody, Shape
from hdnet.synthetic.materials import Skin, draw_skin
from hdnet.synthetic.motion import Pose, approach, place, rotations, solve
from hdnet.synthetic.surface import FloatArray, IntArray, Surface, compacted

# Frames from the plain pose, in which the body is dressed, to the first pose, and frames of rest there.
_RAMP_FRAMES, _REST_FRAMES = 9, 5
_TEENAGERS = 0.15
# Of the body model, and of adults and teenagers of both sexes.
_DRAWN_HEIGHT_M, _MEDIAN_HEIGHT_M, _HEIGHT_SPREAD = 1.81, 1.69, 0.6


@dataclass(frozen=True, eq=False)
class Person:
    """State of a person that all frames share.

    Attributes:
        shape: The naked body.
        components: Meshes that follow the body: skin first, then eyes, hair, shoes and the like.
        outfit: Simulated clothes, from the skin outwards.
        faces: (F, 3) all faces that are rendered.
        labels: (F,) index of each face's material.
        materials: Colours.
        canonical: (M, 3) place of each vertex on the canonical body, for the materials.
    """

    shape: Shape
    components: tuple[Component, ...]
    outfit: tuple[Garment, ...]
    faces: IntArray
    labels: IntArray
    materials: tuple[Material, ...]
    canonical: FloatArray

    @property
    def surfaces(self) -> list[Surface]:
        """Every mesh of the person, in the order of the vertices."""
        worn = [surface for garment in self.outfit for surface in garment_surfaces(garment)]
        return [component.surface for component in self.components] + worn


@dataclass(frozen=True, eq=False)
class PosedPerson:
    """Person in one frame, in the world frame: metres, z up, floor at 0, facing -y when not turned.

    Attributes:
        vertices: (M, 3) float32, all of the naked skin first.
        normals: (M, 3) float32 outward unit normals.
        person: Faces, labels, materials and canonical positions of the vertices.
        pose: The pose.
    """

    vertices: FloatArray
    normals: FloatArray
    person: Person
    pose: Pose


def draw_person(person_rng: np.random.Generator, clothes_rng: np.random.Generator) -> Person:
    """Draw body, looks and outfit from two independent streams."""
    model = body_model()
    gender = float(person_rng.choice([person_rng.beta(1, 9), person_rng.beta(9, 1)]))
    teenager = person_rng.random() < _TEENAGERS
    age = float(person_rng.uniform(0.58, 0.67) if teenager else person_rng.uniform(0.67, 0.98))
    phenotype = Phenotype(
        gender=gender,
        age=age,
        muscle=float(person_rng.beta(3, 3)),
        weight=float(person_rng.beta(2.5, 3)),
        height=float(person_rng.beta(4, 4)),
        proportions=float(person_rng.beta(4, 3)),
        race=tuple(person_rng.dirichlet([0.6, 0.6, 0.6])),
        traits=draw_traits(person_rng, age),
    )
    rest = model.shape(phenotype, draw_expression(person_rng))
    shape = Shape(phenotype, rest, dict(zip(model.bone_names, model.joints(rest), strict=True)))
    skin, eyes = draw_skin(person_rng, phenotype.race)
    skin_rows, (eye_rows, eye_surface) = np.arange(SKIN_VERTICES), _eye_mesh()
    components = (
        Component("skin", _skin_surface(), _BodyRows(skin_rows), _texture(skin_rows), skin),
        Component("eyes", eye_surface, _BodyRows(eye_rows), _texture(eye_rows), eyes),
        *draw_head(person_rng, shape),
        *draw_jewellery(person_rng, shape),
        *draw_shoes(clothes_rng, shape),
    )
    outfit = draw_outfit(clothes_rng, gender)
    if any(isinstance(component.carrier, Hanging) for component in components):
        outfit = tuple(_without_hood(garment) for garment in outfit)
    return _assembled(shape, components, outfit)


def true_size(person: Person) -> float:
    """Return the factor from the world's metres to those of a real person of this shape.

    MakeHuman's bodies are too tall, 1.81 m at the median and from 1.45 to 2.2 m: a picture shows proportions, not size,
    so that only the metric labels have to be put right, to 1.69 m at the median and six tenths of the spread.
    """
    height_m = _height_m(person)
    return (_MEDIAN_HEIGHT_M + _HEIGHT_SPREAD * (height_m - _DRAWN_HEIGHT_M)) / height_m


def _height_m(person: Person) -> float:
    return float(np.ptp(person.shape.rest[:SKIN_VERTICES, 2]))


def person_facts(person: Person) -> dict[str, str | float]:
    """Return what was drawn for a person: MakeHuman's scales, 0..1, true height and clothes."""
    phenotype = person.shape.phenotype
    tones = [material.tone for material in person.materials if isinstance(material, Skin)]
    height_m = _height_m(person) * true_size(person)
    return {
        "sex": phenotype.gender,
        "age": phenotype.age,
        "weight": phenotype.weight,
        "muscle": phenotype.muscle,
        "height_m": height_m,
        "skin_brightness": float(np.mean(tones) ** (1 / 2.2)),
        "clothes": " ".join(garment.name for garment in person.outfit),
    }


def _without_hood(garment: Garment) -> Garment:
    """Replace hoods, which hanging hair would go through, by a collar that it covers."""
    return replace(garment, trims=tuple(RIB_COLLAR if trim is HOOD else trim for trim in garment.trims))


def pose_person(person: Person, poses: Sequence[Pose], stride: int = 1) -> list[PosedPerson]:
    """Return the dressed meshes of every ``stride``-th pose of a motion at 30 frames a second.

    Args:
        person: Person to pose.
        poses: Poses as drawn, not solved; a single one, or a motion in order.
        stride: Poses from one returned mesh to the next, from the first on.

    Raises:
        DataError: A package is missing or the clothes could not be simulated.
    """
    lead = [*approach(poses[0], _RAMP_FRAMES), *[poses[0]] * _REST_FRAMES]
    solved = solve([*lead, *poses], person.shape)
    bodies = _bodies(person.shape, solved, len(lead), _sole_m(person))
    keep = list(range(len(lead), len(bodies), stride))
    worn = dress(person.outfit, bodies, keep)
    surfaces = person.surfaces
    result = []
    for frame, clothes in zip(keep, worn, strict=True):
        meshes = [component.carrier.vertices(bodies[frame]) for component in person.components] + clothes
        normals = [surface.normals(mesh) for surface, mesh in zip(surfaces, meshes, strict=True)]
        points = np.concatenate(meshes).astype(np.float32)
        dressed = PosedPerson(points, np.concatenate(normals).astype(np.float32), person, solved[frame])
        result.append(reclined(dressed) if solved[frame].recline_deg else dressed)
    return result


def reclined(posed: PosedPerson) -> PosedPerson:
    """Lay a dressed person down, middle over the world's origin."""
    pose = posed.pose
    angles = [-pose.yaw_deg, pose.rolled_deg, -pose.recline_deg, pose.yaw_deg]
    upright, rolled, down, back = (
        Rotation.from_euler(axis, angle, degrees=True) for axis, angle in zip("zzxz", angles, strict=True)
    )
    turn = np.asarray((back * down * rolled * upright).as_matrix(), np.float32).T
    vertices = posed.vertices @ turn
    low, high = vertices.min(0), vertices.max(0)
    vertices = vertices - np.array([*(low[:2] + high[:2]) / 2, low[2] - pose.lift_m], np.float32)
    return replace(posed, vertices=vertices, normals=posed.normals @ turn)


def turned(posed: PosedPerson, yaw_deg: float) -> PosedPerson:
    """Turn a dressed person by ``yaw_deg`` about the vertical through the world's origin."""
    turn = np.asarray(Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix(), np.float32).T
    pose = replace(posed.pose, yaw_deg=posed.pose.yaw_deg + yaw_deg)
    return replace(posed, vertices=posed.vertices @ turn, normals=posed.normals @ turn, pose=pose)


def _bodies(shape: Shape, poses: Sequence[Pose], lead: int, sole_m: float) -> list[PosedBody]:
    """Pose the body in all frames; the first ``lead``, only for dressing, stand where the next one does."""
    model = body_model()
    transforms = [model.transforms(shape.rest, rotations(pose, shape.joints)) for pose in poses]
    vertices = [model.skinned(shape.rest, bones) for bones in transforms]
    places = place(poses[lead:], vertices[lead:], sole_m)
    places = np.concatenate([np.repeat(places[:1], lead, axis=0), places])
    return [
        PosedBody(shape, points + place_m.astype(np.float32), _shifted(bones, place_m))
        for points, bones, place_m in zip(vertices, transforms, places, strict=True)
    ]


def _sole_m(person: Person) -> float:
    """Return how far shoes reach below the naked soles."""
    rest = PosedBody.at_rest(person.shape.rest, person.shape.joints)
    lowest = min(float(component.carrier.vertices(rest)[:, 2].min()) for component in person.components)
    return float(rest.vertices[:SKIN_VERTICES, 2].min()) - lowest


def _shifted(bones: FloatArray, place_m: FloatArray) -> FloatArray:
    result = bones.copy()
    result[:, :, 3] += place_m
    return result


def _assembled(shape: Shape, components: tuple[Component, ...], outfit: tuple[Garment, ...]) -> Person:
    covered = [pattern(garment.cut).hidden_skin for garment in outfit]
    hidden = np.any([*covered, hidden_skin(components)], axis=0)
    faces: list[IntArray] = []
    labels: list[IntArray] = []
    textures: list[FloatArray] = []
    materials: list[Material] = []
    start = 0

    def add(surface: Surface, canonical_points: FloatArray, shown: FloatArray | None = None) -> None:
        nonlocal start
        here = surface.faces if shown is None else surface.faces[shown]
        faces.append(here + start)
        labels.append(np.full(len(here), len(materials) - 1))
        textures.append(canonical_points)
        start += surface.vertex_count

    for component in components:
        materials.append(component.material)
        add(component.surface, component.canonical, ~hidden if component.name == "skin" else None)
    for garment in outfit:
        materials.append(garment.material)
        for surface, texture in zip(garment_surfaces(garment), garment_textures(garment), strict=True):
            add(surface, texture)
    return Person(
        shape,
        components,
        outfit,
        np.concatenate(faces).astype(np.int32),
        np.concatenate(labels).astype(np.int16),
        tuple(materials),
        np.concatenate(textures).astype(np.float32),
    )


@dataclass(frozen=True, eq=False)
class _BodyRows:
    """Carrier of some of the body's own vertices."""

    rows: IntArray

    def vertices(self, body: PosedBody) -> FloatArray:
        return body.vertices[self.rows]


def _texture(rows: IntArray) -> FloatArray:
    return canonical_body().vertices[rows]


@cache
def _skin_surface() -> Surface:
    return Surface(body_model().triangles["skin"], SKIN_VERTICES)


@cache
def _eye_mesh() -> tuple[IntArray, Surface]:
    used, faces = compacted(body_model().triangles["eyes"])
    return used, Surface(faces, len(used))
