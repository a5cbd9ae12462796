"""Surroundings of about the colour of the clothes: dark on dark, white on white, beige on beige."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hdnet.synthetic.person import Person
from hdnet.synthetic.rendering.light import Light
from hdnet.synthetic.rendering.solids import Finish, Solid
from hdnet.synthetic.surface import FloatArray

_DARK = 0.08


def draw_clothes_colour(rng: np.random.Generator, person: Person) -> FloatArray:
    """Draw the mean linear RGB (3,) of one of a person's garments, larger ones more often, slightly changed."""
    first = len(person.components)
    numbers = np.arange(first, first + len(person.outfit))
    faces = np.array([(person.labels == number).sum() for number in numbers])
    number = int(rng.choice(numbers, p=faces / faces.sum()))
    rows = np.unique(person.faces[person.labels == number])[::23]
    colour = person.materials[number].albedo(person.canonical[rows]).mean(0)
    # Few places have strong colours.
    colour = colour + (colour.mean() - colour) * rng.uniform(0.2, 0.8) * np.ptp(colour) / colour.max()
    return np.asarray(np.clip(colour * rng.uniform(0.75, 1.3) * rng.uniform(0.94, 1.06, 3), 0.004, 0.93))


def alike_light(rng: np.random.Generator, light: Light, colour: FloatArray) -> Light:
    """Light person and surroundings evenly, often dimly where the clothes are dark."""
    dim = rng.uniform(0.4, 0.9) if colour.mean() < _DARK and rng.random() < 0.6 else 1.0
    return replace(light, exposure=light.exposure * dim, behind=1 + 0.3 * (light.behind - 1))


def tinted(solids: Sequence[Solid], colour: FloatArray, strength: float) -> list[Solid]:
    """Turn the finishes of solids towards a colour (3,); patterns keep their contrast."""
    return [
        replace(solid, finishes=tuple(_tinted(finish, colour, strength) for finish in solid.finishes))
        for solid in solids
    ]


def _tinted(finish: Finish, colour: FloatArray, strength: float) -> Finish:
    if finish.glow:
        return finish
    contrast = finish.colours.mean(1, keepdims=True) / max(float(finish.colours.mean()), 1e-3)
    wanted = np.clip(colour * contrast, 0.003, 0.95)
    return replace(finish, colours=finish.colours + strength * (wanted - finish.colours))
