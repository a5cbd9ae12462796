from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hdnet.geometry import Camera
from hdnet.synthetic.rendering import Framing, alike_light, draw_background, draw_clothes_colour, draw_light, draw_view
from hdnet.synthetic.rendering.alike import tinted
from hdnet.synthetic.rendering.solids import Finish, box


class Coloured:
    """Person of two components and two garments, of a face each but the last, which has three."""

    def __init__(self) -> None:
        self.components = (None, None)
        self.outfit = (None, None)
        self.labels = np.array([0, 1, 2, 3, 3, 3])
        self.faces = np.arange(18).reshape(6, 3)
        self.canonical = np.zeros((18, 3), np.float32)
        self.materials = tuple(map(self._material, (0.9, 0.9, 0.2, 0.02)))

    @staticmethod
    def _material(value: float) -> Any:
        class Material:
            def albedo(self, points: np.ndarray) -> np.ndarray:
                return np.full((len(points), 3), value)

        return Material()


def test_the_colour_is_that_of_a_garment() -> None:
    drawn = np.array([draw_clothes_colour(np.random.default_rng(seed), Coloured()) for seed in range(60)])  # type: ignore[arg-type]
    dark = drawn.mean(1) < 0.05
    # Three of four faces are of the dark garment.
    assert 0.6 < dark.mean() < 0.9
    assert np.allclose(drawn[dark] / 0.02, 1, atol=0.4)
    assert np.allclose(drawn[~dark] / 0.2, 1, atol=0.4)


def test_patterns_keep_their_contrast() -> None:
    colours = np.array([[0.2, 0.4, 0.6], [0.1, 0.2, 0.3]])
    colour = np.array([0.5, 0.1, 0.1])
    (solid,) = tinted([box(Finish(colours), (0, 0, 0), (1, 1, 1))], colour, 1.0)
    found = solid.finishes[0].colours
    # Means 0.4 and 0.2 of a mean of 0.3.
    assert np.allclose(found, [colour * 4 / 3, colour * 2 / 3])
    (half,) = tinted([box(Finish(colours), (0, 0, 0), (1, 1, 1))], colour, 0.5)
    assert np.allclose(half.finishes[0].colours, (colours + found) / 2)
    window = Finish(colours, glow=1.0)
    assert tinted([box(window, (0, 0, 0), (1, 1, 1))], colour, 1.0)[0].finishes[0] is window


def test_only_dark_clothes_dim_the_light() -> None:
    light = draw_light(np.random.default_rng(0))
    bright = [alike_light(np.random.default_rng(s), light, np.full(3, 0.5)).exposure for s in range(9)]
    dark = [alike_light(np.random.default_rng(s), light, np.full(3, 0.02)).exposure for s in range(9)]
    assert set(bright) == {light.exposure}
    assert min(dark) < 0.9 * light.exposure
    assert max(dark) == light.exposure


@pytest.mark.parametrize("value", [0.02, 0.7])
def test_surroundings_take_on_the_colour(stand_in: Any, value: float) -> None:
    differences = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        view = draw_view(rng, Camera.centred(330.0), [stand_in], Framing(1.0, 0.0, 0.0, 0.0))
        light = draw_light(rng)
        plain, alike = (
            draw_background(np.random.default_rng(seed), view, light, [stand_in], tint=tint).radiance
            for tint in (None, np.full(3, value))
        )
        irradiance = light.frontal_irradiance()
        differences.append([np.abs(np.median(shown) / irradiance - value) for shown in (plain, alike)])
    before, after = np.mean(differences, axis=0)
    assert after < 0.6 * before
