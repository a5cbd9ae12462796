"""Outfits: random combinations of garments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.synthetic.clothes import details
from hdnet.synthetic.clothes.cloth import draw_cloth
from hdnet.synthetic.clothes.garments import Fit, Garment, skirt, top, trousers
from hdnet.synthetic.clothes.patterns import Cut, Neck
from hdnet.synthetic.clothes.simulation import Fabric
from hdnet.synthetic.clothes.trims import BAND_COLLAR, HOOD, RIB_COLLAR, SHIRT_COLLAR, Trim

_TOPS = {"t_shirt": 0.30, "long_sleeve": 0.16, "sweatshirt": 0.13, "hoodie": 0.13, "shirt": 0.16, "jacket": 0.12}
_TOP_PRINTS = {
    "t_shirt": {
        "plain": 0.5,
        "bands": 0.18,
        "blots": 0.12,
        "halves": 0.07,
        "dots": 0.05,
        "checks": 0.04,
        "gradient": 0.04,
    },
    "long_sleeve": {"plain": 0.55, "bands": 0.25, "halves": 0.08, "blots": 0.08, "dots": 0.04},
    "sweatshirt": {"plain": 0.7, "halves": 0.13, "bands": 0.1, "blots": 0.07},
    "hoodie": {"plain": 0.8, "halves": 0.12, "blots": 0.08},
    "shirt": {"plain": 0.4, "checks": 0.35, "bands": 0.12, "denim": 0.08, "dots": 0.05},
    "jacket": {"plain": 0.65, "denim": 0.2, "blots": 0.08, "checks": 0.07},
    "dress": {"plain": 0.4, "blots": 0.3, "dots": 0.15, "bands": 0.1, "checks": 0.05},
}
_LEG_PRINTS = {"plain": 0.5, "denim": 0.38, "checks": 0.05, "bands": 0.03, "blots": 0.04}
_SKIRT_PRINTS = {"plain": 0.5, "denim": 0.12, "checks": 0.13, "blots": 0.15, "dots": 0.05, "bands": 0.05}
_JERSEY = (0.0008, 0.004)
_HEAVY = (0.003, 0.012)


@dataclass(frozen=True)
class _Style:
    """Ranges of a kind of top: ease, sleeve ease, slack, bending stiffness, sleeve lengths and hems."""

    loose_m: tuple[float, float]
    sleeve_m: tuple[float, float]
    slack: tuple[float, float]
    bend: tuple[float, float]
    sleeves: tuple[float, ...]
    hems_m: tuple[float, ...]
    thickness_m: float = 0.006
    cuffs: float = 1.0


_STYLES = {
    "t_shirt": _Style(
        (0.006, 0.045), (0.006, 0.025), (1.02, 1.08), _JERSEY, (0.45, 0.6, 0.6, 0.8), (-0.05, -0.04, 0.0)
    ),
    "long_sleeve": _Style((0.002, 0.022), (0.002, 0.012), (1.03, 1.12), _JERSEY, (1.5, 1.92, 1.92), (-0.05, 0.0, 0.04)),
    "sweatshirt": _Style((0.02, 0.05), (0.012, 0.028), (1.06, 1.14), _HEAVY, (1.92, 1.96), (-0.03, 0.02), 0.008, 0.86),
    "hoodie": _Style((0.025, 0.055), (0.014, 0.03), (1.06, 1.14), _HEAVY, (1.92, 1.96), (-0.04, 0.0), 0.009, 0.86),
    "shirt": _Style(
        (0.012, 0.035), (0.008, 0.02), (1.04, 1.12), (0.002, 0.01), (0.65, 1.4, 1.94, 1.94), (-0.05, -0.04)
    ),
    "jacket": _Style(
        (0.03, 0.06), (0.018, 0.035), (1.04, 1.11), (0.006, 0.03), (1.92, 1.96), (-0.05, -0.02, 0.04), 0.010
    ),
}


def draw_outfit(rng: np.random.Generator, gender: float) -> tuple[Garment, ...]:
    """Draw clothes from the skin outwards: below, above, and worn over it.

    Args:
        rng: Random stream of the clothes.
        gender: 0 male .. 1 female; skirts and dresses follow it.
    """
    if rng.random() < 0.14 * gender:
        return _dress(rng)
    below = _skirt(rng) if rng.random() < 0.2 * gender else _trousers(rng)
    kind = str(rng.choice(list(_TOPS), p=np.array(list(_TOPS.values())) / sum(_TOPS.values())))
    if kind != "jacket":
        return below, _top(rng, kind)
    if rng.random() < 0.4:
        return below, _top(rng, "jacket")
    inner = _top(rng, str(rng.choice(["t_shirt", "long_sleeve"])), closest=True)
    return below, inner, _top(rng, "jacket", opening_m=float(rng.choice([0.03, 0.05, 0.07])), layer_m=0.016)


def _top(
    rng: np.random.Generator, kind: str, opening_m: float = 0.0, layer_m: float = 0.004, closest: bool = False
) -> Garment:
    style = _STYLES[kind]
    sleeve, hem_m = float(rng.choice(style.sleeves)), float(rng.choice(style.hems_m))
    neck: Neck = "crew"
    trims: tuple[Trim, ...] = ()
    if kind == "t_shirt":
        neck = str(rng.choice(["crew", "v", "wide"], p=[0.65, 0.2, 0.15]))  # type: ignore[assignment]
    elif kind == "long_sleeve":
        neck = str(rng.choice(["crew", "high", "wide"], p=[0.6, 0.25, 0.15]))  # type: ignore[assignment]
    if kind in ("t_shirt", "long_sleeve", "sweatshirt") and neck == "crew" and not closest:
        trims = (RIB_COLLAR,)
    elif kind in ("hoodie", "shirt"):
        trims = (HOOD if kind == "hoodie" else SHIRT_COLLAR,)
    elif kind == "jacket":
        trims = (SHIRT_COLLAR if rng.random() < 0.5 else HOOD if rng.random() < 0.4 else BAND_COLLAR,)
    cut = Cut("top", sleeve, hem_m, neck, opening_m)
    loose_m = style.loose_m[0] if closest else rng.uniform(*style.loose_m)
    sleeve_m = style.sleeve_m[0] if closest else rng.uniform(*style.sleeve_m)
    cuffs = style.cuffs if style.cuffs == 1 else float(rng.choice([style.cuffs, 1.0], p=[0.75, 0.25]))
    fit = Fit(loose_m, rng.uniform(0, 0.015), sleeve_m, rng.uniform(*style.slack), cuffs, rng.random() < 0.8, layer_m)
    fabric = Fabric(bend=rng.uniform(*style.bend), thickness_m=style.thickness_m)
    cloth = draw_cloth(rng, _TOP_PRINTS[kind], details.top_marks(rng, kind, cut))
    return details.with_pockets(rng, kind, top(rng, kind, cut, fit, fabric, cloth, trims))


def _trousers(rng: np.random.Generator) -> Garment:
    style = str(rng.choice(["tight", "narrow", "straight", "wide", "shorts"], p=[0.12, 0.22, 0.3, 0.16, 0.2]))
    waist_m = float(rng.choice([0.075, 0.1, 0.13]))
    loose, wide, bend = {
        "tight": ((0.003, 0.005), (0.003, 0.005), (0.002, 0.005)),
        "narrow": ((0.004, 0.012), (0.004, 0.014), (0.002, 0.01)),
        "straight": ((0.008, 0.02), (0.018, 0.035), (0.002, 0.012)),
        "wide": ((0.015, 0.03), (0.045, 0.08), (0.001, 0.006)),
        "shorts": ((0.008, 0.03), (0.03, 0.09), (0.004, 0.02)),
    }[style]
    length = (
        float(rng.choice([0.38, 0.55, 0.7, 0.85], p=[0.1, 0.35, 0.3, 0.25]))
        if style == "shorts"
        else float(rng.choice([1.8, 1.93, 2.0]))
    )
    slack = 1.0 if style == "tight" else rng.uniform(1.04, 1.13)
    cut = Cut("trousers", length, waist_m)
    cloth = draw_cloth(rng, _LEG_PRINTS, details.leg_marks(rng, style, cut))
    fabric = Fabric(bend=rng.uniform(*bend), thickness_m=0.005 if style == "tight" else 0.006)
    cuffed = style in ("tight", "narrow") or (style == "straight" and rng.random() < 0.3)
    garment = trousers(rng, cut, rng.uniform(*loose), rng.uniform(*wide), slack, fabric, cloth, cuffed)
    return details.with_pockets(rng, style, garment)


def _skirt(rng: np.random.Generator) -> Garment:
    cut = Cut("skirt", float(rng.choice([0.22, 0.32, 0.45, 0.65])), float(rng.choice([0.08, 0.12])))
    cloth = draw_cloth(rng, _SKIRT_PRINTS, details.skirt_marks(cut))
    flare_m, slack = rng.choice([rng.uniform(0, 0.02), rng.uniform(0.05, 0.2)]), rng.uniform(1.0, 1.06)
    return skirt(rng, cut, float(flare_m), slack, Fabric(bend=rng.uniform(0.002, 0.02)), cloth)


def _dress(rng: np.random.Generator) -> tuple[Garment, ...]:
    neck: Neck = str(rng.choice(["wide", "v", "crew"]))  # type: ignore[assignment]
    bodice = Cut("top", float(rng.choice([0.3, 0.6, 1.9])), 0.10, neck)
    lower = Cut("skirt", float(rng.choice([0.25, 0.4, 0.6, 0.8])), 0.14)
    cloth = draw_cloth(rng, _TOP_PRINTS["dress"])
    fabric = Fabric(bend=rng.uniform(0.002, 0.012))
    fit = Fit(rng.uniform(0.002, 0.01), 0.0, rng.uniform(0.004, 0.02), rng.uniform(1.0, 1.03))
    flare_m = float(rng.choice([rng.uniform(0.0, 0.03), rng.uniform(0.08, 0.28)]))
    # The skirt goes over the bodice: one seam at the waist, no gap.
    upper = top(rng, "dress", bodice, fit, fabric, cloth)
    return upper, skirt(rng, lower, flare_m, rng.uniform(1.0, 1.08), fabric, cloth)
