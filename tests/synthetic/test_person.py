from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.motion import draw_dance, draw_still
from hdnet.synthetic.person import Person, PosedPerson, draw_person, person_facts, pose_person, true_size


def _person(seed: int) -> Person:
    return draw_person(np.random.default_rng(seed), np.random.default_rng(seed + 100))


@pytest.fixture(scope="module")
def posed() -> list[PosedPerson]:
    return [pose_person(_person(seed), [draw_still(np.random.default_rng(seed + 200))])[0] for seed in range(4)]


def test_meshes_are_finite_and_stand_on_the_floor(posed: list[PosedPerson]) -> None:
    for frame in posed:
        assert frame.vertices.dtype == frame.normals.dtype == np.float32
        assert frame.vertices.shape == frame.normals.shape == frame.person.canonical.shape
        assert np.isfinite(frame.vertices).all()
        assert np.allclose(np.linalg.norm(frame.normals[np.unique(frame.person.faces)], axis=1), 1, atol=1e-3)
        # Hems may brush the floor; shoes stand on it.
        assert abs(frame.vertices[:, 2].min()) < 0.03
        assert 1.0 < np.ptp(frame.vertices[:, 2]) < 2.5


def test_every_face_has_a_material_and_every_vertex_a_place(posed: list[PosedPerson]) -> None:
    for frame in posed:
        person = frame.person
        assert len(person.faces) == len(person.labels)
        assert person.faces.max() < len(frame.vertices)
        assert set(np.unique(person.labels)) <= set(range(len(person.materials)))
        assert person.components[0].name == "skin"


def test_skin_is_hidden_only_where_something_is_near(posed: list[PosedPerson]) -> None:
    for frame in posed:
        person = frame.person
        shown = np.unique(person.faces[person.labels == 0])
        hidden = np.setdiff1d(np.unique(body_model().triangles["skin"]), shown)
        assert len(hidden) > 500
        worn = frame.vertices[np.unique(person.faces[person.labels >= 2])]
        distance, _ = cKDTree(worn).query(frame.vertices[:SKIN_VERTICES][hidden])
        assert np.percentile(distance, 99) < 0.12


def test_no_skin_shows_through_clothes(posed: list[PosedPerson]) -> None:
    """Away from the edges of clothes the skin that is still rendered lies below them, not above."""
    for frame in posed:
        person, start = frame.person, SKIN_VERTICES
        shown = np.unique(person.faces[person.labels == 0])
        skin = cKDTree(frame.vertices[shown])
        first = len(np.concatenate([component.canonical for component in person.components]))
        start = first
        for garment in person.outfit:
            from hdnet.synthetic.clothes.dressing import garment_surfaces
            from hdnet.synthetic.clothes.patterns import pattern

            count = garment_surfaces(garment)[0].vertex_count
            inner = pattern(garment.cut).fine_edge_m > 0.06
            cloth = frame.vertices[start : start + count][inner]
            outward = frame.normals[start : start + count][inner]
            distance, nearest = skin.query(cloth)
            near = distance < 0.05
            height = np.einsum("ij,ij->i", frame.vertices[shown][nearest] - cloth, outward)
            # Arms and legs of the same person may be near from outside; poking skin is nearer than 1 cm.
            assert (near & (height > 0.002) & (distance < 0.01)).mean() < 0.01
            start += sum(surface.vertex_count for surface in garment_surfaces(garment))


def test_person_and_clothes_have_their_own_streams() -> None:
    a = draw_person(np.random.default_rng(1), np.random.default_rng(2))
    b = draw_person(np.random.default_rng(1), np.random.default_rng(3))
    assert np.array_equal(a.shape.rest, b.shape.rest)
    assert [garment.cut for garment in a.outfit] != [garment.cut for garment in b.outfit]


def test_a_motion_gives_every_stride_th_frame_and_moves_the_clothes() -> None:
    person = _person(3)
    poses = draw_dance(np.random.default_rng(1), 9)
    frames = pose_person(person, poses, stride=4)
    assert [frame.pose.yaw_deg for frame in frames] == pytest.approx([poses[k].yaw_deg for k in (0, 4, 8)], abs=1e-6)
    moved = np.linalg.norm(frames[-1].vertices - frames[0].vertices, axis=1)
    assert 0.005 < np.median(moved) < 0.8


def test_a_turn_turns_everything() -> None:
    person, pose = _person(2), draw_still(np.random.default_rng(5))
    front, back = (pose_person(person, [replace(pose, yaw_deg=yaw, feet=None)])[0] for yaw in (0.0, 180.0))
    mirrored = front.vertices * [-1, -1, 1]
    skin = slice(0, SKIN_VERTICES)
    assert np.abs(mirrored[skin] - back.vertices[skin]).max() < 0.01
    # Cloth is simulated anew and may fold a little otherwise.
    assert np.percentile(np.abs(mirrored - back.vertices), 95) < 0.02


@pytest.mark.slow
def test_people_are_of_all_kinds_and_of_true_size() -> None:
    """Drawn without clothes' simulation: the distributions that docs/synthetic.md shows."""
    people = [_person(seed) for seed in range(240)]
    facts = [person_facts(person) for person in people]
    values = {name: np.array([one[name] for one in facts]) for name in facts[0] if name != "clothes"}
    assert 0.4 < (values["sex"] > 0.5).mean() < 0.6
    assert 0.08 < (values["age"] < 2 / 3).mean() < 0.25
    assert (values["age"] > 0.85).mean() > 0.2
    low, middle, high = np.quantile(values["height_m"], [0.05, 0.5, 0.95])
    assert 1.5 < low < 1.6 < middle < 1.75 < high < 1.95
    by_sex = [np.median(values["height_m"][(values["sex"] > 0.5) == female]) for female in (True, False)]
    assert 0.03 < by_sex[1] - by_sex[0] < 0.2
    # The display brightness of skin, from dark to light, each third of the range in use.
    dark, light = (values["skin_brightness"] < 0.45).mean(), (values["skin_brightness"] > 0.57).mean()
    assert min(dark, light, 1 - dark - light) > 0.12
    worn = Counter(name for one in facts for name in str(one["clothes"]).split())
    assert {"trousers", "skirt", "dress", "t_shirt", "shirt", "hoodie", "jacket", "sweatshirt"} <= set(worn)
    assert min(worn.values()) > 0.02 * len(people)
    for person, height_m in zip(people, values["height_m"], strict=True):
        drawn_m = np.ptp(person.shape.rest[:SKIN_VERTICES, 2])
        assert height_m == pytest.approx(drawn_m * true_size(person))
