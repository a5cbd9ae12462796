"""Shapes of things that people hold, wear and stand beside, in metres about their own origin, z up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from skimage.measure import marching_cubes

from hdnet.synthetic.accessories.meshes import Mesh, ball, grid_faces, tube
from hdnet.synthetic.materials import draw_colour
from hdnet.synthetic.rendering.solids import Finish, Solid, box, leaves, merged
from hdnet.synthetic.rendering.textures import draw_paint_colour, draw_upholstery
from hdnet.synthetic.surface import FloatArray, normalized

Object = Callable[[np.random.Generator], Solid]

_CELL_M = 0.018


def smooth_solid(mesh: Mesh, finish: Finish) -> Solid:
    """Return a mesh as a round solid of one finish."""
    vertices, faces = mesh
    number = np.zeros(len(faces), dtype=np.int32)
    return Solid(vertices.astype(np.float32), faces.astype(np.int32), number, (finish,)).smooth()


def rod(finish: Finish, start: Sequence[float] | FloatArray, end: Sequence[float] | FloatArray, radius: float) -> Solid:
    """Build a straight round rod."""
    return bent_rod(finish, np.linspace(start, end, 3), radius)


def bent_rod(finish: Finish, path: FloatArray, radius: float, closed: bool = False) -> Solid:
    """Build a round rod along a path (N, 3); ``closed`` joins its ends to a ring."""
    return smooth_solid(tube(np.asarray(path, dtype=np.float64), radius, 7, closed), finish)


def lathed(finish: Finish, profile: Sequence[tuple[float, float]]) -> Solid:
    """Build a round body from (radius, height) pairs, from the bottom up."""
    sides = 14
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = [np.column_stack([ring * radius, np.full(sides, height)]) for radius, height in profile]
    return smooth_solid((np.concatenate(points), grid_faces(len(profile), sides, True)[:, ::-1]), finish)


def plain(colour: FloatArray, gloss: float = 0.1) -> Finish:
    """Return a finish of one colour (3,)."""
    return Finish(np.tile(colour, (2, 1)), gloss=gloss)


def along_axis(axis: FloatArray) -> FloatArray:
    """Return a rotation (3, 3) that turns z into a unit axis (3,)."""
    helper = np.array([0.0, 1.0, 0.0]) if abs(axis[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    side = normalized(np.cross(helper, axis))
    return np.stack([side, np.cross(axis, side), axis], axis=1)


def phone(rng: np.random.Generator) -> Solid:
    """Build a phone whose screen looks along z and whose long side is y."""
    wide, long = rng.uniform(0.066, 0.08), rng.uniform(0.14, 0.168)
    cover = plain(draw_colour(rng, 0.4), 0.25)
    screen = Finish(np.full((2, 3), 0.02), gloss=0.6, glow=float(rng.choice([0.0, 0.4])))
    body = box(cover, (-wide / 2, -long / 2, -0.005), (wide / 2, long / 2, 0.004))
    return merged([body, box(screen, (-0.46 * wide, -0.48 * long, 0.004), (0.46 * wide, 0.48 * long, 0.005))])


def cup(rng: np.random.Generator) -> Solid:
    """Build a mug, a glass or a paper cup with a lid; its middle is the origin."""
    radius, high = rng.uniform(0.034, 0.046), rng.uniform(0.09, 0.16)
    paint = plain(draw_paint_colour(rng, (0.15, 0.97), 0.7), 0.2)
    low = radius * rng.uniform(0.7, 1.0)
    body = lathed(paint, [(0, -high / 2), (low, -high / 2), (radius, high / 2), (0, high / 2)])
    if rng.random() < 0.5:
        lid = plain(np.full(3, rng.choice([0.02, 0.8])), 0.2)
        top = [(radius * 1.06, high / 2), (radius * 1.04, high / 2 + 0.012), (0, high / 2 + 0.013)]
        return merged([body, lathed(lid, top)])
    handle = np.linspace(-1.4, 1.4, 8)
    ring = np.stack([0.9 * radius + 0.032 * np.cos(handle), 0 * handle, 0.034 * np.sin(handle)], axis=1)
    return merged([body, bent_rod(paint, ring, 0.006)])


def bottle(rng: np.random.Generator) -> Solid:
    """Build a bottle; the origin is in its middle."""
    radius, high = rng.uniform(0.03, 0.042), rng.uniform(0.2, 0.3)
    shade = draw_paint_colour(rng, (0.1, 0.9), 0.8)
    neck = 0.36 * radius
    body = [(0, 0), (radius, 0), (radius, 0.6), (neck, 0.86), (neck, 0.94)]
    cap = [(neck * 1.25, 0.93), (neck * 1.25, 1.0), (0, 1.0)]
    label = [(radius * 1.02, 0.2), (radius * 1.02, 0.5)]
    finishes = plain(shade, 0.5), plain(draw_colour(rng, 0.6), 0.2), plain(draw_colour(rng, 0.6), 0.1)
    return merged(
        [
            lathed(finish, [(r, (h - 0.45) * high) for r, h in profile])
            for finish, profile in zip(finishes, (body, cap, label), strict=True)
        ]
    )


def play_ball(rng: np.random.Generator) -> Solid:
    """Build a ball."""
    radius = float(rng.choice([0.034, 0.105, 0.12], p=[0.2, 0.45, 0.35]) * rng.uniform(0.95, 1.05))
    colours = np.stack([draw_paint_colour(rng, (0.3, 0.97), 0.9), draw_paint_colour(rng, (0.05, 0.95), 0.7)])
    pattern = str(rng.choice(["plain", "noise", "stripes"], p=[0.5, 0.25, 0.25]))
    finish = Finish(colours, pattern, (0.09, 0.09), 0.15)  # type: ignore[arg-type]
    return smooth_solid(ball(np.zeros(3), radius, 13, 20), finish)


def book(rng: np.random.Generator) -> Solid:
    """Build a book, a folder or a laptop that lies in the plane z = 0, its long side along y."""
    wide, long = rng.uniform(0.12, 0.24), rng.uniform(0.18, 0.33)
    thick = rng.uniform(0.008, 0.035)
    cover, pages = plain(draw_paint_colour(rng, (0.1, 0.9), 0.8), 0.1), plain(np.array([0.75, 0.72, 0.62]), 0.0)
    parts = [
        box(cover, (-wide / 2, -long / 2, z), (wide / 2, long / 2, z + 0.003)) for z in (-thick / 2, thick / 2 - 0.003)
    ]
    half = thick / 2 - 0.001
    inner = box(pages, (-wide / 2 + 0.004, 0.004 - long / 2, -half), (wide / 2 - 0.004, long / 2 - 0.004, half))
    return merged([*parts, inner])


def flowers(rng: np.random.Generator) -> Solid:
    """Build a bunch of flowers that is held at the origin."""
    green = np.array([0.06, 0.14, 0.04]) * rng.uniform(0.6, 1.6)
    parts = [leaves(rng, plain(green), (0, 0, -0.03), 10, rng.uniform(0.16, 0.26), rng.uniform(0.5, 0.8))]
    colours = [draw_paint_colour(rng, (0.5, 0.97), 1.0) for _ in range(2)]
    high = rng.uniform(0.16, 0.28)
    for _ in range(int(rng.integers(5, 13))):
        top = np.append(rng.normal(0, 0.055, 2), high + rng.normal(0, 0.025))
        petals = plain(colours[int(rng.integers(2))] * rng.uniform(0.8, 1.1), 0.0)
        parts.append(smooth_solid(ball(top, rng.uniform(0.018, 0.036) * np.array([1, 1, 0.75]), 6, 9), petals))
        parts.append(rod(plain(green), (0, 0, -0.1), top, 0.003))
    return merged(parts)


def microphone(rng: np.random.Generator) -> Solid:
    """Build a microphone along z whose handle is at the origin."""
    dark = plain(np.full(3, rng.choice([0.015, 0.03, 0.5])), 0.3)
    head = smooth_solid(ball(np.array([0, 0, 0.12]), 0.026), plain(np.full(3, rng.uniform(0.03, 0.4)), 0.5))
    return merged([lathed(dark, [(0, -0.09), (0.012, -0.09), (0.017, 0.1), (0.024, 0.11)]), head])


def stick(rng: np.random.Generator) -> Solid:
    """Build a cane, a bat, a broom or a racket along z, held at the origin."""
    long, radius = rng.uniform(0.5, 1.1), rng.uniform(0.007, 0.018)
    paint = plain(draw_paint_colour(rng, (0.1, 0.8), 0.5), 0.15)
    parts = [rod(paint, (0, 0, -0.12), (0, 0, long), radius)]
    if rng.random() < 0.5:
        turn = 2 * np.pi * np.arange(18) / 18
        ring = np.stack([0.115 * np.sin(turn), 0 * turn, long + 0.15 - 0.15 * np.cos(turn)], axis=1)
        parts = [rod(paint, (0, 0, -0.12), (0, 0, long), radius), bent_rod(paint, ring, 0.009, closed=True)]
    return merged(parts)


def closed_umbrella(rng: np.random.Generator) -> Solid:
    """Build a furled umbrella that hangs from its handle at the origin."""
    cloth, long = plain(draw_colour(rng, 0.3), 0.1), rng.uniform(0.6, 0.78)
    body = lathed(cloth, [(0.01, -long), (0.022, -0.7 * long), (0.033, -0.2 * long), (0.012, -0.1)])
    return merged([body, rod(plain(np.full(3, 0.03), 0.3), (0, 0, -0.1), (0, 0, 0.05), 0.012)])


def open_umbrella(rng: np.random.Generator, reach_m: float) -> Solid:
    """Build an open umbrella, held at the origin, whose canopy begins ``reach_m`` above it."""
    cloth = plain(draw_colour(rng, 0.5), 0.1)
    wide, high = rng.uniform(0.42, 0.6), rng.uniform(0.16, 0.24)
    rise = np.linspace(0, 1, 7)
    canopy = lathed(cloth, [(wide * np.cos(r * np.pi / 2), reach_m + high * np.sin(r * np.pi / 2)) for r in rise])
    metal = plain(np.full(3, 0.25), 0.4)
    return merged([canopy, rod(metal, (0, 0, -0.1), (0, 0, reach_m + high + 0.04), 0.006)])


def carrier_bag(rng: np.random.Generator, room_m: float) -> Solid:
    """Build a shopping bag or a handbag that hangs from its handles at the origin, ``room_m`` above the floor."""
    wide, deep = rng.uniform(0.2, 0.42), rng.uniform(0.07, 0.16)
    strap = rng.uniform(0.09, 0.22)
    high = min(wide * rng.uniform(0.7, 1.2), room_m - strap - 0.03)
    if rng.random() < 0.6:
        finish = plain(draw_paint_colour(rng, (0.2, 0.97), 0.8), 0.1)
    else:
        finish = plain(np.array([0.09, 0.045, 0.022]) * rng.uniform(0.2, 5), 0.35)
    # Wider at the bottom, with dented sides.
    rows, columns = 6, 20
    turn = 2 * np.pi * np.arange(columns) / columns
    corner = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    corner = np.sign(corner) * np.abs(corner) ** 0.35
    level = np.linspace(0, 1, rows)
    dent = 1 + rng.normal(0, 0.035, (rows, columns))
    size = (np.array([wide, deep]) / 2 * (1 - np.outer(level, [0.06, 0.5]))[:, :])[:, None] * dent[..., None]
    flat = corner * size
    z = np.broadcast_to((-strap - high * (1 - level))[:, None, None], (rows, columns, 1))
    body = np.concatenate([flat, z], axis=-1).reshape(-1, 3)
    lid = np.concatenate([np.zeros((columns, 2)), np.full((columns, 1), -strap - 0.02)], axis=1)
    floor = np.concatenate([np.zeros((columns, 2)), np.full((columns, 1), -strap - high)], axis=1)
    mesh = np.concatenate([floor, body, lid]), grid_faces(rows + 2, columns, True)[:, ::-1]
    handle = plain(finish.colours[0] * rng.uniform(0.3, 1.0), 0.2)
    parts = [smooth_solid(mesh, finish)]
    for side in (-1, 1):
        path = [(-0.2 * wide, side * deep / 4, -strap), (-0.06 * wide, 0, -0.01), (0.06 * wide, 0, -0.01)]
        path.append((0.2 * wide, side * deep / 4, -strap))
        parts.append(bent_rod(handle, np.array(path), 0.006))
    return merged(parts)


def pouch(rng: np.random.Generator, size: Sequence[float], finish: Finish) -> Solid:
    """Build a soft bag with rounded corners of a size (3,), its middle at the origin."""
    vertices, faces = ball(np.zeros(3), 1.0, 13, 20)
    rounded = np.sign(vertices) * np.abs(vertices) ** 0.55 * (1 + rng.normal(0, 0.012, vertices.shape))
    return smooth_solid((rounded * np.asarray(size) / 2, faces), finish)


def leather(rng: np.random.Generator) -> Finish:
    """Draw the leather or the cloth of a bag."""
    if rng.random() < 0.5:
        return plain(np.array([0.09, 0.045, 0.022]) * rng.uniform(0.2, 4), 0.3)
    return plain(draw_colour(rng, 0.4), 0.1) if rng.random() < 0.7 else draw_upholstery(rng)


def pet(rng: np.random.Generator) -> Solid:
    """Build a dog or a cat that stands or sits on the floor and looks along -y."""
    cat, sits = rng.random() < 0.35, rng.random() < 0.45
    size = rng.uniform(0.5, 0.62) if cat else rng.choice([rng.uniform(0.5, 0.75), rng.uniform(0.75, 1.15)])
    thin = 0.8 if cat else rng.uniform(0.85, 1.25)
    hip, chest = np.array([0, 0.24, 0.4]), np.array([0, -0.16, 0.43])
    if sits:
        hip, chest = np.array([0, 0.16, 0.14]), np.array([0, -0.06, 0.42])
    head = chest + np.array([rng.normal(0, 0.03), -0.16, 0.2])
    nose = head + np.array([rng.normal(0, 0.02), -0.08 if cat else -0.16, -0.04])
    limbs = [
        (hip, chest, 0.095, 0.115),
        (chest, head, 0.085, 0.07),
        (head, head, 0.082, 0.082),
        (head, nose, 0.055, 0.032),
    ]
    for side in (-1.0, 1.0):
        x = side * 0.075
        ear = head + np.array([side * 0.055, 0.015, 0.07])
        drop = np.array([side * 0.03, 0.0, 0.06 if cat or rng.random() < 0.4 else -0.07])
        limbs.append((ear, ear + drop, 0.024, 0.014))
        front = np.array([x, chest[1] - 0.02, 0.03])
        limbs.append((chest + np.array([x, 0, -0.08]), front, 0.046, 0.028))
        limbs.append((front, front + np.array([0, -0.05, 0]), 0.028, 0.026))
        back = np.array([1.5 * x, hip[1] - (0.16 if sits else -0.02), 0.03])
        thigh = hip + np.array([x, -0.05 if sits else 0.02, -0.04])
        limbs.append((thigh, back, 0.075, 0.03))
        limbs.append((back, back + np.array([0, -0.06, 0]), 0.03, 0.026))
    end = hip + np.array([rng.normal(0, 0.1), 0.2, 0.3 if cat or rng.random() < 0.5 else -0.12])
    limbs.append((hip + np.array([0, 0.08, 0.04]), end, 0.03, 0.018))
    light = draw_paint_colour(rng, (0.08, 0.9), 0.35)
    coat = Finish(np.stack([light, light * rng.uniform(0.15, 0.9)]), "noise", (0.05, 0.07), 0.05)
    furry = [(a * size, b * size, ra * size * thin, rb * size * thin) for a, b, ra, rb in limbs]
    dark = plain(np.full(3, 0.012), 0.5)
    eyes = [
        smooth_solid(ball((head + np.array([s * 0.035, -0.066, 0.02])) * size, 0.013 * size, 5, 8), dark)
        for s in (-1, 1)
    ]
    tip = smooth_solid(ball((nose + np.array([0, -0.026, 0.008])) * size, 0.017 * size, 5, 8), dark)
    return merged([_melted(furry, coat, 0.028 * size), *eyes, tip])


Limb = tuple[FloatArray, FloatArray, float, float]
"""Two ends (3,) and the radii there."""


def _melted(limbs: Sequence[Limb], finish: Finish, melt_m: float) -> Solid:
    """Build one surface around limbs, which run into each other within about ``melt_m``."""
    ends = np.array([[a, b] for a, b, _, _ in limbs])
    widest = max(max(ra, rb) for _, _, ra, rb in limbs)
    low, high = ends.min((0, 1)) - widest - 2 * _CELL_M, ends.max((0, 1)) + widest + 2 * _CELL_M
    axes = [np.arange(a, b, _CELL_M, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    total = np.zeros(grid.shape[:3], dtype=np.float32)
    for a, b, ra, rb in limbs:
        axis = (b - a).astype(np.float32)
        here = grid - a.astype(np.float32)
        along = np.clip(here @ axis / max(float(axis @ axis), 1e-9), 0, 1)
        distance = np.linalg.norm(here - along[..., None] * axis, axis=-1) - (ra + (rb - ra) * along)
        total += np.exp(-np.maximum(distance, -0.1) / (0.35 * melt_m))
    vertices, faces, _, _ = marching_cubes(-np.log(total + 1e-20), 0.0)
    return smooth_solid((vertices * _CELL_M + low, faces), finish)
