"""Bone rotations and joint positions from joint angles, many frames at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hdnet.synthetic.motion.pose import FINGERS, INDEX, SIDES, TRUNK_ANGLES, Pose
from hdnet.synthetic.surface import FloatArray, normalized

FLIP = np.array([-1.0, 1.0, 1.0])
"""A point times this is its mirror image in the plane x = 0."""
MIRROR = np.outer(FLIP, FLIP)
"""A rotation times this is its mirror image in the plane x = 0."""
TRUNK_CHAIN = ("root", "spine05", "spine04", "spine03", "spine02", "spine01")
NECK_CHAIN = ("neck01", "neck02", "neck03", "head")
# Share of bend, lean and twist that each vertebra takes: the waist bends, the chest twists.
_SPINE_SHARES = {
    "spine05": (0.12, 0.14, 0.06),
    "spine04": (0.28, 0.28, 0.18),
    "spine03": (0.28, 0.26, 0.28),
    "spine02": (0.20, 0.20, 0.28),
    "spine01": (0.12, 0.12, 0.20),
}
_NECK_SHARES = {"neck01": 0.2, "neck02": 0.3, "head": 0.5}
_PRONATION_SHARES = {"lowerarm01": 0.22, "lowerarm02": 0.44, "wrist": 0.34}
_PHALANX_SHARES = (0.85, 1.1, 0.75)
_ONE = np.eye(3)
X, Y, Z = _ONE


def about(axis: FloatArray, degrees: FloatArray) -> FloatArray:
    """Return rotations (T, 3, 3) by ``degrees`` (T,) about one unit axis (3,) (Rodrigues)."""
    x, y, z = axis.tolist()
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.radians(degrees)[:, None, None]
    return np.asarray(_ONE + np.sin(angle) * skew + (1 - np.cos(angle)) * (skew @ skew))


def cross(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the cross product along the last axis; np.cross is several times slower on few vectors."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def euler(x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """Return rotations (T, 3, 3) about x, then y, then z (fixed axes) by degrees (T,)."""
    return np.asarray(about(Z, z) @ about(Y, y) @ about(X, x))


def euler_angles(rotation: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the degrees (T,) of :func:`euler` about each axis."""
    x = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    y = np.arcsin(np.clip(-rotation[:, 2, 0], -1, 1))
    z = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return np.degrees(x), np.degrees(y), np.degrees(z)


def between(start: FloatArray, end: FloatArray) -> FloatArray:
    """Return the smallest rotations (T, 3, 3) of one unit vector (3,) onto unit vectors (T, 3)."""
    x, y, z = cross(start, end).T
    zero = np.zeros_like(x)
    skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    scale = 1 / np.maximum(1 + end @ start, 1e-6)
    return np.asarray(_ONE + skew + skew @ skew * scale[:, None, None])


@dataclass(frozen=True, eq=False)
class Arm:
    """Axes and lengths of the left arm in the rest pose; the right arm is its mirror image.

    Attributes:
        upper, lower: (3,) shoulder to elbow and elbow to wrist.
        hinge: (3,) unit axis of the elbow.
        fold: (3,) unit axis of the wrist's flexion, across the hand.
        rest_elbow_deg: Bend of the elbow in the rest pose.
    """

    upper: FloatArray
    lower: FloatArray
    hinge: FloatArray
    fold: FloatArray
    rest_elbow_deg: float


_ARM_JOINTS = ("upperarm01.L", "lowerarm01.L", "wrist.L", "finger2-1.L", "finger5-1.L")


def arm_of(joints: dict[str, FloatArray]) -> Arm:
    """Measure the left arm of a person."""
    return _arm_at(tuple(tuple(joints[name].tolist()) for name in _ARM_JOINTS))


@lru_cache(maxsize=8)
def _arm_at(places: tuple[tuple[float, ...], ...]) -> Arm:
    shoulder, elbow, wrist, index, little = (np.array(place) for place in places)
    upper, lower, knuckles = elbow - shoulder, wrist - elbow, little - index
    along = normalized(lower)
    fold = normalized(knuckles - (knuckles @ along) * along)
    cosine = normalized(upper) @ along
    return Arm(upper, lower, normalized(cross(upper, lower)), fold, float(np.degrees(np.arccos(cosine))))


def arm_direction(lift: FloatArray, forward: FloatArray) -> FloatArray:
    """Return unit vectors (T, 3) of a left upper arm, from angles in degrees."""
    lift, forward = np.radians(lift), np.radians(forward)
    return np.stack([np.sin(lift) * np.cos(forward), -np.sin(lift) * np.sin(forward), -np.cos(lift)], axis=1)


def girdle(angles: FloatArray, side: str) -> FloatArray:
    """Return half of the rotation (T, 3, 3) of a left shoulder girdle, applied at the clavicle and at the shoulder."""
    lift, forward = angles[:, INDEX[f"arm_lift.{side}"]], np.radians(angles[:, INDEX[f"arm_forward.{side}"]])
    # The shoulder blade follows the arm: a third of the lift beyond 40 degrees, and forwards with it.
    rise = angles[:, INDEX[f"shrug.{side}"]] + 0.3 * np.logaddexp(0, (lift - 45) / 12) * 12
    ahead = angles[:, INDEX[f"protract.{side}"]] + 14 * np.sin(np.radians(lift)) * np.sin(forward)
    return euler(np.zeros_like(rise), -0.5 * rise, -0.5 * ahead)


def local_rotations(angles: FloatArray, joints: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Return bone rotations (T, 3, 3) of angles (T, len(ANGLES)), without the yaw of the person."""
    get = {name: angles[:, index] for name, index in INDEX.items()}
    result = trunk_rotations(angles)
    arm = arm_of(joints)
    for side in SIDES:
        limb = _arm_rotations(angles, side, arm) | _leg_rotations(get, side) | _finger_rotations(get, side, joints)
        for bone, rotation in limb.items():
            result[f"{bone}.{side}"] = rotation if side == "L" else rotation * MIRROR
    return result


def trunk_rotations(angles: FloatArray) -> dict[str, FloatArray]:
    """Return rotations (T, 3, 3) of root, spine, neck and head."""
    get = {name: angles[:, INDEX[name]] for name in TRUNK_ANGLES}
    result = {"root": euler(get["pelvis_tilt"], get["pelvis_roll"], get["pelvis_turn"])}
    for bone, (bend, lean, twist) in _SPINE_SHARES.items():
        result[bone] = euler(bend * get["bend"], lean * get["lean"], twist * get["twist"])
    for bone, share in _NECK_SHARES.items():
        result[bone] = euler(share * get["nod"], share * get["tilt"], share * get["turn"])
    return result


def rotations(pose: Pose, joints: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Return bone rotations of a solved pose, yaw included, as :meth:`BodyModel.pose` takes them."""
    local = {name: matrix[0] for name, matrix in local_rotations(pose.angles_deg[None], joints).items()}
    local["root"] = about(Z, np.array([pose.yaw_deg]))[0] @ local["root"]
    return local


def child_transform(parent: FloatArray, rotation: FloatArray, head: FloatArray) -> FloatArray:
    """Return transforms (T, 3, 4) of a bone from its parent's, its rotation (T, 3, 3) and its rest head (3,)."""
    turn = parent[:, :, :3] @ rotation
    shift = parent[:, :, :3] @ head + parent[:, :, 3] - turn @ head
    return np.concatenate([turn, shift[:, :, None]], axis=2)


def apply(transform: FloatArray, point: FloatArray) -> FloatArray:
    """Apply transforms (T, 3, 4) to a rest point (3,), or to one per frame (T, 3)."""
    points = np.broadcast_to(point, (len(transform), 3))
    return np.asarray(np.einsum("tij,tj->ti", transform[:, :, :3], points) + transform[:, :, 3])


def trunk_transforms(local: dict[str, FloatArray], joints: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Return transforms (T, 3, 4) of root, spine, neck and head from the rest pose, with the root's head in place."""
    count = len(local["root"])
    still = np.broadcast_to(np.eye(3), (count, 3, 3))
    above = np.broadcast_to(np.eye(3, 4), (count, 3, 4))
    result = {}
    for bone in (*TRUNK_CHAIN, *NECK_CHAIN):
        above = result[bone] = child_transform(above, local.get(bone, still), joints[bone])
    return result


def _arm_rotations(angles: FloatArray, side: str, arm: Arm) -> dict[str, FloatArray]:
    def get(name: str) -> FloatArray:
        return np.asarray(angles[:, INDEX[f"{name}.{side}"]])

    half = girdle(angles, side)
    back = np.swapaxes(half @ half, 1, 2)
    along, fore = normalized(arm.upper), normalized(arm.lower)
    swing = back @ between(along, arm_direction(get("arm_lift"), get("arm_forward")))
    turn = {bone: about(fore, share * get("pronation")) for bone, share in _PRONATION_SHARES.items()}
    palm = cross(arm.fold, fore)
    return {
        "clavicle": half,
        "shoulder01": half,
        "upperarm01": swing @ about(along, 0.6 * get("arm_twist")),
        "upperarm02": about(along, 0.4 * get("arm_twist")),
        "lowerarm01": about(arm.hinge, get("elbow") - arm.rest_elbow_deg) @ turn["lowerarm01"],
        "lowerarm02": turn["lowerarm02"],
        "wrist": turn["wrist"] @ about(arm.fold, get("wrist")) @ about(palm, -get("wrist_side")),
    }


def _leg_rotations(get: dict[str, FloatArray], side: str) -> dict[str, FloatArray]:
    def of(name: str) -> FloatArray:
        return get[f"{name}.{side}"]

    return {
        "upperleg01": euler(-of("hip_flex"), -of("hip_out"), of("hip_twist")),
        "lowerleg01": about(X, of("knee")),
        "foot": euler(-of("ankle"), of("ankle_roll"), of("ankle_turn")),
    }


def _finger_rotations(get: dict[str, FloatArray], side: str, joints: dict[str, FloatArray]) -> dict[str, FloatArray]:
    arm = arm_of(joints)
    result = {}
    for number, finger in enumerate(FINGERS, start=1):
        bend = get[f"{finger}.{side}"]
        axis = _thumb_axis(joints) if finger == "thumb" else arm.fold
        shares = (0.5, 0.9, 0.8) if finger == "thumb" else _PHALANX_SHARES
        for phalanx, share in enumerate(shares, start=1):
            result[f"finger{number}-{phalanx}"] = about(axis, share * bend)
        if finger != "thumb":
            fan = (1.2, 0.2, -0.7, -1.4)[number - 2] * get[f"spread.{side}"]
            palm = cross(arm.fold, normalized(arm.lower))
            result[f"finger{number}-1"] = about(palm, -fan) @ result[f"finger{number}-1"]
    for number in range(1, 6):
        if f"toe{number}-1.L" in joints:
            result[f"toe{number}-1"] = about(X, -get[f"toes.{side}"])
    return result


def _thumb_axis(joints: dict[str, FloatArray]) -> FloatArray:
    along = joints["finger1-3.L"] - joints["finger1-2.L"]
    to_little = joints["finger5-1.L"] - joints["finger1-2.L"]
    return normalized(cross(along, to_little))
