"""Heads: nothing inside the skull, hair under hats, glasses before the eyes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial import cKDTree

from hdnet.synthetic.accessories.beard import KINDS, draw_beard
from hdnet.synthetic.accessories.glasses import draw_glasses
from hdnet.synthetic.accessories.hair import HatRoom, hair_components
from hdnet.synthetic.accessories.hair_styles import HairStyle, Strands, draw_hair_colour, draw_strands
from hdnet.synthetic.accessories.headwear import draw_headwear
from hdnet.synthetic.accessories.skull import AZIMUTH, skull_of
from hdnet.synthetic.body import SKIN_VERTICES, Phenotype, body_model
from hdnet.synthetic.components import PosedBody, Shape
from hdnet.synthetic.surface import FloatArray, Surface

STYLES = [
    HairStyle(),
    HairStyle(0.005, 0.003, taper=0.5),
    HairStyle(0.03, 0.02, fringe=16.0),
    HairStyle(0.05, 0.05, curl_m=0.01),
    HairStyle(0.004, 0.008, bald_top=True),
    HairStyle(0.015, 0.012, hang_m=0.3),
    HairStyle(0.008, 0.006, tie="tail"),
    HairStyle(0.008, 0.006, tie="bun"),
]


def _strands(seed: int) -> Strands:
    return draw_strands(np.random.default_rng(seed), np.full(3, 0.05), 0.3)


def _height_over_skin(shape: Shape, points: FloatArray) -> FloatArray:
    """Metres outside the nearest skin, along its normal, of those points that are on the upper half of the head."""
    skin = Surface(body_model().triangles["skin"], SKIN_VERTICES)
    rest = shape.rest[:SKIN_VERTICES]
    upper = np.flatnonzero(rest[:, 2] > shape.joints["head"][2] + 0.05)
    points = points[points[:, 2] > skull_of(shape).centre[2]]
    _, near = cKDTree(rest[upper]).query(points)
    near = upper[near]
    return np.asarray(np.einsum("ij,ij->i", points - rest[near], skin.normals(rest)[near]))


@pytest.mark.parametrize("number", range(len(STYLES)))
def test_hair_lies_on_the_skull(number: int, shape_of: Callable[..., Shape], pose_of: Callable[..., PosedBody]) -> None:
    shape = shape_of(number)
    skull = skull_of(shape)
    for component in hair_components(np.random.default_rng(number), skull, STYLES[number], _strands(number), None):
        used = np.unique(component.faces)
        height = _height_over_skin(shape, component.carrier.vertices(pose_of(shape))[used])
        assert np.median(height) > 0.001
        # A bun and the root of a tail are sunk into the hair below them.
        if not (STYLES[number].tie and len(used) < 1500):
            assert height.min() > -0.005


@pytest.mark.parametrize("kind", ["cap", "back-cap", "beanie", "bucket", "hat"])
def test_hair_stays_under_the_hat(kind: str, shape_of: Callable[..., Shape], pose_of: Callable[..., PosedBody]) -> None:
    shape = shape_of(3)
    skull, body = skull_of(shape), pose_of(shape)
    rng = np.random.default_rng(1)
    room, worn = draw_headwear(rng, skull, kind)
    crown = worn[0].carrier.vertices(body).reshape(-1, len(AZIMUTH), 3)
    share = np.linspace(0, 1, len(crown))
    crown_radius = np.linalg.norm(crown - skull.centre, axis=-1)
    assert _height_over_skin(shape, crown.reshape(-1, 3)).min() > 0.003
    style = HairStyle(0.06, 0.05, rough=0.4, curl_m=0.01)
    hair = hair_components(rng, skull, style, _strands(0), room)[0].carrier.vertices(body).reshape(-1, len(AZIMUTH), 3)
    hair_radius = np.linalg.norm(hair - skull.centre, axis=-1)
    # Polar angles of both grids run in known steps along each column.
    for column in range(0, len(AZIMUTH), 7):
        away = hair[:, column] - skull.centre
        polar = np.arccos(away[:, 2] / np.linalg.norm(away, axis=1))
        below = polar < room.edge[column] - 0.06
        hat_radius = np.interp(polar[below], share * room.edge[column], crown_radius[:, column])
        assert (hat_radius - hair_radius[below, column]).min() > -0.0015


def test_room_leaves_free_hair_as_it_is() -> None:
    room = HatRoom(np.full(4, 1.0))
    heights = np.full((2, 4), 0.05)
    limited = room.limit(np.array([[0.5] * 4, [1.6] * 4]), heights)
    assert np.allclose(limited, [[room.height_m] * 4, [0.05] * 4])


def test_long_hair_hangs_down_and_outside_the_trunk(
    shape_of: Callable[..., Shape], pose_of: Callable[..., PosedBody]
) -> None:
    shape = shape_of(5, gender=0.95)
    skull = skull_of(shape)
    components = hair_components(np.random.default_rng(0), skull, HairStyle(0.01, 0.01, hang_m=0.35), _strands(0), None)
    for turns in ({}, {"head": (0.0, 0.0, 0.7)}, {"spine03": (0.7, 0.0, 0.0), "neck01": (0.4, 0.0, 0.0)}):
        body = pose_of(shape, turns)
        points = components[1].carrier.vertices(body)
        lowest = points[:, 2].min()
        assert lowest < body.attached("head", shape.joints["head"][None])[0, 2] - 0.12
        skin = body_model().triangles["tights"]
        normals = Surface(skin, len(body.vertices)).normals(body.vertices)
        used = np.unique(skin)
        distance, near = cKDTree(body.vertices[used]).query(points)
        depth = np.einsum("ij,ij->i", points - body.vertices[used][near], normals[used][near])
        assert np.quantile(depth[distance < 0.04], 0.02) > -0.01


def test_glasses_stand_before_the_eyes_and_reach_the_ears(shape_of: Callable[..., Shape]) -> None:
    for seed in range(6):
        shape = shape_of(seed)
        components = draw_glasses(np.random.default_rng(seed), shape, skull_of(shape), dark=True)
        assert [component.name for component in components] == ["glasses", "glasses"]
        eyes = shape.rest[np.unique(body_model().triangles["eyes"])]
        lenses = components[1].canonical
        assert lenses[:, 1].max() < eyes[:, 1].min() + 0.004
        assert abs(lenses[:, 2].mean() - eyes[:, 2].mean()) < 0.012
        assert components[0].canonical[:, 1].max() > shape.joints["head"][1] - 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_beards_are_on_the_lower_face(kind: str, shape_of: Callable[..., Shape]) -> None:
    shape = shape_of(2, gender=0.0, age=0.8)
    (component,) = draw_beard(np.random.default_rng(0), shape, np.full(3, 0.05), kind)
    eyes = shape.rest[np.unique(body_model().triangles["eyes"])]
    points = component.canonical
    assert points[:, 2].max() < eyes[:, 2].max() + 0.02
    assert len(component.faces) < 4000


def test_hair_greys_with_age() -> None:
    def lightness(age: float) -> float:
        phenotype = Phenotype(0.5, age, 0.5, 0.5, 0.5, 0.5, (0.5, 0.5, 0.0))
        return float(np.median([draw_hair_colour(np.random.default_rng(seed), phenotype).mean() for seed in range(40)]))

    assert lightness(0.65) < 0.06 < 0.2 < lightness(1.0)
