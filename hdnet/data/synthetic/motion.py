"""Poses of standing people and short dance-like motions.

A pose is a small vector of joint angles that a person would name (how far the arm is lifted, how far the
knee is bent); stills draw one, motions interpolate between draws, and one function turns it into bone
rotations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from hdnet.data.synthetic.body import rotation_between
from hdnet.data.synthetic.surface import FloatArray, normalized

LIMB_ANGLES = (
    "arm_lift",
    "arm_forward",
    "arm_twist",
    "elbow",
    "pronation",
    "wrist",
    "fingers",
    "hip_flex",
    "hip_out",
    "hip_twist",
    "knee",
)
TRUNK_ANGLES = ("bend", "lean", "twist", "nod", "turn", "tilt")
ANGLES = (*TRUNK_ANGLES, *(f"{name}.{side}" for side in "LR" for name in LIMB_ANGLES))
_MIRROR = np.diag([-1.0, 1.0, 1.0])

# Degrees: (arm_lift from hanging, arm_forward from sideways, arm_twist inwards, elbow), each low and high.
_ARM_POSES = {
    "hang": ((9, 22), (-10, 50), (-25, 30), (8, 40)),
    "carry": ((12, 35), (-20, 60), (-15, 40), (50, 115)),
    "hip": ((32, 48), (-35, -5), (25, 60), (75, 110)),
    "reach": ((35, 95), (35, 90), (-30, 40), (5, 90)),
    "side": ((50, 105), (-20, 35), (-40, 30), (5, 80)),
    "up": ((110, 160), (0, 60), (-40, 30), (10, 95)),
}
_ARM_SHARES = {"hang": 0.34, "carry": 0.19, "hip": 0.09, "reach": 0.15, "side": 0.13, "up": 0.10}
# Degrees: (hip_flex, hip_out, hip_twist, knee).
_LEG_POSES = {
    "stand": ((-4, 8), (-1, 7), (-2, 14), (0, 12)),
    "behind": ((-18, -4), (0, 7), (0, 15), (5, 25)),
    "ahead": ((10, 32), (0, 8), (-4, 12), (8, 35)),
    "wide": ((5, 30), (9, 20), (5, 22), (10, 45)),
    "lifted": ((35, 75), (2, 15), (-5, 15), (45, 95)),
}
_STANCES = (
    (("stand", "stand"), 0.5),
    (("ahead", "behind"), 0.2),
    (("wide", "wide"), 0.16),
    (("stand", "wide"), 0.08),
)


@dataclass(frozen=True, eq=False)
class Pose:
    """Joint angles in degrees, in the order of :data:`ANGLES`, and the turn of the whole person.

    Attributes:
        angles_deg: (len(ANGLES),).
        yaw_deg: 0 faces the camera; positive turns the person's front to the left of the picture.
    """

    angles_deg: FloatArray
    yaw_deg: float

    def angle(self, name: str) -> float:
        """One angle in degrees."""
        return float(self.angles_deg[ANGLES.index(name)])


def draw_still(rng: np.random.Generator) -> Pose:
    """A standing pose; most people face the camera more or less, some show their side or back."""
    angles = _draw_angles(rng)
    yaw = rng.normal(0, 32) if rng.random() < 0.7 else rng.uniform(-180, 180)
    return Pose(angles, float(yaw))


def draw_motion(rng: np.random.Generator, frames: int, step: int = 5) -> list[Pose]:
    """A smooth motion through random poses.

    Args:
        rng: Random stream of the motion.
        frames: Number of frames; neighbours are about a tenth of a second apart.
        step: Frames from one drawn pose to the next.
    """
    keys = max(2, int(np.ceil((frames - 1) / step)) + 1)
    base = _draw_angles(rng)
    drawn = np.stack([base + 0.75 * (_draw_angles(rng) - base) for _ in range(keys)])
    centre = rng.normal(0, 20)
    yaws = centre + np.cumsum(rng.uniform(12, 32, keys) * rng.choice([-1, 1]) * (-1.0) ** np.arange(keys)) * 0.8
    times = np.arange(keys) * step
    at = np.arange(frames)
    angles = PchipInterpolator(times, drawn, axis=0)(at)
    turn = PchipInterpolator(times, yaws)(at)
    return [Pose(row, float(yaw)) for row, yaw in zip(angles, turn, strict=True)]


def fold_drivers(pose: Pose) -> FloatArray:
    """How bent each driver of folds is, ordered as ``clothing.FOLD_DRIVERS``; 1 is about a right angle."""

    def bend(name: str, least: float) -> float:
        return least + min(abs(pose.angle(name)) / 80, 1.2)

    joints = [bend(f"{name}.{side}", 0.35) for name in ("elbow", "knee", "hip_flex") for side in "LR"]
    return np.array([1.0, *joints])


def rotations(pose: Pose, joints: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Bone rotations of a pose for a person's rest joints, as :meth:`BodyModel.pose` takes them."""
    result: dict[str, FloatArray] = {}
    spine = [pose.angle(name) for name in ("bend", "lean", "twist")]
    for bone in ("spine04", "spine03", "spine02"):
        result[bone] = _euler("xyz", [angle / 3 for angle in spine])
    head = [pose.angle(name) for name in ("nod", "tilt", "turn")]
    for bone in ("neck02", "head"):
        result[bone] = _euler("xyz", [angle / 2 for angle in head])
    for side in "LR":
        values = {name: pose.angle(f"{name}.{side}") for name in LIMB_ANGLES}
        limb = _limb_rotations(values, joints)
        for bone, matrix in limb.items():
            result[f"{bone}.{side}"] = matrix if side == "L" else _MIRROR @ matrix @ _MIRROR
    return result


def _limb_rotations(angles: dict[str, float], joints: dict[str, FloatArray]) -> dict[str, FloatArray]:
    upper = joints["lowerarm01.L"] - joints["upperarm01.L"]
    lower = joints["wrist.L"] - joints["lowerarm01.L"]
    hinge = normalized(np.cross(upper, lower))
    rest_elbow = np.degrees(np.arccos(normalized(upper) @ normalized(lower)))
    lift, forward = np.radians(angles["arm_lift"]), np.radians(angles["arm_forward"])
    target = np.array([np.sin(lift) * np.cos(forward), -np.sin(lift) * np.sin(forward), -np.cos(lift)])
    shrug = _euler("y", [-0.3 * max(angles["arm_lift"] - 50, 0)])
    swing = shrug.T @ rotation_between(upper, target)
    result = {
        "shoulder01": shrug,
        "upperarm01": swing @ _about(upper, 0.6 * angles["arm_twist"]),
        "upperarm02": _about(upper, 0.4 * angles["arm_twist"]),
        "lowerarm01": _about(hinge, angles["elbow"] - rest_elbow),
        "lowerarm02": _about(lower, 0.5 * angles["pronation"]),
        "wrist": _about(lower, 0.5 * angles["pronation"]) @ _about(hinge, angles["wrist"]),
        "upperleg01": _euler("xyz", [-angles["hip_flex"], -angles["hip_out"], angles["hip_twist"]]),
        "lowerleg01": _euler("x", [angles["knee"]]),
        # The sole stays level as far as an ankle goes.
        "foot": _euler("x", [float(np.clip(angles["hip_flex"] - angles["knee"], -40, 25))]),
    }
    knuckles = normalized(joints["finger5-1.L"] - joints["finger2-1.L"])
    for finger in range(2, 6):
        for phalanx in range(1, 4):
            result[f"finger{finger}-{phalanx}"] = _about(knuckles, angles["fingers"])
    return result


def _draw_angles(rng: np.random.Generator) -> FloatArray:
    values = dict.fromkeys(ANGLES, 0.0)
    for name, spread in zip(TRUNK_ANGLES, (9, 6, 10, 8, 20, 6), strict=True):
        values[name] = float(np.clip(rng.normal(0, spread), -2.2 * spread, 2.2 * spread))
    stances, shares = [stance for stance, _ in _STANCES], np.array([share for _, share in _STANCES])
    pick = rng.random()
    if pick < shares.sum():
        stance = stances[int(np.searchsorted(shares.cumsum(), pick))]
    else:
        stance = ("stand", "lifted")
    legs = rng.permutation(stance)
    arms = rng.choice(list(_ARM_SHARES), 2, p=list(_ARM_SHARES.values()))
    if rng.random() < 0.4:
        arms[1] = arms[0]
    for side, arm, leg in zip("LR", arms, legs, strict=True):
        for name, (low, high) in zip(LIMB_ANGLES[:4], _ARM_POSES[arm], strict=True):
            values[f"{name}.{side}"] = rng.uniform(low, high)
        for name, (low, high) in zip(LIMB_ANGLES[7:], _LEG_POSES[leg], strict=True):
            values[f"{name}.{side}"] = rng.uniform(low, high)
        values[f"pronation.{side}"] = rng.uniform(-45, 45)
        values[f"wrist.{side}"] = rng.normal(0, 12)
        values[f"fingers.{side}"] = rng.uniform(-8, 28)
    return np.array([values[name] for name in ANGLES])


def _euler(axes: str, degrees: list[float]) -> FloatArray:
    return np.asarray(Rotation.from_euler(axes, degrees, degrees=True).as_matrix()).reshape(3, 3)


def _about(axis: FloatArray, degrees: float) -> FloatArray:
    return np.asarray(Rotation.from_rotvec(normalized(axis) * np.radians(degrees)).as_matrix())
