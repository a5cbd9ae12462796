"""Clothes on a posed body: ease, drape and folds as displacements of the cut patterns.

No cloth is simulated. A garment starts as the skinned pattern, is let out along its normals, smoothed so
that it spans hollows as cloth does, and gets folds: wave packets that live at fixed places of the pattern,
dense where joints bend, and grow with the bend. They are geometry, so that shading, depth and normals
agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.data.synthetic.garments import ARM, LEG, Cut, Pattern, canonical, limb_position, pattern
from hdnet.data.synthetic.surface import FloatArray, normalized


@dataclass(frozen=True, eq=False)
class Folds:
    """Wave packets on a fine garment.

    Attributes:
        pattern_m: (M, K) sum of packets for each driving joint; scaled by how far that joint bends.
    """

    pattern_m: FloatArray


@dataclass(frozen=True, eq=False)
class Garment:
    """A garment of a person's outfit.

    Attributes:
        cut: Which piece.
        ease_m: (N,) how far the coarse garment is let out.
        floor_m: (N,) folds never go nearer to the helper surface than this.
        smoothing: Steps of smoothing that let it span hollows.
        folds: Its wave packets.
        label: Albedo slot.
    """

    cut: Cut
    ease_m: FloatArray
    floor_m: FloatArray
    smoothing: int
    folds: Folds
    label: int


FOLD_DRIVERS = ("none", "elbow.L", "elbow.R", "knee.L", "knee.R", "hip.L", "hip.R")


def fit(garment: Garment, body: FloatArray, bends: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Dress a posed body.

    Args:
        garment: What to put on.
        body: (V, 3) posed body vertices, helpers included.
        bends: (len(FOLD_DRIVERS),) factor for each driver of folds.

    Returns:
        Fine vertices and normals, both (M, 3) float32.
    """
    cut = pattern(garment.cut)
    base = np.asarray(cut.coarse @ body)
    outward = cut.surface.smooth(cut.surface.normals(base), 3)
    hanging = base + outward * garment.ease_m[:, None]
    hanging = cut.surface.smooth(hanging, garment.smoothing)
    # Smoothing shrinks; cloth does not sink into the body.
    depth = np.einsum("ij,ij->i", hanging - base, outward)
    hanging = hanging + outward * np.maximum(garment.floor_m - depth, 0)[:, None]
    fine = np.asarray(cut.refine @ hanging)
    normals = cut.fine.normals(fine)
    clearance = np.asarray(cut.refine @ np.maximum(depth, garment.floor_m) - cut.refine @ garment.floor_m)
    folds = garment.folds.pattern_m @ bends
    # Folds stand out freely and go inwards only as far as there is ease.
    folds = np.where(folds < 0, -clearance * np.tanh(-folds / np.maximum(clearance, 1e-4)), folds)
    fine = fine + normals * folds[:, None]
    return fine.astype(np.float32), cut.fine.normals(fine)


def make_folds(rng: np.random.Generator, cut: Cut, amount: float) -> Folds:
    """Draw wave packets for a garment.

    Args:
        rng: Random stream of the clothes.
        cut: The garment.
        amount: Overall height, 1 = ordinary cotton.
    """
    piece = pattern(cut)
    points, normals = piece.canonical, piece.canonical_normals
    total = np.zeros((len(points), len(FOLD_DRIVERS)), dtype=np.float32)
    for spot, driver, crease, wavelength, height in _fold_places(rng, cut, piece):
        normal = normals[spot]
        crease = normalized(crease - normal * (crease @ normal))
        across = np.array(
            [
                normal[1] * crease[2] - normal[2] * crease[1],
                normal[2] * crease[0] - normal[0] * crease[2],
                normal[0] * crease[1] - normal[1] * crease[0],
            ]
        )
        width, length = 0.75 * wavelength, rng.uniform(1.2, 2.6) * wavelength
        near = np.array(piece.tree.query_ball_point(points[spot], 2 * max(width, length)))
        near = near[normals[near] @ normal > 0.1]
        u, v, w = ((points[near] - points[spot]) @ np.stack([across, crease, normal], axis=1)).T
        # Creases are rarely straight.
        u = u + rng.normal(0, 1.2) * v * v / max(length, 1e-3) * 0.4
        # Close to a Gaussian of these widths, and zero at twice their size.
        far = (u / (2 * width)) ** 2 + (v / (2 * length)) ** 2 + (w / 0.12) ** 2
        inside = far < 1
        near, u, far = near[inside], u[inside], far[inside]
        envelope = (1 - far) ** 2
        wave = np.cos(2 * np.pi * u / wavelength + rng.normal(0, 0.5))
        # Ridges are narrower than the valleys between them.
        ridge = np.where(wave > 0, wave, 0.55 * wave)
        total[near, driver] += (amount * height * envelope * ridge).astype(np.float32)
    return Folds(total)


_Place = tuple[int, int, FloatArray, float, float]


def _fold_places(rng: np.random.Generator, cut: Cut, piece: Pattern) -> list[_Place]:
    body, _ = canonical()
    points = piece.canonical
    places: list[_Place] = []
    down = np.array([0.0, 0.0, -1.0])

    # Some clothes have many small folds, some few large ones.
    scale = rng.uniform(0.8, 1.5)

    def add(weight: FloatArray, count: int, direction: FloatArray, spread: float, driver: int, size: float) -> None:
        if weight.sum() <= 0:
            return
        count = max(1, round(count * rng.uniform(0.5, 1.1) / scale))
        for spot in rng.choice(len(points), count, p=weight / weight.sum()):
            crease = normalized(direction + rng.normal(0, spread, 3))
            wavelength = scale * size * rng.uniform(0.035, 0.075)
            places.append((int(spot), driver, crease, wavelength, wavelength * rng.uniform(0.05, 0.14)))

    if cut.kind.startswith("shoe"):
        return []
    if cut.kind == "top":
        arm = np.asarray(piece.refine @ piece.arm)
        along = limb_position(body, points, ARM)
        for index, side in ((1, ".L"), (2, ".R")):
            here = (arm > 0.4) & ((points[:, 0] > 0) == (side == ".L"))
            origin, axis, _ = body.axis("upperarm01" + side, "lowerarm01" + side)
            around = np.cross(axis, [0.0, -1.0, 0.0])
            add(here * np.exp(-(((along - 1.0) / 0.25) ** 2)), 7, around, 0.6, index, 0.9)
            add(here * 1.0, 6, around, 0.9, 0, 0.8)
            pit = np.linalg.norm(points - origin - [0, 0, -0.09], axis=1)
            add(np.exp(-((pit / 0.09) ** 2)), 5, axis * [1, 1, 1.4], 0.45, 0, 1.0)
        torso = (arm < 0.3) * 1.0
        low = np.exp(-(((points[:, 2] - points[:, 2].min()) / 0.16) ** 2))
        add(torso, 14, down, 0.8, 0, 1.2)
        add(torso * low, 12, down, 0.4, 0, 1.3)
        add(torso * low, 5, np.array([1.0, 0.0, 0.2]), 0.4, 0, 0.9)
    elif cut.kind == "trousers":
        along = limb_position(body, points, LEG)
        for knee, hip, side in ((3, 5, ".L"), (4, 6, ".R")):
            here = ((points[:, 0] > 0) == (side == ".L")) * 1.0
            sideways = np.array([1.0, 0.3, 0.25])
            add(here * np.exp(-(((along - 1) / 0.16) ** 2)), 6, sideways, 0.45, knee, 0.9)
            add(here * np.exp(-(((along - 1.1) / 0.5) ** 2)), 6, sideways, 0.9, 0, 0.9)
            add(here * (along > 0.2), 7, down, 0.5, 0, 1.0)
            add(here * np.exp(-(((along - 1.95) / 0.12) ** 2)), 6, sideways, 0.35, 0, 0.8)
            add(here * np.exp(-(((along - 0.12) / 0.15) ** 2)), 5, np.array([1.0, 0, -0.6]), 0.4, hip, 0.9)
    else:
        add(np.ones(len(points)) * (points[:, 2] < points[:, 2].max() - 0.06), 26, down, 0.2, 0, 1.4)
    return places
