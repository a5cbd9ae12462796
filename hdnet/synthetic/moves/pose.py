"""A pose: joint angles that a person would name, where hands and feet are wanted, and how poses blend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hdnet.synthetic.surface import FloatArray

SIDES = ("L", "R")
FINGERS = ("thumb", "index", "middle", "ring", "little")

# Degrees, low and high. Sources: usual ranges of motion of healthy adults (AAOS), elbows and knees never backwards.
TRUNK_LIMITS = {
    "pelvis_tilt": (-20, 60),
    "pelvis_roll": (-20, 20),
    "pelvis_turn": (-45, 45),
    "bend": (-30, 75),
    "lean": (-35, 35),
    "twist": (-45, 45),
    "nod": (-40, 45),
    "tilt": (-32, 32),
    "turn": (-70, 70),
}
LIMB_LIMITS = {
    "shrug": (-8, 25),
    "protract": (-15, 25),
    "arm_lift": (0, 180),
    "arm_forward": (-180, 180),
    "arm_twist": (-105, 105),
    "elbow": (3, 148),
    "pronation": (-85, 85),
    "wrist": (-62, 70),
    "wrist_side": (-22, 30),
    "thumb": (-25, 50),
    "index": (-12, 88),
    "middle": (-12, 88),
    "ring": (-12, 88),
    "little": (-12, 88),
    "spread": (-6, 18),
    "hip_flex": (-30, 125),
    "hip_out": (-30, 60),
    "hip_twist": (-45, 50),
    "knee": (0, 150),
    "ankle": (-50, 40),
    "ankle_roll": (-30, 30),
    "ankle_turn": (-38, 38),
    "toes": (-10, 60),
}
TRUNK_ANGLES = tuple(TRUNK_LIMITS)
LIMB_ANGLES = tuple(LIMB_LIMITS)
ANGLES = (*TRUNK_ANGLES, *(f"{name}.{side}" for side in SIDES for name in LIMB_ANGLES))
INDEX = {name: index for index, name in enumerate(ANGLES)}
LIMITS = np.array([*TRUNK_LIMITS.values(), *LIMB_LIMITS.values(), *LIMB_LIMITS.values()], dtype=np.float64)
"""(len(ANGLES), 2) least and greatest angle in degrees."""

GOALS = (
    *("hip", "hip_back", "pocket", "back_low", "back_over", "front_under", "front_over", "cross_under"),
    *("cross_over", "chest", "shoulder", "chin", "cheek", "hair", "neck", "ear", "phone", "thigh", "knee"),
)
"""Places on the body a hand can be wanted at, see :mod:`hdnet.synthetic.moves.goals`."""


@dataclass(frozen=True, eq=False)
class Pose:
    """How a person stands in one frame.

    A drawn pose holds wishes for hands (``reach``) and feet (``feet``); :func:`settle` turns them into joint
    angles of one person. Lengths of a drawn pose are those of a person with hips 0.976 m high.

    Attributes:
        angles_deg: (len(ANGLES),) joint angles in degrees, in the order of :data:`ANGLES`. Zero everywhere (but
            ``elbow``) is standing with the arms hanging. Positive is: ``pelvis_tilt``, ``bend``, ``nod``
            forwards; ``pelvis_roll``, ``lean``, ``tilt`` to the person's left; ``pelvis_turn``, ``twist``, ``turn``
            to look to their left; ``arm_lift`` from hanging (0) up (180) towards the side, or the front with
            ``arm_forward`` 90; ``arm_twist`` inwards; ``wrist`` and fingers towards the palm; ``pronation``
            thumb inwards; ``wrist_side`` towards the little finger; ``hip_out`` away from the other leg;
            ``hip_twist`` toes outwards; ``ankle`` toes up; ``toes`` up.
        yaw_deg: Turn of the whole person about the vertical, counter-clockwise seen from above. 0 faces the
            camera; positive turns the front to the person's own left, that is to the right of the picture.
        lift_m: Height of the lowest point of the feet above the floor.
        travel_m: (2,) where the hips are above the floor, world x and y from the start.
        contact: Whether the left and the right foot stand on the floor.
        stature: Height of the hips as a share of their height on straight legs.
        feet: (2, 5) wanted feet, left and right: ankle at world x, y (metres); heading of the toes (degrees,
            as yaw); clearance of the sole (metres); pitch (degrees, heel up positive). None leaves the legs to
            their angles.
        reach: (2, len(GOALS)) how much each hand is wanted at each goal, 0..1; rows sum to at most 1.
    """

    angles_deg: FloatArray
    yaw_deg: float = 0.0
    lift_m: float = 0.0
    travel_m: FloatArray = field(default_factory=lambda: np.zeros(2))
    contact: tuple[bool, bool] = (True, True)
    stature: float = 1.0
    feet: FloatArray | None = None
    reach: FloatArray = field(default_factory=lambda: np.zeros((2, len(GOALS))))

    def angle(self, name: str) -> float:
        """One angle in degrees, by its name in :data:`ANGLES`."""
        return float(self.angles_deg[INDEX[name]])


def neutral_angles() -> FloatArray:
    """Angles (len(ANGLES),) of a relaxed person with hanging arms and loose fingers."""
    angles = np.zeros(len(ANGLES))
    relaxed = {"arm_lift": 11, "arm_forward": 20, "elbow": 16, "thumb": 4, "index": 10, "middle": 15, "ring": 19}
    for name, value in {**relaxed, "little": 22, "wrist": 4}.items():
        for side in SIDES:
            angles[INDEX[f"{name}.{side}"]] = value
    return angles


def a_pose() -> Pose:
    """Upright with the arms held away from the body, the start for clothes that are put on."""
    angles = neutral_angles()
    for side in SIDES:
        angles[INDEX[f"arm_lift.{side}"]], angles[INDEX[f"arm_forward.{side}"]] = 42, 8
        angles[INDEX[f"elbow.{side}"]] = 25
    return Pose(angles, feet=level_feet(0.0))


def level_feet(yaw_deg: float, width_m: float = 0.26, toe_out_deg: float = 9.0) -> FloatArray:
    """Both feet (2, 5) flat beside each other below the hips of a person turned by ``yaw_deg``."""
    yaw = np.radians(yaw_deg)
    side = np.array([np.cos(yaw), np.sin(yaw)]) * width_m / 2
    return np.array(
        [[*side, yaw_deg + toe_out_deg, 0.0, 0.0], [*-side, yaw_deg - toe_out_deg, 0.0, 0.0]],
    )


def blend(a: Pose, b: Pose, t: float) -> Pose:
    """Between two poses: ``a`` at ``t = 0``, ``b`` at 1, turning the shorter way round."""
    turn = (b.yaw_deg - a.yaw_deg + 180) % 360 - 180

    def mix(x: FloatArray, y: FloatArray) -> FloatArray:
        return np.asarray((1 - t) * x + t * y)

    feet = None
    if a.feet is not None and b.feet is not None:
        feet = mix(a.feet, b.feet)
        feet[:, 2] = a.feet[:, 2] + t * ((b.feet[:, 2] - a.feet[:, 2] + 180) % 360 - 180)
    return Pose(
        angles_deg=mix(a.angles_deg, b.angles_deg),
        yaw_deg=a.yaw_deg + t * turn,
        lift_m=(1 - t) * a.lift_m + t * b.lift_m,
        travel_m=mix(a.travel_m, b.travel_m),
        contact=(a if t < 0.5 else b).contact,
        stature=(1 - t) * a.stature + t * b.stature,
        feet=feet,
        reach=mix(a.reach, b.reach),
    )


def approach(pose: Pose, frames: int, start: Pose | None = None) -> list[Pose]:
    """A smooth motion that ends in a drawn pose, for clothes that have to follow the body there.

    Args:
        pose: The end, not settled yet.
        frames: Number of poses, the start left out.
        start: Where to begin; by default :func:`a_pose` turned as ``pose``.
    """
    if start is None:
        start = a_pose()
        start = Pose(start.angles_deg, pose.yaw_deg, feet=level_feet(pose.yaw_deg))
    shares = np.arange(1, frames + 1) / frames
    return [blend(start, pose, float(t * t * (3 - 2 * t))) if t < 1 else pose for t in shares]


def stacked(poses: Sequence[Pose]) -> FloatArray:
    """Angles (T, len(ANGLES)) of many poses."""
    return np.stack([pose.angles_deg for pose in poses]).astype(np.float64)
