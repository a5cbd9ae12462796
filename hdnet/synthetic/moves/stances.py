"""How people stand: feet, hips and trunk of a still pose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hdnet.synthetic.moves.draft import Draft


def _relaxed(rng: np.random.Generator, draft: Draft) -> None:
    width = rng.uniform(0.085, 0.15)
    for side in range(2):
        draft.stand(side, width, rng.normal(0, 0.025), rng.uniform(0, 18))
    draft.hips = np.array([rng.normal(0, 0.02), rng.normal(0.012, 0.008)])
    draft.add(pelvis_roll=rng.normal(0, 1.5), pelvis_turn=rng.normal(0, 3))


def _contrapposto(rng: np.random.Generator, draft: Draft) -> None:
    free = int(rng.integers(2))
    sign = 1 - 2 * free
    width = rng.uniform(0.08, 0.11)
    draft.stand(1 - free, width, 0.0, rng.uniform(2, 14))
    draft.stand(free, rng.uniform(0.09, 0.19), rng.uniform(-0.17, 0.0), rng.uniform(8, 32))
    # The hip rises over the standing leg, the chest leans back over it.
    drop = rng.uniform(3, 8)
    draft.hips = np.array([-sign * width * rng.uniform(0.6, 0.9), 0.0])
    draft.add(pelvis_roll=sign * drop, lean=-sign * drop * rng.uniform(0.9, 1.5), tilt=sign * rng.uniform(0, 6))
    draft.add(pelvis_turn=sign * rng.uniform(-8, 2), twist=sign * rng.uniform(0, 8))


def _walk(rng: np.random.Generator, draft: Draft) -> None:
    ahead = int(rng.integers(2))
    sign = 1 - 2 * ahead
    stride = rng.uniform(0.18, 0.36)
    heel = rng.uniform(-12, 0) if rng.random() < 0.5 else 0.0
    draft.stand(ahead, 0.07, -stride, rng.uniform(2, 10), 0.0, heel)
    draft.stand(1 - ahead, 0.07, stride, rng.uniform(4, 12), 0.0, rng.uniform(20, 42))
    draft.stature = 0.97
    draft.hips = np.array([0.0, rng.uniform(-0.08, 0.04)])
    swing = stride * rng.uniform(40, 90)
    draft.put(ahead, arm_lift=10 + 0.5 * swing, arm_forward=-80, elbow=rng.uniform(5, 25))
    draft.put(1 - ahead, arm_lift=10 + 0.9 * swing, arm_forward=75, elbow=rng.uniform(20, 60))
    draft.add(pelvis_turn=-sign * 6, twist=sign * 10, bend=rng.uniform(0, 5))


def _wide(rng: np.random.Generator, draft: Draft) -> None:
    width = rng.uniform(0.2, 0.34)
    for side in range(2):
        draft.stand(side, width, rng.normal(0, 0.03), rng.uniform(12, 32))
    draft.hips = np.array([rng.normal(0, 0.05), 0.02])
    draft.stature = rng.uniform(0.9, 0.98)
    draft.add(bend=rng.uniform(0, 8))


def _lunge(rng: np.random.Generator, draft: Draft) -> None:
    ahead = int(rng.integers(2))
    reach = rng.uniform(0.28, 0.45)
    draft.stand(ahead, 0.1, -reach, rng.uniform(0, 12))
    draft.stand(1 - ahead, 0.12, reach, rng.uniform(8, 25), 0.0, rng.uniform(25, 50))
    draft.stature = rng.uniform(0.74, 0.9)
    draft.hips = np.array([0.0, rng.uniform(-0.14, -0.04)])
    draft.add(bend=rng.uniform(0, 15))


def _crouch(rng: np.random.Generator, draft: Draft) -> None:
    width = rng.uniform(0.12, 0.24)
    low = rng.uniform(0.68, 0.88)
    for side in range(2):
        draft.stand(side, width, rng.normal(0, 0.04), rng.uniform(10, 26))
    draft.stature = low
    bent = (1 - low) / 0.32
    draft.hips = np.array([0.0, 0.03 + 0.13 * bent])
    draft.add(pelvis_tilt=22 * bent, bend=rng.uniform(12, 30) * bent, nod=-16 * bent)


def _squat(rng: np.random.Generator, draft: Draft) -> None:
    """Deep, on the balls of the feet, as if sitting."""
    width = rng.uniform(0.12, 0.2)
    for side in range(2):
        draft.stand(side, width, 0.0, rng.uniform(14, 30), 0.0, rng.uniform(18, 34))
    draft.stature = rng.uniform(0.46, 0.6)
    draft.hips = np.array([0.0, rng.uniform(0.04, 0.08)])
    draft.add(pelvis_tilt=rng.uniform(5, 18), bend=rng.uniform(18, 34), nod=-18)


def _one_leg(rng: np.random.Generator, draft: Draft) -> None:
    free = int(rng.integers(2))
    sign = 1 - 2 * free
    draft.stand(1 - free, 0.06, 0.0, rng.uniform(0, 14))
    kind = rng.random()
    if kind < 0.45:
        draft.stand(free, rng.uniform(0.07, 0.2), rng.uniform(-0.3, -0.1), 10.0, rng.uniform(0.15, 0.5), 25.0)
    elif kind < 0.75:
        draft.stand(free, rng.uniform(0.06, 0.12), rng.uniform(0.25, 0.45), 5.0, rng.uniform(0.1, 0.4), 60.0)
    else:
        draft.stand(free, rng.uniform(0.3, 0.55), rng.uniform(-0.2, 0.1), 30.0, rng.uniform(0.08, 0.35), 20.0)
    draft.contact = (free != 0, free != 1)
    draft.hips = np.array([-sign * 0.05, 0.0])
    draft.stature = rng.uniform(0.96, 0.995)
    draft.add(pelvis_roll=sign * rng.uniform(-5, 2), lean=-sign * rng.uniform(0, 6))
    for side in range(2):
        draft.put(side, arm_lift=rng.uniform(20, 60), arm_forward=rng.uniform(0, 50), elbow=rng.uniform(10, 50))


STANCES: dict[str, Callable[[np.random.Generator, Draft], None]] = {
    "relaxed": _relaxed,
    "contrapposto": _contrapposto,
    "walk": _walk,
    "wide": _wide,
    "lunge": _lunge,
    "crouch": _crouch,
    "squat": _squat,
    "one_leg": _one_leg,
}
STANCE_SHARES = [0.26, 0.28, 0.14, 0.1, 0.06, 0.06, 0.03, 0.07]
