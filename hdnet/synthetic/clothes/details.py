"""Details of garments: seams, hems, pockets, buttons, belts, prints on the chest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.clothes.cloth import Field, Mark, area, line, rectangle
from hdnet.synthetic.clothes.garments import Garment
from hdnet.synthetic.clothes.patterns import LEG, Cut, limb_position, pattern
from hdnet.synthetic.materials import draw_colour, draw_noise
from hdnet.synthetic.surface import FloatArray

_DARKER = np.array([0.62, 0.62, 0.62])
_POCKET_M = 0.004


def top_marks(rng: np.random.Generator, kind: str, cut: Cut) -> tuple[Mark, ...]:
    """Draw hem, side seams, button band or zip, and chest print."""
    hip = _hip_m()
    marks = [_seam(lambda p: p[:, 2] - (hip + cut.edge_m + 0.022)), _seam(lambda p: p[:, 1] - 0.01)]
    if kind in ("shirt", "jacket"):
        marks += _front(rng, kind, cut)
    elif kind != "dress" and rng.random() < 0.45:
        marks.append(_chest_print(rng))
    if (kind == "shirt" and rng.random() < 0.5) or (kind == "jacket" and rng.random() < 0.6):
        marks.append(_seam(rectangle(0.075, hip + 0.40, 0.042, 0.05)))
    if kind in ("hoodie", "sweatshirt") and rng.random() < 0.7:
        marks.append(Mark(area(lambda p: hip + cut.edge_m + 0.04 - p[:, 2]), np.full(3, 0.82), factor=True))
    if kind == "hoodie":
        marks.append(_seam(rectangle(0.0, hip + 0.13, 0.12, 0.075)))
    return tuple(marks)


def leg_marks(rng: np.random.Generator, style: str, cut: Cut) -> tuple[Mark, ...]:
    """Draw waistband or belt, fly, side seams or stripes, and pockets."""
    hip = _hip_m()
    waist = hip + cut.edge_m
    marks = [_seam(lambda p: p[:, 1] - 0.005), _seam(lambda p: p[:, 2] - (waist - 0.038))]
    if style == "tight":
        return tuple(marks[1:])
    if rng.random() < 0.3:
        belt = draw_colour(rng, 0.1) * 0.4
        marks.append(Mark(area(lambda p: p[:, 2] - (waist - 0.035)), belt))
    marks.append(_seam(_only_front(lambda p: p[:, 0] - 0.004, waist - 0.16, waist)))
    if rng.random() < 0.15:
        stripe = draw_colour(rng)
        at_side = area(lambda p: np.where(np.abs(p[:, 0]) > 0.12, 0.018 - np.abs(p[:, 1] - 0.005), -1.0))
        marks.append(Mark(at_side, stripe))
    for side in (-1, 1):
        marks.append(_seam(rectangle(side * 0.085, hip + 0.0, 0.055, 0.06, front=False)))
        marks.append(_seam(_slit(side, waist)))
    return tuple(marks)


def skirt_marks(cut: Cut) -> tuple[Mark, ...]:
    """Return waistband and hem."""
    hip = _hip_m()
    return (
        _seam(lambda p: p[:, 2] - (hip + cut.edge_m - 0.035)),
        _seam(lambda p: p[:, 2] - (hip - cut.length + 0.025)),
    )


def with_pockets(rng: np.random.Generator, kind: str, garment: Garment) -> Garment:
    """Add pockets, plackets and ribs that stand off a few millimetres."""
    hip, points = _hip_m(), pattern(garment.cut).canonical
    fields: list[Field] = []
    if kind == "hoodie":
        fields.append(rectangle(0.0, hip + 0.13, 0.12, 0.075))
    elif kind in ("shirt", "jacket"):
        fields.append(rectangle(0.075, hip + 0.40, 0.042, 0.05))
        fields.append(lambda p: np.where(p[:, 1] < 0, 0.016 - np.abs(p[:, 0] - garment.cut.opening_m), -1.0))
    elif kind in ("straight", "wide", "narrow", "shorts"):
        fields += [rectangle(side * 0.085, hip, 0.055, 0.06, front=False) for side in (-1, 1)]
        if rng.random() < 0.15:
            fields += [_cargo(side) for side in (-1, 1)]
    relief = garment.relief_m.copy()
    for inside in fields:
        relief = relief + _POCKET_M * np.clip(inside(points) / 0.008 + 0.5, 0, 1).astype(np.float32)
    return replace(garment, relief_m=relief)


def _hip_m() -> float:
    return float(canonical_body().joints["upperleg01.L"][2])


def _seam(distance_m: Field) -> Mark:
    return Mark(line(distance_m, 0.003), _DARKER, factor=True)


def _only_front(distance_m: Field, low_m: float, high_m: float) -> Field:
    return lambda p: np.where((p[:, 1] < 0) & (p[:, 2] > low_m) & (p[:, 2] < high_m), distance_m(p), 1.0)


def _slit(side: int, waist: float) -> Field:
    """Return the distance to a slanting side pocket."""

    def distance(points: FloatArray) -> FloatArray:
        along = (points[:, 0] * side - 0.10) + 0.35 * (points[:, 2] - (waist - 0.10))
        here = (points[:, 1] < 0.02) & (np.abs(points[:, 2] - (waist - 0.10)) < 0.06) & (points[:, 0] * side > 0)
        return np.where(here, along, 1.0)

    return distance


def _cargo(side: int) -> Field:
    """Return the area of a large pocket on the outside of the thigh."""

    def inside(points: FloatArray) -> FloatArray:
        along = limb_position(canonical_body(), points, LEG)
        outer = points[:, 0] * side > 0.13
        return np.where(outer, np.minimum(0.09 - np.abs(along - 0.72) * 0.45, 0.06 - np.abs(points[:, 1])), -1.0)

    return inside


def _front(rng: np.random.Generator, kind: str, cut: Cut) -> list[Mark]:
    hip = _hip_m()
    top = hip + 0.57
    colour = draw_colour(rng)
    marks = [_seam(_only_front(lambda p: p[:, 0] - 0.016 - cut.opening_m, -1.0, top))]
    if kind == "shirt":

        def buttons(points: FloatArray) -> FloatArray:
            step = (points[:, 2] - hip) / 0.085
            radius = np.hypot(points[:, 0], (step - np.round(step)) * 0.085)
            return np.where(points[:, 1] < 0, 0.006 - radius, -1.0)

        marks.append(Mark(area(buttons), colour))
    elif cut.opening_m == 0:
        marks.append(Mark(line(_only_front(lambda p: p[:, 0], -1.0, top), 0.005), colour))
    return marks


def _chest_print(rng: np.random.Generator) -> Mark:
    """Draw a print like lettering or a picture on the chest or back."""
    hip, colour = _hip_m(), draw_colour(rng, 0.5)
    half_x, half_z = rng.uniform(0.04, 0.11), rng.uniform(0.02, 0.09)
    middle_x, middle_z = float(rng.choice([0.0, 0.0, 0.06])), hip + rng.uniform(0.33, 0.42)
    frame = rectangle(middle_x, middle_z, half_x, half_z, rng.random() < 0.85)
    noise, level = draw_noise(rng, rng.uniform(12, 35), 2), rng.uniform(-0.5, 0.3)
    return Mark(lambda p: area(frame)(p) * np.clip((noise(p) - level) / 0.3 + 0.5, 0, 1), colour)
