"""Outdoor scenes: streets, parks, yards and the sky."""

from __future__ import annotations

import numpy as np

from hdnet.synthetic.rendering.light import Light
from hdnet.synthetic.rendering.solids import Finish, Solid, blob, box, cylinder, merged, quad
from hdnet.synthetic.rendering.textures import draw_paint_colour, draw_wood, value_noise
from hdnet.synthetic.surface import FloatArray


def draw_outdoors(rng: np.random.Generator, standing: FloatArray, night: bool) -> tuple[list[Solid], list[Solid]]:
    """Draw the ground and what stands on it behind the people.

    Args:
        rng: Stream of the light.
        standing: (N, 2) world x and y of the camera, then of the people.
        night: Whether windows are lit.
    """
    y = float(standing[1:, 1].max())
    ground = quad(_ground(rng), [(-200, -30, 0), (200, -30, 0), (200, 400, 0), (-200, 400, 0)])
    kind = rng.choice(["street", "park", "yard"], p=[0.4, 0.35, 0.25])
    things: list[Solid] = []
    if kind == "yard":
        things.append(_wall(rng, y + rng.uniform(0.5, 3.0)))
    if kind in ("street", "yard"):
        at = -40.0
        distance = y + rng.uniform(6, 25)
        while at < 40:
            wide = rng.uniform(5, 14)
            things.append(_building(rng, at, distance + rng.uniform(0, 3), wide, night))
            at += wide + rng.choice([0.0, rng.uniform(0, 6)])
    count = int(rng.integers(6, 16)) if kind == "park" else int(rng.integers(0, 5))
    things += [_tree(rng, y) for _ in range(count)]
    if kind == "park":
        things.append(_hedge(rng, y + rng.uniform(14, 40)))
    if kind == "street" and rng.random() < 0.6:
        things += [_car(rng, y + rng.uniform(3, 9)) for _ in range(int(rng.integers(1, 4)))]
    return [ground], things


def sky(rng: np.random.Generator, light: Light, directions: FloatArray) -> FloatArray:
    """Return the radiance (N, 3) of the sky in world directions (N, 3)."""
    up = np.clip(directions[:, 2] / np.linalg.norm(directions, axis=1), 0, 1)[:, None]
    above = light.ambient(np.array([[0.0, 0.0, 1.0]]))[0]
    horizon, zenith, cloudy = {
        "sun": ((0.75, 0.85, 1.0), (0.22, 0.42, 0.9), rng.uniform(0, 0.6)),
        "golden": ((1.3, 0.85, 0.5), (0.4, 0.5, 0.75), rng.uniform(0, 0.6)),
    }.get(light.kind, ((1.0, 1.0, 1.02), (0.85, 0.9, 1.0), rng.uniform(0.3, 1.0)))
    brightness = float(above.mean()) * (1.0 if light.place == "outdoor" else 0.15) * rng.uniform(1.0, 1.7)
    colour = np.array(horizon) + (np.array(zenith) - np.array(horizon)) * up**0.55
    flat = directions[:, :2] / (up + 0.12)
    clouds = value_noise(2 * flat[:, 0], 2 * flat[:, 1]) + 0.5 * value_noise(5 * flat[:, 0], 5 * flat[:, 1])
    share = np.clip(0.6 * clouds + cloudy - 0.2, 0, 1)[:, None] * cloudy
    return np.asarray(brightness * (colour + (np.array([1.0, 1.0, 1.0]) - colour) * share), dtype=np.float32)


def _ground(rng: np.random.Generator) -> Finish:
    kind = rng.choice(["asphalt", "grass", "paving", "sand", "concrete"], p=[0.3, 0.25, 0.2, 0.1, 0.15])
    if kind == "grass":
        green = np.array([0.1, 0.17, 0.045]) * rng.uniform(0.6, 1.5) * rng.uniform(0.85, 1.15, 3)
        return Finish(np.stack([green, green * 0.55]), "noise", (0.06, 0.06))
    if kind == "paving":
        stone, size = draw_paint_colour(rng, (0.45, 0.8), 0.12), rng.uniform(0.2, 0.7)
        return Finish(np.stack([stone, stone * 0.5]), "tiles" if rng.random() < 0.5 else "bricks", (size, size * 0.6))
    base = {"asphalt": (0.09, 0.09, 0.095), "sand": (0.5, 0.4, 0.27), "concrete": (0.36, 0.35, 0.33)}[str(kind)]
    colour = np.array(base) * rng.uniform(0.6, 1.4)
    return Finish(np.stack([colour, colour * 0.8]), "noise", (0.05, 0.05))


def _wall(rng: np.random.Generator, y: float) -> Solid:
    kind = rng.choice(["bricks", "plaster", "fence", "shutter"])
    colour = draw_paint_colour(rng, (0.3, 0.9), 0.35)
    if kind == "bricks":
        brick = np.array([0.33, 0.13, 0.085]) * rng.uniform(0.6, 1.3)
        finish = Finish(np.stack([brick, brick.mean() * np.array([1.6, 1.55, 1.5])]), "bricks", (0.24, 0.075))
    elif kind == "plaster":
        finish = Finish(np.stack([colour, colour * 0.88]), "noise", (0.6, 0.6))
    elif kind == "fence":
        wood = draw_wood(rng).colours
        finish = Finish(np.stack([wood[0], wood[0] * 0.4]), "tiles", (rng.uniform(0.1, 0.16), 5.0))
    else:
        finish = Finish(np.stack([colour, colour * 0.6]), "tiles", (9.0, 0.09), 0.2)
    high = rng.uniform(1.8, 4.5)
    return box(finish, (-30, y, 0), (30, y + 0.3, high)).moved(rng.normal(0, 6), (0, 0, 0))


def _building(rng: np.random.Generator, x: float, y: float, wide: float, night: bool) -> Solid:
    wall = draw_paint_colour(rng, (0.3, 0.85), 0.3)
    glass = np.array([1.0, 0.8, 0.5]) if night else draw_paint_colour(rng, (0.1, 0.5), 0.2)
    size = (rng.uniform(1.6, 3.2), rng.uniform(2.6, 3.6))
    finish = Finish(np.stack([glass, wall]), "windows", size, 0.1, rng.uniform(0.5, 1.5) if night else 0.0)
    return box(finish, (x, y, 0), (x + wide, y + 8, rng.uniform(4, 22)))


def _tree(rng: np.random.Generator, y: float) -> Solid:
    green = np.array([0.06, 0.12, 0.03]) * rng.uniform(0.5, 1.8) * rng.uniform(0.8, 1.2, 3)
    leaf = Finish(np.stack([green, green * 0.35]), "noise", (0.25, 0.25))
    bark = Finish(np.array([[0.1, 0.075, 0.055], [0.05, 0.04, 0.03]]), "noise", (0.1, 0.3))
    high, size = rng.uniform(1.2, 3.0), rng.uniform(1.0, 2.4)
    away = rng.uniform(4, 30)
    at = (rng.normal(0, 0.45 * away + 1.5), y + away, 0)
    parts = [cylinder(bark, (0, 0, 0), (0.16, 0.1), high + size * 0.4)]
    for _ in range(4):
        centre = rng.normal(0, 0.45, 3) * size + np.array([0, 0, high + size * 0.7])
        parts.append(blob(rng, leaf, centre, rng.uniform(0.5, 0.9, 3) * size))
    return merged(parts).moved(0, at)


def _hedge(rng: np.random.Generator, y: float) -> Solid:
    green = np.array([0.05, 0.1, 0.03]) * rng.uniform(0.5, 1.5)
    leaf = Finish(np.stack([green, green * 0.4]), "noise", (0.6, 0.6))
    return merged(
        [blob(rng, leaf, (x, y, 0), (rng.uniform(4, 7), 3, rng.uniform(2, 9))) for x in np.arange(-60, 61, 7.0)]
    )


def _car(rng: np.random.Generator, y: float) -> Solid:
    paint = Finish(np.tile(draw_paint_colour(rng, (0.1, 0.95), 0.8), (2, 1)), gloss=0.4)
    dark = Finish(np.full((2, 3), 0.015), gloss=0.3)
    parts = [
        box(paint, (-2.1, 0, 0.3), (2.1, 1.7, 0.85)),
        box(dark, (-1.2, 0.1, 0.85), (1.1, 1.6, 1.35)),
        box(paint, (-1.0, 0.08, 1.33), (0.9, 1.62, 1.42)),
        box(dark, (-1.65, -0.02, 0.0), (-1.05, 0.2, 0.6)),
        box(dark, (1.05, -0.02, 0.0), (1.65, 0.2, 0.6)),
    ]
    return merged(parts).moved(rng.normal(0, 4), (rng.normal(0, 3.5), y, 0))
