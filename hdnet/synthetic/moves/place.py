"""Where a posed body stands in the world: on the floor, with feet that do not slide."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.canonical import CANONICAL_SHAPE
from hdnet.synthetic.moves.pose import SIDES, Pose
from hdnet.synthetic.moves.settle import foot_vertices
from hdnet.synthetic.surface import FloatArray, IntArray


def place(poses: Sequence[Pose], bodies: Sequence[FloatArray], sole_m: float = 0.0) -> FloatArray:
    """World translations (T, 3) of posed bodies.

    Args:
        poses: Settled poses, a motion in order or a single one.
        bodies: (V, 3) each, ``BodyModel.pose(shape.rest, rotations(pose, shape.joints))``.
        sole_m: Thickness of the soles the person stands on; the naked body's lowest point is that high.

    Returns:
        What to add to the vertices. The lowest point is at ``lift_m`` over the sole; a foot that stays
        planted stays where it touched the floor; hips start over (0, 0) up to ``travel_m``.
    """
    heights = np.array([body[:SKIN_VERTICES, 2].min() for body in bodies], dtype=np.float64)
    lift = np.array([pose.lift_m for pose in poses])
    hips = np.stack([_hips(body) for body in bodies])
    flat = np.stack([pose.travel_m for pose in poses]) - hips
    if len(poses) > 1:
        flat = flat + _hold_feet(poses, bodies, flat)
    return np.column_stack([flat, sole_m + lift - heights])


def _hips(body: FloatArray) -> FloatArray:
    model = body_model()
    rows = [model.bone(f"upperleg01.{side}") for side in SIDES]
    return np.asarray((model.joint_regressor[rows] @ body).mean(0)[:2], dtype=np.float64)


def _hold_feet(poses: Sequence[Pose], bodies: Sequence[FloatArray], flat: FloatArray) -> FloatArray:
    """Corrections (T, 2) that undo what is left of the slip of planted feet."""
    soles = np.stack([[_sole(body, side) for side in SIDES] for body in bodies]) + flat[:, None]
    contact = np.array([pose.contact for pose in poses])
    shift = np.zeros_like(flat)
    current = np.zeros(2)
    slip = np.diff(soles, axis=0)
    for frame in range(1, len(poses)):
        planted = contact[frame] & contact[frame - 1]
        if planted.any():
            current = current - slip[frame - 1][planted].mean(0)
        shift[frame] = current
    return shift


def _sole(body: FloatArray, side: str) -> FloatArray:
    """Middle of the fore foot, which stays down when the heel lifts."""
    return np.asarray(body[_fore_foot(side)].mean(0)[:2], dtype=np.float64)


@lru_cache(maxsize=2)
def _fore_foot(side: str) -> IntArray:
    """Vertices of the sole under the ball of a foot."""
    used = foot_vertices(side)
    points = body_model().shape(CANONICAL_SHAPE)[used]
    front, back = points[:, 1].min(), points[:, 1].max()
    share = (back - points[:, 1]) / (back - front)
    return np.asarray(used[(points[:, 2] < points[:, 2].min() + 0.012) & (share > 0.62) & (share < 0.8)])
