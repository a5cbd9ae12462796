"""Solving of drawn poses for one person: joint angles from targets of feet and hands, and the place on the floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d, minimum_filter1d

from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.canonical import CANONICAL_SHAPE
from hdnet.synthetic.components import Shape
from hdnet.synthetic.motion.arms import solve_arms
from hdnet.synthetic.motion.bones import Z, about, apply, child_transform, trunk_rotations
from hdnet.synthetic.motion.limb_ik import reach_leg
from hdnet.synthetic.motion.pose import GOALS, INDEX, SIDES, Pose, clamp, stacked
from hdnet.synthetic.surface import FloatArray, IntArray

USUAL_HIP_HEIGHT_M = 0.976
"""Drawn poses are made for this height of the hips; others take smaller or larger steps."""
_STRAIGHT = 0.994


@dataclass(frozen=True)
class FootShape:
    """Left foot in the rest pose, lengths in metres.

    Attributes:
        ankle_m: Height of the ankle over the sole.
        ball_m: From the ankle forwards to the pivot of the foot when the heel rises: the ball of the foot, or its tip
            where the toes have no bones of their own.
        heel_m: From the ankle backwards to the heel.
        heading_deg: Direction of the toes, outwards positive.
    """

    ankle_m: float
    ball_m: float
    heel_m: float
    heading_deg: float


def solve(poses: Sequence[Pose], shape: Shape) -> list[Pose]:
    """Turn the targets of drawn poses (frames of a motion, or one still) into joint angles of a person.

    Legs are bent so that the feet reach their targets, with level soles; hands are brought to their
    goals; arms are moved out of trunk, head, thighs and of each other.
    """
    angles = clamp(stacked(poses))
    yaw = np.array([pose.yaw_deg for pose in poses])
    travel = np.stack([pose.travel_m for pose in poses])
    scale = hip_height(shape) / USUAL_HIP_HEIGHT_M
    has_feet = np.array([pose.feet is not None for pose in poses])
    if has_feet.any():
        used = np.flatnonzero(has_feet)
        angles[used] = _solve_legs(angles[used], yaw[used], [pose for pose in poses if pose.feet is not None], shape)
        travel[used] = travel[used] * scale
    reach = np.stack([pose.reach for pose in poses])
    angles = solve_arms(angles, reach, shape)
    return [
        replace(
            pose,
            angles_deg=row,
            travel_m=place,
            lift_m=pose.lift_m * (scale if pose.feet is not None else 1.0),
            feet=None,
            reach=np.zeros((2, len(GOALS))),
        )
        for pose, row, place in zip(poses, angles, travel, strict=True)
    ]


def hip_height(shape: Shape) -> float:
    """Return the height of the hips over the soles in the rest pose, in metres."""
    foot = shape.rest[foot_vertices("L")]
    return float(shape.joints["upperleg01.L"][2] - foot[:, 2].min())


@lru_cache(maxsize=2)
def foot_vertices(side: str) -> IntArray:
    """Return the skin vertices that move with a foot."""
    model = body_model()
    bones = [
        number
        for number, name in enumerate(model.bone_names)
        if name.startswith(("foot", "toe")) and name.endswith(f".{side}")
    ]
    return np.flatnonzero(np.isin(model.main_bones(), bones))


def foot_shape(shape: Shape) -> FootShape:
    """Measure the left foot of a person."""
    points = shape.rest[foot_vertices("L")] - shape.joints["foot.L"]
    low = points[points[:, 2] < points[:, 2].min() + 0.03]
    front, back = np.quantile(low[:, 1], 0.06), np.quantile(low[:, 1], 0.94)
    toes, heel = low[low[:, 1] < front].mean(0), low[low[:, 1] > back].mean(0)
    forward = toes - heel
    length = float(np.hypot(forward[0], forward[1]))
    heading = float(np.degrees(np.arctan2(forward[0], -forward[1])))
    back_m = float(np.hypot(heel[0], heel[1]))
    share = 0.74 if "toe2-1.L" in shape.joints else 0.99
    return FootShape(-float(points[:, 2].min()), share * length - back_m, back_m, heading)


def _solve_legs(angles: FloatArray, yaw: FloatArray, poses: Sequence[Pose], shape: Shape) -> FloatArray:
    joints, foot = shape.joints, foot_shape(shape)
    scale = hip_height(shape) / USUAL_HIP_HEIGHT_M
    turn = about(Z, yaw)
    root = trunk_rotations(angles)["root"]
    transform = child_transform(np.broadcast_to(np.eye(3, 4), (len(angles), 3, 4)), root, joints["root"])
    hips = [np.einsum("tij,tj->ti", turn, apply(transform, joints[f"upperleg01.{side}"])) for side in SIDES]
    middle = (hips[0] + hips[1]) / 2
    wanted = np.stack([pose.feet for pose in poses if pose.feet is not None])
    contact = np.array([pose.contact for pose in poses])
    travel = np.stack([pose.travel_m for pose in poses]) * scale
    stature = np.array([pose.stature for pose in poses])
    ankles, soles = zip(*(_ankle(wanted[:, side], side, foot, scale) for side in range(2)), strict=True)
    thigh = joints["lowerleg01.L"] - joints["upperleg01.L"]
    reach = _STRAIGHT * float(np.linalg.norm(thigh + joints["foot.L"] - joints["lowerleg01.L"]))
    height = stature * hip_height(shape)
    for side in range(2):
        offset = hips[side] - middle
        flat = np.linalg.norm(travel + offset[:, :2] - ankles[side][:, :2], axis=1)
        most = ankles[side][:, 2] - offset[:, 2] + np.sqrt(np.maximum(reach**2 - flat**2, 0.05))
        height = np.where(contact[:, side], np.minimum(height, most), height)
    if len(height) > 8:
        height = np.minimum(height, gaussian_filter1d(minimum_filter1d(height, 7), 2.0))
    pelvis = np.column_stack([travel, height])
    into = np.swapaxes(turn @ root, 1, 2)
    for side, name in enumerate(SIDES):
        ankle = np.einsum("tij,tj->ti", into, ankles[side] - (pelvis + hips[side] - middle))
        apart = (wanted[:, side, 2] - yaw + 180) % 360 - 180
        knee = 0.75 * apart - 0.75 * angles[:, INDEX["pelvis_turn"]]
        angles = reach_leg(angles, name, joints, ankle, knee, into @ soles[side])
        angles[:, INDEX[f"toes.{name}"]] = np.clip(wanted[:, side, 4], -10, 60) * contact[:, side]
    return angles


def _ankle(wanted: FloatArray, side: int, foot: FootShape, scale: float) -> tuple[FloatArray, FloatArray]:
    """Return world places of an ankle (T, 3) and rotations of its foot (T, 3, 3) from the rest pose."""
    heading, pitch = about(Z, wanted[:, 2]), about(np.array([1.0, 0.0, 0.0]), wanted[:, 4])
    rest = about(Z, np.array([foot.heading_deg * (-1 if side == 0 else 1)]))
    flat = np.column_stack([wanted[:, :2] * scale, foot.ankle_m + wanted[:, 3] * scale])
    # The foot pivots on its ball when the heel rises, on its heel when the toes rise.
    along = np.where(wanted[:, 4] > 0, -foot.ball_m, foot.heel_m)
    pivot = np.column_stack([np.zeros_like(along), along, np.full_like(along, -foot.ankle_m)])
    moved = pivot - np.einsum("tij,tj->ti", pitch, pivot)
    return flat + np.einsum("tij,tj->ti", heading, moved), heading @ pitch @ rest


def place(poses: Sequence[Pose], bodies: Sequence[FloatArray], sole_m: float = 0.0) -> FloatArray:
    """Return the world translations (T, 3) of posed bodies.

    Args:
        poses: Solved poses, a motion in order or a single one.
        bodies: (V, 3) each, ``BodyModel.pose(shape.rest, rotations(pose, shape.joints))``.
        sole_m: Thickness of the soles the person stands on; the naked body's lowest point is that high.

    Returns:
        Translations of the vertices. The lowest point is at ``lift_m`` over the sole; a foot that stays
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
    """Return corrections (T, 2) that undo the remaining slip of planted feet."""
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
    """Return the middle of the fore foot, which stays down when the heel lifts."""
    return np.asarray(body[_fore_foot(side)].mean(0)[:2], dtype=np.float64)


@lru_cache(maxsize=2)
def _fore_foot(side: str) -> IntArray:
    """Return the vertices of the sole under the ball of a foot."""
    used = foot_vertices(side)
    points = body_model().shape(CANONICAL_SHAPE)[used]
    front, back = points[:, 1].min(), points[:, 1].max()
    share = (back - points[:, 1]) / (back - front)
    return np.asarray(used[(points[:, 2] < points[:, 2].min() + 0.012) & (share > 0.62) & (share < 0.8)])
