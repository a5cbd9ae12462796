"""Everything on a head: hair, beard, hat, glasses, and the teeth that an open mouth shows."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from hdnet.synthetic.accessories.beard import KINDS, draw_beard
from hdnet.synthetic.accessories.glasses import draw_glasses
from hdnet.synthetic.accessories.hair import hair_components
from hdnet.synthetic.accessories.hair_styles import draw_hair_colour, draw_strands, draw_style
from hdnet.synthetic.accessories.headwear import draw_headwear
from hdnet.synthetic.accessories.skull import skull_of
from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.components import Component, Material, Rigid, Shape
from hdnet.synthetic.materials import Plain
from hdnet.synthetic.surface import IntArray, Surface, compacted

_HATS = {"cap": 0.065, "back-cap": 0.02, "beanie": 0.035, "bucket": 0.015, "hat": 0.015}
_GLASSES, _SUNGLASSES = 0.17, 0.04


def draw_head(rng: np.random.Generator, shape: Shape) -> tuple[Component, ...]:
    """Draw everything on a person's head, the same for all frames."""
    phenotype, skull = shape.phenotype, skull_of(shape)
    colour = draw_hair_colour(rng, phenotype)
    style = draw_style(rng, phenotype)
    components = _mouth(shape)
    hats = list(_HATS)
    hat = str(rng.choice([*hats, ""], p=[*_HATS.values(), 1 - sum(_HATS.values())]))
    room = None
    if hat:
        room, worn = draw_headwear(rng, skull, hat)
        components += worn
    if style is not None:
        if hat:
            style = replace(style, fringe=0.0)
        material = draw_strands(rng, colour, style.hang_m, curly=style.curl_m > 0.007)
        components += hair_components(rng, skull, style, material, room)
    eyewear = rng.random()
    if eyewear < _GLASSES + _SUNGLASSES:
        components += draw_glasses(rng, shape, skull, dark=eyewear < _SUNGLASSES)
    if phenotype.gender < 0.35 and phenotype.age > 0.68 and rng.random() < 0.36:
        kind = str(rng.choice(KINDS, p=[0.5, 0.22, 0.14, 0.14]))
        components += draw_beard(rng, shape, colour * rng.uniform(0.7, 1.1), kind)
    return tuple(components)


def _mouth(shape: Shape) -> list[Component]:
    """Build teeth and tongue, visible between open lips."""
    components = []
    materials: dict[str, Material] = {
        "teeth": Plain(np.array([0.62, 0.58, 0.50]), 0.4),
        "tongue": Plain(np.array([0.30, 0.09, 0.08]), 0.3),
    }
    body = canonical_body()
    for name, material in materials.items():
        used, surface = _mouth_mesh(name)
        points = shape.rest[used].astype(np.float64)
        # Lips of other people's shapes may cut into the front teeth.
        middle = points.mean(0)
        carrier = Rigid(middle + (points - middle) * [0.97, 0.97, 1.0] + [0, 0.0015, 0], "head")
        components.append(Component(name, surface, carrier, body.vertices[used], material))
    return components


@lru_cache(maxsize=2)
def _mouth_mesh(name: str) -> tuple[IntArray, Surface]:
    used, faces = compacted(body_model().triangles[name])
    return used, Surface(faces, len(used))
