"""Still poses: everyday stances and gestures, and moments of a dance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hdnet.synthetic.motion.dance import draw_dance
from hdnet.synthetic.motion.pose import FINGERS, Pose, PoseBuilder, floor_turn, point_finger, raise_arm
from hdnet.synthetic.surface import FloatArray

ArmDraw = Callable[[np.random.Generator, PoseBuilder], None]
_DANCE_SHARE = 0.25


def draw_yaw(rng: np.random.Generator) -> float:
    """Draw a yaw: mostly within 40 degrees of the camera, sometimes side or back."""
    pick = rng.random()
    if pick < 0.66:
        return float(np.clip(rng.normal(0, 20), -40, 40))
    if pick < 0.83:
        return float(rng.choice([-1, 1]) * rng.uniform(40, 110))
    return float(rng.uniform(100, 260) + 180) % 360 - 180 if pick < 0.94 else float(rng.uniform(-180, 180))


def draw_still(rng: np.random.Generator) -> Pose:
    """Draw a pose for one picture, to be solved for a person."""
    if rng.random() < _DANCE_SHARE:
        poses = draw_dance(rng, 120)
        pose = poses[int(rng.integers(30, 120))]
        turned = _turned(pose, draw_yaw(rng))
        return replace(turned, travel_m=np.zeros(2))
    builder = PoseBuilder(rng)
    stance = rng.choice(list(STANCES), p=_shares(STANCE_SHARES))
    STANCES[stance](rng, builder)
    if stance == "squat":
        choices = {"thighs": 3.0, "reach": 1.0, "front": 1.0}
    else:
        choices = _ARM_SHARES
    arms = rng.choice(list(choices), p=_shares(list(choices.values())))
    ARMS[arms](rng, builder)
    return builder.pose(draw_yaw(rng), f"{stance}, {arms}")


def _turned(pose: Pose, yaw_deg: float) -> Pose:
    if pose.feet is None:
        return replace(pose, yaw_deg=yaw_deg)
    turn = floor_turn(yaw_deg - pose.yaw_deg)
    feet = pose.feet.copy()
    feet[:, :2] = (feet[:, :2] - pose.travel_m) @ turn.T
    feet[:, 2] += yaw_deg - pose.yaw_deg
    return replace(pose, yaw_deg=yaw_deg, feet=feet)


def _shares(values: list[float]) -> FloatArray:
    return np.asarray(np.array(values) / np.sum(values))


def _hang(rng: np.random.Generator, builder: PoseBuilder) -> None:
    """Leave the arms as the stance set them."""


def _crossed(rng: np.random.Generator, builder: PoseBuilder) -> None:
    over = int(rng.integers(2))
    builder.reach_for(over, "cross_over")
    builder.reach_for(1 - over, "cross_under")
    for side in range(2):
        builder.set_limb(side, protract=10)


def _both(first: str, second: str) -> ArmDraw:
    def draw(rng: np.random.Generator, builder: PoseBuilder) -> None:
        over = int(rng.integers(2))
        builder.reach_for(over, first)
        builder.reach_for(1 - over, second)

    return draw


def _one(*goals: str) -> ArmDraw:
    def draw(rng: np.random.Generator, builder: PoseBuilder) -> None:
        side = int(rng.integers(2))
        builder.reach_for(side, str(rng.choice(goals)))
        if rng.random() < 0.3:
            builder.reach_for(1 - side, str(rng.choice(["hip", "pocket", "pocket"])))

    return draw


def _phone(rng: np.random.Generator, builder: PoseBuilder) -> None:
    side = int(rng.integers(2))
    builder.reach_for(side, "phone")
    for finger in FINGERS:
        builder.set_limb(side, **{finger: rng.uniform(25, 45)})
    builder.add_trunk(nod=22)


def _wave(rng: np.random.Generator, builder: PoseBuilder) -> None:
    side = int(rng.integers(2))
    lift, forward = rng.uniform(75, 150), rng.uniform(10, 55)
    elbow, twist = rng.uniform(40, 115), rng.uniform(-80, -35)
    builder.set_limb(side, arm_lift=lift, arm_forward=forward, arm_twist=twist, elbow=elbow)
    builder.set_limb(side, pronation=rng.uniform(10, 60), wrist=rng.normal(-10, 10), spread=rng.uniform(4, 14))
    for finger in FINGERS:
        builder.set_limb(side, **{finger: rng.uniform(-6, 10)})


def _point(rng: np.random.Generator, builder: PoseBuilder) -> None:
    side = int(rng.integers(2))
    builder.set_limb(side, arm_lift=rng.uniform(55, 120), arm_forward=rng.uniform(15, 100), elbow=rng.uniform(5, 35))
    builder.set_limb(side, arm_twist=rng.uniform(-20, 20), pronation=rng.uniform(20, 75))
    point_finger(builder.angles, side)


def _gesture(rng: np.random.Generator, builder: PoseBuilder) -> None:
    first = int(rng.integers(2))
    raise_arm(rng, builder.angles, first)
    if rng.random() < 0.7:
        raise_arm(rng, builder.angles, 1 - first)


def _thighs(rng: np.random.Generator, builder: PoseBuilder) -> None:
    for side in range(2):
        builder.reach_for(side, "knee" if rng.random() < 0.6 else "thigh")


ARMS: dict[str, ArmDraw] = {
    "hang": _hang,
    "crossed": _crossed,
    "pockets": _both("pocket", "pocket"),
    "hips": _both("hip", "hip"),
    "hip_and_pocket": _both("hip", "pocket"),
    "hip": _one("hip", "hip_back"),
    "pocket": _one("pocket"),
    "face": _one("chin", "cheek", "hair", "neck", "ear"),
    "phone": _phone,
    "back": _both("back_over", "back_low"),
    "front": _both("front_over", "front_under"),
    "chest": _one("chest", "shoulder"),
    "wave": _wave,
    "point": _point,
    "reach": _gesture,
    "thighs": _thighs,
}
_ARM_SHARES = {
    **{"hang": 0.2, "crossed": 0.08, "pockets": 0.07, "hips": 0.05, "hip_and_pocket": 0.03, "hip": 0.06},
    **{"pocket": 0.06, "face": 0.1, "phone": 0.04, "back": 0.04, "front": 0.05, "chest": 0.03},
    **{"wave": 0.05, "point": 0.04, "reach": 0.16},
}


def _relaxed(rng: np.random.Generator, builder: PoseBuilder) -> None:
    width = rng.uniform(0.085, 0.15)
    for side in range(2):
        builder.place_foot(side, width, rng.normal(0, 0.025), rng.uniform(0, 18))
    builder.hips = np.array([rng.normal(0, 0.02), rng.normal(0.012, 0.008)])
    builder.add_trunk(pelvis_roll=rng.normal(0, 1.5), pelvis_turn=rng.normal(0, 3))


def _contrapposto(rng: np.random.Generator, builder: PoseBuilder) -> None:
    free = int(rng.integers(2))
    sign = 1 - 2 * free
    width = rng.uniform(0.08, 0.11)
    builder.place_foot(1 - free, width, 0.0, rng.uniform(2, 14))
    builder.place_foot(free, rng.uniform(0.09, 0.19), rng.uniform(-0.17, 0.0), rng.uniform(8, 32))
    # The hip rises over the standing leg, the chest leans back over it.
    drop = rng.uniform(3, 8)
    builder.hips = np.array([-sign * width * rng.uniform(0.6, 0.9), 0.0])
    builder.add_trunk(pelvis_roll=sign * drop, lean=-sign * drop * rng.uniform(0.9, 1.5), tilt=sign * rng.uniform(0, 6))
    builder.add_trunk(pelvis_turn=sign * rng.uniform(-8, 2), twist=sign * rng.uniform(0, 8))


def _walk(rng: np.random.Generator, builder: PoseBuilder) -> None:
    ahead = int(rng.integers(2))
    sign = 1 - 2 * ahead
    stride = rng.uniform(0.18, 0.36)
    heel = rng.uniform(-12, 0) if rng.random() < 0.5 else 0.0
    builder.place_foot(ahead, 0.07, -stride, rng.uniform(2, 10), 0.0, heel)
    builder.place_foot(1 - ahead, 0.07, stride, rng.uniform(4, 12), 0.0, rng.uniform(20, 42))
    builder.stature = 0.97
    builder.hips = np.array([0.0, rng.uniform(-0.08, 0.04)])
    swing = stride * rng.uniform(40, 90)
    builder.set_limb(ahead, arm_lift=10 + 0.5 * swing, arm_forward=-80, elbow=rng.uniform(5, 25))
    builder.set_limb(1 - ahead, arm_lift=10 + 0.9 * swing, arm_forward=75, elbow=rng.uniform(20, 60))
    builder.add_trunk(pelvis_turn=-sign * 6, twist=sign * 10, bend=rng.uniform(0, 5))


def _wide(rng: np.random.Generator, builder: PoseBuilder) -> None:
    width = rng.uniform(0.2, 0.34)
    for side in range(2):
        builder.place_foot(side, width, rng.normal(0, 0.03), rng.uniform(12, 32))
    builder.hips = np.array([rng.normal(0, 0.05), 0.02])
    builder.stature = rng.uniform(0.9, 0.98)
    builder.add_trunk(bend=rng.uniform(0, 8))


def _lunge(rng: np.random.Generator, builder: PoseBuilder) -> None:
    ahead = int(rng.integers(2))
    reach = rng.uniform(0.28, 0.45)
    builder.place_foot(ahead, 0.1, -reach, rng.uniform(0, 12))
    builder.place_foot(1 - ahead, 0.12, reach, rng.uniform(8, 25), 0.0, rng.uniform(25, 50))
    builder.stature = rng.uniform(0.74, 0.9)
    builder.hips = np.array([0.0, rng.uniform(-0.14, -0.04)])
    builder.add_trunk(bend=rng.uniform(0, 15))


def _crouch(rng: np.random.Generator, builder: PoseBuilder) -> None:
    width = rng.uniform(0.12, 0.24)
    low = rng.uniform(0.68, 0.88)
    for side in range(2):
        builder.place_foot(side, width, rng.normal(0, 0.04), rng.uniform(10, 26))
    builder.stature = low
    bent = (1 - low) / 0.32
    builder.hips = np.array([0.0, 0.03 + 0.13 * bent])
    builder.add_trunk(pelvis_tilt=22 * bent, bend=rng.uniform(12, 30) * bent, nod=-16 * bent)


def _squat(rng: np.random.Generator, builder: PoseBuilder) -> None:
    """Squat deeply, on the balls of the feet."""
    width = rng.uniform(0.12, 0.2)
    for side in range(2):
        builder.place_foot(side, width, 0.0, rng.uniform(14, 30), 0.0, rng.uniform(18, 34))
    builder.stature = rng.uniform(0.46, 0.6)
    builder.hips = np.array([0.0, rng.uniform(0.04, 0.08)])
    builder.add_trunk(pelvis_tilt=rng.uniform(5, 18), bend=rng.uniform(18, 34), nod=-18)


def _one_leg(rng: np.random.Generator, builder: PoseBuilder) -> None:
    free = int(rng.integers(2))
    sign = 1 - 2 * free
    builder.place_foot(1 - free, 0.06, 0.0, rng.uniform(0, 14))
    kind = rng.random()
    if kind < 0.45:
        builder.place_foot(free, rng.uniform(0.07, 0.2), rng.uniform(-0.3, -0.1), 10.0, rng.uniform(0.15, 0.5), 25.0)
    elif kind < 0.75:
        builder.place_foot(free, rng.uniform(0.06, 0.12), rng.uniform(0.25, 0.45), 5.0, rng.uniform(0.1, 0.4), 60.0)
    else:
        builder.place_foot(free, rng.uniform(0.3, 0.55), rng.uniform(-0.2, 0.1), 30.0, rng.uniform(0.08, 0.35), 20.0)
    builder.contact = (free != 0, free != 1)
    builder.hips = np.array([-sign * 0.05, 0.0])
    builder.stature = rng.uniform(0.96, 0.995)
    builder.add_trunk(pelvis_roll=sign * rng.uniform(-5, 2), lean=-sign * rng.uniform(0, 6))
    for side in range(2):
        builder.set_limb(side, arm_lift=rng.uniform(20, 60), arm_forward=rng.uniform(0, 50), elbow=rng.uniform(10, 50))


STANCES: dict[str, Callable[[np.random.Generator, PoseBuilder], None]] = {
    "relaxed": _relaxed,
    "contrapposto": _contrapposto,
    "walk": _walk,
    "wide": _wide,
    "lunge": _lunge,
    "crouch": _crouch,
    "squat": _squat,
    "one_leg": _one_leg,
}
STANCE_SHARES = [0.26, 0.28, 0.14, 0.1, 0.06, 0.06, 0.03, 0.07]
