"""Hands brought to their goals, arms kept out of the body."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from hdnet.synthetic.moves.bones import (
    about,
    apply,
    arm_direction,
    arm_of,
    carry,
    trunk_rotations,
    trunk_transforms,
)
from hdnet.synthetic.moves.goals import Target, targets
from hdnet.synthetic.moves.pose import FINGERS, INDEX, SIDES
from hdnet.synthetic.moves.reach import (
    ArmPlace,
    Wish,
    leg_turn,
    mirrored,
    place_arm,
    reach_arm,
    wish_of,
)
from hdnet.synthetic.moves.solids import Solids, out_of_capsule, push_out, solids_of
from hdnet.synthetic.parts import Shape
from hdnet.synthetic.surface import FloatArray, normalized

_ROUNDS = 6
_CALM = 1.5
_FLIP = np.array([-1.0, 1.0, 1.0])
# Points along an arm and how far each stays off the body, metres: shoulder (free), two thirds down the upper arm,
# elbow, two on the forearm, wrist, palm, tips of middle finger, thumb and little finger.
_RADII = np.array([-1.0, 0.052, 0.050, 0.050, 0.044, 0.036, 0.030, 0.018, 0.016, 0.016])
_MOVES_ELBOW = np.array([0.0, 1.0, 1.0, 0.7, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0])
_MOVES_WRIST = np.array([0.0, 0.0, 0.15, 0.5, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0])
# Pieces of the other arm: first and last point, radius at each.
_PIECES = ((0, 2, (0.062, 0.044)), (2, 5, (0.042, 0.034)), (5, 7, (0.034, 0.020)))


def settle_arms(angles: FloatArray, reach: FloatArray, shape: Shape) -> FloatArray:
    """Arms at their goals and outside of the body.

    Args:
        angles: (T, len(ANGLES)), legs settled.
        reach: (T, 2, len(GOALS)) as in :class:`Pose`.
        shape: Whose body.
    """
    solids, goals = _of_shape(shape)
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
    wishes = []
    for number, side in enumerate(SIDES):
        wish = wish_of(place_arm(angles, side, joints), joints)
        goal = _goal_wish(wish, reach[:, number], goals[number], carriers, number, joints)
        wishes.append(goal)
        if reach[:, number].any():
            used = np.flatnonzero(reach[:, number].any(1))
            angles[used] = reach_arm(angles[used], side, joints, _take(goal, used))
        flatten_fingers(angles, side, reach[:, number].sum(1))
    first = wishes
    for turn in range(_ROUNDS):
        wishes, moved = _separate(angles, wishes, shape, solids, carriers, chest, legs)
        if turn == _ROUNDS - 2 and len(angles) > 8:
            wishes = [
                replace(
                    wish,
                    wrist=start.wrist + gaussian_filter1d(wish.wrist - start.wrist, 2.5, axis=0),
                    elbow=normalized(gaussian_filter1d(wish.elbow, 2.5, axis=0)),
                )
                for wish, start in zip(wishes, first, strict=True)
            ]
            moved = [np.ones_like(move) for move in moved]
        for side, wish, move in zip(SIDES, wishes, moved, strict=True):
            used = np.flatnonzero(move)
            if len(used):
                angles[used] = reach_arm(angles[used], side, joints, _take(wish, used), rounds=2)
        if not any(move.any() for move in moved):
            break
    return calmed(angles) if len(angles) > 8 else angles


def calmed(angles: FloatArray) -> FloatArray:
    """Arms without jerks from frame to frame: angles (T, len(ANGLES)) smoothed over a few frames."""
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
    """Fingers of a hand that lies on the body (share 1) follow its surface, in place."""
    for number, finger in enumerate(FINGERS):
        index = INDEX[f"{finger}.{side}"]
        flat = np.clip(angles[:, index], -8, 6 + 2 * number)
        angles[:, index] += share * (flat - angles[:, index])


@lru_cache(maxsize=4)
def _of_shape(shape: Shape) -> tuple[Solids, tuple[list[Target], list[Target]]]:
    return solids_of(shape), (targets(shape.rest, 0), targets(shape.rest, 1))


def _take(wish: Wish, used: FloatArray) -> Wish:
    return Wish(wish.wrist[used], wish.elbow[used], wish.fingers[used], wish.palm[used])


def _carriers(angles: FloatArray, shape: Shape) -> dict[str, FloatArray]:
    joints = shape.joints
    carriers = trunk_transforms(trunk_rotations(angles), joints)
    for side in SIDES:
        carriers[f"upperleg.{side}"] = carry(carriers["root"], leg_turn(angles, side), joints[f"upperleg01.{side}"])
    return carriers


def _goal_wish(
    wish: Wish,
    weights: FloatArray,
    goals: list[Target],
    carriers: dict[str, FloatArray],
    side: int,
    joints: dict[str, FloatArray],
) -> Wish:
    """Mix the arm's own place with that of its goals, in proportion to the goals' weights (T, G)."""
    if not weights.any():
        return wish
    chest = carriers["spine01"]
    if side == 1:
        wish = mirrored(wish)
    hand_m = 0.62 * float(np.linalg.norm(joints["finger3-1.L"] - joints["wrist.L"]))
    own = 1 - weights.sum(1, keepdims=True)
    wrist, elbow, fingers, palm = (own * part for part in (wish.wrist, wish.elbow, wish.fingers, wish.palm))
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
    mixed = Wish(wrist, normalized(elbow), normalized(fingers), normalized(palm))
    return mirrored(mixed) if side == 1 else mixed


def _points(place: ArmPlace, curl_deg: FloatArray, joints: dict[str, FloatArray]) -> FloatArray:
    """Points (T, 10, 3) along an arm whose fingers are bent by ``curl_deg`` (T,)."""
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
    wishes: list[Wish],
    shape: Shape,
    solids: Solids,
    carriers: dict[str, FloatArray],
    chest: FloatArray,
    legs: FloatArray,
) -> tuple[list[Wish], list[FloatArray]]:
    """Wishes moved out of body and other arm, and which frames (T,) were changed."""
    into = np.swapaxes(chest[:, :, :3], 1, 2)
    spots = []
    for side in SIDES:
        curl = angles[:, INDEX[f"middle.{side}"]]
        points = _points(place_arm(angles, side, shape.joints), curl, shape.joints)
        spots.append(points if side == "L" else points * _FLIP)
    result, moved = [], []
    for number, wish in enumerate(wishes):
        points, other = spots[number], spots[1 - number]
        world = np.einsum("tij,tnj->tni", chest[:, :, :3], points) + chest[:, None, :, 3]
        out = push_out(solids, carriers, world, _RADII, legs)
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
            wrist_step, elbow_step = wrist_step * _FLIP, elbow_step * _FLIP
        change = (size.max(1) > 0.002).astype(np.float64)
        result.append(
            replace(
                wish,
                wrist=wish.wrist + wrist_step * change[:, None],
                elbow=normalized(wish.elbow + 7.0 * elbow_step * change[:, None]),
            )
        )
        moved.append(change)
    return result, moved


def _largest(steps: FloatArray, sizes: FloatArray) -> FloatArray:
    """Of steps (T, N, 3) that with the largest size (T, N), scaled to it."""
    best = sizes.argmax(1)
    rows = np.arange(len(steps))
    length = np.maximum(np.linalg.norm(steps[rows, best], axis=1), 1e-9)
    return np.asarray(steps[rows, best] * (sizes[rows, best] / length)[:, None])
