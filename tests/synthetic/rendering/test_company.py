from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree

from hdnet.geometry import Camera
from hdnet.synthetic.rendering import (
    Framing,
    company,
    draw_background,
    draw_film,
    draw_light,
    draw_view,
    overlaid,
    render_frame,
)
from hdnet.synthetic.rendering.backgrounds import Background
from hdnet.synthetic.rendering.company import Bystander, Company, bystander, draw_company
from hdnet.synthetic.rendering.furniture import hidden_points
from hdnet.synthetic.rendering.light import Lamp, Light
from hdnet.synthetic.rendering.rays import Scene, pixel_directions
from hdnet.synthetic.rendering.solids import Finish, Solid, blob
from hdnet.synthetic.rendering.view import View

CAMERA = Camera.centred(330.0)
DARK = Lamp(np.array([0.0, 0, 1.0]), np.zeros(3), 0.05)
WHOLE = Framing(1.0, 0.0, 0.0, 0.0, furniture=0.0)


@pytest.fixture(scope="module")
def one() -> Bystander:
    return bystander(3, 0)


@pytest.fixture
def pool_of_one(one: Bystander, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(company, "bystander", lambda _seed, _number: one)


def test_a_bystander_is_a_small_standing_person(one: Bystander) -> None:
    low, high = one.vertices.min(0), one.vertices.max(0)
    assert low[2] == pytest.approx(0, abs=0.02)
    assert 1.0 < high[2] < 2.4
    assert np.abs(one.vertices[:, :2].mean(0)).max() < 0.3
    assert len(one.faces) < 45_000
    assert one.faces.max() < len(one.vertices)
    assert np.allclose(np.linalg.norm(one.normals, axis=1), 1, atol=1e-4)
    assert one.paint.min() > 0
    assert one.paint.max() <= 1
    assert set(range(4)) <= set(one.part.tolist())
    # Faces look outwards: most agree with the normals of their corners.
    a, b, c = (one.vertices[one.faces[:, k]] for k in range(3))
    assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), one.normals[one.faces].mean(1)) > 0).mean() > 0.95


def test_a_bystander_depends_on_seed_and_number_only(one: Bystander) -> None:
    again = bystander.__wrapped__(3, 0)
    for name in ("vertices", "normals", "paint", "part", "faces"):
        assert np.array_equal(getattr(again, name), getattr(one, name))


@pytest.mark.usefixtures("pool_of_one")
def test_people_stand_apart_and_on_the_floor(stand_in: Any) -> None:
    counts = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        view = draw_view(rng, CAMERA, [stand_in], WHOLE)
        drawn = draw_company(rng, 3, view, [stand_in])
        every = [*drawn.behind, *([drawn.before] if drawn.before else [])]
        counts.append(drawn.count)
        assert len(drawn.behind) <= drawn.count <= 4
        trees = [cKDTree(solid.vertices) for solid in every]
        for k, solid in enumerate(every):
            assert solid.vertices[:, 2].min() == pytest.approx(0, abs=0.02)
            assert cKDTree(stand_in.vertices).query(solid.vertices)[0].min() > 0.02
            assert all(tree.query(solid.vertices)[0].min() > 0.02 for tree in trees[:k])
    assert max(counts) > 1


def _drawn(stand_in: Any, *, before: bool) -> tuple[View, Company]:
    """Return the first company with, or without, somebody who hides a part of the person."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        view = draw_view(rng, CAMERA, [stand_in], WHOLE)
        drawn = draw_company(rng, 3, view, [stand_in])
        if (drawn.before is not None) is before and drawn.count:
            here = stand_in.vertices[::9]
            hidden, seen = hidden_points(view, drawn.before, here) if drawn.before else (np.zeros(1), np.ones(1))
            if not before or (hidden & seen).mean() > 0.03:
                return view, drawn
    raise AssertionError("nothing drawn")


@pytest.mark.usefixtures("pool_of_one")
@pytest.mark.parametrize("before", [False, True])
def test_the_mask_is_of_the_person_alone(stand_in: Any, before: bool) -> None:
    view, drawn = _drawn(stand_in, before=before)
    frames = []
    for others, solid in (((), None), (drawn.behind, drawn.before)):
        light, film = draw_light(np.random.default_rng(1)), draw_film(np.random.default_rng(1))
        background = draw_background(np.random.default_rng(1), view, light, [stand_in], others=others)
        background = overlaid(background, view, light, others)
        frames.append(render_frame(view, stand_in, light, background, solid, film, np.random.default_rng(1)))
    alone, with_others = frames
    assert not (with_others.mask & ~alone.mask).any()
    assert (with_others.image != alone.image).mean() > 0.01
    hidden = 1 - with_others.mask.sum() / alone.mask.sum()
    assert 0.01 < hidden < 0.35 if before else hidden == 0
    both = with_others.mask
    assert np.allclose(with_others.normals[both], alone.normals[both], atol=1e-3)
    assert np.ptp(with_others.depth_m[both] / alone.depth_m[both]) < 1e-3


def _plain(depth_m: float) -> tuple[View, Light, Background]:
    """Return a level camera 1 m high, ambient light from the camera, and a grey wall across the picture."""
    rotation = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    view = View(CAMERA, rotation, np.array([0.0, 1.0, 0.0]))
    light = Light("test", "room", np.array([[0.0, -1, 0]]), np.ones((1, 3)), (DARK,), 1.0, 1.0)
    pixels = 256 * 256
    normals = np.tile(np.array([0, 0, -1.0], np.float32), (pixels, 1))
    wall = Background(
        np.full((256, 256, 3), 0.5, np.float32),
        np.full(pixels, depth_m, np.float32),
        normals,
        np.ones((pixels, 3), np.float32),
        np.zeros((1, pixels), np.float32),
        3.0,
        0.0,
    )
    return view, light, wall


def _ball(depth_m: float, radius_m: float) -> Solid:
    white = Finish(np.full((2, 3), 0.9), gloss=0.0)
    ball = blob(np.random.default_rng(0), white, (0, 0, 0), (1, 1, 1))
    vertices = ball.vertices / np.linalg.norm(ball.vertices, axis=1, keepdims=True) * radius_m
    return replace(ball, vertices=(vertices + np.array([0, depth_m, 1.0])).astype(np.float32))


def test_a_ball_is_put_before_the_wall_where_geometry_says() -> None:
    view, light, wall = _plain(5.0)
    shown = overlaid(wall, view, light, [_ball(3.0, 0.4)])
    nearer = shown.depth_m < wall.depth_m
    focal = CAMERA.pixel_intrinsics()[0]
    # A ball's outline is a circle of this radius; the mesh lies inside the ball.
    radius_px = focal * 0.4 / np.sqrt(3.0**2 - 0.4**2)
    assert 0.9 < nearer.sum() / (np.pi * radius_px**2) <= 1.02
    assert shown.depth_m.min() == pytest.approx(2.6, abs=0.03)
    assert np.array_equal(shown.radiance.reshape(-1, 3)[0], wall.radiance.reshape(-1, 3)[0])
    middle = shown.radiance[128, 128]
    assert (middle > 0.6).all()
    assert (shown.normals[nearer] @ np.array([0, 0, -1.0]) > 0).mean() > 0.95


def test_a_ball_behind_the_wall_is_not_seen() -> None:
    view, light, wall = _plain(2.0)
    assert overlaid(wall, view, light, [_ball(3.0, 0.4)]) is wall


def test_a_ball_before_the_wall_takes_light_from_the_floor() -> None:
    view, light, _ = _plain(5.0)
    lit = replace(light, lamps=(Lamp(np.array([0.0, 0, 1.0]), np.ones(3), 0.05),))
    # The floor, seen from 1 m above it.
    y = np.repeat(np.arange(256), 256)
    rays = pixel_directions(CAMERA, np.tile(np.arange(256), 256), y)
    below = rays[:, 1] > 0.01
    depth = np.where(below, 1 / np.maximum(rays[:, 1], 0.01), 0).astype(np.float32)
    up = np.tile(np.array([0, -1.0, 0], np.float32), (len(y), 1))
    floor = Background(
        np.full((256, 256, 3), 0.5, np.float32),
        depth,
        up,
        np.full((len(y), 3), 0.2, np.float32),
        np.ones((1, len(y)), np.float32),
        4.0,
        0.0,
    )
    shown = overlaid(floor, view, lit, [_ball(4.0, 0.5).moved(0, (0, 0, -0.5))])
    darker = shown.radiance[..., 0] < 0.3
    rows, columns = np.nonzero(darker & (shown.depth_m == floor.depth_m).reshape(256, 256))
    assert len(rows) > 20
    assert abs(columns.mean() - 127.5) < 12


def test_painted_and_finished_solids_are_merged_with_their_colours(one: Bystander) -> None:
    rng = np.random.default_rng(0)
    person = company._as_person(rng, one)
    both = company.merged([person, _ball(3.0, 0.4)])
    assert both.paint is not None
    assert (both.paint[len(person.vertices) :] < 0).all()
    assert np.array_equal(both.paint[: len(person.vertices)], person.paint)
    turned = both.moved(90, (1, 2, 0))
    assert np.allclose(turned.normals[0] @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]), both.normals[0], atol=1e-6)
    scene = Scene(both.vertices, both.faces)
    assert len(scene.cast(np.array([[0, 0, 1.0]])).ray) in (0, 1)
