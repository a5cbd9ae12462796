from __future__ import annotations

import numpy as np

from hdnet.synthetic.rendering.light import draw_light
from hdnet.synthetic.surface import normalized


def test_light_is_positive_and_exposed_for_what_faces_the_camera() -> None:
    normals = normalized(np.random.default_rng(0).normal(size=(200, 3)))
    for seed in range(200):
        light = draw_light(np.random.default_rng(seed))
        assert 0.7 <= light.frontal_irradiance() * light.exposure <= 1.3
        assert (light.ambient(normals) > 0).all()
        for lamp in light.lamps:
            assert abs(np.linalg.norm(lamp.direction) - 1) < 1e-6
            assert (lamp.rgb > 0).all()


def test_kinds_of_light_come_in_their_shares() -> None:
    lights = [draw_light(np.random.default_rng(seed)) for seed in range(400)]
    kinds = [light.kind for light in lights]
    assert set(kinds) == {"ceiling", "window", "overcast", "sun", "golden", "softbox", "flash", "neon"}
    assert 0.2 < kinds.count("ceiling") / 400 < 0.33
    assert kinds.count("flash") / 400 < 0.08
    assert {light.place for light in lights} == {"room", "outdoor", "studio", "night"}


def test_the_sun_is_sharp_and_a_window_is_soft() -> None:
    spreads: dict[str, list[float]] = {}
    for seed in range(100):
        light = draw_light(np.random.default_rng(seed))
        spreads.setdefault(light.kind, []).append(light.lamps[0].spread)
    assert max(spreads["sun"]) < 0.02
    assert min(spreads["window"]) > 0.2


def test_light_comes_from_above_more_often_than_from_below() -> None:
    up, down = np.array([[0.0, 0, 1]]), np.array([[0.0, 0, -1]])
    brighter = [
        draw_light(np.random.default_rng(seed)).ambient(up).mean()
        > draw_light(np.random.default_rng(seed)).ambient(down).mean()
        for seed in range(100)
    ]
    assert np.mean(brighter) > 0.9
