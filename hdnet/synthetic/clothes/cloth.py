"""Cloth materials: colours, prints, and marks such as seams and buttons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hdnet.synthetic.materials import Noise, draw_colour, draw_noise
from hdnet.synthetic.surface import FloatArray

Field = Callable[[FloatArray], FloatArray]
"""Function of positions (N, 3) on the canonical body to (N,) values."""
Print = Callable[[FloatArray], FloatArray]
"""Function of positions (N, 3) on the canonical body to linear RGB (N, 3)."""


@dataclass(frozen=True, eq=False)
class Mark:
    """Mark on the cloth: its cover (0..1), and its linear RGB (3,) or a factor on what lies below."""

    cover: Field
    colour: FloatArray
    factor: bool = False


@dataclass(frozen=True, eq=False)
class Cloth:
    """Material of a garment."""

    print: Print
    marks: tuple[Mark, ...]
    wear: Noise
    weave: Noise
    gloss: float = 0.02

    def albedo(self, points: FloatArray) -> FloatArray:
        """Return linear RGB (N, 3) at positions (N, 3) on the canonical body."""
        colour = self.print(points)
        for mark in self.marks:
            cover = mark.cover(points)[:, None]
            colour = colour + ((colour * mark.colour if mark.factor else mark.colour) - colour) * cover
        # Worn cloth varies in brightness.
        worn = 1 + 0.06 * self.wear(points) + 0.02 * self.weave(points)
        return np.asarray(np.clip(colour * worn[:, None], 0.004, 0.95))


def draw_cloth(rng: np.random.Generator, prints: dict[str, float], marks: tuple[Mark, ...] = ()) -> Cloth:
    """Draw a cloth with one of some prints.

    Args:
        rng: Random stream of the clothes.
        prints: Share of each print, of :data:`PRINTS`.
        marks: Marks such as seams and buttons.
    """
    names = list(prints)
    shares = np.array([prints[name] for name in names])
    name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
    gloss = float(rng.choice([0.01, 0.04, 0.15], p=[0.6, 0.3, 0.1]))
    return Cloth(PRINTS[name](rng), marks, draw_noise(rng, 3, 4), draw_noise(rng, rng.uniform(60, 120), 1), gloss)


def _plain(rng: np.random.Generator) -> Print:
    colour = draw_colour(rng)
    return lambda points: np.tile(colour, (len(points), 1))


def _denim(rng: np.random.Generator) -> Print:
    colour = np.array([0.05, 0.085, 0.17]) * rng.uniform(0.35, 2.6)
    worn, noise = rng.uniform(0.0, 0.9), draw_noise(rng, 5, 2)

    def print_(points: FloatArray) -> FloatArray:
        # Faded on the front of the thighs.
        thigh = np.exp(-(((np.abs(points[:, 0]) - 0.11) / 0.05) ** 2) - ((points[:, 2] + 0.12) / 0.18) ** 2)
        return np.asarray(colour * (1 + worn * thigh * (points[:, 1] < 0) + 0.1 * noise(points))[:, None])

    return print_


def _bands(rng: np.random.Generator) -> Print:
    first, second = draw_colour(rng), draw_colour(rng)
    direction = np.array([[0, 0, 1.0], [0, 0, 1.0], [1.0, 0, 0], [0.6, 0, 0.8]][rng.integers(4)])
    period_m, share = float(np.exp(rng.uniform(np.log(0.02), np.log(0.16)))), float(rng.uniform(0.2, 0.6))
    return lambda p: first + (second - first) * _band(p @ direction / period_m, share, period_m)[:, None]


def _checks(rng: np.random.Generator) -> Print:
    colours = [draw_colour(rng) for _ in range(3)]
    period_m, share, thin = float(rng.uniform(0.03, 0.11)), float(rng.uniform(0.3, 0.55)), rng.random() < 0.5
    tilt = rng.choice([0.0, np.pi / 4], p=[0.9, 0.1])

    def print_(points: FloatArray) -> FloatArray:
        # Sideways runs around the body, so that the sides do not smear.
        around = points[:, 0] + np.where(points[:, 1] > 0, 1, -1) * 0.5 * points[:, 1]
        u = (np.cos(tilt) * around + np.sin(tilt) * points[:, 2]) / period_m
        v = (np.cos(tilt) * points[:, 2] - np.sin(tilt) * around) / period_m
        crossed = _band(u, share, period_m) + _band(v, share, period_m)
        colour = colours[0] + (colours[1] - colours[0]) * crossed[:, None] / 2
        if thin:
            line = np.maximum(_band(u + 0.5, 0.08, period_m), _band(v + 0.5, 0.08, period_m))
            colour = colour + (colours[2] - colour) * 0.7 * line[:, None]
        return np.asarray(colour)

    return print_


def _dots(rng: np.random.Generator) -> Print:
    first, second = draw_colour(rng), draw_colour(rng)
    period_m, radius_share = float(rng.uniform(0.025, 0.09)), rng.uniform(0.15, 0.38)

    def print_(points: FloatArray) -> FloatArray:
        row = np.floor(points[:, 2] / period_m)
        x = (points[:, 0] / period_m + 0.5 * row) % 1 - 0.5
        radius = np.hypot(x, points[:, 2] / period_m - row - 0.5)
        return np.asarray(first + (second - first) * _soft((radius_share - radius) * period_m)[:, None])

    return print_


def _blots(rng: np.random.Generator) -> Print:
    """Draw camouflage, batik or large flowers: level sets of a random field."""
    colours, noise = [draw_colour(rng, 0.4) for _ in range(3)], draw_noise(rng, rng.uniform(2.5, 14), 3)

    def print_(points: FloatArray) -> FloatArray:
        field = noise(points)
        colour = colours[0] + (colours[1] - colours[0]) * _soft((field - 0.35) * 0.06)[:, None]
        return np.asarray(colour + (colours[2] - colour) * _soft((-0.4 - field) * 0.06)[:, None])

    return print_


def _halves(rng: np.random.Generator) -> Print:
    """Draw blocks of colour one above the other, or sleeves of another colour."""
    first, second = draw_colour(rng), draw_colour(rng)
    if rng.random() < 0.5:
        level = rng.uniform(0.35, 0.6)
        return lambda p: first + (second - first) * _soft(level - p[:, 2])[:, None]
    return lambda p: first + (second - first) * _soft(np.abs(p[:, 0]) - 0.30 + 0.28 * p[:, 2])[:, None]


def _gradient(rng: np.random.Generator) -> Print:
    first, second = draw_colour(rng), draw_colour(rng)
    return lambda p: first + (second - first) * np.clip((p[:, 2] + 0.1) / 0.8, 0, 1)[:, None]


PRINTS: dict[str, Callable[[np.random.Generator], Print]] = {
    "plain": _plain,
    "denim": _denim,
    "bands": _bands,
    "checks": _checks,
    "dots": _dots,
    "blots": _blots,
    "halves": _halves,
    "gradient": _gradient,
}


def line(distance_m: Field, width_m: float = 0.004) -> Field:
    """Return the cover of a line where a signed distance is 0."""
    return lambda points: np.clip(1.5 - np.abs(distance_m(points)) / width_m, 0, 1)


def area(inside_m: Field) -> Field:
    """Return the cover of where a signed distance is positive."""
    return lambda points: _soft(inside_m(points))


def rectangle(centre_x: float, centre_z: float, half_x: float, half_z: float, front: bool = True) -> Field:
    """Return the signed distance, positive inside, to a rectangle on the front or back."""

    def inside(points: FloatArray) -> FloatArray:
        x = half_x - np.abs(points[:, 0] - centre_x)
        z = half_z - np.abs(points[:, 2] - centre_z)
        side = points[:, 1] < 0 if front else points[:, 1] > 0
        return np.where(side, np.minimum(x, z), -1.0)

    return inside


def _band(along: FloatArray, share: float, period_m: float) -> FloatArray:
    """Return 1 in the first ``share`` of each period and 0 in the rest, with soft edges."""
    from_middle = np.abs((along - share / 2 + 0.5) % 1 - 0.5)
    return _soft((share / 2 - from_middle) * period_m)


def _soft(distance_m: FloatArray) -> FloatArray:
    """Return a step about a pixel wide, since most pixels get one ray."""
    return np.clip(distance_m / 0.008 + 0.5, 0, 1)
