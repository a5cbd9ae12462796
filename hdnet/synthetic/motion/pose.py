"""Poses: joint angles with targets of hands and feet, blending, and a builder of still poses."""

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
"""Places on the body that a hand can reach for, see :mod:`hdnet.synthetic.motion.goals`."""


@dataclass(frozen=True, eq=False)
class Pose:
    """Pose of a person in one frame.

    A drawn pose holds targets for hands (``reach``) and feet (``feet``); :func:`solve` turns them into joint
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
        name: What it is, as "walk, pockets".
        recline_deg: Turn backwards of the dressed person, after their clothes have been simulated upright: 90 lies
            on the back, -90 on the belly, with ``lift_m`` then the height of the lowest point.
        rolled_deg: Turn to the person's left about their own length before that.
    """

    angles_deg: FloatArray
    yaw_deg: float = 0.0
    lift_m: float = 0.0
    travel_m: FloatArray = field(default_factory=lambda: np.zeros(2))
    contact: tuple[bool, bool] = (True, True)
    stature: float = 1.0
    feet: FloatArray | None = None
    reach: FloatArray = field(default_factory=lambda: np.zeros((2, len(GOALS))))
    name: str = "dance"
    recline_deg: float = 0.0
    rolled_deg: float = 0.0

    def angle(self, name: str) -> float:
        """Return one angle in degrees, by its name in :data:`ANGLES`."""
        return float(self.angles_deg[INDEX[name]])


def floor_turn(degrees: float) -> FloatArray:
    """Return the rotation (2, 2) of floor positions by an angle, counter-clockwise seen from above."""
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def neutral_angles() -> FloatArray:
    """Return angles (len(ANGLES),) of a relaxed person with hanging arms and loose fingers."""
    angles = np.zeros(len(ANGLES))
    relaxed = {"arm_lift": 11, "arm_forward": 20, "elbow": 16, "thumb": 4, "index": 10, "middle": 15, "ring": 19}
    for name, value in {**relaxed, "little": 22, "wrist": 4}.items():
        for side in SIDES:
            angles[INDEX[f"{name}.{side}"]] = value
    return angles


def a_pose() -> Pose:
    """Return an upright pose with the arms away from the body, in which clothes are put on."""
    angles = neutral_angles()
    for side in SIDES:
        angles[INDEX[f"arm_lift.{side}"]], angles[INDEX[f"arm_forward.{side}"]] = 42, 8
        angles[INDEX[f"elbow.{side}"]] = 25
    return Pose(angles, feet=level_feet(0.0))


def level_feet(yaw_deg: float, width_m: float = 0.26, toe_out_deg: float = 9.0) -> FloatArray:
    """Return both feet (2, 5) flat beside each other below the hips of a person turned by ``yaw_deg``."""
    yaw = np.radians(yaw_deg)
    side = np.array([np.cos(yaw), np.sin(yaw)]) * width_m / 2
    return np.array(
        [[*side, yaw_deg + toe_out_deg, 0.0, 0.0], [*-side, yaw_deg - toe_out_deg, 0.0, 0.0]],
    )


def blend(a: Pose, b: Pose, t: float) -> Pose:
    """Blend two poses: ``a`` at ``t = 0``, ``b`` at 1, turning the shorter way round."""
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
    """Return a smooth motion that ends in a drawn pose, for clothes that have to follow the body there.

    Args:
        pose: The end, not solved yet.
        frames: Number of poses, the start left out.
        start: First pose; by default :func:`a_pose` turned as ``pose``.
    """
    if start is None:
        start = a_pose()
        start = Pose(start.angles_deg, pose.yaw_deg, feet=level_feet(pose.yaw_deg))
    shares = np.arange(1, frames + 1) / frames
    return [blend(start, pose, float(t * t * (3 - 2 * t))) if t < 1 else pose for t in shares]


def stacked(poses: Sequence[Pose]) -> FloatArray:
    """Stack the angles of poses, (T, len(ANGLES))."""
    return np.stack([pose.angles_deg for pose in poses]).astype(np.float64)


def clamp(angles: FloatArray) -> FloatArray:
    """Clip angles (T, len(ANGLES)) to :data:`LIMITS`."""
    return np.clip(angles, LIMITS[:, 0], LIMITS[:, 1])


class PoseBuilder:
    """Builder of a still pose; feet are in the person's own axes, as if they faced the camera."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.angles = neutral_angles()
        self.feet = np.zeros((2, 5))
        self.stature = 0.995
        self.hips = np.zeros(2)
        self.contact = (True, True)
        self.reach = np.zeros((2, len(GOALS)))
        self.add_trunk(bend=rng.normal(2, 3), lean=rng.normal(0, 2), twist=rng.normal(0, 5))
        self.add_trunk(nod=rng.normal(2, 8), tilt=rng.normal(0, 5), turn=rng.normal(0, 16))
        for side in range(2):
            relax_arm(rng, self.angles, side)

    def add_trunk(self, **degrees: float) -> None:
        """Add to angles of the trunk."""
        for name, value in degrees.items():
            self.angles[INDEX[name]] += value

    def set_limb(self, side: int, **degrees: float) -> None:
        """Set angles of a limb."""
        for name, value in degrees.items():
            self.angles[INDEX[f"{name}.{SIDES[side]}"]] = value

    def reach_for(self, side: int, goal: str) -> None:
        """Send a hand to a goal."""
        self.reach[side] = 0
        self.reach[side, GOALS.index(goal)] = 1

    def place_foot(self, side: int, x: float, y: float, heading: float, clear: float = 0.0, pitch: float = 0.0) -> None:
        """Place a foot; ``x`` and ``heading`` are positive outwards."""
        sign = 1 - 2 * side
        self.feet[side] = [sign * x, y, sign * heading, clear, pitch]

    def pose(self, yaw_deg: float, name: str) -> Pose:
        """Return the pose with its name, turned by ``yaw_deg``."""
        turn = floor_turn(yaw_deg)
        feet = self.feet.copy()
        # The hips stay over the start: the feet move the other way.
        feet[:, :2] = (feet[:, :2] - self.hips) @ turn.T
        feet[:, 2] += yaw_deg
        angles = clamp(self.angles[None])[0]
        return Pose(angles, yaw_deg, 0.0, np.zeros(2), self.contact, self.stature, feet, self.reach, name)


def relax_arm(rng: np.random.Generator, angles: FloatArray, side: int) -> None:
    """Draw fingers, wrist and elbow of a relaxed arm."""
    curl = rng.uniform(0, 22)
    for number, finger in enumerate(FINGERS):
        angles[INDEX[f"{finger}.{SIDES[side]}"]] = (0.3 if number == 0 else 1) * curl + 3.5 * number + rng.normal(0, 4)
    drawn = {
        "spread": rng.uniform(-1, 7),
        "arm_lift": rng.uniform(6, 14),
        "arm_forward": rng.uniform(-45, 35),
        "arm_twist": rng.uniform(-15, 12),
        "elbow": rng.uniform(7, 26),
        "pronation": rng.uniform(-15, 40),
        "wrist": rng.normal(6, 7),
        "wrist_side": rng.normal(4, 4),
        "shrug": rng.normal(0, 2),
    }
    for name, value in drawn.items():
        angles[INDEX[f"{name}.{SIDES[side]}"]] = value


def point_finger(angles: FloatArray, side: int) -> None:
    """Straighten the index finger and close the others."""
    for finger, bend in zip(FINGERS, (30, 0, 72, 76, 78), strict=True):
        angles[INDEX[f"{finger}.{SIDES[side]}"]] = bend


def raise_arm(rng: np.random.Generator, angles: FloatArray, side: int) -> None:
    """Draw an arm held in the air, as in a gesture or a dance."""
    kind = rng.choice(["low", "carry", "ahead", "side", "up", "overhead"], p=[0.2, 0.26, 0.16, 0.18, 0.12, 0.08])
    ranges = {
        # arm_lift, arm_forward, arm_twist, elbow, pronation
        "low": ((10, 40), (-40, 70), (-20, 30), (10, 60), (-20, 45)),
        "carry": ((12, 45), (-10, 80), (-20, 45), (60, 125), (-40, 50)),
        "ahead": ((40, 95), (50, 105), (-30, 30), (5, 95), (-50, 60)),
        "side": ((50, 105), (-20, 40), (-60, 30), (5, 100), (-40, 60)),
        "up": ((100, 150), (10, 70), (-70, 10), (10, 110), (-40, 60)),
        "overhead": ((145, 172), (20, 70), (-50, 10), (10, 95), (-30, 60)),
    }[str(kind)]
    names = ("arm_lift", "arm_forward", "arm_twist", "elbow", "pronation")
    drawn = {name: rng.uniform(*span) for name, span in zip(names, ranges, strict=True)}
    drawn |= {"wrist": rng.normal(0, 16), "wrist_side": rng.normal(3, 7), "shrug": rng.normal(0, 3)}
    for name, value in drawn.items():
        angles[INDEX[f"{name}.{SIDES[side]}"]] = value
