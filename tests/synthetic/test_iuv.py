from __future__ import annotations

import numpy as np
import pytest

from hdnet.data.layout.samples import LabelledSample
from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.iuv import canonical_charts

X, Y, Z = np.eye(3)

# Direction on the canonical body (x to the person's left, y backwards, z up) along which U and V grow.
# The table of DensePose's directions: left->right is -x, down is -z, front is -y.
DIRECTIONS = [
    (1, -Z, -X),
    (2, -Z, -X),
    (7, -Z, -X),
    (8, -Z, X),
    (9, Z, X),
    (10, Z, -X),
    (11, Z, -X),
    (12, Z, X),
    (13, -Z, -X),
    (14, -Z, X),
    (23, -Y, Z),
    (24, Y, Z),
    (5, -Y, None),
    (6, Y, None),
]


def _faces(part: int) -> tuple[np.ndarray, np.ndarray]:
    body, charts = canonical_body(), canonical_charts()
    chosen = charts.part == part
    return body.vertices[body_model().triangles["skin"][chosen]].reshape(-1, 3), charts.uv[chosen].reshape(-1, 2)


def _agreement(points: np.ndarray, values: np.ndarray, direction: np.ndarray) -> float:
    return float(np.corrcoef(points @ direction, values)[0, 1])


@pytest.mark.parametrize(("part", "u", "v"), DIRECTIONS)
def test_directions_of_trunk_legs_and_head(part: int, u: np.ndarray, v: np.ndarray | None) -> None:
    points, uv = _faces(part)
    assert _agreement(points, uv[:, 0], u) > 0.8
    if v is not None:
        assert _agreement(points, uv[:, 1], v) > 0.8


@pytest.mark.parametrize(
    ("parts", "start", "end", "u_sign"),
    [
        ((15, 17), "upperarm01.L", "lowerarm01.L", 1),
        ((16, 18), "upperarm01.R", "lowerarm01.R", 1),
        ((19,), "lowerarm01.L", "wrist.L", -1),
        ((20,), "lowerarm01.R", "wrist.R", -1),
        ((21,), "lowerarm01.L", "wrist.L", 1),
        ((22,), "lowerarm01.R", "wrist.R", 1),
    ],
)
def test_u_runs_along_the_arms(parts: tuple[int, ...], start: str, end: str, u_sign: int) -> None:
    body = canonical_body()
    for part in parts:
        points, uv = _faces(part)
        assert u_sign * _agreement(points, uv[:, 0], body.joints[end] - body.joints[start]) > 0.8


@pytest.mark.parametrize("part", [15, 16, 17, 18])
def test_v_of_the_upper_arm_runs_from_armpit_to_top(part: int) -> None:
    points, uv = _faces(part)
    assert _agreement(points, uv[:, 1], Z) > 0.4


@pytest.mark.parametrize(("part", "side"), [(3, ".R"), (4, ".L")])
def test_v_of_the_hand_runs_from_wrist_to_tips(part: int, side: str) -> None:
    body = canonical_body()
    points, uv = _faces(part)
    assert _agreement(points, uv[:, 1], body.joints["finger3-3" + side] - body.joints["wrist" + side]) > 0.8


def test_thumb_and_little_finger_of_the_back_of_the_hand() -> None:
    body = canonical_body()
    for part, side, mirrored in ((3, ".R", False), (4, ".L", True)):
        points, uv = _faces(part)
        u = 1 - uv[:, 0] if mirrored else uv[:, 0]
        thumb = np.linalg.norm(points - body.joints["finger2-1" + side], axis=1) < 0.02
        little = np.linalg.norm(points - body.joints["finger5-1" + side], axis=1) < 0.02
        # Either on the back (0 thumb .. 0.5) or on the palm (0.5 .. 1 thumb).
        assert np.abs(u[little] - 0.5).mean() < 0.25
        assert np.abs(u[thumb] - 0.5).mean() > 0.25


def test_left_and_right_are_on_their_sides_and_front_is_in_front() -> None:
    for left, right in ((4, 3), (5, 6), (10, 9), (8, 7), (14, 13), (12, 11), (15, 16), (19, 20), (24, 23)):
        assert _faces(left)[0][:, 0].mean() > 0 > _faces(right)[0][:, 0].mean()
    for front, back in ((2, 1), (9, 7), (10, 8), (13, 11), (15, 17), (16, 18)):
        assert _faces(front)[0][:, 1].mean() < _faces(back)[0][:, 1].mean()


def test_every_part_is_seen_in_a_few_pictures(stills: list[LabelledSample]) -> None:
    seen = {int(part) for sample in stills for part in np.unique(sample.iuv[..., 0])}
    assert seen == set(range(25))
