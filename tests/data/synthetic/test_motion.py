from __future__ import annotations

import numpy as np

from hdnet.data.synthetic.body import body_model
from hdnet.data.synthetic.garments import CANONICAL_SHAPE
from hdnet.data.synthetic.motion import ANGLES, Pose, draw_motion, draw_still, fold_drivers, rotations

REST = body_model().shape(CANONICAL_SHAPE)
JOINTS = dict(zip(body_model().bone_names, body_model().joints(REST), strict=True))


def _pose(**angles: float) -> Pose:
    values = dict.fromkeys(ANGLES, 0.0)
    for key, value in angles.items():
        for side in "LR":
            values[f"{key}.{side}"] = value
    return Pose(np.array(list(values.values())), 0.0)


def _posed_joints(pose: Pose) -> dict[str, np.ndarray]:
    model = body_model()
    posed = model.joints(model.pose(REST, rotations(pose, JOINTS)))
    return dict(zip(model.bone_names, posed, strict=True))


def test_arms_hang_stretch_sideways_and_forwards_as_named() -> None:
    for lift, forward, expected in ((0, 0, [0, 0, -1]), (90, 0, [1, 0, 0]), (90, 90, [0, -1, 0]), (180, 0, [0, 0, 1])):
        joints = _posed_joints(_pose(arm_lift=lift, arm_forward=forward, elbow=30))
        arm = joints["lowerarm01.L"] - joints["upperarm01.L"]
        assert arm @ expected / np.linalg.norm(arm) > 0.98


def test_both_sides_mirror_each_other() -> None:
    joints = _posed_joints(_pose(arm_lift=60, arm_forward=40, arm_twist=20, elbow=80, hip_flex=30, hip_out=10, knee=40))
    for bone in ("wrist", "finger3-3", "lowerleg01", "foot"):
        assert np.allclose(joints[f"{bone}.L"] * [-1, 1, 1], joints[f"{bone}.R"], atol=2e-3)


def test_elbow_angle_is_the_angle_between_the_arm_bones() -> None:
    joints = _posed_joints(_pose(arm_lift=30, elbow=75))
    upper = joints["lowerarm01.R"] - joints["upperarm01.R"]
    lower = joints["wrist.R"] - joints["lowerarm01.R"]
    cosine = upper @ lower / np.linalg.norm(upper) / np.linalg.norm(lower)
    assert abs(np.degrees(np.arccos(cosine)) - 75) < 8


def test_knees_bend_backwards_and_hips_forwards() -> None:
    bent = _posed_joints(_pose(hip_flex=40, knee=60))
    assert bent["lowerleg01.L"][1] < JOINTS["lowerleg01.L"][1] - 0.1
    shin = bent["foot.L"] - bent["lowerleg01.L"]
    assert shin[1] > 0


def test_motions_are_smooth_and_move() -> None:
    for seed in range(5):
        poses = draw_motion(np.random.default_rng(seed), 12)
        assert len(poses) == 12
        steps = np.diff([pose.yaw_deg for pose in poses])
        assert np.abs(steps).max() < 15
        angles = np.diff([pose.angles_deg for pose in poses], axis=0)
        assert np.abs(angles).max() < 60
        assert np.abs(angles).sum() > 50


def test_most_people_face_the_camera_some_do_not() -> None:
    rng = np.random.default_rng(0)
    yaws = np.abs([(draw_still(rng).yaw_deg + 180) % 360 - 180 for _ in range(200)])
    assert 0.5 < (yaws < 45).mean() < 0.9
    assert (yaws > 120).mean() > 0.03


def test_folds_grow_with_the_bend() -> None:
    straight, bent = fold_drivers(_pose(elbow=5)), fold_drivers(_pose(elbow=90))
    assert straight[0] == bent[0] == 1
    assert (bent[1:3] > 2 * straight[1:3]).all()
    assert np.array_equal(straight[3:], bent[3:])
