from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hdnet.errors import DataError
from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.canonical import CANONICAL_SHAPE, canonical_body
from hdnet.synthetic.components import Shape
from hdnet.synthetic.motion import Pose, draw_everyday, place, rotations, solve
from hdnet.synthetic.person import PosedPerson, reclined
from hdnet.synthetic.rendering import Snapshot, draw_snapshot
from hdnet.synthetic.rendering.rays import Scene, pixel_directions, project_points
from hdnet.synthetic.rendering.seats import draw_seat
from hdnet.synthetic.surface import Surface

FOCAL_PX = (250.0, 600.0)
Body = Callable[[str], PosedPerson]


@pytest.fixture(scope="session")
def body(stand_in: Any) -> Body:
    """Return a function that poses the naked stand-in in the first drawn pose whose name starts so."""
    model, made = body_model(), {}
    rest = model.shape(CANONICAL_SHAPE)
    shape = Shape(CANONICAL_SHAPE, rest, dict(zip(model.bone_names, model.joints(rest), strict=True)))

    def posed(start: str) -> PosedPerson:
        if start not in made:
            drawn = (draw_everyday(np.random.default_rng(seed)) for seed in range(1000))
            pose: Pose = solve([next(pose for pose in drawn if pose.name.startswith(start))], shape)[0]
            points = model.pose(rest, rotations(pose, shape.joints))
            points = (points + place([pose], [points])[0])[:SKIN_VERTICES].astype(np.float32)
            normals = Surface(stand_in.person.faces, SKIN_VERTICES).normals(points).astype(np.float32)
            person = PosedPerson(points, normals, stand_in.person, pose)
            made[start] = reclined(person) if pose.recline_deg else person
        return made[start]

    return posed


def _shots(posed: PosedPerson, count: int, indoors: bool = False) -> list[Snapshot]:
    return [draw_snapshot(np.random.default_rng(seed), posed, FOCAL_PX, indoors) for seed in range(count)]


def _boxes(shots: list[Snapshot]) -> np.ndarray:
    """Return left, top, right and bottom of each person, as shares of the picture."""
    pixels = [project_points(shot.view.camera, shot.view.points(shot.posed.vertices)) / 256 for shot in shots]
    return np.array([[*points.min(0), *points.max(0)] for points in pixels])


def test_standing_people_are_framed_as_phones_do(body: Body) -> None:
    posed = body("relaxed")
    shots = _shots(posed, 300)
    far = [shot for shot in shots if shot.hold != "arm"]
    assert {shot.framing for shot in shots} == {"whole", "thigh", "half", "bust", "head", "near"}
    assert {shot.hold for shot in shots} == {"eye", "low", "floor", "raised", "balcony", "arm"}
    whole = [shot for shot in far if shot.framing == "whole"]
    assert 0.3 < len(whole) / len(shots) < 0.55
    heights = np.diff(_boxes(whole)[:, [1, 3]])[:, 0]
    assert 0.19 < heights.min() < 0.3
    assert 1.1 < heights.max() < 1.35
    assert 0.35 < np.mean(heights > 0.7) < 0.85
    left, top, right, bottom = _boxes(far).T
    # Cut on every side, the head in a few.
    assert np.mean(left < -0.02) > 0.04
    assert np.mean(right > 1.02) > 0.04
    assert 0.01 < np.mean(top < -0.02) < 0.2
    assert 0.3 < np.mean(bottom > 1.02) < 0.8
    assert np.std((left + right) / 2) > 0.12
    pitch, roll, height = (
        np.array([getattr(shot.view, name) for shot in far]) for name in ("pitch_deg", "roll_deg", "centre_m")
    )
    height = height[:, 2]
    assert pitch.max() > 25
    assert pitch.min() < -8
    assert height.min() < 0.4
    assert height.max() > 4
    assert height.min() > 0.05
    assert np.median(height) == pytest.approx(1.5, abs=0.3)
    assert 3 < np.std(roll) < 9
    assert 12 < np.abs(roll).max() < 21


def test_phones_before_the_eyes_are_as_high_as_the_documentation_says_whatever_is_in_the_frame(body: Body) -> None:
    shots = [shot for shot in _shots(body("relaxed"), 200) if shot.hold == "eye"]
    assert {shot.framing for shot in shots} == {"whole", "thigh", "half", "bust", "head"}
    for framing in ("whole", "thigh", "half"):
        heights = [float(shot.view.centre_m[2]) for shot in shots if shot.framing == framing]
        assert min(heights) > 1.05  # 1.15 less what a short person is lower
        assert max(heights) < 1.85
        assert np.mean(heights) == pytest.approx(1.45, abs=0.12)
    whole = [shot.view.pitch_deg for shot in shots if shot.framing == "whole"]
    assert 5 < np.mean(whole) < 14  # above the middle of the body, and looking down at it
    seated = [float(shot.view.centre_m[2]) for shot in _shots(body("seated,"), 100) if shot.hold == "eye"]
    assert np.mean(seated) < 1.35


def test_a_ceiling_keeps_cameras_low(body: Body) -> None:
    shots = _shots(body("contrapposto"), 80, indoors=True)
    assert max(shot.view.centre_m[2] for shot in shots) < 2.3
    assert "balcony" not in {shot.hold for shot in shots}


def test_selfies_are_taken_over_the_hand(body: Body) -> None:
    posed = body("selfie")
    shots = [shot for shot in _shots(posed, 60) if shot.framing == "selfie"]
    assert 0.5 < len(shots) / 60 < 0.95
    head = posed.person.canonical[:, 2] > canonical_body().joints["head"][2]
    pitches = []
    for shot in shots:
        points = shot.view.points(shot.posed.vertices)
        assert 0.3 < np.linalg.norm(points[head].mean(0)) < 0.75
        # The camera is where a hand is, next to the picture.
        assert np.linalg.norm(points, axis=1).min() < 0.12
        assert 200 <= shot.view.camera.pixel_intrinsics()[0] <= 280
        x, y = project_points(shot.view.camera, points[head].mean(0)[None])[0]
        assert 40 < x < 216
        assert 30 < y < 200
        pitches.append(shot.view.pitch_deg)
    assert max(pitches) - min(pitches) > 5


@pytest.mark.parametrize("name", ["relaxed", "selfie", "seated,", "lying", "kneeling", "bending"])
def test_depth_fits_the_text_layout(body: Body, name: str) -> None:
    """Rays through pixels, not the vertices that were checked, have depths of 1..8 m once their median is 4 m."""
    y, x = (grid.ravel() for grid in np.mgrid[:256:3, :256:3])
    for shot in _shots(body(name), 12):
        scene = Scene(shot.view.points(shot.posed.vertices), shot.posed.person.faces)
        depth = scene.cast(pixel_directions(shot.view.camera, x, y)).depth_m
        ratio = depth / np.median(depth)
        assert len(depth) > 30
        assert np.mean((ratio < 0.25) | (ratio > 2)) < 0.005


def test_same_stream_same_view(body: Body) -> None:
    first, second = _shots(body("seated,"), 3), _shots(body("seated,"), 3)
    for a, b in zip(first, second, strict=True):
        assert (a.framing, a.hold, a.view.camera) == (b.framing, b.hold, b.view.camera)
        assert np.array_equal(a.view.translation_m, b.view.translation_m)


def test_what_cannot_be_framed_is_an_error(body: Body) -> None:
    posed = body("relaxed")
    high = PosedPerson(posed.vertices + np.float32([0, 0, 40]), posed.normals, posed.person, posed.pose)
    with pytest.raises(DataError, match="cannot be framed"):
        draw_snapshot(np.random.default_rng(0), high, FOCAL_PX, True)


def test_seats_carry_those_who_sit(body: Body) -> None:
    posed = body("seated,")
    canonical = posed.person.canonical
    # Hands are as high as hips in the canonical pose, but farther from the middle.
    hip = np.abs(canonical[:, 2] - canonical_body().joints["upperleg01.L"][2]) < 0.05
    hip &= np.abs(canonical[:, 0]) < 0.25
    bottom = posed.vertices[hip][:, 2].min()
    tops = []
    for seed in range(12):
        seat = draw_seat(np.random.default_rng(seed), posed)
        assert seat is not None
        assert seat.vertices[:, 2].min() >= 0
        # A ray down through the hips meets the seat just below them.
        here = posed.vertices[hip].mean(0) + np.float32([0, 0, 0.3])
        axes = np.float32([[1, 0, 0], [0, -1, 0], [0, 0, -1]])
        hits = Scene((seat.vertices - here) @ axes.T, seat.faces).cast(np.float32([[0, 0, 1]]))
        tops.append(here[2] - hits.depth_m[0])
    assert np.abs(np.array(tops) - bottom).max() < 0.12
    assert draw_seat(np.random.default_rng(0), body("relaxed")) is None


def test_lying_people_lie(body: Body) -> None:
    posed = body("lying on the back")
    low, high = posed.vertices.min(0), posed.vertices.max(0)
    assert low[2] == pytest.approx(posed.pose.lift_m, abs=1e-4)
    assert high[2] - low[2] < 0.75
    assert np.hypot(*(high - low)[:2]) > 1.4
    head = posed.person.canonical[:, 2] > canonical_body().joints["head"][2]
    front = posed.person.canonical[:, 1] < np.median(posed.person.canonical[head, 1])
    assert posed.normals[head & front].mean(0)[2] > 0.3
