"""Two-bone inverse kinematics of arms and legs, many frames at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hdnet.synthetic.motion.bones import (
    FLIP,
    MIRROR,
    Arm,
    about,
    apply,
    arm_direction,
    arm_of,
    between,
    child_transform,
    cross,
    euler,
    euler_angles,
    girdle,
)
from hdnet.synthetic.motion.pose import INDEX, LIMITS
from hdnet.synthetic.surface import FloatArray, normalized


@dataclass(frozen=True, eq=False)
class ArmTarget:
    """Wanted place of a left arm, seen from the chest in the axes of the rest pose, (T, 3) each.

    Attributes:
        wrist: Place of the wrist.
        elbow: Direction of the elbow from the line shoulder to wrist.
        fingers, palm: Directions of the fingers and of the palm.
    """

    wrist: FloatArray
    elbow: FloatArray
    fingers: FloatArray
    palm: FloatArray


@dataclass(frozen=True, eq=False)
class ArmPlace:
    """Place of a left arm, seen from the chest, (T, 3) each; ``hand`` (T, 3, 3) turns the rest pose's hand."""

    shoulder: FloatArray
    elbow: FloatArray
    wrist: FloatArray
    hand: FloatArray
    hinge: FloatArray


def two_bones(
    first: FloatArray,
    second: FloatArray,
    hinge: FloatArray,
    to: FloatArray,
    side: FloatArray,
    bends: tuple[float, float],
) -> tuple[FloatArray, FloatArray]:
    """Turn a chain of two bones so that it ends at ``to``.

    Args:
        first: (3,) first bone in the rest pose.
        second: (3,) second bone.
        hinge: (3,) unit axis of the joint between them.
        to: (T, 3) target of the end, seen from the start; the chain points at a target beyond reach.
        side: (T, 3) wanted direction of the hinge.
        bends: Least and greatest turn about the hinge in degrees, from the rest pose.

    Returns:
        Rotations of the first bone (T, 3, 3) and turns about the hinge (T,) in degrees.
    """
    along_a, along_b = first @ hinge, second @ hinge
    a, b = first - along_a * hinge, second - along_b * hinge
    size_a, size_b = np.linalg.norm(a), np.linalg.norm(b)
    rest = np.arctan2(cross(a, b) @ hinge, a @ b)
    flat = (to**2).sum(1) - (along_a + along_b) ** 2
    cosine = (flat - size_a**2 - size_b**2) / (2 * size_a * size_b)
    bend = np.clip(np.degrees(np.arccos(np.clip(cosine, -1, 1)) - rest), *bends)
    reach = first + np.einsum("tij,j->ti", about(hinge, bend), second)
    return _frames(to, side) @ np.swapaxes(_frames(reach, np.broadcast_to(hinge, reach.shape)), 1, 2), bend


def _frames(along: FloatArray, side: FloatArray) -> FloatArray:
    """Return rotations (T, 3, 3) with columns ``along``, the part of ``side`` across it, and their cross product."""
    x = normalized(along)
    y = normalized(side - (side * x).sum(1, keepdims=True) * x)
    return np.stack([x, y, cross(x, y)], axis=2)


def place_arm(angles: FloatArray, side: str, joints: dict[str, FloatArray]) -> ArmPlace:
    """Return the place of an arm for angles (T, len(ANGLES)); a right arm is mirrored to the left."""
    arm = arm_of(joints)

    def get(name: str) -> FloatArray:
        return np.asarray(angles[:, INDEX[f"{name}.{side}"]])

    shoulder = _shoulder(angles, side, joints)
    along, fore = normalized(arm.upper), normalized(arm.lower)
    upper = between(along, arm_direction(get("arm_lift"), get("arm_forward"))) @ about(along, get("arm_twist"))
    lower = upper @ about(arm.hinge, get("elbow") - arm.rest_elbow_deg)
    palm = cross(arm.fold, fore)
    hand = lower @ about(fore, get("pronation")) @ about(arm.fold, get("wrist")) @ about(palm, -get("wrist_side"))
    elbow = shoulder + upper @ arm.upper
    return ArmPlace(shoulder, elbow, elbow + lower @ arm.lower, hand, upper @ arm.hinge)


def current_target(place: ArmPlace, joints: dict[str, FloatArray]) -> ArmTarget:
    """Return the target that keeps an arm where it is."""
    arm = arm_of(joints)
    line = normalized(place.wrist - place.shoulder)
    palm = place.hand @ cross(arm.fold, normalized(arm.lower))
    return ArmTarget(place.wrist, cross(line, place.hinge), place.hand @ normalized(arm.lower), palm)


def reach_arm(
    angles: FloatArray, side: str, joints: dict[str, FloatArray], target: ArmTarget, rounds: int = 3
) -> FloatArray:
    """Return angles (T, len(ANGLES)) with one arm at its target, within the limits of its joints."""
    arm, angles = arm_of(joints), angles.copy()
    along, fore = normalized(arm.upper), normalized(arm.lower)
    low, high = LIMITS[INDEX["elbow.L"]] - arm.rest_elbow_deg

    def put(name: str, values: FloatArray) -> None:
        index = INDEX[f"{name}.{side}"]
        angles[:, index] = np.clip(values, *LIMITS[index])

    for _ in range(rounds):
        to = target.wrist - _shoulder(angles, side, joints)
        turn, bend = two_bones(arm.upper, arm.lower, arm.hinge, to, cross(target.elbow, to), (low, high))
        down = turn @ along
        put("arm_lift", np.degrees(np.arccos(np.clip(-down[:, 2], -1, 1))))
        put("arm_forward", np.degrees(np.arctan2(-down[:, 1], down[:, 0])))
    rest = np.swapaxes(between(along, down), 1, 2) @ turn
    put("arm_twist", _soft_limited(_turn_about(rest, along, arm.hinge), 105))
    put("elbow", bend + arm.rest_elbow_deg)
    return _turn_hand(angles, side, arm, target, fore)


def _turn_hand(angles: FloatArray, side: str, arm: Arm, target: ArmTarget, fore: FloatArray) -> FloatArray:
    def get(name: str) -> FloatArray:
        return np.asarray(angles[:, INDEX[f"{name}.{side}"]])

    along = normalized(arm.upper)
    upper = between(along, arm_direction(get("arm_lift"), get("arm_forward"))) @ about(along, get("arm_twist"))
    lower = upper @ about(arm.hinge, get("elbow") - arm.rest_elbow_deg)
    basis = np.stack([fore, arm.fold, cross(fore, arm.fold)], axis=1)
    palm = target.palm - (target.palm * normalized(target.fingers)).sum(1, keepdims=True) * normalized(target.fingers)
    wanted = np.stack([normalized(target.fingers), normalized(cross(target.fingers, palm)), -normalized(palm)], axis=2)
    local = np.swapaxes(lower @ basis, 1, 2) @ wanted
    pronation = _soft_limited(np.degrees(np.arctan2(-local[:, 1, 2], local[:, 2, 2])), 85)
    flexion = np.degrees(np.arcsin(np.clip(local[:, 0, 2], -1, 1)))
    sideways = np.degrees(np.arctan2(-local[:, 0, 1], local[:, 0, 0]))
    for name, values in (("pronation", pronation), ("wrist", flexion), ("wrist_side", sideways)):
        index = INDEX[f"{name}.{side}"]
        angles[:, index] = np.clip(values, *LIMITS[index])
    return angles


def _soft_limited(degrees: FloatArray, most: float) -> FloatArray:
    """Limit angles in -180..180, without a jump where they wrap round."""
    size = np.abs(degrees)
    return np.asarray(np.sign(degrees) * np.minimum(size, most * (180 - size) / (180 - most)))


def _turn_about(rotation: FloatArray, axis: FloatArray, probe: FloatArray) -> FloatArray:
    """Return the degrees (T,) by which rotations that keep ``axis`` turn ``probe`` about it."""
    probe = normalized(probe - (probe @ axis) * axis)
    turned = rotation @ probe
    return np.asarray(np.degrees(np.arctan2(turned @ cross(axis, probe), turned @ probe)))


def _shoulder(angles: FloatArray, side: str, joints: dict[str, FloatArray]) -> FloatArray:
    half = girdle(angles, side)
    still = np.broadcast_to(np.eye(3, 4), (len(angles), 3, 4))
    clavicle = child_transform(still, half, joints["clavicle.L"])
    return apply(child_transform(clavicle, half, joints["shoulder01.L"]), joints["upperarm01.L"])


def reach_leg(
    angles: FloatArray,
    side: str,
    joints: dict[str, FloatArray],
    ankle: FloatArray,
    knee_deg: FloatArray,
    sole: FloatArray,
) -> FloatArray:
    """Return angles (T, len(ANGLES)) with one leg at its target.

    Args:
        angles: The pose.
        side: "L" or "R".
        joints: Rest joints.
        ankle: (T, 3) the ankle seen from the hip, in the pelvis' axes.
        knee_deg: (T,) heading of the knee in the pelvis' axes, 0 ahead, positive to the left.
        sole: (T, 3, 3) rotation of the foot in the pelvis' axes.
    """
    angles = angles.copy()
    mirrored = side == "R"
    if mirrored:
        ankle, knee_deg, sole = ankle * FLIP, -knee_deg, sole * MIRROR
    first = joints["lowerleg01.L"] - joints["upperleg01.L"]
    second = joints["foot.L"] - joints["lowerleg01.L"]
    heading = np.radians(knee_deg)
    out = np.stack([np.cos(heading), np.sin(heading), np.zeros_like(heading)], axis=1)
    hinge = np.array([1.0, 0.0, 0.0])
    thigh, bend = two_bones(first, second, hinge, ankle, out, (0.0, 150.0))
    flex, outwards, twist = euler_angles(thigh)
    foot = np.swapaxes(thigh @ about(hinge, bend), 1, 2) @ sole
    toes_down, roll, turn = euler_angles(foot)
    solved = {"hip_flex": -flex, "hip_out": -outwards, "hip_twist": twist, "knee": bend}
    for name, values in (solved | {"ankle": -toes_down, "ankle_roll": roll, "ankle_turn": turn}).items():
        index = INDEX[f"{name}.{side}"]
        angles[:, index] = np.clip(values, *LIMITS[index])
    return angles


def leg_turn(angles: FloatArray, side: str) -> FloatArray:
    """Return the rotation (T, 3, 3) of a thigh in the pelvis' axes."""
    flex, out, twist = (angles[:, INDEX[f"{name}.{side}"]] for name in ("hip_flex", "hip_out", "hip_twist"))
    thigh = euler(-flex, -out, twist)
    return np.asarray(thigh * MIRROR if side == "R" else thigh)


def mirrored(target: ArmTarget) -> ArmTarget:
    """Mirror a target for the other arm."""
    return replace(
        target,
        wrist=target.wrist * FLIP,
        elbow=target.elbow * FLIP,
        fingers=target.fingers * FLIP,
        palm=target.palm * FLIP,
    )
