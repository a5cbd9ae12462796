"""Dance-like motions: steps on beats, with arms and trunk interpolated between key poses."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from hdnet.synthetic.motion.pose import (
    ANGLES,
    FINGERS,
    GOALS,
    INDEX,
    SIDES,
    Pose,
    clamp,
    neutral_angles,
    point_finger,
    raise_arm,
    relax_arm,
)
from hdnet.synthetic.motion.steps import Steps, draw_steps
from hdnet.synthetic.surface import FloatArray

_GOALS_OF_ONE = ("hip", "hip", "chest", "chest", "cheek", "hair", "hair", "neck", "chin", "ear", "thigh", "hip_back")
_GOALS_OF_TWO = (("hip", "hip"), ("hair", "hair"), ("cross_over", "cross_under"), ("chest", "hip"), ("neck", "neck"))


def draw_dance(rng: np.random.Generator, frames: int, fps: float = 30.0) -> list[Pose]:
    """Draw a dance-like motion.

    Args:
        rng: Random stream of the motion.
        frames: Number of poses.
        fps: Poses a second.

    Returns:
        Poses in order, to be solved together for a person.
    """
    beat_s = 60 / rng.uniform(88, 128)
    times = np.arange(frames) / fps
    seconds = max(times[-1], beat_s)
    steps = draw_steps(rng, times, beat_s)
    angles, reach = _upper_body(rng, times, beat_s, seconds)
    _beat_sway(rng, angles, times, beat_s, steps)
    _waves(rng, angles, times, beat_s)
    angles = clamp(angles)
    return [
        Pose(
            angles_deg=angles[frame],
            yaw_deg=float(steps.yaw_deg[frame]),
            lift_m=float(steps.lift_m[frame]),
            travel_m=steps.hips_m[frame],
            contact=(bool(steps.contact[frame, 0]), bool(steps.contact[frame, 1])),
            stature=float(steps.stature[frame]),
            feet=steps.feet[frame],
            reach=reach[frame],
        )
        for frame in range(frames)
    ]


def _upper_body(
    rng: np.random.Generator, times: FloatArray, beat_s: float, seconds: float
) -> tuple[FloatArray, FloatArray]:
    """Draw angles (T, len(ANGLES)) and reach (T, 2, goals) through key poses on beats."""
    liveliness = rng.uniform(0.55, 1.0)
    at, keys, goals = 0.0, [], []
    moments: list[float] = []
    key, goal = _key(rng, liveliness)
    while True:
        arrive = at
        # Hold the pose for a part of the time, drifting a little.
        hold = at + beat_s * rng.uniform(0.1, 0.6)
        drift = key + rng.normal(0, 2.0, len(ANGLES)) * _ARMS_AND_TRUNK
        moments += [arrive, hold]
        keys += [key, drift]
        goals += [goal, goal]
        if hold > seconds:
            break
        key, goal = _key(rng, liveliness)
        if rng.random() < 0.35:
            # One arm stays where it is.
            side = int(rng.integers(2))
            kept = _ARM_ROWS[side]
            key[kept], goal[side] = drift[kept], goals[-1][side]
        change = np.abs(key - drift)[_LARGE].max()
        moved = max(change, 100.0 * np.abs(goal - goals[-1]).max())
        at = hold + max(moved / 160.0, 0.32) * rng.uniform(0.9, 1.25)
    curve = PchipInterpolator(moments, np.stack(keys), axis=0)(times)
    reach = PchipInterpolator(moments, np.stack(goals), axis=0)(times)
    return np.asarray(curve), np.clip(reach, 0, 1)


_ARM_ROWS = [
    np.array([INDEX[name] for name in ANGLES if name.endswith(f".{side}") and INDEX[name] < INDEX[f"hip_flex.{side}"]])
    for side in SIDES
]
_LARGE = np.array([INDEX[f"{name}.{side}"] for side in SIDES for name in ("arm_lift", "elbow", "arm_twist")])
_ARMS_AND_TRUNK = np.array([0.0 if name.split(".")[0] in ("elbow",) else 1.0 for name in ANGLES])


def _key(rng: np.random.Generator, liveliness: float) -> tuple[FloatArray, FloatArray]:
    """Draw one key pose: angles (len(ANGLES),) and reach (2, len(GOALS))."""
    angles, reach = neutral_angles(), np.zeros((2, len(GOALS)))
    spreads = {"bend": 9, "lean": 8, "twist": 15, "pelvis_turn": 6, "nod": 10, "tilt": 8, "turn": 20}
    for name, spread in spreads.items():
        angles[INDEX[name]] = liveliness * np.clip(rng.normal(0, spread), -2 * spread, 2 * spread)
    angles[INDEX["bend"]] += 3
    kind = rng.random()
    if kind < 0.1:
        first = int(rng.integers(2))
        pair = _GOALS_OF_TWO[int(rng.integers(len(_GOALS_OF_TWO)))]
        reach[first, GOALS.index(pair[0])] = reach[1 - first, GOALS.index(pair[1])] = 1
    for side in range(2):
        relax_arm(rng, angles, side)
        pick = rng.random()
        if pick < 0.85:
            raise_arm(rng, angles, side)
        if kind >= 0.1 and rng.random() < 0.22:
            reach[side, GOALS.index(str(rng.choice(_GOALS_OF_ONE)))] = 1
        elif rng.random() < 0.1:
            point_finger(angles, side)
        elif rng.random() < 0.12:
            for finger in FINGERS:
                angles[INDEX[f"{finger}.{SIDES[side]}"]] = 35 if finger == "thumb" else rng.uniform(60, 80)
    if 0.1 <= kind < 0.35:
        # Both arms do the same.
        angles[_ARM_ROWS[1]] = angles[_ARM_ROWS[0]]
        reach[1] = reach[0]
    return angles, reach


def _beat_sway(rng: np.random.Generator, angles: FloatArray, times: FloatArray, beat_s: float, steps: Steps) -> None:
    """Add sway of hips, chest and head with the beat."""
    strength = rng.uniform(0.3, 1.0)
    phase = np.pi * times / beat_s
    swell = gaussian_filter1d(rng.uniform(0.2, 1.0, len(times)), max(len(times) / 12, 1))
    for name, size, rate in (
        ("pelvis_roll", rng.uniform(2, 6), 1),
        ("lean", -rng.uniform(2, 6), 1),
        ("pelvis_turn", rng.uniform(0, 7), 1),
        ("twist", -rng.uniform(0, 7), 1),
        ("tilt", rng.uniform(0, 5), 1),
        ("nod", rng.uniform(1, 6), 2),
        ("bend", rng.uniform(0, 4), 2),
    ):
        angles[:, INDEX[name]] += strength * swell * size * np.sin(rate * phase + rng.uniform(-0.4, 0.4))
    # Low hips: the chest comes forward to stay over the feet.
    low = np.clip((0.95 - steps.stature) / 0.3, 0, 1)
    angles[:, INDEX["pelvis_tilt"]] += 20 * low
    angles[:, INDEX["bend"]] += 16 * low
    angles[:, INDEX["nod"]] -= 12 * low
    for side in SIDES:
        angles[:, INDEX[f"arm_lift.{side}"]] += strength * 3 * np.sin(2 * phase + rng.uniform(0, 6))


def _waves(rng: np.random.Generator, angles: FloatArray, times: FloatArray, beat_s: float) -> None:
    """Add occasional waves down an arm: shoulder, elbow, wrist, fingers."""
    for side in SIDES:
        if rng.random() < 0.5:
            continue
        centre, width = rng.uniform(0, max(times[-1], 0.1)), rng.uniform(1.5, 4.0) * beat_s
        window = np.exp(-(((times - centre) / width) ** 2))
        phase = 2 * np.pi * times / (2 * beat_s)
        chain = (("arm_lift", 12, 0.0), ("elbow", 18, 0.9), ("wrist", 24, 1.8))
        fingers = tuple((name, 14, 2.5) for name in FINGERS[1:])
        for name, size, delay in chain + fingers:
            angles[:, INDEX[f"{name}.{side}"]] += window * size * np.sin(phase - delay)
