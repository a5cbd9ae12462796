"""Seats and beds under people, built to fit them."""

from __future__ import annotations

import numpy as np

from hdnet.synthetic.body import SKIN_VERTICES
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.person import PosedPerson
from hdnet.synthetic.rendering.solids import Finish, Solid, blob, box, cylinder, merged
from hdnet.synthetic.rendering.textures import draw_paint_colour, draw_upholstery, draw_wood
from hdnet.synthetic.surface import FloatArray

_SINK_M = 0.012
_ON_FLOOR_M = 0.12


def draw_seat(rng: np.random.Generator, posed: PosedPerson) -> Solid | None:
    """Draw what a person sits or lies on; None for those who stand, kneel or are on the floor.

    Args:
        rng: Stream of the camera.
        posed: The person in the world.
    """
    name, yaw = posed.pose.name, np.radians(posed.pose.yaw_deg)
    turn = np.array([[np.cos(yaw), np.sin(yaw), 0], [-np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    own = posed.vertices[:SKIN_VERTICES] @ turn.T
    if name.startswith("lying"):
        piece = _bed(rng, own)
    elif name.startswith("seated,"):
        texture = posed.person.canonical[:SKIN_VERTICES]
        hip = float(canonical_body().joints["upperleg01.L"][2])
        below = own[(np.abs(texture[:, 2] - hip + 0.04) < 0.1) & (texture[:, 1] > 0.0) & (np.abs(texture[:, 0]) < 0.2)]
        middle = below.mean(0)
        top = float(np.quantile(below[:, 2], 0.02)) + _SINK_M
        trunk = own[(texture[:, 2] > hip + 0.1) & (np.abs(texture[:, 0]) < 0.2)]
        piece = _SEATS[int(rng.integers(len(_SEATS)))](rng, (middle[0], middle[1], top), float(trunk[:, 1].max()))
    else:
        piece = None
    return None if piece is None else piece.moved(posed.pose.yaw_deg, (0, 0, 0))


def _bed(rng: np.random.Generator, own: FloatArray) -> Solid | None:
    """Build a bed or a bench below somebody who lies with the head at larger y."""
    low, high = own.min(0), own.max(0)
    top = float(low[2]) + 2 * _SINK_M
    if top < _ON_FLOOR_M:
        return None
    cloth, wood = draw_upholstery(rng), draw_wood(rng)
    left, right = low[0] - rng.uniform(0.1, 0.6), high[0] + rng.uniform(0.1, 0.6)
    foot, head = low[1] - rng.uniform(0.05, 0.3), high[1] + rng.uniform(0.05, 0.25)
    parts = [
        box(wood, (left, foot, 0.08), (right, head, top * 0.55)),
        box(cloth, (left + 0.01, foot + 0.01, top * 0.55), (right - 0.01, head - 0.01, top)),
    ]
    if rng.random() < 0.6:
        parts.append(box(wood, (left, head, 0), (right, head + 0.05, top + rng.uniform(0.2, 0.5))))
    return merged(parts)


_Place = tuple[float, float, float]
"""Middle of the seat, x and y in the person's axes, and its height. The last argument below is y of the back."""


def _chair(rng: np.random.Generator, place: _Place, back: float) -> Solid:
    x, y, top = place
    wood, wide, front = draw_wood(rng), rng.uniform(0.4, 0.5), y - rng.uniform(0.2, 0.3)
    rear, leg = max(back, y + 0.15) + 0.01, rng.uniform(0.03, 0.05)
    seat = draw_upholstery(rng) if rng.random() < 0.5 else wood
    left, right = x - wide / 2, x + wide / 2
    high = top + rng.uniform(0.35, 0.5)
    parts = [box(seat, (left, front, top - 0.05), (right, rear, top))]
    parts += [box(wood, (at, front, 0), (at + leg, front + leg, top - 0.05)) for at in (left, right - leg)]
    parts += [box(wood, (at, rear, 0), (at + leg, rear + leg, high)) for at in (left, right - leg)]
    if rng.random() < 0.6:
        parts.append(box(seat, (left, rear, top + rng.uniform(0.05, 0.2)), (right, rear + 0.03, high)))
    else:
        parts += [box(wood, (left, rear, at), (right, rear + 0.02, at + 0.05)) for at in (high - 0.06, high - 0.22)]
    return merged(parts)


def _stool(rng: np.random.Generator, place: _Place, _back: float) -> Solid:
    x, y, top = place
    seat = Finish(np.tile(draw_paint_colour(rng, (0.05, 0.9), 0.6), (2, 1)), gloss=0.15)
    radius = rng.uniform(0.17, 0.22)
    if rng.random() < 0.5:
        return cylinder(draw_upholstery(rng), (x, y - 0.03, 0), (radius * 1.05, radius), top)
    foot = draw_wood(rng)
    parts = [cylinder(seat, (x, y - 0.03, top - 0.05), (radius, radius), 0.05)]
    parts += [
        box(
            foot,
            (x + a * 0.12 - 0.015, y - 0.045 + b * 0.12, 0),
            (x + a * 0.12 + 0.015, y - 0.015 + b * 0.12, top - 0.05),
        )
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    return merged(parts)


def _block(rng: np.random.Generator, place: _Place, _back: float) -> Solid:
    """Build a crate, a low wall or a bench without a back."""
    x, y, top = place
    finish = draw_wood(rng)
    if rng.random() < 0.5:
        colour = draw_paint_colour(rng, (0.2, 0.8), 0.2)
        finish = Finish(np.stack([colour, colour * 0.8]), "noise", (0.1, 0.1))
    wide = rng.choice([rng.uniform(0.4, 0.6), rng.uniform(1.2, 3.0)])
    left = x - wide * rng.uniform(0.3, 0.7) if wide > 1 else x - wide / 2
    return box(finish, (left, y - rng.uniform(0.14, 0.26), 0), (left + wide, y + rng.uniform(0.2, 0.4), top))


def _sofa(rng: np.random.Generator, place: _Place, back: float) -> Solid:
    x, y, top = place
    cloth, long = draw_upholstery(rng), rng.uniform(0.9, 2.2)
    left = x - long * rng.uniform(0.35, 0.65)
    rear, high = max(back, y + 0.2), top + rng.uniform(0.3, 0.5)
    parts = [
        box(cloth, (left, y - rng.uniform(0.24, 0.32), 0.08), (left + long, rear, top)),
        box(cloth, (left, rear, 0.08), (left + long, rear + 0.2, high)),
    ]
    for end in (left, left + long):
        if abs(end - x) > 0.45:
            side = np.sign(end - x)
            arm = sorted((end, end + side * rng.uniform(0.12, 0.2)))
            parts.append(box(cloth, (arm[0], y - 0.3, 0.06), (arm[1], rear + 0.2, top + 0.18)))
            parts.append(
                blob(rng, draw_upholstery(rng), (end - side * 0.2, rear - 0.08, top + 0.17), (0.18, 0.08, 0.17))
            )
    return merged(parts)


_SEATS = (_chair, _chair, _stool, _block, _sofa, _sofa)
