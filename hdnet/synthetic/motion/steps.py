"""Footwork of a dance: feet, hips, turns and jumps over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from hdnet.synthetic.surface import BoolArray, FloatArray

_ROOM_M = 0.36
_GRAVITY = 9.81


@dataclass(frozen=True, eq=False)
class Steps:
    """Feet and hips over time.

    Attributes:
        yaw_deg, lift_m, stature: (T,) as in :class:`Pose`.
        hips_m: (T, 2) over the floor.
        feet: (T, 2, 5) as in :class:`Pose`.
        contact: (T, 2).
    """

    yaw_deg: FloatArray
    lift_m: FloatArray
    stature: FloatArray
    hips_m: FloatArray
    feet: FloatArray
    contact: BoolArray


class _Plan:
    """Key frames of a dance while it is drawn, beat by beat."""

    def __init__(self, rng: np.random.Generator, facing_deg: float) -> None:
        self.rng = rng
        self.centre = np.zeros(2)
        self.facing = facing_deg
        self.width = rng.uniform(0.11, 0.16)
        self.feet = np.stack([self.home(side) for side in range(2)])
        # (time, value) keys; feet hold (x, y, heading, clearance, pitch).
        self.foot_keys: list[list[tuple[float, FloatArray]]] = [[(-1.0, foot.copy())] for foot in self.feet]
        self.swings: list[tuple[float, float, int]] = []
        self.weight: list[tuple[float, float]] = [(-1.0, 0.5)]
        self.low: list[tuple[float, float]] = [(-1.0, 0.985)]
        self.turn: list[tuple[float, float]] = [(-1.0, facing_deg)]
        self.jumps: list[tuple[float, float]] = []

    def axes(self) -> tuple[FloatArray, FloatArray]:
        """Return the dancer's left and front, unit vectors (2,) on the floor."""
        yaw = np.radians(self.facing)
        return np.array([np.cos(yaw), np.sin(yaw)]), np.array([np.sin(yaw), -np.cos(yaw)])

    def home(self, side: int, ahead: float = 0.0, apart: float = 0.0) -> FloatArray:
        """Return a place for a foot beside the centre."""
        left, front = self.axes()
        sign = 1 - 2 * side
        place = self.centre + sign * (self.width + apart) * left + ahead * front
        return np.array([*place, self.facing + sign * self.rng.uniform(4, 16), 0.0, 0.0])

    def step(self, start: float, end: float, side: int, to: FloatArray, clear: float, pitch: float = 22.0) -> None:
        """Move one foot from where it is."""
        keys, old = self.foot_keys[side], self.feet[side]
        self.weight += [(start, 0.16 if side == 0 else 0.84), (end, 0.3 if side == 0 else 0.7)]
        lifted = (old + to) / 2
        lifted[3:] = clear, pitch
        keys += [(start, old.copy()), ((start + end) / 2, lifted), (end, to.copy())]
        self.swings.append((start, end, side))
        self.feet[side] = to


def draw_steps(rng: np.random.Generator, times: FloatArray, beat_s: float) -> Steps:
    """Draw feet and hips for a dance.

    Args:
        rng: Random stream.
        times: (T,) of the frames, seconds, evenly spaced.
        beat_s: Length of a beat.
    """
    plan = _Plan(rng, float(np.clip(rng.normal(0, 22), -50, 50)))
    full_turn = rng.random() < 0.3
    at, last = beat_s * rng.uniform(0.2, 1.0), float(times[-1])
    side = int(rng.integers(2))
    while at < last + beat_s:
        pick = rng.random()
        if full_turn and at > 0.25 * last:
            at, full_turn = _spin(plan, at, beat_s, side), False
        elif pick < 0.22:
            at = _sway(plan, at, beat_s)
        elif pick < 0.66:
            at, side = _walk(plan, at, beat_s, side)
        elif pick < 0.78:
            at = _touch(plan, at, beat_s, side)
            side = 1 - side
        elif pick < 0.89:
            at = _crouch(plan, at, beat_s)
        elif pick < 0.97:
            at = _jump(plan, at, beat_s)
        else:
            at = _tiptoe(plan, at, beat_s)
    return _sampled(plan, times, beat_s)


def _sway(plan: _Plan, at: float, beat: float) -> float:
    """Shift the weight from foot to foot."""
    for number in range(int(plan.rng.integers(2, 5))):
        plan.weight.append((at + number * beat + 0.5 * beat, 0.5 + (-1) ** number * plan.rng.uniform(0.12, 0.3)))
        plan.turn.append((at + number * beat + 0.5 * beat, plan.facing + plan.rng.normal(0, 13)))
    return at + (number + 1) * beat


def _walk(plan: _Plan, at: float, beat: float, side: int) -> tuple[float, int]:
    """Take a few steps to a nearby place, facing the camera roughly again."""
    rng = plan.rng
    target = rng.uniform(-_ROOM_M, _ROOM_M, 2)
    facing = float(np.clip(rng.normal(0, 34), -70, 70)) + 360 * round(plan.facing / 360)
    count = int(rng.integers(2, 5))
    move = (target - plan.centre) / count
    move *= min(1.0, 0.24 / max(float(np.linalg.norm(move)), 1e-6))
    turn = float(np.clip((facing - plan.facing) / count, -32, 32))
    for _ in range(count):
        plan.centre = plan.centre + move
        plan.facing += turn
        length = beat * rng.uniform(0.5, 0.75)
        to = plan.home(side, rng.uniform(-0.05, 0.07))
        plan.step(at, at + length, side, to, rng.uniform(0.03, 0.1))
        plan.turn.append((at + length, plan.facing))
        at += beat
        side = 1 - side
    return at, side


def _touch(plan: _Plan, at: float, beat: float, side: int) -> float:
    """Tap or kick with one foot and bring it back."""
    rng = plan.rng
    home = plan.feet[side].copy()
    left, front = plan.axes()
    out = home.copy()
    out[:2] += (1 - 2 * side) * rng.uniform(0.0, 0.2) * left + rng.uniform(-0.16, 0.22) * front
    kick = rng.random() < 0.35
    if kick:
        start, top, end = at, at + 0.7 * beat, at + 1.5 * beat
        out[3], out[4] = rng.uniform(0.12, 0.4), rng.uniform(0, 40)
        plan.foot_keys[side] += [(start, home), (top, out), (top + 0.15 * beat, out), (end, home)]
        plan.swings.append((start, end, side))
        stand = 0.1 if side == 0 else 0.9
        plan.weight += [(start, stand), (end, stand)]
        return at + 2 * beat
    plan.step(at, at + 0.6 * beat, side, out, 0.04)
    plan.step(at + beat, at + 1.6 * beat, side, home, 0.04)
    return at + 2 * beat


def _crouch(plan: _Plan, at: float, beat: float) -> float:
    rng = plan.rng
    low = rng.uniform(0.66, 0.88)
    down = beat * rng.uniform(1.0, 1.5) * (1.35 if low < 0.76 else 1.0)
    hold = beat * rng.uniform(0.2, 1.5)
    plan.weight.append((at + down, rng.uniform(0.4, 0.6)))
    plan.low += [(at, 0.98), (at + down, low), (at + down + hold, low + 0.02), (at + 2 * down + hold, 0.98)]
    return at + 2 * down + hold


def _jump(plan: _Plan, at: float, beat: float) -> float:
    """Bend, leave the floor with both feet, and bend again."""
    rng = plan.rng
    count = int(rng.integers(1, 3))
    for _ in range(count):
        air = rng.uniform(0.28, 0.44)
        off = at + 0.42
        plan.weight += [(at, 0.5), (off + air, 0.5)]
        plan.low += [(at, 0.98), (at + 0.27, rng.uniform(0.84, 0.9)), (off, 0.99), (off + air, 0.97)]
        plan.low += [(off + air + 0.16, rng.uniform(0.84, 0.9)), (off + air + 0.5, 0.98)]
        for side in range(2):
            plant, keys = plan.feet[side].copy(), plan.foot_keys[side]
            up, middle = plant.copy(), plant.copy()
            up[4], middle[3], middle[4] = 32, 0.0, 38
            keys += [(at + 0.27, plant), (off, up), (off + air / 2, middle), (off + air, plant)]
        plan.jumps.append((off, air))
        at = off + air + 0.5
    return at + (beat - at % beat)


def _tiptoe(plan: _Plan, at: float, beat: float) -> float:
    """Rise onto the toes and come down."""
    height = plan.rng.uniform(22, 40)
    plan.weight += [(at, 0.5), (at + 2.2 * beat, 0.5)]
    plan.low += [(at, 0.985), (at + beat, 1.08), (at + 1.4 * beat, 1.08), (at + 2.2 * beat, 0.985)]
    for side in range(2):
        plant, up = plan.feet[side].copy(), plan.feet[side].copy()
        up[4] = height
        plan.foot_keys[side] += [(at, plant), (at + beat, up), (at + 1.4 * beat, up), (at + 2.2 * beat, plant)]
    return at + 2.5 * beat


def _spin(plan: _Plan, at: float, beat: float, side: int) -> float:
    """Turn once round in small steps."""
    rng = plan.rng
    way = int(rng.choice([-1, 1]))
    count = int(rng.integers(7, 11))
    side = 0 if way > 0 else 1
    for _ in range(count):
        plan.facing += way * 360 / count
        length = beat * 0.62
        plan.step(at, at + length, side, plan.home(side), 0.04)
        plan.turn.append((at + length, plan.facing))
        at += beat * 0.75
        side = 1 - side
    return at


def _sampled(plan: _Plan, times: FloatArray, beat: float) -> Steps:
    feet = np.stack([_feet_at(plan, side, times) for side in range(2)], axis=1)
    contact = np.ones((len(times), 2), dtype=bool)
    for start, end, side in plan.swings:
        contact[(times > start + 1e-6) & (times < end - 1e-6), side] = False
    lift = np.zeros_like(times)
    for off, air in plan.jumps:
        since = times - off
        flying = (since > 0) & (since < air)
        lift = np.where(flying, _GRAVITY / 2 * since * (air - since), lift)
        contact[flying] = False
    step = times[1] - times[0] if len(times) > 1 else 1 / 30
    weight = gaussian_filter1d(_curve(plan.weight, times), 0.09 / step)
    hips = weight[:, None] * feet[:, 0, :2] + (1 - weight[:, None]) * feet[:, 1, :2]
    hips = gaussian_filter1d(hips, 0.06 / step, axis=0)
    yaw = gaussian_filter1d(_curve(plan.turn, times), 0.08 / step)
    stature = _curve(plan.low, times)
    bounce = plan.rng.uniform(0.0, 0.03)
    stature = stature - bounce * (0.5 - 0.5 * np.cos(2 * np.pi * times / beat)) * (lift == 0)
    # Behind the toes: low hips go back to keep the weight over the feet.
    back = 0.015 + 0.36 * np.clip(0.97 - stature, 0, 0.35)
    radians = np.radians(yaw)
    hips = hips + back[:, None] * np.stack([-np.sin(radians), np.cos(radians)], axis=1)
    return Steps(yaw, lift, stature, hips, feet, contact)


def _feet_at(plan: _Plan, side: int, times: FloatArray) -> FloatArray:
    keys = plan.foot_keys[side]
    moments: list[float] = []
    values: list[FloatArray] = []
    for moment, value in keys:
        if not moments or moment > moments[-1] + 1e-4:
            moments.append(moment)
            values.append(value)
    moments.append(max(moments[-1], float(times[-1])) + 1.0)
    values.append(values[-1])
    return np.asarray(PchipInterpolator(moments, np.stack(values), axis=0)(times))


def _curve(keys: list[tuple[float, float]], times: FloatArray) -> FloatArray:
    ordered = sorted(keys, key=lambda key: key[0])
    moments: list[float] = []
    values: list[float] = []
    for moment, value in ordered:
        if not moments or moment > moments[-1] + 0.05:
            moments.append(moment)
            values.append(value)
    moments.append(max(moments[-1], float(times[-1])) + 1.0)
    values.append(values[-1])
    return np.asarray(PchipInterpolator(moments, values)(times))
