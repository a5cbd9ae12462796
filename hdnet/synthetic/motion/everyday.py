"""Poses of phone pictures: standing, seated, kneeling, bending and lying people, and those who hold the phone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hdnet.synthetic.motion.pose import FINGERS, INDEX, Pose, PoseBuilder
from hdnet.synthetic.motion.stills import ARMS, STANCES, draw_still, draw_yaw

_Draw = Callable[[np.random.Generator], Pose]


def draw_everyday(rng: np.random.Generator) -> Pose:
    """Draw a pose for the pictures of one person, to be solved for them."""
    draw = _POSES[int(rng.choice(len(_POSES), p=[share for _, share, _ in _POSES]))][2]
    return draw(rng)


def _arms(rng: np.random.Generator, builder: PoseBuilder, choices: dict[str, float]) -> str:
    """Draw what the arms do, by name and weight, and return it."""
    weights = np.array(list(choices.values()))
    name = str(rng.choice(list(choices), p=weights / weights.sum()))
    ARMS[name](rng, builder)
    return name


def _selfie(rng: np.random.Generator) -> Pose:
    builder = PoseBuilder(rng)
    STANCES[str(rng.choice(["relaxed", "contrapposto"]))](rng, builder)
    side = int(rng.integers(2))
    sign = 1 - 2 * side
    other = {"hang": 4.0, "pocket": 2.0, "hip": 2.0, "chest": 0.5}
    _arms(rng, builder, other)
    builder.reach[side] = 0
    lift, forward = rng.uniform(88, 122), rng.uniform(68, 98)
    builder.set_limb(side, arm_lift=lift, arm_forward=forward, elbow=rng.uniform(4, 38), arm_twist=rng.uniform(-15, 15))
    builder.set_limb(
        side, pronation=rng.uniform(-30, 20), wrist=rng.normal(-10, 8), protract=10, shrug=rng.uniform(0, 8)
    )
    for finger in FINGERS:
        builder.set_limb(side, **{finger: rng.uniform(25, 50)})
    # The face is turned to the phone, a little up.
    builder.angles[[INDEX["turn"], INDEX["nod"]]] = sign * rng.uniform(0, 14) + rng.normal(0, 5), rng.normal(-4, 5)
    return builder.pose(float(np.clip(rng.normal(0, 25), -60, 60)), "selfie")


def _seated(rng: np.random.Generator) -> Pose:
    """Sit on a seat, both feet on the floor."""
    builder = PoseBuilder(rng)
    builder.stature = rng.uniform(0.53, 0.64)
    ankles = rng.random() < 0.2
    for side in range(2):
        ahead, width = rng.uniform(0.34, 0.56), rng.uniform(0.06, 0.2)
        builder.place_foot(side, width, -ahead, rng.uniform(0, 16))
    if ankles:
        front = int(rng.integers(2))
        builder.place_foot(front, -0.05, -rng.uniform(0.56, 0.64), 0, 0.02)
        builder.place_foot(1 - front, -0.02, -rng.uniform(0.46, 0.52), 0)
    slump = rng.uniform(0, 1)
    builder.add_trunk(pelvis_tilt=4 - 16 * slump, bend=22 * slump - 2, nod=rng.normal(0, 6))
    if rng.random() < 0.25:
        builder.add_trunk(pelvis_tilt=rng.uniform(8, 22), bend=rng.uniform(5, 15), nod=-12)
    arms = {"thighs": 4.0, "crossed": 1.0, "face": 1.0, "phone": 1.5, "front": 1.0, "chest": 0.5, "wave": 0.5}
    return builder.pose(draw_yaw(rng), f"seated, {_arms(rng, builder, arms)}")


def _floor(rng: np.random.Generator) -> Pose:
    """Sit on the floor with the knees up."""
    builder = PoseBuilder(rng)
    builder.stature = rng.uniform(0.1, 0.13)
    for side in range(2):
        builder.place_foot(side, rng.uniform(0.08, 0.2), -rng.uniform(0.42, 0.68), rng.uniform(4, 20))
    builder.add_trunk(pelvis_tilt=-8, bend=rng.uniform(12, 34), nod=rng.normal(-6, 6))
    return builder.pose(draw_yaw(rng), f"seated on the floor, {_arms(rng, builder, {'thighs': 3.0, 'phone': 1.0})}")


def _kneeling(rng: np.random.Generator) -> Pose:
    """Kneel upright, or on one knee."""
    builder = PoseBuilder(rng)
    builder.stature = rng.uniform(0.5, 0.54)
    up = int(rng.integers(2)) if rng.random() < 0.6 else None
    for side in range(2):
        if side == up:
            builder.place_foot(side, rng.uniform(0.1, 0.16), -rng.uniform(0.3, 0.42), rng.uniform(2, 14))
        else:
            builder.place_foot(side, rng.uniform(0.08, 0.14), rng.uniform(0.36, 0.44), rng.uniform(0, 8), 0.0, 60.0)
    builder.contact = (up == 0, up == 1)
    builder.add_trunk(bend=rng.uniform(0, 14))
    arms = {"thighs": 2.0, "hang": 2.0, "front": 1.0, "phone": 1.0, "reach": 1.0, "hips": 1.0}
    return builder.pose(draw_yaw(rng), f"kneeling, {_arms(rng, builder, arms)}")


def _bending(rng: np.random.Generator) -> Pose:
    """Bend forwards, hands on the knees or reaching down."""
    builder = PoseBuilder(rng)
    for side in range(2):
        builder.place_foot(side, rng.uniform(0.09, 0.17), rng.normal(0, 0.05), rng.uniform(2, 16))
    tilt, bend = rng.uniform(15, 45), rng.uniform(15, 50)
    builder.hips = np.array([0.0, 0.004 * tilt])
    builder.stature = rng.uniform(0.88, 0.97)
    builder.add_trunk(pelvis_tilt=tilt, bend=bend, nod=-rng.uniform(0, 30))
    if rng.random() < 0.5:
        for side in range(2):
            builder.reach_for(side, "knee")
        return builder.pose(draw_yaw(rng), "bending, hands on the knees")
    for side in range(2):
        # Arms hang down from a trunk that is not upright.
        builder.set_limb(side, arm_lift=min(tilt + bend, 100) * rng.uniform(0.7, 1.1), arm_forward=rng.uniform(75, 95))
        builder.set_limb(side, elbow=rng.uniform(5, 40))
    return builder.pose(draw_yaw(rng), "bending, reaching down")


def _lying(rng: np.random.Generator) -> Pose:
    """Lie on the back, on the belly or on a side; the pose of somebody who stands is laid down with their clothes."""
    builder = PoseBuilder(rng)
    how = str(rng.choice(["back", "belly", "side"], p=[0.7, 0.12, 0.18]))
    width = rng.uniform(0.07, 0.16)
    bent = rng.uniform(0.86, 0.99) if how == "side" else 0.995
    pitch = {"back": 0.0, "belly": 55.0, "side": 20.0}[how]
    for side in range(2):
        builder.place_foot(side, width, rng.normal(0, 0.02), rng.uniform(5, 25), 0.0, pitch)
    builder.stature = bent
    builder.hips = np.array([0.0, 0.3 * (1 - bent)])
    choices = {
        "back": {"hang": 2.0, "chest": 1.0, "face": 1.0, "front": 1.5, "phone": 1.5, "reach": 1.0},
        "belly": {"hang": 1.0},
        "side": {"hang": 1.0, "phone": 1.0, "front": 1.0, "hip": 1.0},
    }[how]
    arms = _arms(rng, builder, choices)
    if how == "belly":
        builder.add_trunk(turn=rng.choice([-1, 1]) * rng.uniform(40, 60))
    rolled = {"back": rng.normal(0, 6), "belly": 0.0, "side": rng.choice([-1, 1]) * rng.uniform(65, 90)}[how]
    # With the head or the feet nearer to the camera, or across.
    yaw = float(rng.uniform(-180, 180))
    pose = builder.pose(yaw, f"lying on the {how}, {arms}")
    recline = -90.0 if how == "belly" else 90.0
    return replace(pose, recline_deg=recline, rolled_deg=float(rolled), lift_m=rng.choice([0.0, rng.uniform(0.3, 0.6)]))


_POSES: tuple[tuple[str, float, _Draw], ...] = (
    ("standing", 0.62, draw_still),
    ("selfie", 0.1, _selfie),
    ("seated", 0.14, _seated),
    ("floor", 0.03, _floor),
    ("kneeling", 0.04, _kneeling),
    ("bending", 0.04, _bending),
    ("lying", 0.03, _lying),
)
