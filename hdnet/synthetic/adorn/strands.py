"""Hair as a material, and its colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.synthetic.body import Phenotype
from hdnet.synthetic.materials import Noise, draw_noise
from hdnet.synthetic.surface import FloatArray

# Black, dark brown, brown, blond, light blond, red.
_NATURAL = np.array(
    [
        [0.014, 0.012, 0.011],
        [0.040, 0.025, 0.016],
        [0.100, 0.056, 0.030],
        [0.270, 0.165, 0.080],
        [0.470, 0.330, 0.170],
        [0.200, 0.062, 0.020],
    ]
)
_GREY = np.array([0.42, 0.42, 0.42])


@dataclass(frozen=True, eq=False)
class Strands:
    """Hair. Its texture coordinates are (radius cos, radius sin, way along the strand), in metres.

    Attributes:
        colour: (3,) at the roots.
        tips: (3,) at the far ends.
        length_m: Where the tips' colour is reached.
        grain: Noise that is long along the strands.
        contrast: Strength of the grain.
        gloss: Strength of the highlight.
    """

    colour: FloatArray
    tips: FloatArray
    length_m: float
    grain: Noise
    contrast: float
    gloss: float = 0.25

    def albedo(self, points: FloatArray) -> FloatArray:
        """Linear RGB (N, 3) at texture coordinates (N, 3)."""
        share = np.clip(points[:, 2:] / self.length_m, 0, 1)
        colour = self.colour + (self.tips - self.colour) * share
        return np.asarray(np.clip(colour * (1 + self.contrast * self.grain(points))[:, None], 0.004, 0.9))


def draw_hair_colour(rng: np.random.Generator, phenotype: Phenotype) -> FloatArray:
    """Linear RGB (3,): by descent, greying with age, now and then dyed."""
    african, asian, caucasian = phenotype.race
    shares = (
        african * np.array([0.80, 0.18, 0.02, 0.0, 0.0, 0.0])
        + asian * np.array([0.74, 0.22, 0.04, 0.0, 0.0, 0.0])
        + caucasian * np.array([0.12, 0.32, 0.28, 0.16, 0.07, 0.05])
    )
    colour = _NATURAL[rng.choice(len(_NATURAL), p=shares / shares.sum())] * rng.uniform(0.75, 1.3)
    grey_from = rng.uniform(0.76, 0.98)
    grey = float(np.clip((phenotype.age - grey_from) / 0.08, 0, 1)) * rng.uniform(0.4, 1.0)
    dyed = rng.random() < (0.05 if phenotype.age < 0.85 else 0.02)
    if dyed:
        colour = rng.uniform(0.02, 0.4, 3) * rng.uniform(0.3, 1.0)
    return np.asarray(colour + (_GREY * rng.uniform(0.7, 1.3) - colour) * (0.0 if dyed else grey))


def draw_strands(
    rng: np.random.Generator, colour: FloatArray, length_m: float, curly: bool = False, gloss: float | None = None
) -> Strands:
    """Hair of a colour: straight hair has fine streaks, curly hair speckles."""
    noise = draw_noise(rng, 55, 3)
    stretch = np.array([1.0, 1.0, 1.5 if curly else 14.0], np.float32)
    lighter = 1.0 if rng.random() < 0.75 else rng.uniform(1.3, 2.6)
    return Strands(
        colour=colour,
        tips=np.clip(colour * lighter, 0, 0.7),
        length_m=max(length_m, 0.05),
        grain=Noise(noise.waves / stretch, noise.phases, noise.heights),
        contrast=float(rng.uniform(0.25, 0.5)),
        gloss=float(rng.uniform(0.1, 0.4)) if gloss is None else gloss,
    )
