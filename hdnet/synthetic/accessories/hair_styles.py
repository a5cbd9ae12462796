"""Hairstyles, hair colours and the hair material."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.synthetic.body import Phenotype
from hdnet.synthetic.materials import Noise, draw_noise
from hdnet.synthetic.surface import FloatArray


@dataclass(frozen=True)
class HairStyle:
    """Shape of a hairstyle.

    Attributes:
        top_m, side_m: Thickness on the crown and at the sides and back.
        rough: Height of locks over the thickness.
        taper: Share of the way from the crown over which hair thins out to its edge.
        curl_m: Height of curls.
        fringe: Degrees by which the front hairline comes down.
        recede: Degrees by which it has gone up.
        bald_top: Whether hair is left at the sides and back only.
        hang_m: Length of hanging hair at the back, 0 for none.
        open_deg: Azimuth where hanging hair begins; in front of it the face is free.
        tie: "", "tail" or "bun".
        ears: Whether hair goes over the ears.
    """

    top_m: float = 0.015
    side_m: float = 0.008
    rough: float = 0.25
    taper: float = 0.35
    curl_m: float = 0.0
    fringe: float = 0.0
    recede: float = 0.0
    bald_top: bool = False
    hang_m: float = 0.0
    open_deg: float = 60.0
    tie: str = ""
    ears: bool = False


_MEN = {"buzz": 0.2, "crop": 0.42, "medium": 0.2, "curls": 0.09, "afro": 0.03, "long": 0.04, "tied": 0.02}
_WOMEN = {"crop": 0.07, "medium": 0.05, "curls": 0.08, "afro": 0.04, "bob": 0.2, "long": 0.32, "tied": 0.24}


def draw_style(rng: np.random.Generator, phenotype: Phenotype) -> HairStyle | None:
    """Draw a hairstyle by sex, age and descent; None is a bald head."""
    man = phenotype.gender < 0.5
    shares = dict(_MEN if man else _WOMEN)
    african = phenotype.race[0]
    shares["afro"] *= 5 * african
    shares["curls"] *= 0.4 + 2.5 * african
    if phenotype.age > 0.85:
        shares["long"] *= 0.3
        shares["crop"] *= 2.0
    kinds = list(shares)
    total = np.array(list(shares.values()))
    kind = str(kinds[int(rng.choice(len(kinds), p=total / total.sum()))])
    old = float(np.clip((phenotype.age - 0.76) / 0.16, 0, 1)) if man else 0.0
    thinning, recede = rng.random(), rng.uniform(4, 26) * old * (rng.random() < 0.6)
    if man and thinning < 0.06 + 0.1 * old:
        return None
    if man and thinning < 0.06 + 0.32 * old:
        return HairStyle(0.004, rng.uniform(0.004, 0.012), 0.2, bald_top=True)
    return _of_kind(rng, kind, float(recede))


def _of_kind(rng: np.random.Generator, kind: str, recede: float) -> HairStyle:
    rough = float(rng.uniform(0.1, 0.4))
    if kind == "buzz":
        return HairStyle(rng.uniform(0.003, 0.006), rng.uniform(0.002, 0.004), 0.1, taper=0.5, recede=recede)
    if kind == "crop":
        tousled = float(rng.choice([0.0, rng.uniform(0.002, 0.006)]))
        top, side, taper = rng.uniform(0.012, 0.030), rng.uniform(0.003, 0.010), rng.uniform(0.4, 0.7)
        return HairStyle(top, side, rough, taper, tousled, fringe=float(rng.choice([0.0, 0.0, 7.0])), recede=recede)
    if kind == "medium":
        fringe = rng.choice([0.0, 8.0, 16.0])
        top, side, tousled = rng.uniform(0.022, 0.04), rng.uniform(0.010, 0.022), rng.choice([0.0, 0.005])
        return HairStyle(top, side, rough, 0.4, float(tousled), fringe=fringe, recede=recede)
    if kind == "curls":
        height = rng.uniform(0.02, 0.04)
        curl = rng.uniform(0.008, 0.014)
        return HairStyle(height, height * rng.uniform(0.4, 1.0), 0.2, 0.35, curl, fringe=6.0, recede=recede)
    if kind == "afro":
        height = rng.uniform(0.03, 0.075)
        return HairStyle(height, height * rng.uniform(0.75, 1.0), 0.08, 0.3, rng.uniform(0.005, 0.009), recede=recede)
    fringe = float(rng.choice([0.0, 0.0, 18.0]))
    if kind == "tied":
        tie = str(rng.choice(["tail", "bun"], p=[0.62, 0.38]))
        return HairStyle(rng.uniform(0.006, 0.012), rng.uniform(0.004, 0.008), 0.12, fringe=fringe * 0.7, tie=tie)
    hang = rng.uniform(0.05, 0.12) if kind == "bob" else rng.uniform(0.16, 0.40)
    open_deg = float(rng.uniform(48, 72) if rng.random() < 0.7 else rng.uniform(98, 112))
    top, side = rng.uniform(0.010, 0.022), rng.uniform(0.008, 0.018)
    return HairStyle(top, side, rough * 0.8, fringe=fringe, hang_m=hang, open_deg=open_deg, ears=False)


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
    """Hair material; its texture coordinates are (radius cos, radius sin, way along the strand), in metres.

    Attributes:
        colour: (3,) at the roots.
        tips: (3,) at the far ends.
        length_m: Way along the strand at which the tips' colour is reached.
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
        """Return linear RGB (N, 3) at texture coordinates (N, 3)."""
        share = np.clip(points[:, 2:] / self.length_m, 0, 1)
        colour = self.colour + (self.tips - self.colour) * share
        return np.asarray(np.clip(colour * (1 + self.contrast * self.grain(points))[:, None], 0.004, 0.9))


def draw_hair_colour(rng: np.random.Generator, phenotype: Phenotype) -> FloatArray:
    """Draw a linear RGB colour (3,) by descent and age, sometimes dyed."""
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
    """Draw the material for a hair colour: fine streaks if straight, speckles if curly."""
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
