"""Which hairstyle a person has."""

from __future__ import annotations

import numpy as np

from hdnet.synthetic.adorn.hair import Style
from hdnet.synthetic.body import Phenotype

_MEN = {"buzz": 0.2, "crop": 0.42, "medium": 0.2, "curls": 0.09, "afro": 0.03, "long": 0.04, "tied": 0.02}
_WOMEN = {"crop": 0.07, "medium": 0.05, "curls": 0.08, "afro": 0.04, "bob": 0.2, "long": 0.32, "tied": 0.24}


def draw_style(rng: np.random.Generator, phenotype: Phenotype) -> Style | None:
    """A hairstyle by sex, age and descent; None is a bald head."""
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
        return Style(0.004, rng.uniform(0.004, 0.012), 0.2, bald_top=True)
    return _of_kind(rng, kind, float(recede))


def _of_kind(rng: np.random.Generator, kind: str, recede: float) -> Style:
    rough = float(rng.uniform(0.1, 0.4))
    if kind == "buzz":
        return Style(rng.uniform(0.003, 0.006), rng.uniform(0.002, 0.004), 0.1, taper=0.5, recede=recede)
    if kind == "crop":
        tousled = float(rng.choice([0.0, rng.uniform(0.002, 0.006)]))
        top, side, taper = rng.uniform(0.012, 0.030), rng.uniform(0.003, 0.010), rng.uniform(0.4, 0.7)
        return Style(top, side, rough, taper, tousled, fringe=float(rng.choice([0.0, 0.0, 7.0])), recede=recede)
    if kind == "medium":
        fringe = rng.choice([0.0, 8.0, 16.0])
        top, side, tousled = rng.uniform(0.022, 0.04), rng.uniform(0.010, 0.022), rng.choice([0.0, 0.005])
        return Style(top, side, rough, 0.4, float(tousled), fringe=fringe, recede=recede)
    if kind == "curls":
        height = rng.uniform(0.02, 0.04)
        curl = rng.uniform(0.008, 0.014)
        return Style(height, height * rng.uniform(0.4, 1.0), 0.2, 0.35, curl, fringe=6.0, recede=recede)
    if kind == "afro":
        height = rng.uniform(0.03, 0.075)
        return Style(height, height * rng.uniform(0.75, 1.0), 0.08, 0.3, rng.uniform(0.005, 0.009), recede=recede)
    fringe = float(rng.choice([0.0, 0.0, 18.0]))
    if kind == "tied":
        tie = str(rng.choice(["tail", "bun"], p=[0.62, 0.38]))
        return Style(rng.uniform(0.006, 0.012), rng.uniform(0.004, 0.008), 0.12, fringe=fringe * 0.7, tie=tie)
    hang = rng.uniform(0.05, 0.12) if kind == "bob" else rng.uniform(0.16, 0.40)
    open_deg = float(rng.uniform(48, 72) if rng.random() < 0.7 else rng.uniform(98, 112))
    top, side = rng.uniform(0.010, 0.022), rng.uniform(0.008, 0.018)
    return Style(top, side, rough * 0.8, fringe=fringe, hang_m=hang, open_deg=open_deg, ears=False)
