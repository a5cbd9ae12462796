"""Materials of skin, eyes and plain things, and random fields (linear RGB on the canonical body)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.surface import FloatArray, normalized

_MOUTH = np.array([0.10, 0.03, 0.03])
# Dark and light brown, green, blue, grey.
_IRISES = np.array(
    [[0.04, 0.02, 0.012], [0.11, 0.06, 0.03], [0.10, 0.13, 0.06], [0.07, 0.13, 0.22], [0.14, 0.16, 0.17]]
)
# Darkened as by lids and lashes, which are not modelled.
_WHITE_OF_EYE = np.array([0.42, 0.38, 0.36])
_LIGHT_SKIN, _DARK_SKIN = np.array([0.78, 0.52, 0.41]), np.array([0.15, 0.072, 0.045])


@dataclass(frozen=True, eq=False)
class Noise:
    """Smooth pseudo-random field: a few random waves an octave.

    Attributes:
        waves: (K, 3) float32 wave vectors in radians a metre.
        phases: (K,) radians.
        heights: (K,) amplitudes.
    """

    waves: FloatArray
    phases: FloatArray
    heights: FloatArray

    def __call__(self, points: FloatArray) -> FloatArray:
        """Return values of about -1..1 at points (N, 3)."""
        return np.asarray(np.sin(points.astype(np.float32) @ self.waves.T + self.phases) @ self.heights)


def draw_noise(rng: np.random.Generator, per_metre: float, octaves: int) -> Noise:
    """Draw a field whose coarsest features are 1 / ``per_metre`` apart."""
    waves, heights = [], []
    for octave in range(octaves):
        waves.append(normalized(rng.normal(size=(3, 3))) * 2 * np.pi * per_metre * 2**octave)
        heights.append(np.full(3, 0.45 / 1.7**octave))
    phases = rng.uniform(0, 2 * np.pi, 3 * octaves)
    return Noise(*(np.asarray(a, np.float32) for a in (np.concatenate(waves), phases, np.concatenate(heights))))


@dataclass(frozen=True, eq=False)
class Plain:
    """One colour (3,), slightly worn if there is noise."""

    colour: FloatArray
    gloss: float = 0.05
    noise: Noise | None = None

    def albedo(self, points: FloatArray) -> FloatArray:
        """Return linear RGB (N, 3) at positions (N, 3) on the canonical body."""
        if self.noise is None:
            return np.tile(self.colour, (len(points), 1))
        return np.asarray(np.clip(self.colour * (1 + 0.06 * self.noise(points))[:, None], 0.004, 0.95))


@dataclass(frozen=True, eq=False)
class Skin:
    """Skin with lips, brows and an uneven tone.

    Attributes:
        tone: (3,) linear RGB.
        noise: Unevenness.
        brow: (3,) colour of the eyebrows.
        lips: 0..1, how much redder the lips are.
        gloss: Strength of the highlight.
    """

    tone: FloatArray
    noise: Noise
    brow: FloatArray
    lips: float
    gloss: float = 0.12

    def albedo(self, points: FloatArray) -> FloatArray:
        """Return linear RGB (N, 3) at positions (N, 3) on the canonical body."""
        body = canonical_body()
        colour = self.tone * (1 + 0.09 * self.noise(points))[:, None]
        front = points[:, 1] < body.joints["head"][1] - 0.04
        x, up = points[:, 0], points[:, 2] - eye_centre()[2]
        lips = self.lips * front * np.exp(-((x / 0.024) ** 4) - ((up + 0.072) / 0.011) ** 2)
        arch = up - 0.022 + 12.0 * (np.abs(x) - 0.036) ** 2
        brows = front * np.exp(-(((np.abs(x) - 0.034) / 0.02) ** 4) - (arch / 0.0035) ** 2)
        cheeks = front * np.exp(-(((np.abs(x) - 0.04) / 0.022) ** 2) - ((up + 0.045) / 0.025) ** 2)
        colour = colour * (1 - lips[:, None] * np.array([0.15, 0.45, 0.4]))
        inside = (
            (np.abs(x) < 0.03) & (np.abs(up + 0.075) < 0.025) & (points[:, 1] > body.joints["head"][1] - 0.09) & front
        )
        colour = np.where(inside[:, None], _MOUTH, colour)
        colour = colour * (1 - cheeks[:, None] * np.array([0.0, 0.10, 0.08]))
        return np.asarray(np.clip(colour + (self.brow - colour) * 0.8 * brows[:, None], 0.004, 0.95))


@dataclass(frozen=True, eq=False)
class Eyes:
    """Eyeballs with iris (3,) and pupil."""

    iris: FloatArray
    gloss: float = 0.2

    def albedo(self, points: FloatArray) -> FloatArray:
        """Return linear RGB (N, 3) at positions (N, 3) on the canonical body."""
        centre = eye_centre()
        distance = np.hypot(np.abs(points[:, 0]) - centre[0], points[:, 2] - centre[2])[:, None]
        return np.where(distance < 0.0028, 0.01, np.where(distance < 0.0062, self.iris, _WHITE_OF_EYE))


@cache
def eye_centre() -> FloatArray:
    """Return the middle (3,) of the left eye on the canonical body."""
    body = canonical_body()
    eyes = body.vertices[np.unique(body_model().triangles["eyes"])]
    return np.asarray(eyes[eyes[:, 0] > 0].mean(0))


def draw_skin(rng: np.random.Generator, race: tuple[float, float, float]) -> tuple[Skin, Eyes]:
    """Draw skin from light to dark, and eyes that go with it.

    Args:
        rng: Stream of the person.
        race: Shares of :data:`hdnet.synthetic.body_files.MACRO_VALUES`, african, asian, caucasian.
    """
    tone = float(np.clip(np.array([0.85, 0.42, 0.2]) @ race + rng.normal(0, 0.13), 0, 1))
    colour = _LIGHT_SKIN ** (1 - tone) * _DARK_SKIN**tone * rng.uniform(0.92, 1.08, 3)
    brow = np.array([0.03, 0.022, 0.016]) * rng.uniform(0.6, 3.0 if tone < 0.4 else 1.2)
    skin = Skin(colour, draw_noise(rng, 4, 4), brow, float(rng.uniform(0.3, 1.2)), float(rng.uniform(0.1, 0.25)))
    shares = [0.35, 0.2, 0.15, 0.15, 0.15] if tone < 0.4 else [0.85, 0.15, 0, 0, 0]
    return skin, Eyes(_IRISES[int(rng.choice(len(_IRISES), p=shares))] * rng.uniform(0.8, 1.2))


def draw_colour(rng: np.random.Generator, saturated: float = 0.25) -> FloatArray:
    """Draw linear RGB (3,) of a cloth: mostly greys, blues and muted colours, dark ones as often as bright ones."""
    value = rng.choice([rng.uniform(0.012, 0.06), rng.uniform(0.06, 0.35), rng.uniform(0.35, 0.85)], p=[0.3, 0.4, 0.3])
    shares = [0.25, 0.75 - saturated, saturated]
    saturation = rng.choice([0.0, rng.uniform(0.05, 0.4), rng.uniform(0.4, 0.95)], p=shares)
    hue = rng.choice([rng.uniform(0, 1), rng.normal(0.6, 0.05)], p=[0.65, 0.35])
    return np.asarray(value * (1 - saturation + saturation * hue_rgb(hue)))


def hue_rgb(hue: float) -> FloatArray:
    """Return the saturated RGB (3,) of a hue; 0 and 1 are red."""
    return np.asarray(np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1))
