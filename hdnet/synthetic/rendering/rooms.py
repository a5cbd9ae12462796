"""Rooms and studios: floor, walls and furniture along them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from hdnet.synthetic.rendering.solids import Finish, Solid, blob, box, cylinder, leaves, merged, quad
from hdnet.synthetic.rendering.textures import draw_paint_colour, draw_upholstery, draw_wood
from hdnet.synthetic.surface import FloatArray


def draw_room(rng: np.random.Generator, standing: FloatArray, daylight: bool) -> tuple[list[Solid], list[Solid]]:
    """Draw a room around camera and people.

    Args:
        rng: Stream of the light.
        standing: (N, 2) world x and y that the room must contain, the camera first, then the people.
        daylight: Whether it is bright outside the windows.

    Returns:
        The shell (floor, walls), which casts no shadow since lamps are far away, and the things in it.
    """
    yaw = float(rng.choice([0.0, rng.normal(0, 14)]))
    turn = np.radians(yaw)
    own = standing @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    people = own[1:]
    wall = people[:, 1].max() + rng.choice([rng.uniform(0.12, 0.7), rng.uniform(0.7, 3.5)], p=[0.4, 0.6])
    left = own[:, 0].min() - rng.uniform(0.4, 3.5)
    right = own[:, 0].max() + rng.uniform(0.4, 3.5)
    near, top = own[:, 1].min() - 0.5, rng.uniform(2.35, 3.1)
    paint, other = _wall(rng), _wall(rng)
    sides = other if rng.random() < 0.3 else paint
    ceiling = Finish(np.tile(draw_paint_colour(rng, (0.85, 0.98), 0.05), (2, 1)))
    trim = draw_wood(rng)
    shell = [
        quad(_floor(rng), [(left, near, 0), (right, near, 0), (right, wall, 0), (left, wall, 0)]),
        quad(paint, [(left, wall, 0), (right, wall, 0), (right, wall, top), (left, wall, top)]),
        quad(sides, [(left, near, 0), (left, wall, 0), (left, wall, top), (left, near, top)]),
        quad(sides, [(right, near, 0), (right, wall, 0), (right, wall, top), (right, near, top)]),
        quad(ceiling, [(left, near, top), (right, near, top), (right, wall, top), (left, wall, top)]),
    ]
    things: list[Solid] = []
    if rng.random() < 0.8:
        high = rng.uniform(0.05, 0.14)
        things.append(box(trim, (left, wall - 0.015, 0), (right, wall, high)))
    middle = float(people[:, 0].mean())
    room_behind = float(wall - people[:, 1].max())
    window, lamp = partial(_window, daylight=daylight), partial(_lamp, daylight=daylight)
    choice: tuple[Callable[[np.random.Generator], Thing], ...] = (*_THINGS, window, window, lamp)
    for _ in range(int(rng.integers(0, 6))):
        deep, piece = choice[int(rng.integers(len(choice)))](rng)
        at_x = middle + rng.normal(0, 1.1)
        beside = np.abs(at_x - middle) > 0.5 * np.ptp(people[:, 0]) + 0.9
        if deep < room_behind - 0.08 or (beside and deep < 0.7):
            things.append(piece.moved(0, (at_x, wall, 0)))
    return [s.moved(yaw, (0, 0, 0)) for s in shell], [s.moved(yaw, (0, 0, 0)) for s in things]


def draw_studio(rng: np.random.Generator, standing: FloatArray) -> tuple[list[Solid], list[Solid]]:
    """Draw a seamless backdrop of one colour, rounded where the wall meets the floor."""
    colour = draw_paint_colour(rng, (0.08, 0.98), 0.5)
    paper = Finish(np.stack([colour, colour]))
    wall, near = standing[1:, 1].max() + rng.uniform(1.0, 2.5), standing[:, 1].min() - 0.5
    angle = np.linspace(0, np.pi / 2, 9)
    y = np.concatenate([[near], wall - 0.8 + 0.8 * np.sin(angle), [wall]])
    z = np.concatenate([[0.0], 0.8 - 0.8 * np.cos(angle), [6.0]])
    shell = [
        quad(paper, [(-9, y[k], z[k]), (9, y[k], z[k]), (9, y[k + 1], z[k + 1]), (-9, y[k + 1], z[k + 1])])
        for k in range(len(y) - 1)
    ]
    return shell, []


def _wall(rng: np.random.Generator) -> Finish:
    light = draw_paint_colour(rng, (0.6, 0.98), 0.2)
    kind = rng.choice(["paint", "strong", "bricks", "tiles", "paper", "panels"], p=[0.6, 0.12, 0.07, 0.07, 0.07, 0.07])
    if kind == "strong":
        return Finish(np.tile(draw_paint_colour(rng, (0.1, 0.8), 0.6), (2, 1)))
    if kind == "bricks":
        brick = np.array([0.35, 0.14, 0.09]) * rng.uniform(0.6, 1.3) if rng.random() < 0.6 else light
        return Finish(np.stack([brick, draw_paint_colour(rng, (0.4, 0.8), 0.1)]), "bricks", (0.24, 0.075))
    if kind == "tiles":
        size = rng.uniform(0.1, 0.4)
        return Finish(np.stack([light, light * rng.uniform(0.5, 0.8)]), "tiles", (size, size), 0.3)
    if kind == "paper":
        return Finish(np.stack([light, light * rng.uniform(0.75, 0.95)]), "stripes", (rng.uniform(0.06, 0.3), 1))
    if kind == "panels":
        return Finish(np.stack([light, light * 0.7]), "tiles", (rng.uniform(0.12, 0.6), 3.0))
    return Finish(np.tile(light, (2, 1)))


def _floor(rng: np.random.Generator) -> Finish:
    kind = rng.choice(["planks", "tiles", "carpet", "concrete"], p=[0.45, 0.2, 0.25, 0.1])
    if kind == "planks":
        wood = np.array([0.42, 0.27, 0.15]) * rng.uniform(0.3, 1.5) ** np.array([1.0, 1.05, 1.1])
        return Finish(np.stack([wood, wood * 0.7]), "planks", (0.6, rng.uniform(0.07, 0.2)), 0.15)
    if kind == "tiles":
        tile, size = draw_paint_colour(rng, (0.3, 0.95), 0.2), rng.uniform(0.2, 0.6)
        return Finish(np.stack([tile, tile * rng.uniform(0.5, 0.9)]), "tiles", (size, size), 0.25)
    colour = draw_paint_colour(rng, (0.2, 0.85), 0.4)
    size = rng.uniform(0.02, 0.06) if kind == "carpet" else 0.5
    return Finish(np.stack([colour, colour * 0.85]), "noise", (size, size), 0.02)


Thing = tuple[float, Solid]
"""Its depth from the wall in metres, and the solid with its back at y = 0 and the room at y < 0."""


def _sofa(rng: np.random.Generator) -> Thing:
    cloth, long, high = draw_upholstery(rng), rng.uniform(1.3, 2.2), rng.uniform(0.7, 0.9)
    parts = [
        box(cloth, (-long / 2, -0.25, 0.08), (long / 2, -0.05, high)),
        box(cloth, (-long / 2, -0.85, 0.08), (long / 2, -0.2, 0.42)),
        box(cloth, (-long / 2 - 0.18, -0.85, 0.05), (-long / 2, -0.05, 0.6)),
        box(cloth, (long / 2, -0.85, 0.05), (long / 2 + 0.18, -0.05, 0.6)),
    ]
    parts += [blob(rng, draw_upholstery(rng), (x * long, -0.35, 0.6), (0.22, 0.1, 0.2)) for x in (-0.33, 0.3)]
    return 0.85, merged(parts)


def _shelf(rng: np.random.Generator) -> Thing:
    wood, wide, high = draw_wood(rng), rng.uniform(0.6, 1.4), rng.uniform(0.9, 2.1)
    parts = [box(wood, (-wide / 2, -0.02, 0), (wide / 2, 0, high))]
    parts += [box(wood, (x - 0.012, -0.3, 0), (x + 0.012, 0, high)) for x in (-wide / 2, wide / 2)]
    for level in np.arange(0.06, high, rng.uniform(0.28, 0.4)):
        parts.append(box(wood, (-wide / 2, -0.3, level - 0.02), (wide / 2, 0, level)))
        if level < high - 0.25 and rng.random() < 0.8:
            colours = np.stack([draw_paint_colour(rng, (0.1, 0.9), 0.8), draw_paint_colour(rng, (0.1, 0.9), 0.8)])
            books = Finish(colours, "books", (0.035, 0.6))
            start = rng.uniform(-0.45, 0.0) * wide
            end = min(start + rng.uniform(0.2, 0.8) * wide, wide / 2 - 0.02)
            parts.append(box(books, (start, -0.22, level), (end, -0.02, level + rng.uniform(0.17, 0.25))))
    return 0.3, merged(parts)


def _door(rng: np.random.Generator) -> Thing:
    leaf, frame = draw_wood(rng), draw_wood(rng)
    if rng.random() < 0.7:
        leaf = Finish(np.tile(draw_paint_colour(rng, (0.3, 0.97), 0.3), (2, 1)), gloss=0.1)
    parts = [
        box(frame, (-0.5, -0.03, 0), (-0.42, 0, 2.08)),
        box(frame, (0.42, -0.03, 0), (0.5, 0, 2.08)),
        box(frame, (-0.5, -0.03, 2.02), (0.5, 0, 2.1)),
        box(leaf, (-0.42, -0.012, 0), (0.42, 0, 2.02)),
    ]
    inner = Finish(leaf.colours * 0.8, leaf.pattern, leaf.size_m, leaf.gloss)
    panels = ((0.15, 0.9), (1.0, 1.9)) if rng.random() < 0.6 else ()
    for low, high in panels:
        parts += [box(inner, (x, -0.022, low), (x + 0.3, 0, high)) for x in (-0.35, 0.05)]
    knob = Finish(np.full((2, 3), 0.35), gloss=0.6)
    parts.append(box(knob, (0.3, -0.07, 0.98), (0.38, -0.01, 1.02)))
    return 0.07, merged(parts)


def _window(rng: np.random.Generator, daylight: bool) -> Thing:
    wide, low, high = rng.uniform(0.7, 1.6), rng.uniform(0.6, 1.0), rng.uniform(1.8, 2.2)
    outside = np.array([0.85, 0.93, 1.0]) if daylight else np.array([0.01, 0.012, 0.02])
    glass = Finish(np.tile(outside, (2, 1)), gloss=0.3, glow=rng.uniform(0.8, 2.5) if daylight else 0.0)
    frame = Finish(np.tile(draw_paint_colour(rng, (0.7, 0.98), 0.1), (2, 1)))
    parts = [
        box(frame, (-wide / 2 - 0.06, -0.03, low - 0.06), (wide / 2 + 0.06, 0, high + 0.06)),
        box(glass, (-wide / 2, -0.035, low), (wide / 2, -0.001, high)),
        box(frame, (-0.025, -0.05, low), (0.025, 0, high)),
        box(frame, (-wide / 2 - 0.1, -0.14, low - 0.09), (wide / 2 + 0.1, 0, low - 0.05)),
    ]
    if rng.random() < 0.5:
        curtain = draw_upholstery(rng)
        folds = Finish(np.stack([curtain.colours[0], curtain.colours[0] * 0.7]), "stripes", (0.11, 1), 0.02)
        for side in (-1, 1):
            inner, outer = side * wide * rng.uniform(0.25, 0.5), side * (wide / 2 + 0.25)
            ends = sorted((inner, outer))
            parts.append(box(folds, (ends[0], -0.1, 0.05), (ends[1], -0.06, high + 0.15)))
    return 0.15, merged(parts)


def _picture(rng: np.random.Generator) -> Thing:
    wide, high, at = rng.uniform(0.25, 0.9), rng.uniform(0.25, 0.8), rng.uniform(1.2, 1.7)
    colours = np.stack([draw_paint_colour(rng, (0.1, 0.95), 0.8), draw_paint_colour(rng, (0.1, 0.95), 0.8)])
    motif = Finish(colours, "noise", (rng.uniform(0.08, 0.4), rng.uniform(0.08, 0.4)), 0.2)
    low, top = at - high / 2, at + high / 2
    parts = [
        box(draw_wood(rng), (-wide / 2 - 0.03, -0.025, low - 0.03), (wide / 2 + 0.03, 0, top + 0.03)),
        box(motif, (-wide / 2, -0.03, low), (wide / 2, 0, top)),
    ]
    return 0.04, merged(parts)


def _cabinet(rng: np.random.Generator) -> Thing:
    wood, wide, high = draw_wood(rng), rng.uniform(0.6, 1.8), rng.uniform(0.5, 1.1)
    front = Finish(wood.colours * 0.85, wood.pattern, wood.size_m, wood.gloss)
    parts = [box(wood, (-wide / 2, -0.42, 0.05), (wide / 2, 0, high))]
    count = int(rng.integers(2, 5))
    for k in range(count):
        x = -wide / 2 + wide * k / count
        parts.append(box(front, (x + 0.015, -0.435, 0.09), (x + wide / count - 0.015, -0.4, high - 0.03)))
    if rng.random() < 0.5:
        screen = Finish(np.full((2, 3), 0.012), gloss=0.4)
        parts.append(box(screen, (-wide * 0.4, -0.2, high + 0.06), (wide * 0.4, -0.16, high + 0.06 + wide * 0.45)))
    else:
        vase = Finish(np.tile(draw_paint_colour(rng, (0.1, 0.95), 0.7), (2, 1)), gloss=0.25)
        parts.append(cylinder(vase, (rng.uniform(-0.3, 0.3) * wide, -0.2, high), (0.05, 0.08), rng.uniform(0.15, 0.3)))
    return 0.44, merged(parts)


def _plant(rng: np.random.Generator) -> Thing:
    green = np.array([0.07, 0.12, 0.045]) * rng.uniform(0.4, 1.5) * rng.uniform(0.8, 1.2, 3)
    leaf = Finish(np.stack([green, green * 1.5]), "noise", (0.05, 0.05), 0.1)
    pot = Finish(np.tile(draw_paint_colour(rng, (0.15, 0.9), 0.5), (2, 1)), gloss=0.1)
    parts = [
        cylinder(pot, (0, -0.3, 0), (0.12, 0.17), 0.3),
        leaves(rng, leaf, (0, -0.3, 0.3), 26, rng.uniform(0.6, 1.2), 0.6),
    ]
    return 0.6, merged(parts)


def _lamp(rng: np.random.Generator, daylight: bool) -> Thing:
    metal = Finish(np.full((2, 3), rng.uniform(0.02, 0.4)), gloss=0.4)
    shade = Finish(np.tile([0.9, 0.8, 0.6], (2, 1)), glow=0.3 if daylight else 1.6)
    high = rng.uniform(1.2, 1.6)
    parts = [
        cylinder(metal, (0, -0.3, 0), (0.14, 0.14), 0.03),
        cylinder(metal, (0, -0.3, 0), (0.012, 0.012), high),
        cylinder(shade, (0, -0.3, high), (0.2, 0.14), 0.26),
    ]
    return 0.5, merged(parts)


def _bed(rng: np.random.Generator) -> Thing:
    cloth, wood, wide = draw_upholstery(rng), draw_wood(rng), rng.uniform(0.9, 1.7)
    parts = [
        box(wood, (-1.0, -wide, 0.12), (1.0, 0, 0.3)),
        box(cloth, (-0.98, -wide + 0.02, 0.3), (0.98, -0.02, 0.55)),
        box(wood, (-1.05, -wide, 0), (-1.0, 0, rng.uniform(0.7, 1.1))),
        blob(rng, draw_upholstery(rng), (-0.75, -wide / 2, 0.6), (0.2, 0.35, 0.1)),
    ]
    return float(wide), merged(parts)


_THINGS: tuple[Callable[[np.random.Generator], Thing], ...] = (
    _sofa,
    _shelf,
    _shelf,
    _door,
    _door,
    _picture,
    _picture,
    _cabinet,
    _plant,
    _bed,
)
