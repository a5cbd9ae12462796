"""Poses for single pictures: everyday ones, and moments of a dance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hdnet.synthetic.moves.dance import draw_dance
from hdnet.synthetic.moves.draft import Draft, free_arm, point_finger
from hdnet.synthetic.moves.pose import FINGERS, Pose
from hdnet.synthetic.moves.stances import STANCE_SHARES, STANCES
from hdnet.synthetic.surface import FloatArray

ArmDraw = Callable[[np.random.Generator, Draft], None]
_DANCE_SHARE = 0.25


def draw_yaw(rng: np.random.Generator) -> float:
    """Most people look at the camera within 40 degrees, others show side or back."""
    pick = rng.random()
    if pick < 0.66:
        return float(np.clip(rng.normal(0, 20), -40, 40))
    if pick < 0.83:
        return float(rng.choice([-1, 1]) * rng.uniform(40, 110))
    return float(rng.uniform(100, 260) + 180) % 360 - 180 if pick < 0.94 else float(rng.uniform(-180, 180))


def draw_still(rng: np.random.Generator) -> Pose:
    """A pose for one picture, to be settled on a person."""
    if rng.random() < _DANCE_SHARE:
        poses = draw_dance(rng, 120)
        pose = poses[int(rng.integers(30, 120))]
        turned = _turned(pose, draw_yaw(rng))
        return replace(turned, travel_m=np.zeros(2))
    draft = Draft(rng)
    stance = rng.choice(list(STANCES), p=_shares(STANCE_SHARES))
    STANCES[stance](rng, draft)
    if stance == "squat":
        choices = {"thighs": 3.0, "reach": 1.0, "front": 1.0}
    else:
        choices = _ARM_SHARES
    _ARMS[rng.choice(list(choices), p=_shares(list(choices.values())))](rng, draft)
    return draft.pose(draw_yaw(rng))


def _turned(pose: Pose, yaw_deg: float) -> Pose:
    if pose.feet is None:
        return replace(pose, yaw_deg=yaw_deg)
    by = np.radians(yaw_deg - pose.yaw_deg)
    turn = np.array([[np.cos(by), -np.sin(by)], [np.sin(by), np.cos(by)]])
    feet = pose.feet.copy()
    feet[:, :2] = (feet[:, :2] - pose.travel_m) @ turn.T
    feet[:, 2] += yaw_deg - pose.yaw_deg
    return replace(pose, yaw_deg=yaw_deg, feet=feet)


def _shares(values: list[float]) -> FloatArray:
    return np.asarray(np.array(values) / np.sum(values))


def _as_they_are(rng: np.random.Generator, draft: Draft) -> None:
    """Hanging, or as the stance left them."""


def _crossed(rng: np.random.Generator, draft: Draft) -> None:
    over = int(rng.integers(2))
    draft.want(over, "cross_over")
    draft.want(1 - over, "cross_under")
    for side in range(2):
        draft.put(side, protract=10)


def _both(first: str, second: str) -> ArmDraw:
    def draw(rng: np.random.Generator, draft: Draft) -> None:
        over = int(rng.integers(2))
        draft.want(over, first)
        draft.want(1 - over, second)

    return draw


def _one(*goals: str) -> ArmDraw:
    def draw(rng: np.random.Generator, draft: Draft) -> None:
        side = int(rng.integers(2))
        draft.want(side, str(rng.choice(goals)))
        if rng.random() < 0.3:
            draft.want(1 - side, str(rng.choice(["hip", "pocket", "pocket"])))

    return draw


def _phone(rng: np.random.Generator, draft: Draft) -> None:
    side = int(rng.integers(2))
    draft.want(side, "phone")
    for finger in FINGERS:
        draft.put(side, **{finger: rng.uniform(25, 45)})
    draft.add(nod=22)


def _wave(rng: np.random.Generator, draft: Draft) -> None:
    side = int(rng.integers(2))
    lift, forward = rng.uniform(75, 150), rng.uniform(10, 55)
    elbow, twist = rng.uniform(40, 115), rng.uniform(-80, -35)
    draft.put(side, arm_lift=lift, arm_forward=forward, arm_twist=twist, elbow=elbow)
    draft.put(side, pronation=rng.uniform(10, 60), wrist=rng.normal(-10, 10), spread=rng.uniform(4, 14))
    for finger in FINGERS:
        draft.put(side, **{finger: rng.uniform(-6, 10)})


def _point(rng: np.random.Generator, draft: Draft) -> None:
    side = int(rng.integers(2))
    draft.put(side, arm_lift=rng.uniform(55, 120), arm_forward=rng.uniform(15, 100), elbow=rng.uniform(5, 35))
    draft.put(side, arm_twist=rng.uniform(-20, 20), pronation=rng.uniform(20, 75))
    point_finger(draft.angles, side)


def _gesture(rng: np.random.Generator, draft: Draft) -> None:
    first = int(rng.integers(2))
    free_arm(rng, draft.angles, first)
    if rng.random() < 0.7:
        free_arm(rng, draft.angles, 1 - first)


def _thighs(rng: np.random.Generator, draft: Draft) -> None:
    for side in range(2):
        draft.want(side, "knee" if rng.random() < 0.6 else "thigh")


_ARMS: dict[str, ArmDraw] = {
    "hang": _as_they_are,
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
