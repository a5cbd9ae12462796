"""Furniture in front of a person, which hides part of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hdnet.synthetic.body import SKIN_VERTICES
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.person import PosedPerson
from hdnet.synthetic.rendering.rays import Scene, project_points
from hdnet.synthetic.rendering.solids import Finish, Solid, blob, box, cylinder, leaves, merged
from hdnet.synthetic.rendering.textures import draw_paint_colour, draw_upholstery, draw_wood
from hdnet.synthetic.rendering.view import PICTURE_SIZE, View
from hdnet.synthetic.surface import FloatArray

MOST_HIDDEN = 0.35
_LEAST_HIDDEN, _MOST_OF_HEAD = 0.03, 0.15
_ATTEMPTS = 12


def draw_furniture(rng: np.random.Generator, view: View, posed: Sequence[PosedPerson]) -> Solid | None:
    """Draw something in front of the person, fixed over all frames.

    Args:
        rng: Stream of the camera.
        view: View of the camera.
        posed: All frames of the person, in the world.

    Returns:
        The piece, or None if no draw hides between 3 and 35 % of the person.
    """
    head_height = float(canonical_body().joints["neck01"][2])
    points = np.concatenate([frame.vertices[:SKIN_VERTICES:17] for frame in posed])
    heads = np.concatenate([frame.person.canonical[:SKIN_VERTICES:17, 2] > head_height for frame in posed])
    number = np.repeat(np.arange(len(posed)), len(points) // len(posed))
    for _ in range(_ATTEMPTS):
        piece = _draw_piece(rng, view, points)
        hidden, seen = hidden_points(view, piece, points)
        by_frame = np.bincount(number, hidden & seen) / np.maximum(np.bincount(number, seen), 1)
        of_head = (hidden & seen)[heads].sum() / max(int(seen[heads].sum()), 1)
        if by_frame.max() <= MOST_HIDDEN and by_frame.max() >= _LEAST_HIDDEN and of_head <= _MOST_OF_HEAD:
            return piece
    return None


def hidden_points(view: View, piece: Solid, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return whether the piece hides each point, and whether the point is in the picture, both (N,)."""
    here = view.points(points)
    rays = here / here[:, 2:]
    hits = Scene(view.points(piece.vertices), piece.faces).cast(rays)
    hidden = np.zeros(len(points), dtype=bool)
    hidden[hits.ray] = hits.depth_m < here[hits.ray, 2]
    pixels = project_points(view.camera, here)
    return hidden, np.asarray(((pixels > 0) & (pixels < PICTURE_SIZE - 1)).all(axis=1))


def _draw_piece(rng: np.random.Generator, view: View, points: FloatArray) -> Solid:
    """Draw a piece somewhere between camera and person."""
    front = float(np.quantile(points[:, 1], 0.01))
    camera = view.centre_m
    gap = front - camera[1]
    # Rather near the person: a piece close to the lens would fill the picture.
    at_y = front - gap * rng.uniform(0.08, 0.45) - 0.1
    share = (at_y - camera[1]) / (points[:, 1].mean() - camera[1])
    middle = camera[0] + (points[:, 0].mean() - camera[0]) * share
    half_width = max(0.12, 0.5 * np.ptp(points[:, 0]) * share)
    at_x = middle + rng.uniform(-1, 1) * half_width
    name = _PIECES[int(rng.integers(len(_PIECES)))]
    return name(rng, (at_x, at_y, half_width))


Place = tuple[float, float, float]
"""World x and y, and half the width of the person at that distance."""


def _chair(rng: np.random.Generator, place: Place) -> Solid:
    wood = draw_wood(rng)
    seat, top = rng.uniform(0.42, 0.5), rng.uniform(0.78, 1.02)
    wide, deep, thick = rng.uniform(0.38, 0.5), rng.uniform(0.38, 0.48), rng.uniform(0.025, 0.045)
    parts = [
        box(wood, (sx * wide / 2 - thick, y - thick, 0), (sx * wide / 2, y, high))
        for sx in (0, 1)
        for y, high in ((thick, top), (deep, seat))
    ]
    parts = [p.moved(0, (-wide / 2 + thick / 2, 0, 0)) for p in parts]
    parts.append(box(wood, (-wide / 2, 0, seat - 0.03), (wide / 2, deep, seat)))
    for level in np.linspace(seat + 0.12, top - 0.04, int(rng.integers(2, 5))):
        parts.append(box(wood, (-wide / 2, 0, level), (wide / 2, 0.02, level + rng.uniform(0.03, 0.08))))
    return merged(parts).moved(rng.uniform(-40, 40), (place[0], place[1] - deep / 2, 0))


def _table(rng: np.random.Generator, place: Place) -> Solid:
    wood = draw_wood(rng)
    high, long, deep = rng.uniform(0.5, 0.95), rng.uniform(0.7, 1.8), rng.uniform(0.4, 0.8)
    thick = rng.uniform(0.02, 0.06)
    parts = [box(wood, (-long / 2, -deep, high - thick), (long / 2, 0, high))]
    if rng.random() < 0.4:
        front = draw_wood(rng)
        parts.append(box(front, (-long / 2 + 0.02, -deep + 0.02, 0), (long / 2 - 0.02, -0.02, high - thick)))
    else:
        parts += [
            box(wood, (x, y, 0), (x + 0.05, y + 0.05, high - thick))
            for x in (-long / 2 + 0.02, long / 2 - 0.07)
            for y in (-deep + 0.02, -0.07)
        ]
    for _ in range(int(rng.integers(0, 4))):
        things = Finish(np.tile(draw_paint_colour(rng, (0.05, 0.95), 0.7), (2, 1)), gloss=0.2)
        at = (rng.uniform(-0.45, 0.45) * long, -rng.uniform(0.15, 0.85) * deep, high)
        radius = rng.uniform(0.03, 0.06)
        parts.append(cylinder(things, at, (radius, radius * rng.uniform(0.5, 1.2)), rng.uniform(0.06, 0.22)))
    side = rng.choice([-1.0, 1.0]) * long / 2 * rng.uniform(0.2, 1.0)
    return merged(parts).moved(rng.uniform(-25, 25), (place[0] + side, place[1], 0))


def _crate(rng: np.random.Generator, place: Place) -> Solid:
    finish = draw_wood(rng) if rng.random() < 0.6 else draw_upholstery(rng)
    wide, deep, high = rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.5), rng.uniform(0.3, 0.85)
    lid = box(draw_wood(rng), (-wide / 2 - 0.01, -deep - 0.01, high), (wide / 2 + 0.01, 0.01, high + 0.03))
    return merged([box(finish, (-wide / 2, -deep, 0), (wide / 2, 0, high)), lid]).moved(
        rng.uniform(-35, 35), (place[0], place[1], 0)
    )


def _sofa(rng: np.random.Generator, place: Place) -> Solid:
    cloth = draw_upholstery(rng)
    long, high, arm = rng.uniform(1.0, 1.9), rng.uniform(0.6, 0.85), rng.uniform(0.14, 0.22)
    parts = [
        box(cloth, (-long / 2, -0.22, 0.06), (long / 2, 0, high)),
        box(cloth, (-long / 2, 0, 0.06), (long / 2, 0.3, 0.42)),
        box(cloth, (-long / 2 - arm, -0.24, 0.04), (-long / 2, 0.3, high - 0.18)),
        box(cloth, (long / 2, -0.24, 0.04), (long / 2 + arm, 0.3, high - 0.18)),
    ]
    for end in (-1, 1):
        cushion = draw_upholstery(rng)
        parts.append(blob(rng, cushion, (end * long * 0.3, 0.0, high + 0.02), (0.22, 0.1, 0.17)))
    side = rng.choice([-1.0, 1.0]) * (long / 2 + arm) * rng.uniform(0.5, 1.1)
    return merged(parts).moved(rng.uniform(-25, 25), (place[0] + side, place[1] - 0.3, 0))


def _plant(rng: np.random.Generator, place: Place) -> Solid:
    green = np.array([0.07, 0.12, 0.045]) * rng.uniform(0.4, 1.5) * rng.uniform(0.8, 1.2, 3)
    leaf = Finish(np.stack([green, green * 1.6]), "noise", (0.03, 0.2), 0.15)
    pot = Finish(np.tile(draw_paint_colour(rng, (0.15, 0.9), 0.5), (2, 1)), gloss=0.15)
    high, stem = rng.uniform(0.18, 0.4), rng.uniform(0.0, 0.35)
    parts = [cylinder(pot, (0, 0, 0), (0.1, 0.15), high)]
    if stem > 0.05:
        bark = Finish(np.array([[0.12, 0.08, 0.05], [0.07, 0.05, 0.03]]), "noise", (0.03, 0.03))
        parts.append(cylinder(bark, (0, 0, high), (0.02, 0.015), stem))
    count = int(rng.integers(10, 26))
    parts.append(leaves(rng, leaf, (0, 0, high + stem), count, rng.uniform(0.45, 1.0), rng.uniform(0.4, 0.9)))
    return merged(parts).moved(0, (place[0], place[1] - 0.15, 0))


def _post(rng: np.random.Generator, place: Place) -> Solid:
    """Draw a door frame, the edge of a wall or a pillar."""
    paint = Finish(np.tile(draw_paint_colour(rng, (0.2, 0.97), 0.2), (2, 1)), gloss=0.08)
    wide, deep = rng.uniform(0.06, 0.5), rng.uniform(0.08, 0.3)
    side = rng.choice([-1.0, 1.0])
    at = place[0] * 0.3 + side * (place[2] * rng.uniform(0.7, 1.0) + wide / 2)
    if rng.random() < 0.3:
        return cylinder(paint, (at, place[1] - deep, 0), (wide / 2, wide / 2), 3.2)
    return box(paint, (-wide / 2, -deep, 0), (wide / 2, 0, 3.2)).moved(rng.uniform(-15, 15), (at, place[1], 0))


_PIECES: tuple[Callable[[np.random.Generator, Place], Solid], ...] = (
    _chair,
    _chair,
    _table,
    _table,
    _crate,
    _sofa,
    _plant,
    _plant,
    _post,
)
