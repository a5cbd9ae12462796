from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hdnet.geometry import Camera
from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.rendering import (
    Framing,
    draw_background,
    draw_film,
    draw_light,
    draw_thing,
    draw_view,
    objects,
    render_frame,
)
from hdnet.synthetic.rendering.carried import HELD, WORN, hand
from hdnet.synthetic.rendering.solids import Solid
from hdnet.synthetic.rendering.view import View
from hdnet.synthetic.surface import Surface

CAMERA = Camera.centred(330.0)
OBJECTS = (
    *(objects.phone, objects.cup, objects.bottle, objects.play_ball, objects.book, objects.flowers),
    *(objects.microphone, objects.stick, objects.closed_umbrella, objects.pet),
)


@pytest.fixture(scope="module")
def person(stand_in: Any) -> Any:
    """Return the stand-in with a pose: the arms of the rest pose are away from the body."""
    skin = SimpleNamespace(surface=SimpleNamespace(vertex_count=SKIN_VERTICES))
    known = SimpleNamespace(**vars(stand_in.person), components=(skin,))
    pose = SimpleNamespace(yaw_deg=0.0)
    return SimpleNamespace(vertices=stand_in.vertices, normals=stand_in.normals, person=known, pose=pose)


def _volume(solid: Solid) -> float:
    a, b, c = (solid.vertices[solid.faces[:, k]].astype(np.float64) for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


@pytest.mark.parametrize("make", OBJECTS, ids=lambda make: make.__name__)
def test_objects_are_sound_and_of_a_plausible_size(make: Any) -> None:
    for seed in range(3):
        solid = make(np.random.default_rng(seed))
        assert np.isfinite(solid.vertices).all()
        assert solid.faces.max() < len(solid.vertices)
        assert len(solid.finish) == len(solid.faces)
        assert solid.finish.max() < len(solid.finishes)
        assert 0.05 < np.ptp(solid.vertices, axis=0).max() < 1.6
        assert len(solid.faces) < 8000


@pytest.mark.parametrize("make", [objects.cup, objects.play_ball, objects.pet], ids=lambda make: make.__name__)
def test_closed_objects_look_outwards(make: Any) -> None:
    assert all(_volume(make(np.random.default_rng(seed))) > 0 for seed in range(3))


def test_a_pet_stands_on_the_floor() -> None:
    for seed in range(4):
        assert objects.pet(np.random.default_rng(seed)).vertices[:, 2].min() == pytest.approx(0, abs=0.02)


def test_hands_of_the_rest_pose_are_found_where_they_are(person: Any) -> None:
    joints = canonical_body().joints
    lift = person.vertices[0] - canonical_body().vertices[0]
    for side, outwards in (("L", 1.0), ("R", -1.0)):
        found = hand(person, side)
        wrist, knuckle = joints[f"wrist.{side}"] + lift, joints[f"finger3-1.{side}"] + lift
        assert np.linalg.norm(found.grip - (wrist + knuckle) / 2) < 0.07
        assert np.allclose(found.axes.T @ found.axes, np.eye(3), atol=1e-6)
        along = (knuckle - wrist) / np.linalg.norm(knuckle - wrist)
        assert found.axes[:, 1] @ along > 0.9
        # Arms hang slantingly, palms down and inwards; the index finger is in front of the little one.
        assert found.axes[2, 2] < 0 or found.axes[0, 2] * outwards < 0
        assert found.axes[1, 0] < 0
        assert found.room_m > 0.1
        assert 1.3 < found.top_m < 2.1


def test_the_palm_is_where_fingers_bend_to(person: Any) -> None:
    model = body_model()
    rest = canonical_body().vertices
    turn = {}
    for side in ("L", "R"):
        axes = hand(person, side).axes
        # A turn that moves what points along the fingers towards the palm.
        axis = np.cross(axes[:, 1], axes[:, 2])
        k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        turn[f"finger3-1.{side}"] = np.eye(3) + k + k @ k * 0.5
    bent = model.skinned(rest, model.transforms(rest, turn))
    bones = np.array(model.bone_names)[model.main_bones()]
    for side in ("L", "R"):
        tip = bones == f"finger3-3.{side}"
        moved = (bent - rest)[:SKIN_VERTICES][tip].mean(0)
        assert moved @ hand(person, side).axes[:, 2] > 0.01


@pytest.mark.parametrize("name", HELD)
def test_held_things_are_at_a_hand(person: Any, name: str) -> None:
    grips = np.stack([hand(person, side).grip for side in ("L", "R")])
    made = [solid for seed in range(6) if (solid := HELD[name](np.random.default_rng(seed), person)) is not None]
    for solid in made:
        share = np.random.default_rng(0).dirichlet(np.ones(3), len(solid.faces) * 20)
        points = np.einsum("nk,nkc->nc", share, solid.vertices[np.tile(solid.faces, (20, 1))])
        assert np.linalg.norm(points[:, None] - grips, axis=2).min() < 0.06
        assert solid.vertices[:, 2].min() > -0.02
    # The hands of the rest pose are far from the head, too high to hang and too low to hold up an umbrella.
    assert made or name in ("microphone", "umbrella")


@pytest.mark.parametrize("name", WORN)
def test_worn_things_lie_on_the_trunk(person: Any, name: str) -> None:
    skin = Surface(body_model().triangles["skin"], SKIN_VERTICES)
    inside = person.vertices[:SKIN_VERTICES]
    for seed in range(4):
        solid = WORN[name](np.random.default_rng(seed), person)
        low, high = solid.vertices.min(0), solid.vertices.max(0)
        assert inside[:, 2].min() + 0.4 < low[2] < high[2] < inside[:, 2].max()
        assert np.abs(solid.vertices[:, :2]).max() < 0.6
        # Straps and bags are in front of or behind the skin, not in it: most of their vertices are outside.
        near = np.linalg.norm(inside[None, ::3] - solid.vertices[::7, None], axis=2).argmin(1) * 3
        out = np.einsum("ij,ij->i", solid.vertices[::7] - inside[near], skin.normals(inside)[near])
        assert (out > -0.01).mean() > 0.7


def _pictures(person: Any, view: View, thing: Solid | None) -> Any:
    light, film = draw_light(np.random.default_rng(1)), draw_film(np.random.default_rng(1))
    background = draw_background(np.random.default_rng(1), view, light, [person])
    return render_frame(view, person, light, background, thing, film, np.random.default_rng(1))


def test_things_are_outside_the_mask(person: Any) -> None:
    names = set()
    shown = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        view = draw_view(rng, CAMERA, [person], Framing(1.0, 0.0, 0.0, 0.0, furniture=0.0))
        name, things = draw_thing(rng, view, [person, person])
        assert len(things) == (2 if name else 0)
        names.add(name)
        if not name or shown == 3:
            continue
        shown += 1
        # Nothing moved: both frames hold the same thing.
        assert np.array_equal(things[0].vertices, things[1].vertices)
        alone, with_thing = _pictures(person, view, None), _pictures(person, view, things[0])
        assert not (with_thing.mask & ~alone.mask).any()
        both = with_thing.mask
        assert np.allclose(with_thing.normals[both], alone.normals[both], atol=1e-3)
        assert 1 - both.sum() / alone.mask.sum() < 0.4
    assert len(names) > 4
