"""Goals of hands: places on the body, defined on the canonical body and transferred to other shapes by its vertices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import CANONICAL_SHAPE
from hdnet.synthetic.motion.pose import GOALS
from hdnet.synthetic.surface import FloatArray, IntArray, normalized

_NOT_TRUNK = ("upperarm02", "lowerarm", "wrist", "metacarpal", "finger")


@dataclass(frozen=True)
class Goal:
    """Goal of the left palm, in the axes of the rest pose.

    Attributes:
        bone: Bone that moves the goal.
        point: Position on the canonical body; the nearest skin vertex is used.
        fingers: Direction of the fingers.
        palm: Direction that the palm faces.
        clearance_m: From the skin to the middle of the palm.
        elbow: Direction of the elbow, seen from the line between shoulder and wrist.
    """

    bone: str
    point: tuple[float, float, float]
    fingers: tuple[float, float, float]
    palm: tuple[float, float, float]
    clearance_m: float
    elbow: tuple[float, float, float]


_LEFT_GOALS = {
    "hip": Goal("root", (0.175, -0.02, 0.235), (-0.15, -0.85, -0.5), (-0.9, 0.2, -0.25), 0.030, (0.8, 0.5, 0.0)),
    "hip_back": Goal("root", (0.15, 0.06, 0.23), (-0.75, 0.35, -0.55), (-0.6, -0.8, 0.1), 0.030, (0.7, 0.7, 0.0)),
    "pocket": Goal("root", (0.195, -0.045, 0.10), (0.0, -0.25, -0.95), (-0.93, 0.35, 0.0), 0.040, (0.6, 0.8, 0.0)),
    "back_low": Goal("root", (0.02, 0.10, 0.20), (-0.8, 0.1, -0.6), (0.0, 1.0, 0.15), 0.026, (0.7, 0.5, 0.0)),
    "back_over": Goal("root", (0.03, 0.10, 0.16), (-0.8, 0.1, -0.6), (0.0, 1.0, 0.15), 0.062, (0.7, 0.5, 0.0)),
    "front_under": Goal("root", (0.0, -0.12, 0.07), (-0.55, -0.25, -0.8), (-0.2, 0.95, -0.2), 0.054, (0.9, 0.4, 0.0)),
    "front_over": Goal("root", (0.0, -0.12, 0.09), (-0.55, -0.25, -0.8), (-0.2, 0.95, -0.2), 0.100, (0.9, 0.4, 0.0)),
    "cross_under": Goal(
        "spine02", (-0.085, -0.14, 0.43), (-0.95, 0.2, 0.25), (0.1, 0.95, 0.2), 0.055, (0.75, 0.2, -0.7)
    ),
    "cross_over": Goal(
        "spine02", (-0.075, -0.14, 0.48), (-0.9, 0.25, 0.35), (0.1, 0.9, -0.4), 0.120, (0.75, 0.1, -0.7)
    ),
    "chest": Goal("spine01", (-0.01, -0.13, 0.61), (-0.85, -0.1, 0.5), (0.0, 1.0, 0.0), 0.030, (0.8, 0.0, -0.6)),
    "shoulder": Goal("spine01", (-0.15, -0.07, 0.69), (-0.7, 0.5, 0.4), (-0.2, 0.7, -0.6), 0.040, (0.3, -0.5, -0.8)),
    "chin": Goal("head", (0.05, -0.125, 0.785), (-0.25, -0.1, 0.95), (-0.7, 0.7, 0.1), 0.042, (0.5, 0.0, -0.9)),
    "cheek": Goal("head", (0.07, -0.11, 0.84), (0.0, 0.35, 0.95), (-0.9, 0.3, 0.1), 0.034, (0.6, -0.3, -0.8)),
    "hair": Goal("head", (0.075, -0.03, 0.95), (-0.4, 0.6, 0.7), (-0.9, 0.1, -0.4), 0.040, (0.9, -0.3, -0.2)),
    "neck": Goal("head", (0.06, 0.03, 0.86), (-0.65, 0.65, 0.35), (-0.75, -0.6, -0.1), 0.040, (0.9, -0.3, -0.1)),
    "ear": Goal("head", (0.085, -0.04, 0.87), (0.0, 0.4, 0.9), (-1.0, 0.0, 0.0), 0.048, (0.6, -0.2, -0.8)),
    "phone": Goal("spine01", (0.04, -0.13, 0.64), (-0.25, -0.35, 0.9), (-0.2, 0.9, 0.35), 0.230, (0.5, 0.3, -0.8)),
    "thigh": Goal("upperleg", (0.13, -0.125, -0.10), (0.0, -0.4, -0.9), (0.0, 1.0, 0.0), 0.032, (0.9, 0.5, 0.0)),
    "knee": Goal("upperleg", (0.15, -0.10, -0.22), (-0.2, -0.4, -0.9), (0.0, 1.0, 0.0), 0.032, (0.9, 0.5, 0.0)),
}


@dataclass(frozen=True, eq=False)
class PlacedGoal:
    """Goal on one person, for the left or the right hand, in the axes of the rest pose.

    Attributes:
        bone: Bone that moves the goal ("upperleg" is that of the hand's side).
        palm_point: (3,) middle of the palm.
        fingers, palm, elbow: (3,) unit directions.
    """

    bone: str
    palm_point: FloatArray
    fingers: FloatArray
    palm: FloatArray
    elbow: FloatArray


def placed_goals(rest: FloatArray, side: int) -> list[PlacedGoal]:
    """Place all goals on a person, in the order of ``GOALS``, for the left (0) or right (1) hand."""
    flip = np.array([1.0 - 2 * side, 1.0, 1.0])
    result = []
    for name, vertex in zip(GOALS, _anchors()[side], strict=True):
        goal = _LEFT_GOALS[name]
        palm = normalized(np.array(goal.palm)) * flip
        fingers = np.array(goal.fingers) * flip
        fingers = normalized(fingers - (fingers @ palm) * palm)
        point = rest[vertex] - palm * goal.clearance_m
        result.append(PlacedGoal(goal.bone, point, fingers, palm, normalized(np.array(goal.elbow)) * flip))
    return result


@cache
def trunk_vertices() -> IntArray:
    """Return the skin vertices of trunk, head, hips and legs: all but arms and hands."""
    model = body_model()
    arm = np.array([name.startswith(_NOT_TRUNK) for name in model.bone_names])
    return np.flatnonzero(~arm[model.main_bones()])


@cache
def _anchors() -> tuple[tuple[int, ...], tuple[int, ...]]:
    rest = body_model().shape(CANONICAL_SHAPE)
    used = trunk_vertices()

    def nearest(flip: float) -> tuple[int, ...]:
        points = np.array([_LEFT_GOALS[name].point for name in GOALS]) * [flip, 1, 1]
        distance = np.linalg.norm(rest[used][None] - points[:, None], axis=2)
        return tuple(int(vertex) for vertex in used[distance.argmin(1)])

    return nearest(1.0), nearest(-1.0)
