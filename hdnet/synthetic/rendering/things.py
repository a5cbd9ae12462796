"""Things at or in front of a person: held, worn, pets, clutter; they are not part of the mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hdnet.synthetic.body import SKIN_VERTICES
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.person import PosedPerson
from hdnet.synthetic.rendering import objects
from hdnet.synthetic.rendering.carried import HELD, WORN, Maker
from hdnet.synthetic.rendering.furniture import hidden_points
from hdnet.synthetic.rendering.rays import project_points
from hdnet.synthetic.rendering.solids import Finish, Solid, leaves, merged
from hdnet.synthetic.rendering.textures import draw_paint_colour
from hdnet.synthetic.rendering.view import PICTURE_SIZE, View
from hdnet.synthetic.surface import normalized

_ATTEMPTS = 8
_MOST_HIDDEN, _MOST_OF_HEAD = 0.35, 0.35
_KINDS = {"held": 0.52, "worn": 0.2, "pet": 0.12, "clutter": 0.16}


def draw_thing(rng: np.random.Generator, view: View, posed: Sequence[PosedPerson]) -> tuple[str, list[Solid]]:
    """Draw a thing for every frame of a person.

    Args:
        rng: Stream of the things.
        view: View of the camera.
        posed: All frames of the person, in the world.

    Returns:
        Its name and a solid for each frame; "" and none where no draw suits the person.
    """
    points = posed[0].vertices[:SKIN_VERTICES:17]
    head = posed[0].person.canonical[:SKIN_VERTICES:17, 2] > canonical_body().joints["neck01"][2]
    for _ in range(_ATTEMPTS):
        kind = str(rng.choice(list(_KINDS), p=list(_KINDS.values())))
        names = list(_MAKERS[kind])
        name = names[int(rng.integers(len(names)))]
        seed, make = int(rng.integers(2**32)), _MAKERS[kind][name]
        first = make(np.random.default_rng(seed), posed[0])
        if first is None or not _is_seen(view, first):
            continue
        hidden, seen = hidden_points(view, first, points)
        of_head = (hidden & seen)[head].sum() / max(int(seen[head].sum()), 1)
        if (hidden & seen).sum() > _MOST_HIDDEN * seen.sum() or of_head > _MOST_OF_HEAD:
            continue
        if kind in ("pet", "clutter"):
            return name, [first] * len(posed)
        return name, [first, *((make(np.random.default_rng(seed), frame) or first) for frame in posed[1:])]
    return "", []


def _is_seen(view: View, solid: Solid) -> bool:
    """Return whether enough of a solid lies in the picture and nothing at the lens."""
    here = view.points(solid.vertices[::3])
    pixels = project_points(view.camera, here)
    inside = ((pixels > 0) & (pixels < PICTURE_SIZE)).all(axis=1)
    return bool(here[:, 2].min() > 0.25 and inside.mean() > 0.3)


def _pet(rng: np.random.Generator, posed: PosedPerson) -> Solid:
    points = posed.vertices[:SKIN_VERTICES:7]
    low = points[points[:, 2] < points[:, 2].min() + 0.5]
    side = rng.choice([-1.0, 1.0])
    edge = low[:, 0].max() if side > 0 else low[:, 0].min()
    at = (edge + side * rng.uniform(-0.05, 0.35), low[:, 1].min() - rng.uniform(-0.15, 0.3), 0)
    return objects.pet(rng).moved(rng.uniform(-110, 110), at)


def _railing(rng: np.random.Generator, posed: PosedPerson) -> Solid:
    metal = objects.plain(draw_paint_colour(rng, (0.05, 0.9), 0.4), 0.3)
    high, radius = rng.uniform(0.75, 1.1), rng.uniform(0.012, 0.03)
    parts = [objects.rod(metal, (-3, 0, z), (3, 0, z), radius) for z in (high, rng.uniform(0.1, 0.2))]
    if rng.random() < 0.6:
        parts += [
            objects.rod(metal, (x, 0, 0.1), (x, 0, high), 0.008) for x in np.arange(-2.5, 2.5, rng.uniform(0.1, 0.16))
        ]
    else:
        parts += [objects.rod(metal, (-3, 0, z), (3, 0, z), 0.01) for z in np.arange(0.35, high - 0.1, 0.2)]
        parts += [
            objects.rod(metal, (x, 0, 0), (x, 0, high), radius) for x in np.arange(-3, 3, 1.5) + rng.uniform(0, 1)
        ]
    return merged(parts).moved(rng.normal(0, 8), _before(rng, posed, 0.0))


def _bicycle(rng: np.random.Generator, posed: PosedPerson) -> Solid:
    paint, black = objects.plain(draw_paint_colour(rng, (0.1, 0.95), 0.9), 0.4), objects.plain(np.full(3, 0.015), 0.1)
    turn = 2 * np.pi * np.arange(24) / 24
    parts = []
    for x in (-0.52, 0.52):
        ring = np.stack([x + 0.33 * np.cos(turn), 0 * turn, 0.34 + 0.33 * np.sin(turn)], axis=1)
        parts.append(objects.bent_rod(black, ring, 0.018, closed=True))
        spokes = [objects.rod(black, (x, 0, 0.34), ring[k], 0.0025) for k in range(0, 24, 3)]
        parts.append(merged(spokes))
    crank, seat, head = (-0.08, 0, 0.3), (-0.22, 0, 0.82), (0.36, 0, 0.8)
    rear, front, bar = (-0.52, 0, 0.34), (0.52, 0, 0.34), (0.33, 0, 0.98)
    tubes = ((crank, seat), (crank, head), (seat, head), (rear, crank), (rear, seat), (head, front), (head, bar))
    parts += [objects.rod(paint, a, b, 0.015) for a, b in tubes]
    parts += [objects.rod(black, (0.3, -0.28, 1.0), (0.3, 0.28, 1.0), 0.013)]
    parts.append(objects.pouch(rng, (0.26, 0.13, 0.07), black).moved(0, (-0.24, 0, 0.9)))
    at = _before(rng, posed, 0.35)
    return merged(parts).moved(rng.choice([0.0, 180.0]) + rng.normal(0, 22), at)


def _branch(rng: np.random.Generator, posed: PosedPerson) -> Solid:
    """Build a leafy branch that reaches before the person from the side."""
    green = np.array([0.07, 0.13, 0.045]) * rng.uniform(0.4, 1.6) * rng.uniform(0.8, 1.2, 3)
    leaf, bark = Finish(np.stack([green, green * 1.6]), "noise", (0.03, 0.1), 0.15), objects.plain(green * 0.4)
    side = rng.choice([-1.0, 1.0])
    x, y, _ = _before(rng, posed, 0.25)
    tip = np.array([x, y, rng.uniform(0.4, 1.7)])
    root = tip + np.array([side * rng.uniform(0.7, 1.3), rng.normal(0, 0.15), rng.uniform(-0.3, 0.8)])
    parts = [objects.rod(bark, root, tip, 0.007)]
    for share in np.linspace(0.05, 1, int(rng.integers(7, 13))):
        away = normalized(normalized(tip - root) + rng.normal(0, 0.5, 3))
        bunch = leaves(rng, leaf, (0, 0, 0), int(rng.integers(4, 8)), rng.uniform(0.14, 0.3), 0.9)
        wide = Solid(bunch.vertices * np.array([1.7, 1.7, 1.0], np.float32), bunch.faces, bunch.finish, bunch.finishes)
        parts.append(wide.placed(objects.along_axis(away), root + (tip - root) * share))
    return merged(parts)


def _before(rng: np.random.Generator, posed: PosedPerson, aside: float) -> tuple[float, float, float]:
    """Draw a place on the floor before the person, up to ``aside`` metres beside the middle."""
    points = posed.vertices[::7]
    y = float(np.quantile(points[:, 1], 0.01)) - rng.uniform(0.15, 0.5)
    return float(points[:, 0].mean() + rng.uniform(-1, 1) * aside), y, 0.0


_MAKERS: dict[str, dict[str, Maker]] = {
    "held": HELD,
    "worn": WORN,
    "pet": {"pet": _pet},
    "clutter": {"railing": _railing, "bicycle": _bicycle, "branch": _branch},
}
