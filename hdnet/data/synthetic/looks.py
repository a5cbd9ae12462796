"""Procedural colours: skin, hair and cloth as functions of the place on the canonical body (linear RGB)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from hdnet.data.synthetic.body import body_model
from hdnet.data.synthetic.garments import canonical
from hdnet.data.synthetic.person import BOTTOM, EYES, HAIR, SHOES, SKIN, TOP
from hdnet.data.synthetic.surface import FloatArray, IntArray, normalized

Print = Literal["plain", "stripes", "checks", "dots", "blocks"]

_LIGHT_SKIN, _DARK_SKIN = np.array([0.78, 0.52, 0.41]), np.array([0.15, 0.072, 0.045])
_HAIR = np.array([[0.018, 0.014, 0.012], [0.07, 0.038, 0.02], [0.22, 0.12, 0.055], [0.45, 0.3, 0.14], [0.5, 0.5, 0.5]])


@dataclass(frozen=True, eq=False)
class Noise:
    """Smooth pseudo-random field: a few random waves an octave.

    Attributes:
        waves: (K, 3) wave vectors in radians a metre.
        phases: (K,) radians.
        heights: (K,) amplitudes.
    """

    waves: FloatArray
    phases: FloatArray
    heights: FloatArray

    def __call__(self, points: FloatArray) -> FloatArray:
        """Value of about -1..1 at each of (N, 3) points."""
        return np.asarray(np.sin(points @ self.waves.T + self.phases) @ self.heights)


def draw_noise(rng: np.random.Generator, per_metre: float, octaves: int) -> Noise:
    """A field whose coarsest features are 1 / ``per_metre`` apart."""
    waves, heights = [], []
    for octave in range(octaves):
        waves.append(normalized(rng.normal(size=(3, 3))) * 2 * np.pi * per_metre * 2**octave)
        heights.append(np.full(3, 0.45 / 1.7**octave))
    return Noise(np.concatenate(waves), rng.uniform(0, 2 * np.pi, 3 * octaves), np.concatenate(heights))


@dataclass(frozen=True, eq=False)
class Cloth:
    """Colour of a garment; ``colours`` (3, 3) are linear RGB, of which a plain one uses the first."""

    print: Print
    colours: FloatArray
    direction: FloatArray
    period_m: float
    share: float
    noise: Noise


@dataclass(frozen=True, eq=False)
class Looks:
    """All colours of a person; the same in every frame."""

    skin: FloatArray
    skin_noise: Noise
    hair: FloatArray
    hair_noise: Noise
    iris: FloatArray
    cloths: dict[int, Cloth]


def draw_looks(person_rng: np.random.Generator, clothes_rng: np.random.Generator) -> Looks:
    """Draw skin and hair from the person's stream, cloth from that of the clothes."""
    tone = person_rng.beta(1.2, 1.5)
    skin = _LIGHT_SKIN ** (1 - tone) * _DARK_SKIN**tone * person_rng.uniform(0.92, 1.08, 3)
    shades = np.array([0.34, 0.28, 0.2, 0.1, 0.08]) if tone < 0.5 else np.array([0.7, 0.22, 0.04, 0.01, 0.03])
    hair = _HAIR[person_rng.choice(len(_HAIR), p=shades)] * person_rng.uniform(0.7, 1.3)
    return Looks(
        skin=skin,
        skin_noise=draw_noise(person_rng, 4, 4),
        hair=hair,
        hair_noise=draw_noise(person_rng, 40, 2),
        iris=np.array([0.06, 0.04, 0.03]) * person_rng.uniform(0.5, 3, 3),
        cloths={slot: _draw_cloth(clothes_rng, slot) for slot in (TOP, BOTTOM, SHOES)},
    )


def albedo(looks: Looks, labels: IntArray, points: FloatArray) -> FloatArray:
    """Linear RGB (N, 3) in 0..1 of surface points.

    Args:
        looks: The person's colours.
        labels: (N,) albedo slot of each point.
        points: (N, 3) positions on the canonical body.
    """
    result = np.zeros((len(points), 3))
    for slot in np.unique(labels):
        here = labels == slot
        where = points[here].astype(np.float64)
        if slot == SKIN:
            result[here] = _skin(looks, where)
        elif slot == EYES:
            result[here] = _eyes(looks, where)
        elif slot == HAIR:
            result[here] = looks.hair * np.clip(1 + 0.6 * looks.hair_noise(where), 0.25, None)[:, None]
        else:
            result[here] = _cloth(looks.cloths[int(slot)], where)
    return np.clip(result, 0.005, 0.95)


def _skin(looks: Looks, points: FloatArray) -> FloatArray:
    body, _ = canonical()
    head, eye_height = body.joints["head"], _eye_centre()[2]
    colour = looks.skin * (1 + 0.09 * looks.skin_noise(points))[:, None]
    front = points[:, 1] < head[1] - 0.04
    x, up = points[:, 0], points[:, 2] - eye_height
    lips = front * np.exp(-((x / 0.024) ** 4) - ((up + 0.072) / 0.011) ** 2)
    brows = front * np.exp(-(((np.abs(x) - 0.034) / 0.02) ** 4) - ((up - 0.022) / 0.006) ** 2)
    colour = colour * (1 - lips[:, None] * np.array([0.15, 0.45, 0.4]))
    return np.asarray(colour * (1 - 0.75 * brows)[:, None])


def _eyes(looks: Looks, points: FloatArray) -> FloatArray:
    centre = _eye_centre()
    distance = np.hypot(np.abs(points[:, 0]) - centre[0], points[:, 2] - centre[2])[:, None]
    return np.where(distance < 0.0028, 0.01, np.where(distance < 0.0062, looks.iris, 0.7))


@cache
def _eye_centre() -> FloatArray:
    body, _ = canonical()
    eyes = body.vertices[np.unique(body_model().triangles["eyes"])]
    return np.asarray(eyes[eyes[:, 0] > 0].mean(0))


def _draw_cloth(rng: np.random.Generator, slot: int) -> Cloth:
    prints: list[Print] = ["plain", "stripes", "checks", "dots", "blocks"]
    shares = {TOP: [0.5, 0.2, 0.1, 0.07, 0.13], BOTTOM: [0.82, 0.05, 0.08, 0.02, 0.03]}.get(slot, [1, 0, 0, 0, 0])
    return Cloth(
        print=prints[int(rng.choice(len(prints), p=shares))],
        colours=np.stack([_draw_colour(rng) for _ in range(3)]),
        direction=np.array([[0, 0, 1.0], [0, 0, 1.0], [1.0, 0, 0], [0.6, 0, 0.8]][rng.integers(4)]),
        period_m=float(rng.uniform(0.035, 0.13)),
        share=float(rng.uniform(0.2, 0.6)),
        noise=draw_noise(rng, 3, 4),
    )


def _draw_colour(rng: np.random.Generator) -> FloatArray:
    # Most clothes are greys, blues and muted colours; saturated ones are rarer.
    value = rng.beta(0.9, 1.3) * 0.85 + 0.02
    saturation = rng.choice([0.0, rng.uniform(0.05, 0.4), rng.uniform(0.4, 0.95)], p=[0.25, 0.5, 0.25])
    hue = rng.choice([rng.uniform(0, 1), rng.normal(0.6, 0.05)], p=[0.65, 0.35])
    wheel = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    return np.asarray(value * (1 - saturation + saturation * np.clip(wheel, 0, 1)))


def _cloth(cloth: Cloth, points: FloatArray) -> FloatArray:
    first, second, third = cloth.colours
    along = points @ cloth.direction / cloth.period_m
    share = cloth.share
    if cloth.print == "plain":
        colour = np.tile(first, (len(points), 1))
    elif cloth.print == "stripes":
        colour = first + (second - first) * _band(along, share, cloth.period_m)[:, None]
    elif cloth.print == "checks":
        across = points @ np.array([cloth.direction[2], 0, -cloth.direction[0]]) / cloth.period_m
        crossed = _band(along, share, cloth.period_m) + _band(across, share, cloth.period_m)
        colour = first + (second - first) * crossed[:, None] / 2
    elif cloth.print == "dots":
        row = np.floor(points[:, 2] / cloth.period_m)
        x = (points[:, 0] / cloth.period_m + 0.5 * row) % 1 - 0.5
        radius = np.hypot(x, points[:, 2] / cloth.period_m - row - 0.5)
        colour = first + (second - first) * _soft((0.1 + 0.4 * share - radius) * cloth.period_m)[:, None]
    else:
        field = cloth.noise(points)
        colour = first + (second - first) * _soft((field - 0.35) * 0.06)[:, None]
        colour = colour + (third - colour) * _soft((-0.4 - field) * 0.06)[:, None]
    # Worn, washed cloth is never one flat colour.
    return np.asarray(colour * (1 + 0.07 * cloth.noise(points * 5))[:, None])


def _band(along: FloatArray, share: float, period_m: float) -> FloatArray:
    """1 in the first ``share`` of each period, 0 in the rest, with soft edges."""
    from_middle = np.abs((along - share / 2 + 0.5) % 1 - 0.5)
    return _soft((share / 2 - from_middle) * period_m)


def _soft(distance_m: FloatArray) -> FloatArray:
    """A step that is about a pixel wide, since most pixels get one ray."""
    return np.clip(distance_m / 0.008 + 0.5, 0, 1)
