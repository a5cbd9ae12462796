"""Headwear: caps, beanies and hats, as domes over the skull with a visor or brim."""

from __future__ import annotations

import numpy as np

from hdnet.synthetic.accessories.hair import HatRoom
from hdnet.synthetic.accessories.meshes import ball, grid_surface, smoothstep, surface_of
from hdnet.synthetic.accessories.skull import AZIMUTH, Skull
from hdnet.synthetic.components import Component, Material, Rigid
from hdnet.synthetic.materials import Plain, draw_colour, draw_noise
from hdnet.synthetic.surface import FloatArray, normalized

_ROWS = 16


def draw_headwear(rng: np.random.Generator, skull: Skull, kind: str) -> tuple[HatRoom, list[Component]]:
    """Draw a "cap", "back-cap" (worn backwards), "beanie", "bucket" or "hat", and the space it leaves for hair."""
    cloth = Plain(draw_colour(rng), 0.03)
    if kind == "beanie":
        return _beanie(rng, skull, cloth)
    front, back = rng.uniform(62, 70), rng.uniform(92, 102)
    edge = np.radians((front + back) / 2 - (back - front) / 2 * np.cos(AZIMUTH))
    room = HatRoom(edge)
    if kind in ("cap", "back-cap"):
        crown = _dome(skull, edge, 0.008, rng.uniform(0.008, 0.022), ears=False)
        visor_cloth = cloth if rng.random() < 0.65 else Plain(draw_colour(rng), 0.03)
        turn = np.pi if kind == "back-cap" else 0.0
        rim = crown[-1]
        components = [_component("cap", crown, cloth), _visor(rng, rim, turn, visor_cloth), _button(crown[0, 0], cloth)]
        return room, components
    crown = _dome(skull, edge, 0.009, rng.uniform(0.012, 0.03), ears=False)
    width, drop = (
        (rng.uniform(0.04, 0.06), rng.uniform(0.55, 1.0))
        if kind == "bucket"
        else (
            rng.uniform(0.06, 0.11),
            rng.uniform(0.05, 0.25),
        )
    )
    components = [_component("hat", crown, cloth), _brim(rng, crown[-1], width, drop, cloth)]
    if kind == "hat":
        band = crown[-4:] + _outward(crown[-4:], crown[-1].mean(0)) * 0.002
        components.append(_component("hat", band, Plain(draw_colour(rng), 0.1)))
    return room, components


def _dome(skull: Skull, edge: FloatArray, room_m: float, tall_m: float, ears: bool) -> FloatArray:
    """Build a firm shell (rows, columns, 3) down to polar angles ``edge``."""
    polar = np.linspace(0, 1, _ROWS)[:, None] * edge
    points, out = skull.at(polar, ears)
    away = points + out * room_m * skull.size
    away[..., 2] += tall_m * smoothstep(polar, np.radians(75), np.radians(20))
    for _ in range(4):
        away = 0.5 * away + 0.25 * (np.roll(away, 1, axis=1) + np.roll(away, -1, axis=1))
    # Smoothing must not pull the shell into the head.
    short = (
        np.linalg.norm(points - skull.centre, axis=-1) + 0.75 * room_m - np.linalg.norm(away - skull.centre, axis=-1)
    )
    return np.asarray(away + normalized(away - skull.centre) * np.maximum(short, 0)[..., None])


def _outward(points: FloatArray, centre: FloatArray) -> FloatArray:
    """Return horizontal unit vectors away from a vertical axis."""
    away = (points - centre) * [1.0, 1.0, 0.0]
    return normalized(away)


def _component(name: str, grid: FloatArray, material: Material) -> Component:
    flat = grid.reshape(-1, 3)
    return Component(name, grid_surface(grid.shape[0], grid.shape[1], True), Rigid(flat, "head"), flat, material)


def _visor(rng: np.random.Generator, rim: FloatArray, turn: float, material: Material) -> Component:
    half = np.radians(rng.uniform(52, 62))
    side = (AZIMUTH - turn + np.pi) % (2 * np.pi) - np.pi
    used = np.flatnonzero(np.abs(side) <= half)
    used = used[np.argsort(side[used])]
    share = side[used] / half
    length = rng.uniform(0.062, 0.078) * np.clip(1 - np.abs(share) ** 2.6, 0.02, 1) ** 0.6
    forward = np.array([0.0, -np.cos(turn), 0.0])
    sideways = np.array([np.cos(turn), 0.0, 0.0])
    # Strips run forward and a little outward; the middle is higher than the sides.
    way = forward + 0.28 * share[:, None] * sideways
    bend, slope = rng.uniform(0.012, 0.030), rng.uniform(0.1, 0.35)
    steps = np.array([0.0, 0.3, 0.6, 0.85, 1.0])[:, None]
    top = rim[used] + (steps * length)[..., None] * way
    top[..., 2] -= steps * length * slope + bend * share**2 * steps**0.5 - 0.003
    root = rim[used] - 0.006 * _outward(rim[used], rim.mean(0))
    top[0] = root
    under = top[::-1] - np.array([0, 0, 0.0035])
    grid = np.concatenate([top, under])[:, ::-1]
    flat = grid.reshape(-1, 3)
    return Component("visor", grid_surface(len(grid), len(used), False), Rigid(flat, "head"), flat, material)


def _button(top: FloatArray, material: Material) -> Component:
    vertices, faces = ball(top, np.array([0.007, 0.007, 0.004]), 6, 10)
    return Component("cap", surface_of(faces, len(vertices)), Rigid(vertices, "head"), vertices, material)


def _brim(rng: np.random.Generator, rim: FloatArray, width_m: float, drop: float, material: Material) -> Component:
    away = _outward(rim, rim.mean(0))
    steps = np.linspace(0, 1, 6)[:, None]
    wave = sum(rng.normal(0, 0.006) * np.cos(k * AZIMUTH + rng.uniform(0, 6.3)) for k in (2, 3, 5))
    grid = rim + (steps * width_m)[..., None] * away
    grid[..., 2] += -drop * width_m * steps + wave * steps**1.5
    grid[0] -= 0.002 * away
    under = grid[::-1] - np.array([0, 0, 0.003])
    return _component("hat", np.concatenate([grid, under]), material)


def _beanie(rng: np.random.Generator, skull: Skull, material: Material) -> tuple[HatRoom, list[Component]]:
    front, back = rng.uniform(65, 75), rng.uniform(108, 118)
    edge = np.radians((front + back) / 2 - (back - front) / 2 * np.cos(AZIMUTH))
    slouch = rng.uniform(0.0, 0.05) * (rng.random() < 0.5)
    crown = _dome(skull, edge, 0.009, rng.uniform(0.006, 0.016) + slouch * 0.6, ears=True)
    crown[..., 1] += slouch * smoothstep(np.linspace(0, 1, _ROWS), 0.7, 0.1)[:, None]
    components = [_component("beanie", crown, material)]
    if rng.random() < 0.85:
        rows = int(rng.integers(4, 6))
        thick = np.array([0.002, *([0.006] * (rows - 2)), 0.003])[:, None, None]
        knit = 0.0006 * np.sin(48 * AZIMUTH)[:, None]
        cuff = crown[-rows:] + normalized(crown[-rows:] - skull.centre) * (thick + knit)
        components.append(_component("beanie", cuff, material))
    if rng.random() < 0.15:
        vertices, faces = ball(crown[0, 0] + [0, 0, 0.018], 0.026, 11, 18)
        vertices = vertices + rng.normal(0, 0.0015, vertices.shape)
        pompom = Plain(draw_colour(rng), 0.0, draw_noise(rng, 60, 2))
        components.append(
            Component("beanie", surface_of(faces, len(vertices)), Rigid(vertices, "head"), vertices, pompom)
        )
    return HatRoom(edge), components
