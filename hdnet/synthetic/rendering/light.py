"""Light in the world frame: a smooth ambient part, and lamps that cast shadows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hdnet.synthetic.materials import hue_rgb
from hdnet.synthetic.rendering.panorama import Panorama
from hdnet.synthetic.surface import FloatArray, normalized

Place = Literal["room", "outdoor", "studio", "night"]

# (kind, share), as in phone pictures of people.
_KINDS = (
    ("ceiling", 0.26),
    ("window", 0.2),
    ("overcast", 0.15),
    ("sun", 0.14),
    ("golden", 0.06),
    ("softbox", 0.09),
    ("flash", 0.04),
    ("neon", 0.06),
)


@dataclass(frozen=True, eq=False)
class Lamp:
    """Distant lamp.

    Attributes:
        direction: (3,) unit vector towards it.
        rgb: (3,) irradiance on a surface that faces it, linear.
        spread: Radius of its disc as the tangent of an angle: 0.005 the sun .. 0.6 a window.
    """

    direction: FloatArray
    rgb: FloatArray
    spread: float


@dataclass(frozen=True, eq=False)
class Light:
    """Light of a picture.

    Attributes:
        kind: Name of the situation.
        place: Kind of place with such light.
        lobes: (K, 3) unit directions that ambient light comes from.
        lobe_rgb: (K, 3) irradiance of each, linear.
        lamps: Lamps, which cast shadows.
        exposure: Factor from radiance to film, on which a white surface is about 1.
        behind: Brightness of the surroundings behind the person, relative to the light.
        mirror: What glossy surfaces reflect besides the lamps; without it they reflect the ambient light.
        lobe_power: Exponent of the lobes, larger for narrower ones.
    """

    kind: str
    place: Place
    lobes: FloatArray
    lobe_rgb: FloatArray
    lamps: tuple[Lamp, ...]
    exposure: float
    behind: float
    mirror: Panorama | None = None
    lobe_power: float = 1.5

    def ambient(self, normals: FloatArray) -> FloatArray:
        """Return ambient irradiance (N, 3) at world normals (N, 3)."""
        wrapped = np.clip(0.5 + 0.5 * (normals @ self.lobes.T.astype(normals.dtype)), 0, None) ** self.lobe_power
        return np.asarray(wrapped @ self.lobe_rgb.astype(normals.dtype))

    def frontal_irradiance(self) -> float:
        """Return the mean unshadowed irradiance of surfaces that face the camera, on which exposure is based."""
        facing = normalized(np.array([[0, -1.0, 0], [0.5, -0.8, 0.35], [-0.5, -0.8, 0.35], [0, -0.7, 0.7]]))
        total = self.ambient(facing)
        for lamp in self.lamps:
            total = total + np.clip(facing @ lamp.direction, 0, None)[:, None] * lamp.rgb
        return float(total.mean())

    def exposed(self, rng: np.random.Generator) -> Light:
        """Return the light with a drawn exposure on which a lit white shirt is just below white."""
        return replace(self, exposure=float(rng.uniform(0.75, 1.25) / self.frontal_irradiance()))


def draw_light(rng: np.random.Generator) -> Light:
    """Draw indoor, outdoor, studio or night light, from soft to hard."""
    names, shares = zip(*_KINDS, strict=True)
    kind = names[int(rng.choice(len(names), p=shares))]
    ambient, lamps, place, behind = _SITUATIONS[kind](rng)
    directions, colours = zip(*ambient, strict=True)
    lobes = normalized(np.array(directions))
    return Light(kind, place, lobes, np.array(colours), tuple(lamps), 1.0, behind).exposed(rng)


_Lobe = tuple[tuple[float, float, float], FloatArray]
_Situation = tuple[list[_Lobe], list[Lamp], Place, float]


def _kelvin(rng: np.random.Generator, warmth: float, spread: float = 0.06) -> FloatArray:
    """Draw a colour of light: warmth 0 white, 0.4 bulb, -0.2 sky; partly removed by white balance."""
    value = warmth + rng.normal(0, spread)
    return np.asarray(np.clip([1 + 0.55 * value, 1.0 + rng.normal(0, 0.012), 1 - 0.95 * value], 0.25, 1.8))


def _around(rng: np.random.Generator, side: float, front: float, up: float, spread: float = 0.25) -> FloatArray:
    """Draw a direction towards a lamp: to the picture's right, towards the camera, up."""
    return normalized(np.array([side, -front, up]) + rng.normal(0, spread, 3))


def _shell(rng: np.random.Generator, sky: FloatArray, ground: FloatArray, level: float) -> list[_Lobe]:
    """Draw light from above, from the ground, and unevenly from all sides."""
    lobes: list[_Lobe] = [((0, 0, 1), level * sky), ((0, 0, -1), level * ground)]
    angle = rng.uniform(0, 2 * np.pi)
    for turn in (0.0, 2.1, 4.2):
        strength = level * rng.uniform(0.05, 0.7)
        lobes.append(((np.cos(angle + turn), np.sin(angle + turn), rng.uniform(-0.2, 0.4)), strength * sky))
    return lobes


def _floor_bounce(rng: np.random.Generator) -> FloatArray:
    return np.asarray(rng.uniform(0.12, 0.5) * _kelvin(rng, 0.12, 0.12))


def _ceiling(rng: np.random.Generator) -> _Situation:
    colour = _kelvin(rng, rng.choice([0.02, 0.12, 0.22]))
    lobes = _shell(rng, colour * 0.8, colour * _floor_bounce(rng), rng.uniform(0.25, 0.65))
    lamps = []
    for _ in range(int(rng.integers(1, 4))):
        direction = _around(rng, rng.normal(0, 0.5), rng.normal(0.25, 0.5), rng.uniform(0.9, 1.5))
        lamps.append(Lamp(direction, colour * rng.uniform(0.3, 0.8), float(rng.uniform(0.05, 0.3))))
    return lobes, lamps, "room", float(rng.uniform(0.7, 1.25))


def _window(rng: np.random.Generator) -> _Situation:
    colour = _kelvin(rng, rng.normal(-0.02, 0.05))
    lobes = _shell(rng, colour * 0.6, colour * _floor_bounce(rng), rng.uniform(0.2, 0.6))
    side = rng.choice([-1.0, 1.0])
    main = Lamp(_around(rng, side, rng.uniform(-0.1, 0.9), rng.uniform(0.1, 0.5), 0.1), colour, rng.uniform(0.25, 0.6))
    lamps = [main]
    if rng.random() < 0.4:
        warm = _kelvin(rng, 0.25)
        lamps.append(Lamp(_around(rng, -side, 0.3, 1.2), warm * rng.uniform(0.1, 0.35), rng.uniform(0.1, 0.3)))
    return lobes, lamps, "room", float(rng.uniform(0.5, 1.1))


def _overcast(rng: np.random.Generator) -> _Situation:
    sky = _kelvin(rng, -0.03)
    lobes = _shell(rng, sky, sky * _floor_bounce(rng), 1.0)
    lobes.append(((0, -1, 0.6), sky * rng.uniform(0.1, 0.5)))
    lamp = Lamp(_around(rng, rng.normal(0, 0.6), rng.normal(0.2, 0.6), 1.3), sky * rng.uniform(0.2, 0.5), 0.6)
    return lobes, [lamp], "outdoor", float(rng.uniform(0.85, 1.3))


def _sun(rng: np.random.Generator) -> _Situation:
    sky = _kelvin(rng, -0.14)
    lobes = _shell(rng, sky * 0.8, _floor_bounce(rng) * 1.2, rng.uniform(0.25, 0.5))
    direction = _around(rng, rng.normal(0, 0.7), rng.normal(0.35, 0.6), rng.uniform(0.6, 1.4), 0.15)
    return (
        lobes,
        [Lamp(direction, _kelvin(rng, 0.05) * rng.uniform(0.9, 1.4), 0.006)],
        "outdoor",
        float(rng.uniform(0.8, 1.2)),
    )


def _golden(rng: np.random.Generator) -> _Situation:
    sky = _kelvin(rng, -0.05)
    lobes = _shell(rng, sky * 0.8, _kelvin(rng, 0.15) * rng.uniform(0.15, 0.3), rng.uniform(0.3, 0.6))
    direction = _around(rng, rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 1), rng.normal(0.3, 0.6), 0.3, 0.08)
    return lobes, [Lamp(direction, _kelvin(rng, 0.35) * rng.uniform(0.8, 1.3), 0.015)], "outdoor", 1.0


def _softbox(rng: np.random.Generator) -> _Situation:
    colour = _kelvin(rng, 0.0, 0.03)
    lobes = _shell(rng, colour * 0.5, colour * _floor_bounce(rng), rng.uniform(0.25, 0.6))
    side = rng.choice([-1.0, 1.0])
    key = Lamp(_around(rng, 0.7 * side, 0.8, 0.7, 0.15), colour, rng.uniform(0.15, 0.45))
    fill = Lamp(_around(rng, -0.8 * side, 0.7, 0.4, 0.15), colour * rng.uniform(0.1, 0.5), 0.4)
    lamps = [key, fill]
    if rng.random() < 0.4:
        lamps.append(Lamp(_around(rng, -side, -0.7, 0.7, 0.1), colour * rng.uniform(0.3, 0.8), 0.1))
    return lobes, lamps, "studio", float(rng.uniform(0.4, 1.2))


def _flash(rng: np.random.Generator) -> _Situation:
    dim = _kelvin(rng, 0.2) * rng.uniform(0.1, 0.35)
    lobes = _shell(rng, dim, dim * 0.4, 0.6)
    lamps = [Lamp(_around(rng, rng.normal(0, 0.05), 1.0, 0.08, 0.02), _kelvin(rng, -0.03, 0.02), 0.01)]
    return lobes, lamps, "room" if rng.random() < 0.6 else "night", float(rng.uniform(0.25, 0.6))


def _neon(rng: np.random.Generator) -> _Situation:
    def colour() -> FloatArray:
        rgb = hue_rgb(rng.uniform(0, 1))
        return np.asarray(1 + rng.uniform(0.1, 0.45) * (rgb / rgb.mean() - 1))

    lobes = _shell(rng, 0.25 * (1 + colour()), colour() * 0.15, rng.uniform(0.3, 0.7))
    side = rng.choice([-1.0, 1.0])
    lamps = [
        Lamp(_around(rng, side, 0.6, 0.5), colour() * rng.uniform(0.5, 1), 0.15),
        Lamp(_around(rng, -side, 0.2, 0.4), colour() * rng.uniform(0.3, 0.8), 0.2),
    ]
    return lobes, lamps, "night" if rng.random() < 0.4 else "room", float(rng.uniform(0.5, 1.0))


_SITUATIONS = {
    "ceiling": _ceiling,
    "window": _window,
    "overcast": _overcast,
    "sun": _sun,
    "golden": _golden,
    "softbox": _softbox,
    "flash": _flash,
    "neon": _neon,
}
