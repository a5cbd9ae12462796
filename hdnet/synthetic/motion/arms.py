"""Arms of solved poses: hands at their goals, arms outside the body."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from hdnet.synthetic.components import Shape
from hdnet.synthetic.motion.body_proxy import BodyProxy, fit_proxy, out_of_capsule, push_out
from hdnet.synthetic.motion.bones import (
    FLIP,
    about,
    apply,
    arm_direction,
    arm_of,
    child_transform,
    trunk_rotations,
    trunk_transforms,
)
from hdnet.synthetic.motion.goals import PlacedGoal, placed_goals
from hdnet.synthetic.motion.limb_ik import (
    ArmPlace,
    ArmTarget,
    current_target,
    leg_turn,
    mirrored,
    place_arm,
    reach_arm,
)
from hdnet.synthetic.motion.pose import FINGERS, INDEX, SIDES
from hdnet.synthetic.surface import FloatArray, normalized

_ROUNDS = 6
_CALM = 1.5
# Points along an arm and how far each stays off the body, metres: shoulder (free), two thirds down the upper arm,
# elbow, two on the forearm, wrist, palm, tips of middle finger, thumb and little finger.
_RADII = np.array([-1.0, 0.052, 0.050, 0.050, 0.044, 0.036, 0.030, 0.018, 0.016, 0.016])
_MOVES_ELBOW = np.array([0.0, 1.0, 1.0, 0.7, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0])
_MOVES_WRIST = np.array([0.0, 0.0, 0.15, 0.5, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0])
# Pieces of the other arm: first and last point, radius at each.
_PIECES = ((0, 2, (0.062, 0.044)), (2, 5, (0.042, 0.034)), (5, 7, (0.034, 0.020)))


def solve_arms(angles: FloatArray, reach: FloatArray, shape: Shape) -> FloatArray:
    """Bring hands to their goals and move arms out of the body.

    Args:
        angles: (T, len(ANGLES)), legs solved.
        reach: (T, 2, len(GOALS)) as in :class:`Pose`.
        shape: Shape of the person.
    """
    proxy, goals = _of_shape(shape)
    joints = shape.joints
    carriers = _carriers(angles, shape)
    chest = carriers["spine01"]
    legs = np.stack(
        [
            np.stack([apply(carriers[f"upperleg.{side}"], joints[f"{bone}.{side}"]) for bone in _LEG], axis=1)
            for side in SIDES
        ],
        axis=1,
    )
    targets = []
    for number, side in enumerate(SIDES):
        target = current_target(place_arm(angles, side, joints), joints)
        goal = _goal_target(target, reach[:, number], goals[number], carriers, number, joints)
        targets.append(goal)
        if reach[:, number].any():
            used = np.flatnonzero(reach[:, number].any(1))
            angles[used] = reach_arm(angles[used], side, joints, _take(goal, used))
        flatten_fingers(angles, side, reach[:, number].sum(1))
    first = targets
    for turn in range(_ROUNDS):
        targets, moved = _separate(angles, targets, shape, proxy, carriers, chest, legs)
        if turn == _ROUNDS - 2 and len(angles) > 8:
            targets = [
                replace(
                    target,
                    wrist=start.wrist + gaussian_filter1d(target.wrist - start.wrist, 2.5, axis=0),
                    elbow=normalized(gaussian_filter1d(target.elbow, 2.5, axis=0)),
                )
                for target, start in zip(targets, first, strict=True)
            ]
            moved = [np.ones_like(move) for move in moved]
        for side, target, move in zip(SIDES, targets, moved, strict=True):
            used = np.flatnonzero(move)
            if len(used):
                angles[used] = reach_arm(angles[used], side, joints, _take(target, used), rounds=2)
        if not any(move.any() for move in moved):
            break
    return smoothed_arms(angles) if len(angles) > 8 else angles


def smoothed_arms(angles: FloatArray) -> FloatArray:
    """Smooth arm angles (T, len(ANGLES)) over a few frames, so that arms do not jerk."""
    angles = angles.copy()
    for side in SIDES:
        lift, forward = INDEX[f"arm_lift.{side}"], INDEX[f"arm_forward.{side}"]
        upper = gaussian_filter1d(arm_direction(angles[:, lift], angles[:, forward]), _CALM, axis=0)
        angles[:, lift] = np.degrees(np.arctan2(np.hypot(upper[:, 0], upper[:, 1]), -upper[:, 2]))
        angles[:, forward] = np.degrees(np.arctan2(-upper[:, 1], upper[:, 0]))
        for name in ("arm_twist", "elbow", "pronation", "wrist", "wrist_side"):
            index = INDEX[f"{name}.{side}"]
            angles[:, index] = gaussian_filter1d(angles[:, index], _CALM)
    return angles


_LEG = ("upperleg01", "lowerleg01")


def flatten_fingers(angles: FloatArray, side: str, share: FloatArray) -> None:
    """Flatten the fingers of a hand that lies on the body (share 1), in place."""
    for number, finger in enumerate(FINGERS):
        index = INDEX[f"{finger}.{side}"]
        flat = np.clip(angles[:, index], -8, 6 + 2 * number)
        angles[:, index] += share * (flat - angles[:, index])


@lru_cache(maxsize=4)
def _of_shape(shape: Shape) -> tuple[BodyProxy, tuple[list[PlacedGoal], list[PlacedGoal]]]:
    return fit_proxy(shape), (placed_goals(shape.rest, 0), placed_goals(shape.rest, 1))


def _take(target: ArmTarget, used: FloatArray) -> ArmTarget:
    return ArmTarget(target.wrist[used], target.elbow[used], target.fingers[used], target.palm[used])


def _carriers(angles: FloatArray, shape: Shape) -> dict[str, FloatArray]:
    joints = shape.joints
    carriers = trunk_transforms(trunk_rotations(angles), joints)
    for side in SIDES:
        carriers[f"upperleg.{side}"] = child_transform(
            carriers["root"], leg_turn(angles, side), joints[f"upperleg01.{side}"]
        )
    return carriers


def _goal_target(
    target: ArmTarget,
    weights: FloatArray,
    goals: list[PlacedGoal],
    carriers: dict[str, FloatArray],
    side: int,
    joints: dict[str, FloatArray],
) -> ArmTarget:
    """Mix the arm's current place with those of its goals, in proportion to the goals' weights (T, G)."""
    if not weights.any():
        return target
    chest = carriers["spine01"]
    if side == 1:
        target = mirrored(target)
    hand_m = 0.62 * float(np.linalg.norm(joints["finger3-1.L"] - joints["wrist.L"]))
    own = 1 - weights.sum(1, keepdims=True)
    wrist, elbow, fingers, palm = (own * part for part in (target.wrist, target.elbow, target.fingers, target.palm))
    for index in np.flatnonzero(weights.any(0)):
        goal, weight = goals[index], weights[:, index : index + 1]
        carrier = carriers[f"upperleg.{SIDES[side]}" if goal.bone == "upperleg" else goal.bone]
        place = apply(carrier, goal.palm_point - hand_m * goal.fingers)
        into = np.swapaxes(chest[:, :, :3], 1, 2)
        wrist = wrist + weight * np.einsum("tij,tj->ti", into, place - chest[:, :, 3])
        turned = into @ carrier[:, :, :3]
        elbow = elbow + weight * goal.elbow
        fingers = fingers + weight * (turned @ goal.fingers)
        palm = palm + weight * (turned @ goal.palm)
    mixed = ArmTarget(wrist, normalized(elbow), normalized(fingers), normalized(palm))
    return mirrored(mixed) if side == 1 else mixed


def _points(place: ArmPlace, curl_deg: FloatArray, joints: dict[str, FloatArray]) -> FloatArray:
    """Return points (T, 10, 3) along an arm whose fingers are bent by ``curl_deg`` (T,)."""
    upper, fore = place.elbow - place.shoulder, place.wrist - place.elbow
    wrist, palm = joints["wrist.L"], joints["finger3-1.L"] - joints["wrist.L"]
    bend = about(arm_of(joints).fold, 1.4 * curl_deg)

    def tip(finger: int) -> FloatArray:
        along = 1.3 * (joints[f"finger{finger}-3.L"] - joints[f"finger{finger}-1.L"])
        return joints[f"finger{finger}-1.L"] - wrist + (along if finger == 1 else bend @ along)

    in_hand = [0.6 * palm, tip(3), tip(1), tip(5)]
    return np.stack(
        [
            place.shoulder,
            place.shoulder + 0.66 * upper,
            place.elbow,
            place.elbow + 0.35 * fore,
            place.elbow + 0.7 * fore,
            place.wrist,
            *(
                place.wrist + np.einsum("tij,tj->ti", place.hand, np.broadcast_to(p, place.wrist.shape))
                for p in in_hand
            ),
        ],
        axis=1,
    )


def _separate(
    angles: FloatArray,
    targets: list[ArmTarget],
    shape: Shape,
    proxy: BodyProxy,
    carriers: dict[str, FloatArray],
    chest: FloatArray,
    legs: FloatArray,
) -> tuple[list[ArmTarget], list[FloatArray]]:
    """Move targets out of the body and the other arm; also return which frames (T,) changed."""
    into = np.swapaxes(chest[:, :, :3], 1, 2)
    spots = []
    for side in SIDES:
        curl = angles[:, INDEX[f"middle.{side}"]]
        points = _points(place_arm(angles, side, shape.joints), curl, shape.joints)
        spots.append(points if side == "L" else points * FLIP)
    result, moved = [], []
    for number, target in enumerate(targets):
        points, other = spots[number], spots[1 - number]
        world = np.einsum("tij,tnj->tni", chest[:, :, :3], points) + chest[:, None, :, 3]
        out = push_out(proxy, carriers, world, _RADII, legs)
        out = np.einsum("tij,tnj->tni", into, out)
        apart = np.zeros_like(out)
        for start, end, radius in _PIECES:
            width = 0.8 * _RADII[:, None] + np.array(radius)
            step = 0.55 * out_of_capsule(points, other[:, start : start + 1], other[:, end : end + 1], width)
            apart = np.where((step**2).sum(2, keepdims=True) > (apart**2).sum(2, keepdims=True), step, apart)
        total = out + apart
        size = np.linalg.norm(total, axis=2)
        wrist_step = _largest(total, size * _MOVES_WRIST)
        elbow_step = _largest(total, size * _MOVES_ELBOW)
        if number == 1:
            wrist_step, elbow_step = wrist_step * FLIP, elbow_step * FLIP
        change = (size.max(1) > 0.002).astype(np.float64)
        result.append(
            replace(
                target,
                wrist=target.wrist + wrist_step * change[:, None],
                elbow=normalized(target.elbow + 7.0 * elbow_step * change[:, None]),
            )
        )
        moved.append(change)
    return result, moved


def _largest(steps: FloatArray, sizes: FloatArray) -> FloatArray:
    """Return, of steps (T, N, 3), the one with the largest size (T, N), scaled to it."""
    best = sizes.argmax(1)
    rows = np.arange(len(steps))
    length = np.maximum(np.linalg.norm(steps[rows, best], axis=1), 1e-9)
    return np.asarray(steps[rows, best] * (sizes[rows, best] / length)[:, None])
