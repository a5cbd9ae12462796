from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.spatial import cKDTree

from hdnet.synthetic.body import SKIN_VERTICES, Phenotype, body_model
from hdnet.synthetic.canonical import CANONICAL_SHAPE
from hdnet.synthetic.components import Shape
from hdnet.synthetic.motion import (
    ANGLES,
    LIMITS,
    Pose,
    a_pose,
    approach,
    blend,
    draw_dance,
    draw_everyday,
    draw_still,
    place,
    rotations,
    solve,
)
from hdnet.synthetic.motion.body_proxy import fit_proxy
from hdnet.synthetic.motion.bones import between
from hdnet.synthetic.motion.goals import trunk_vertices
from hdnet.synthetic.motion.solve import _fore_foot, foot_vertices
from hdnet.synthetic.surface import Surface, normalized

FRAMES = 120


@cache
def shape(number: int = 0) -> Shape:
    rng = np.random.default_rng(900 + number)
    drawn = Phenotype(rng.random(), rng.uniform(2 / 3, 1), *rng.uniform(0.1, 0.9, 4), tuple(rng.dirichlet(np.ones(3))))
    return shape_of(CANONICAL_SHAPE if number == 0 else drawn)


def shape_of(phenotype: Phenotype) -> Shape:
    rest = body_model().shape(phenotype)
    return Shape(phenotype, rest, dict(zip(body_model().bone_names, body_model().joints(rest), strict=True)))


def posed(pose: Pose, person: Shape) -> np.ndarray:
    return body_model().pose(person.rest, rotations(pose, person.joints))


def joints_of(vertices: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(body_model().bone_names, body_model().joints(vertices), strict=True))


@cache
def dance(seed: int) -> tuple[list[Pose], np.ndarray]:
    person = shape(seed)
    poses = solve(draw_dance(np.random.default_rng(seed), FRAMES), person)
    bodies = [posed(pose, person) for pose in poses]
    return poses, np.stack(bodies) + place(poses, bodies)[:, None].astype(np.float32)


def still(seed: int, number: int = 0) -> tuple[Pose, np.ndarray]:
    pose = solve([draw_still(np.random.default_rng(seed))], shape(number))[0]
    body = posed(pose, shape(number))
    return pose, body + place([pose], [body])[0]


def with_angles(**degrees: float) -> Pose:
    values = np.zeros(len(ANGLES))
    for index, name in enumerate(ANGLES):
        values[index] = degrees.get(name, degrees.get(name.split(".")[0], 0.0))
    return Pose(values)


def test_arms_hang_stretch_sideways_and_forwards_as_named() -> None:
    for lift, forward, expected in ((0, 0, [0, 0, -1]), (90, 0, [1, 0, 0]), (90, 90, [0, -1, 0]), (180, 0, [0, 0, 1])):
        joints = joints_of(posed(with_angles(arm_lift=lift, arm_forward=forward, elbow=30), shape()))
        arm = joints["lowerarm01.L"] - joints["upperarm01.L"]
        assert arm @ expected / np.linalg.norm(arm) > 0.97


def test_both_sides_mirror_each_other() -> None:
    pose = with_angles(arm_lift=60, arm_forward=40, arm_twist=20, elbow=80, pronation=30, hip_flex=30, knee=40)
    joints = joints_of(posed(pose, shape()))
    for bone in ("wrist", "finger2-3", "lowerleg01", "foot"):
        assert np.allclose(joints[f"{bone}.L"] * [-1, 1, 1], joints[f"{bone}.R"], atol=2e-3)


def test_elbow_angle_is_the_angle_between_the_arm_bones() -> None:
    joints = joints_of(posed(with_angles(arm_lift=30, elbow=75), shape()))
    upper = joints["lowerarm01.R"] - joints["upperarm01.R"]
    lower = joints["wrist.R"] - joints["lowerarm01.R"]
    assert abs(np.degrees(np.arccos(upper @ lower / np.linalg.norm(upper) / np.linalg.norm(lower))) - 75) < 8


def test_fingers_and_wrist_bend_towards_the_palm() -> None:
    flat = joints_of(posed(with_angles(elbow=10), shape()))
    # The palm of a hanging hand looks at the thigh.
    for name in ("index", "little", "wrist"):
        bent = joints_of(posed(with_angles(**{name: 40, "elbow": 10}), shape()))
        finger = "finger5-3.L" if name == "little" else "finger2-3.L"
        assert bent[finger][0] < flat[finger][0] - 0.01


def test_positive_yaw_turns_the_front_to_the_persons_left_the_right_of_the_picture() -> None:
    pose = with_angles(elbow=10)
    nose = posed(pose, shape())[:SKIN_VERTICES, 1].argmin()
    turned = posed(Pose(pose.angles_deg, yaw_deg=90.0), shape())
    middle = joints_of(turned)["root"]
    assert turned[nose, 0] - middle[0] > 0.05


@pytest.mark.parametrize("number", range(3))
def test_angles_stay_within_their_limits(number: int) -> None:
    poses = [still(seed, number)[0] for seed in range(12)] + dance(number)[0]
    for pose in poses:
        assert (pose.angles_deg >= LIMITS[:, 0] - 1e-6).all()
        assert (pose.angles_deg <= LIMITS[:, 1] + 1e-6).all()


def test_blend_meets_both_ends_and_turns_the_short_way() -> None:
    a, b = draw_still(np.random.default_rng(1)), draw_still(np.random.default_rng(2))
    assert np.allclose(blend(a, b, 0).angles_deg, a.angles_deg)
    assert np.allclose(blend(a, b, 1).angles_deg, b.angles_deg)
    middle = blend(Pose(a.angles_deg, yaw_deg=170), Pose(b.angles_deg, yaw_deg=-170), 0.5)
    assert abs(middle.yaw_deg) == pytest.approx(180)
    steps = approach(b, 6)
    assert len(steps) == 6
    assert steps[-1] is b


@pytest.mark.parametrize("seed", range(4))
def test_planted_feet_do_not_slide(seed: int) -> None:
    poses, vertices = dance(seed)
    contact = np.array([pose.contact for pose in poses])
    for side, name in enumerate("LR"):
        soles = vertices[:, _fore_foot(name), :2].mean(1)
        for start in range(FRAMES):
            if contact[start, side] and (start == 0 or not contact[start - 1, side]):
                end = start + int(np.argmin(np.append(contact[start:, side], False)))
                assert np.linalg.norm(soles[start:end] - soles[start], axis=1).max() < 0.01


@pytest.mark.parametrize("seed", range(4))
def test_nobody_sinks_floats_or_leaves(seed: int) -> None:
    poses, vertices = dance(seed)
    low = vertices[:, :SKIN_VERTICES, 2].min(1)
    assert np.allclose(low, [pose.lift_m for pose in poses], atol=1e-3)
    assert np.abs([joints_of(frame)["root"][:2] for frame in vertices[::10]]).max() < 0.65
    for frame, pose in zip(vertices, poses, strict=True):
        for side, name in enumerate("LR"):
            if pose.contact[side]:
                assert frame[foot_vertices(name), 2].min() < 0.035


def test_some_dances_jump_and_come_down_by_gravity() -> None:
    jumps = 0
    for seed in range(12):
        poses = draw_dance(np.random.default_rng(seed), 240)
        lift = np.array([pose.lift_m for pose in poses])
        assert lift.max() < 0.35
        flying = lift > 0.02
        jumps += int(flying.any())
        assert not np.any([any(pose.contact) for pose, up in zip(poses, flying, strict=True) if up])
        inside = flying[:-2] & flying[1:-1] & flying[2:]
        if inside.any():
            assert np.allclose(np.diff(lift, 2)[inside] * 900, -9.81, atol=0.3)
    assert jumps >= 3


def test_soles_are_level_when_standing() -> None:
    person = shape(2)
    start = solve([a_pose()], person)[0]
    rest, body = person.rest, posed(start, person)
    for name in "LR":
        foot = foot_vertices(name)
        assert np.abs((body[foot, 2] - body[foot, 2].min()) - (rest[foot, 2] - rest[foot, 2].min())).max() < 0.012


def test_hands_stay_out_of_the_body() -> None:
    """At most one still in ten has a hand more than a centimetre inside trunk, head or legs, none more than six."""
    surface, trunk = Surface(body_model().triangles["skin"], SKIN_VERTICES), trunk_vertices()
    names = np.array(body_model().bone_names)[np.asarray(body_model().weights[:SKIN_VERTICES].argmax(1)).ravel()]
    hands = np.flatnonzero([name.startswith(("wrist", "metacarpal", "finger", "lowerarm02")) for name in names])[::5]
    depths = []
    for seed in range(40):
        vertices = still(seed, seed % 5)[1][:SKIN_VERTICES]
        distance, nearest = cKDTree(vertices[trunk]).query(vertices[hands])
        outwards = surface.normals(vertices)[trunk[nearest]]
        inside = -np.einsum("ij,ij->i", vertices[hands] - vertices[trunk[nearest]], outwards)
        depths.append(np.where(distance < 0.12, inside, 0).max())
    assert np.mean(np.array(depths) > 0.01) <= 0.1
    assert max(depths) < 0.06


@pytest.mark.parametrize("seed", range(4))
def test_motion_is_smooth_and_not_too_fast(seed: int) -> None:
    _, vertices = dance(seed)
    joints = np.stack([body_model().joints(frame) for frame in vertices])
    speed = np.linalg.norm(np.diff(joints, axis=0), axis=2) * 30
    wrists = speed[:, [body_model().bone(f"wrist.{side}") for side in "LR"]]
    assert np.quantile(wrists, 0.95) < 3.2
    assert wrists.max() < 6.5
    assert wrists.mean() > 0.2


def test_same_seed_same_poses() -> None:
    a, b = (solve(draw_dance(np.random.default_rng(5), 30), shape(1)) for _ in range(2))
    assert all(np.array_equal(x.angles_deg, y.angles_deg) for x, y in zip(a, b, strict=True))
    assert [x.yaw_deg for x in a] == [y.yaw_deg for y in b]
    assert np.array_equal(still(7)[1], still(7)[1])


def test_poses_vary_and_most_people_face_the_camera() -> None:
    poses = [draw_still(np.random.default_rng(seed)) for seed in range(300)]
    yaw = (np.array([pose.yaw_deg for pose in poses]) + 180) % 360 - 180
    assert 0.5 < (np.abs(yaw) <= 40).mean() < 0.85
    assert (np.abs(yaw) > 120).mean() > 0.06
    assert (np.histogram(yaw, bins=12, range=(-180, 180))[0] > 0).all()
    spread = np.std([pose.angles_deg for pose in poses], axis=0)
    for name in ("arm_lift.L", "arm_lift.R", "elbow.L", "elbow.R", "turn"):
        assert spread[ANGLES.index(name)] > 10
    turned = [np.ptp([pose.yaw_deg for pose in draw_dance(np.random.default_rng(seed), 250)]) for seed in range(20)]
    assert np.median(turned) > 20
    assert max(turned) > 300


def test_between_turns_one_direction_onto_the_other() -> None:
    start, end = normalized(np.array([1.0, 2.0, -0.5])), normalized(np.array([[-0.3, 0.4, 1.0]]))
    assert np.allclose(between(start, end) @ start, end)
    assert np.allclose(between(start, start[None]), np.eye(3))


@pytest.mark.parametrize(
    ("start", "hips", "tallest"),
    [("seated,", (0.45, 0.72), 1.5), ("seated on", (0.1, 0.3), 1.1), ("kneeling", (0.4, 0.65), 1.45)],
)
def test_everyday_poses_are_as_high_as_their_name_says(start: str, hips: tuple[float, float], tallest: float) -> None:
    drawn = (draw_everyday(np.random.default_rng(seed)) for seed in range(2000))
    poses = [pose for pose in drawn if pose.name.startswith(start)][:3]
    assert len(poses) == 3
    for pose in poses:
        solved = solve([pose], shape())[0]
        assert solved.name == pose.name
        assert (solved.angles_deg >= LIMITS[:, 0] - 1e-6).all()
        assert (solved.angles_deg <= LIMITS[:, 1] + 1e-6).all()
        body = posed(solved, shape())
        body = body + place([solved], [body])[0]
        assert hips[0] < joints_of(body)["upperleg01.L"][2] < hips[1]
        assert body[:SKIN_VERTICES, 2].max() < tallest


def test_a_selfies_hand_is_stretched_out_before_the_face() -> None:
    drawn = (draw_everyday(np.random.default_rng(seed)) for seed in range(200))
    for pose in [pose for pose in drawn if pose.name == "selfie"][:4]:
        joints = joints_of(posed(solve([pose], shape())[0], shape()))
        hand = max((joints[f"wrist.{side}"] for side in "LR"), key=lambda point: point[2])
        assert 0.3 < np.linalg.norm(hand - joints["head"]) < 0.7
        assert hand[2] > joints["spine01"][2] - 0.15


@pytest.mark.parametrize("gender", [0.0, 1.0])
@pytest.mark.parametrize("age", [0.58, 1.0])
@pytest.mark.parametrize("height", [0.0, 1.0])
@pytest.mark.parametrize("proportions", [0.0, 1.0])
def test_the_shortest_and_tallest_bodies_keep_their_arms_out_of_themselves(gender, age, height, proportions) -> None:
    person = shape_of(Phenotype(gender, age, 0.7, 0.4, height, proportions, (0.1, 0.85, 0.05)))
    proxy = fit_proxy(person)
    sizes = np.concatenate([stack.sizes.ravel() for stack in proxy.stacks] + [proxy.thigh_radii])
    assert ((sizes > 0.005) & (sizes < 0.5)).all()
    (pose,) = solve([draw_still(np.random.default_rng(1))], person)
    assert np.isfinite(posed(pose, person)).all()
