"""Hair geometry: a cap of locks on the skull, curtains that hang from it, tails and buns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hdnet.synthetic.accessories.hair_styles import HairStyle, Strands
from hdnet.synthetic.accessories.hanging import Hanging
from hdnet.synthetic.accessories.meshes import ball, grid_surface, joined, smoothstep, surface_of, tube
from hdnet.synthetic.accessories.skull import AZIMUTH, COLUMNS, Skull
from hdnet.synthetic.components import Carrier, Component, Rigid, Skinned
from hdnet.synthetic.surface import BoolArray, FloatArray, Surface, normalized

_ROWS = 22
# Radius of the cylinder that textures of hair are laid on.
_TEXTURE_RADIUS_M = 0.09
# Share of the way from the crown to the hairline of each row; a narrow last strip dips into the skin.
_WAY = np.append(np.linspace(0, 1, _ROWS - 1) ** 0.9 * 0.985, 1.0)[:, None]
# Polar angle of the hairline in degrees at some azimuths: forehead, temple, sideburn, over and behind the ear, nape.
_LINE_AT = np.radians([0, 25, 42, 56, 68, 80, 92, 106, 122, 145, 180])
_LINE = np.array([57.0, 57, 61, 74, 99, 100, 95, 110, 123, 135, 138])


@dataclass(frozen=True, eq=False)
class HatRoom:
    """Space that a hat leaves for hair: its lower edge (columns,) as a polar angle, and the hair height below it."""

    edge: FloatArray
    height_m: float = 0.004

    def limit(self, polar: FloatArray, height_m: FloatArray) -> FloatArray:
        """Limit heights (R, columns) of hair to what fits."""
        free = smoothstep(polar - self.edge, np.radians(2), np.radians(22))
        return np.minimum(height_m, self.height_m + (height_m - self.height_m) * free)


def hair_components(
    rng: np.random.Generator, skull: Skull, style: HairStyle, material: Strands, room: HatRoom | None
) -> list[Component]:
    """Build all components of a hairstyle."""
    line = _hairline(rng, style)
    polar, height, texture = _cap(rng, skull, style, line)
    if room is not None:
        height = room.limit(polar, height)
    points, out = skull.at(polar, style.ears)
    vertices = points + out * height[..., None]
    surface = _cap_surface(style.bald_top, style.open_deg + 14 if style.hang_m > 0 and room is None else 180.0)
    # The nape moves with the neck.
    carrier = Skinned(vertices.reshape(-1, 3), skull.weights_at(polar))
    components = [Component("hair", surface, carrier, texture, material)]
    if style.hang_m > 0:
        components.append(_curtain(rng, skull, style, material, room))
    if style.tie == "tail":
        components.append(_tail(rng, skull, material, room))
    if style.tie == "bun":
        components.append(_bun(rng, skull, material, room))
    return components


def _hairline(rng: np.random.Generator, style: HairStyle) -> FloatArray:
    """Draw the polar angle (columns,) of the hairline."""
    side = np.minimum(AZIMUTH, 2 * np.pi - AZIMUTH)
    line = np.interp(side, _LINE_AT, _LINE)
    front = smoothstep(side, np.radians(62), np.radians(30))
    corner = np.exp(-(((np.degrees(side) - 30) / 14) ** 2))
    line = line + style.fringe * front - style.recede * (0.6 * front + 0.5 * corner)
    jitter = sum(rng.normal(0, 1.2) * np.sin(k * AZIMUTH + rng.uniform(0, 6.3)) for k in (2, 5, 9, 17))
    return np.asarray(np.radians(line + jitter))


def _cap(
    rng: np.random.Generator, skull: Skull, style: HairStyle, line: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw polar angles (rows, columns), heights (rows, columns) in metres and texture coordinates (N, 3)."""
    share = _WAY
    polar = share * line
    # Hair is thinner where it has been cut: at the sides, towards its edge.
    side = smoothstep(polar, np.radians(38), np.radians(88))
    height = style.top_m + (style.side_m - style.top_m) * side
    swirl = rng.uniform(-1.5, 1.5)
    bent = AZIMUTH + 0.25 * np.sin(2 * AZIMUTH + rng.uniform(0, 6.3)) + 0.15 * np.sin(3 * share + rng.uniform(0, 6.3))
    locks = sum(
        rng.uniform(0.3, 1)
        * weight
        * np.sin(k * bent + swirl * 3 * share + rng.uniform(0, 6.3) + np.sin(5 * share + k))
        for k, weight in zip(
            (*rng.integers(5, 11, 1), *rng.integers(12, 40, 4)), (0.5, 0.7, 0.7, 0.6, 0.5), strict=True
        )
    )
    height = height * (1 + style.rough * 0.45 * locks * smoothstep(share, 0.05, 0.45))
    direction = np.stack([np.sin(polar) * np.sin(AZIMUTH), -np.sin(polar) * np.cos(AZIMUTH), np.cos(polar)], -1)
    if style.curl_m:
        waves = normalized(rng.normal(size=(14, 3))) * rng.uniform(9, 24, (14, 1))
        bumps = np.abs(np.sin(direction @ waves.T + rng.uniform(0, 6.3, 14))).mean(-1)
        height = height + style.curl_m * (bumps - 0.55) * 4
    # A fringe ends bluntly, hair at temples and nape thins out.
    front = (style.fringe > 5) * smoothstep(np.minimum(AZIMUTH, 2 * np.pi - AZIMUTH), np.radians(75), np.radians(40))
    taper = np.clip((1 - share) / (style.taper - (style.taper - 0.1) * front), 0, 1)
    edge = taper * (2 - taper)
    height = np.maximum(0.0010 + 0.003 * front, height * (0.06 + 0.14 * front + (0.94 - 0.14 * front) * edge))
    height = height * skull.size
    height[-1] = -0.0015
    if style.bald_top:
        upper = smoothstep(share - _wreath_start(), 0.0, 0.12)
        height = np.where(_wreath(), np.maximum(height * upper, 0.001), -0.002)
    around = AZIMUTH + swirl * 0.3 * share
    texture = np.stack(
        [_TEXTURE_RADIUS_M * np.cos(around), _TEXTURE_RADIUS_M * np.sin(around), 0.12 * polar + 0 * around], axis=-1
    )
    return polar, height, texture.reshape(-1, 3)


def _wreath_start() -> FloatArray:
    """Return the share (columns,) of the way from crown to hairline at which a balding man's hair begins."""
    side = np.minimum(AZIMUTH, 2 * np.pi - AZIMUTH)
    return np.asarray(np.interp(side, np.radians([0, 44, 56, 80, 180]), [2.0, 2.0, 0.68, 0.54, 0.38]))


def _wreath() -> BoolArray:
    """Return where (rows, columns) a balding man has hair: not on top, not in front."""
    return np.asarray(_wreath_start() < _WAY)


@lru_cache(maxsize=64)
def _cap_surface(wreath: bool, covered_deg: float) -> Surface:
    """Return the cap without bald areas and without what hanging hair covers."""
    surface = grid_surface(_ROWS, COLUMNS, True)
    side = np.degrees(np.minimum(AZIMUTH, 2 * np.pi - AZIMUTH))
    shown = np.tile(side < covered_deg, (_ROWS, 1))
    shown[:3] = True
    if wreath:
        shown &= _wreath()
    return Surface(surface.faces[shown.ravel()[surface.faces].any(1)], surface.vertex_count)


def _curtain(
    rng: np.random.Generator, skull: Skull, style: HairStyle, material: Strands, room: HatRoom | None
) -> Component:
    side = np.degrees(np.minimum(AZIMUTH, 2 * np.pi - AZIMUTH))
    columns = np.flatnonzero(side >= style.open_deg)
    start = np.full(COLUMNS, 5.0)
    end = np.interp(side, [0, style.open_deg, 100, 180], [88, 88, 96, 104])
    if room is not None:
        start = np.maximum(start, np.degrees(room.edge) - 10)
    share = np.linspace(0, 1, 11)[:, None]
    polar = np.radians(start + (np.maximum(end, start + 6) - start) * share)
    waves = np.array([[9.0], [15], [24], [33]])
    lock = (rng.uniform(0.3, 1, (4, 1)) * np.sin(waves * AZIMUTH + rng.uniform(0, 6.3, (4, 1)))).sum(0)
    turn = smoothstep(polar, np.radians(30), np.radians(85))
    height = style.top_m + (style.side_m * 1.25 - style.top_m) * turn
    height = height * (1 + style.rough * 0.4 * lock * turn) + 0.0035
    height[0] *= 0.4
    if room is not None:
        # It goes over the ears where the hat ends.
        height = np.maximum(room.limit(polar, height), 0.008 * (polar > room.edge + np.radians(5)))
    points, out = skull.at(polar, ears=True)
    head = (points + out * height[..., None] * skull.size)[:, columns]
    for _ in range(2):
        head[1:-1] = 0.5 * head[1:-1] + 0.25 * (head[:-2] + head[2:])
        head[:, 1:-1] = 0.5 * head[:, 1:-1] + 0.25 * (head[:, :-2] + head[:, 2:])
    length = style.hang_m * (1 + 0.035 * rng.normal(size=len(columns)) + 0.04 * lock[columns])
    rows = int(np.clip(style.hang_m / 0.018, 5, 18))
    step = np.tile(length / rows, (rows, 1))
    # Hair before the ears falls over the chest, the rest over the back.
    behind = np.where(side[columns] > rng.choice([70.0, 90.0, 110.0]), 1.0, -1.0)
    behind = behind * (0.15 + 0.85 * smoothstep(side[columns], 150, 115))
    behind = np.convolve(np.pad(behind, 3, mode="edge"), np.full(7, 1 / 7), mode="valid")
    carrier = Hanging(head, step, stiffness=float(rng.uniform(0.35, 0.6)), behind=behind)
    along = np.concatenate([0.12 * polar[:, columns], 0.12 * polar[-1, columns] + np.cumsum(step, axis=0)])
    around = np.broadcast_to(AZIMUTH[columns], along.shape)
    texture = np.stack([_TEXTURE_RADIUS_M * np.cos(around), _TEXTURE_RADIUS_M * np.sin(around), along], axis=-1)
    surface = grid_surface(len(head) + rows, len(columns), False)
    return Component("hair", surface, carrier, texture.reshape(-1, 3), material)


def _tail(rng: np.random.Generator, skull: Skull, material: Strands, room: HatRoom | None) -> Component:
    polar = np.radians(rng.uniform(48, 98))
    if room is not None:
        polar = max(polar, float(room.edge[COLUMNS // 2]) + 0.08)
    points, out = skull.at(np.full((1, COLUMNS), polar))
    root, away = points[0, COLUMNS // 2], out[0, COLUMNS // 2]
    count, rows = 14, 16
    thick = rng.uniform(0.016, 0.024)
    side, up = np.array([1.0, 0, 0]), np.cross(away, [1.0, 0, 0])
    turn = 2 * np.pi * np.arange(count) / count
    wobble = 1 + 0.22 * rng.normal(size=count)
    ring = (side * np.cos(turn)[:, None] + up * np.sin(turn)[:, None]) * wobble[:, None]
    distance = np.array([-0.004, 0.010, 0.022, 0.036])
    width = np.array([1.0, 0.62, 0.8, 1.0]) * thick
    head = root + away * distance[:, None, None] + ring * width[:, None, None]
    length = rng.uniform(0.14, 0.42)
    gather = np.interp(np.linspace(0, 1, rows), [0, 0.3, 0.7, 1], [1.1, 1.35, 1.05, 0.15])
    carrier = Hanging(head, np.full((rows, count), length / rows), 0.55, True, gather)
    along = np.concatenate([distance, 0.036 + length * np.arange(1, rows + 1) / rows]) + 0.15
    around = np.broadcast_to(turn, (len(along), count))
    along = np.broadcast_to(along[:, None], around.shape)
    texture = np.stack([0.05 * np.cos(around), 0.05 * np.sin(around), along], axis=-1)
    return Component("hair", grid_surface(len(head) + rows, count, True), carrier, texture.reshape(-1, 3), material)


def _bun(rng: np.random.Generator, skull: Skull, material: Strands, room: HatRoom | None) -> Component:
    polar = np.radians(rng.choice([8, 38, 70, 100], p=[0.25, 0.25, 0.25, 0.25]))
    if room is not None:
        polar = max(polar, float(room.edge[COLUMNS // 2]) + 0.12)
    points, out = skull.at(np.full((1, COLUMNS), polar))
    size = rng.uniform(0.026, 0.042)
    away = out[0, COLUMNS // 2]
    centre = points[0, COLUMNS // 2] + away * size * 0.75
    vertices, faces = ball(np.zeros(3), size * np.array([1.1, 1.0, 1.0]), 13, 22)
    waves = normalized(rng.normal(size=(5, 3))) * 120
    vertices = vertices * (1 + 0.05 * np.sin(vertices @ waves.T + rng.uniform(0, 6, 5)).sum(1, keepdims=True) * 0.6)
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)[:, None]
    side, up = np.array([1.0, 0, 0]), np.cross(away, [1.0, 0, 0])
    band = tube(-away * size * 0.6 + 0.75 * size * (side * np.cos(turn) + up * np.sin(turn)), 0.006, 6, closed=True)
    vertices, faces = joined([(vertices, faces), band])
    texture = np.stack([*(vertices[:, :2] * 1.5).T, 0.1 + vertices[:, 2]], axis=1)
    carrier: Carrier = Rigid(vertices + centre, "head")
    return Component("hair", surface_of(faces, len(vertices)), carrier, texture, material)
