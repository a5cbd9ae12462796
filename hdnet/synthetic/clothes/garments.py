"""Garments: pattern, width and cloth behaviour of each piece of an outfit."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.clothes.cloth import Cloth
from hdnet.synthetic.clothes.patterns import ARM, LEG, Cut, limb_position, pattern
from hdnet.synthetic.clothes.simulation import Fabric
from hdnet.synthetic.clothes.trims import Trim
from hdnet.synthetic.materials import draw_noise
from hdnet.synthetic.surface import BoolArray, FloatArray

_LONG_SLEEVE, _LONG_LEG = 1.8, 1.9
_PILED = 0.07
_TUBE_REACH_M = 0.035


@dataclass(frozen=True, eq=False)
class Garment:
    """Garment of an outfit; N are the vertices of its coarse pattern, M of its fine one.

    Attributes:
        name: "shirt", "trousers", ...
        cut: Parameters of its pattern.
        ease_m: (N,) distance from the body's helper surface.
        slack: (N,) factor on the rest lengths, above 1 where cloth can fold.
        pinned: (N,) vertices held by the body: collar, waistband.
        stand_off_m: Distance of the pinned parts from the body's helper surface.
        carry: Share of the body's motion applied to the free vertices.
        reach_m: (N,) greatest distance from where the body alone would put it.
        fabric: Mechanical properties.
        relief_m: (M,) thickness of hems and pockets.
        material: Cloth material.
        trims: Collar or hood.
    """

    name: str
    cut: Cut
    ease_m: FloatArray
    slack: FloatArray
    pinned: BoolArray
    stand_off_m: float
    carry: float
    reach_m: FloatArray
    fabric: Fabric
    relief_m: FloatArray
    material: Cloth
    trims: tuple[Trim, ...] = field(default=())


@dataclass(frozen=True)
class Fit:
    """Ease of a top in metres, and its cuffs.

    Attributes:
        loose_m: Ease of the body.
        flare_m: More of it at the hem.
        sleeve_m: Ease of the sleeves.
        slack: Size of the cloth against its cut.
        cuffs: Factor on the size at sleeve ends and hem, below 1 for ribbed ones.
        cuffed: Whether long sleeves are held at the wrist.
        layer_m: Distance from the body's helper surface at the collar: more over other clothes.
    """

    loose_m: float
    flare_m: float
    sleeve_m: float
    slack: float
    cuffs: float = 1.0
    cuffed: bool = True
    layer_m: float = 0.004


def top(
    rng: np.random.Generator,
    name: str,
    cut: Cut,
    fit: Fit,
    fabric: Fabric,
    material: Cloth,
    trims: tuple[Trim, ...] = (),
) -> Garment:
    """Make a garment for torso and arms."""
    piece, body = pattern(cut), canonical_body()
    points = piece.coarse_canonical
    hip, neck = body.joints["upperleg01.L"][2], body.joints["neck01"]
    low = np.clip((hip + 0.35 - points[:, 2]) / 0.35, 0, 1)
    along = np.clip(limb_position(body, points, ARM), 0, 2) / 2
    arm = np.clip(piece.surface.smooth(piece.arm, 6), 0, 1)
    from_neck = np.linalg.norm((points - neck - [0, -0.02, 0.0]) * [1, 0.9, 1], axis=1)
    shoulder = np.clip((from_neck - 0.08) / 0.14, 0, 1)
    # Long sleeves end in cuffs that fit the wrist.
    at_wrist = np.clip((along - 0.72) / 0.22, 0, 1) if cut.length > _LONG_SLEEVE else 0.0
    sleeve_m = fit.sleeve_m * (0.75 + 0.5 * along)
    sleeve_m = sleeve_m + (np.minimum(sleeve_m, 0.005) - sleeve_m) * at_wrist
    wide = (1 - arm) * (fit.loose_m + fit.flare_m * low) + arm * sleeve_m
    ease = fit.layer_m + shoulder * wide
    room = np.clip(piece.edge_m / 0.03, 0, 1) * shoulder * (1 - 0.35 * arm)
    slack = 1 + (_uneven(rng, points, fit.slack) - 1) * room
    if fit.cuffs < 1:
        drawn = (piece.edge_m < 0.045) & (from_neck > 0.2)
        slack = np.where(drawn, fit.cuffs, slack)
    # The collar holds a top; behind more of it than in front, where it hangs free.
    pinned = (from_neck < 0.115) | ((from_neck < 0.135) & (points[:, 1] > neck[1]))
    if cut.length > _LONG_SLEEVE and fit.cuffed:
        pinned |= (piece.edge_m < 0.022) & (arm > 0.5)
    # A sleeve slides down a raised arm no further than this: the skin below it is not rendered.
    reach = _TUBE_REACH_M + 0.5 * fit.sleeve_m + (0.10 - _TUBE_REACH_M) * (1 - arm)
    stand_off_m, relief = fit.layer_m + 0.004, _hems(cut, 0.02)
    return Garment(name, cut, ease, slack, pinned, stand_off_m, 1.0, reach, fabric, relief, material, trims)


def trousers(
    rng: np.random.Generator,
    cut: Cut,
    loose_m: float,
    wide_m: float,
    slack: float,
    fabric: Fabric,
    material: Cloth,
    cuffed: bool,
) -> Garment:
    """Make trousers or shorts; ``wide_m`` is the ease at the ankle, where ``cuffed`` ones are held."""
    piece, body = pattern(cut), canonical_body()
    points = piece.coarse_canonical
    along = np.clip(limb_position(body, points, LEG), 0, 2)
    # Where a long leg meets the foot, cloth piles up.
    piled = _PILED * np.clip((along - 1.5) / 0.4, 0, 1) * (cut.length > _LONG_LEG)
    below_waist = np.clip((points[:, 2].max() - 0.03 - points[:, 2]) / 0.12, 0, 1)
    # The inner sides of the thighs leave little room.
    inner = np.exp(-((points[:, 0] / 0.05) ** 2)) * (along < 0.7)
    ease = 0.002 + below_waist * (loose_m + (wide_m - loose_m) * along / 2) * (1 - 0.6 * inner)
    free_length = 1 + (_uneven(rng, points, slack) - 1 + piled) * np.clip(piece.edge_m / 0.03, 0, 1) * below_waist
    pinned = points[:, 2] > points[:, 2].max() - 0.035
    if cuffed:
        pinned |= (piece.edge_m < 0.018) & (along > 1)
    reach = np.full(len(points), _TUBE_REACH_M) + 0.7 * ease
    return Garment("trousers", cut, ease, free_length, pinned, 0.004, 1.0, reach, fabric, _hems(cut, 0.02), material)


def skirt(rng: np.random.Generator, cut: Cut, flare_m: float, slack: float, fabric: Fabric, material: Cloth) -> Garment:
    """Make a skirt, or the skirt of a dress."""
    piece = pattern(cut)
    points = piece.coarse_canonical
    down = np.clip((points[:, 2].max() - points[:, 2]) / 0.5, 0, 1.5)
    pinned = points[:, 2] > points[:, 2].max() - 0.03
    return Garment(
        "skirt",
        cut,
        0.004 + flare_m * down,
        np.where(pinned, 1.0, _uneven(rng, points, slack)),
        pinned,
        0.006,
        0.85,
        0.05 + 0.6 * down,
        fabric,
        _hems(cut, 0.02),
        material,
    )


def _uneven(rng: np.random.Generator, points: FloatArray, slack: float) -> FloatArray:
    """Draw slack (N,) that varies over the garment, as worn cloth keeps its creases."""
    noise = draw_noise(rng, rng.uniform(5, 12), 2)
    return np.asarray(1 + (slack - 1) * np.clip(1 + 1.1 * noise(points), -0.2, 2.2))


def _hems(cut: Cut, height_m: float) -> FloatArray:
    """Return the extra thickness of hems, where cloth is double."""
    return np.asarray(0.0015 * np.clip((height_m - pattern(cut).fine_edge_m) / 0.004, 0, 1), np.float32)
