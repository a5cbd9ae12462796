"""A still pose in the making, and limbs that are drawn the same way in stills and dances."""

from __future__ import annotations

import numpy as np

from hdnet.synthetic.moves.bones import clamp
from hdnet.synthetic.moves.pose import FINGERS, GOALS, INDEX, LIMITS, SIDES, Pose, neutral_angles
from hdnet.synthetic.surface import FloatArray


class Draft:
    """A pose in the making; feet in the person's own axes, as if they faced the camera."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.angles = neutral_angles()
        self.feet = np.zeros((2, 5))
        self.stature = 0.995
        self.hips = np.zeros(2)
        self.contact = (True, True)
        self.reach = np.zeros((2, len(GOALS)))
        self.add(bend=rng.normal(2, 3), lean=rng.normal(0, 2), twist=rng.normal(0, 5))
        self.add(nod=rng.normal(2, 8), tilt=rng.normal(0, 5), turn=rng.normal(0, 16))
        for side in range(2):
            loosen(rng, self.angles, side)

    def add(self, **degrees: float) -> None:
        """Add to angles of the trunk."""
        for name, value in degrees.items():
            self.angles[INDEX[name]] += value

    def put(self, side: int, **degrees: float) -> None:
        """Set angles of a limb."""
        for name, value in degrees.items():
            self.angles[INDEX[f"{name}.{SIDES[side]}"]] = value

    def want(self, side: int, goal: str) -> None:
        """Bring a hand to a goal."""
        self.reach[side] = 0
        self.reach[side, GOALS.index(goal)] = 1

    def stand(self, side: int, x: float, y: float, heading: float, clear: float = 0.0, pitch: float = 0.0) -> None:
        """Place a foot; ``x`` and ``heading`` outwards."""
        sign = 1 - 2 * side
        self.feet[side] = [sign * x, y, sign * heading, clear, pitch]

    def pose(self, yaw_deg: float) -> Pose:
        """The pose, turned."""
        yaw = np.radians(yaw_deg)
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        feet = self.feet.copy()
        # The hips stay over the start: the feet move the other way.
        feet[:, :2] = (feet[:, :2] - self.hips) @ turn.T
        feet[:, 2] += yaw_deg
        angles = clamp(self.angles[None], LIMITS)[0]
        return Pose(angles, yaw_deg, 0.0, np.zeros(2), self.contact, self.stature, feet, self.reach)


def loosen(rng: np.random.Generator, angles: FloatArray, side: int) -> None:
    """Fingers, wrist and arm of a relaxed arm, never twice the same."""
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
    """Index finger straight, the others closed."""
    for finger, bend in zip(FINGERS, (30, 0, 72, 76, 78), strict=True):
        angles[INDEX[f"{finger}.{SIDES[side]}"]] = bend


def free_arm(rng: np.random.Generator, angles: FloatArray, side: int) -> None:
    """An arm held somewhere in the air, as people do when they gesture or dance."""
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
