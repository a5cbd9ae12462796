from __future__ import annotations

from dataclasses import replace

import numpy as np
from test_film import PLAIN

from hdnet.synthetic.rendering.film import Phone, develop
from hdnet.synthetic.rendering.phone_film import draw_phone_film

NOTHING = Phone(np.zeros((2, 3), dtype=np.float32), 0.0, 1.0, 256, None, None)


def _grey(value: float = 0.2) -> np.ndarray:
    return np.full((256, 256, 3), value, dtype=np.float32)


def _developed(phone: Phone, radiance: np.ndarray) -> np.ndarray:
    return develop(np.random.default_rng(0), replace(PLAIN, phone=phone), radiance).astype(float)


def test_a_phone_that_does_nothing_is_a_plain_film() -> None:
    scene = np.random.default_rng(1).uniform(0, 1, (256, 256, 3)).astype(np.float32)
    plain = develop(np.random.default_rng(0), PLAIN, scene)
    assert np.array_equal(_developed(NOTHING, scene), plain)


def test_mixed_light_drifts_from_side_to_side() -> None:
    cast = np.array([[0.2, 0, -0.2], [0, 0, 0]], dtype=np.float32)
    shown = _developed(replace(NOTHING, cast=cast), _grey())
    # At the borders the radiance is 0.2 * (1 +- 0.2), by hand.
    assert abs(shown[:, 0, 0].mean() - 255 * 0.16 ** (1 / 2.2)) < 1
    assert abs(shown[:, 255, 0].mean() - 255 * 0.24 ** (1 / 2.2)) < 1
    assert abs(shown[:, 255, 2].mean() - 255 * 0.16 ** (1 / 2.2)) < 1
    assert np.ptp(shown[..., 1]) <= 1


def test_local_tones_brighten_the_dark_side() -> None:
    scene = _grey(0.5)
    scene[:, :128] = 0.05
    before, after = _developed(NOTHING, scene), _developed(replace(NOTHING, local=0.5), scene)
    assert after[:, 20].mean() > before[:, 20].mean() + 15
    assert after[:, 235].mean() < before[:, 235].mean() - 15


def test_small_files_lose_detail() -> None:
    checks = _grey(0.02)
    checks[::2, ::2] = checks[1::2, 1::2] = 0.6
    assert _developed(NOTHING, checks).std() > 2 * _developed(replace(NOTHING, size_px=100), checks).std()


def test_borders_cover_and_captions_shine_through() -> None:
    overlay = np.zeros((256, 256, 4), dtype=np.uint8)
    overlay[:, :30] = [0, 0, 0, 255]
    overlay[100:110] = [255, 255, 255, 128]
    overlay[100:110, :30] = [0, 0, 0, 255]
    film = replace(PLAIN, phone=replace(NOTHING, overlay=overlay))
    assert film.covered is not None
    assert film.covered.sum() == 30 * 256
    shown = develop(np.random.default_rng(0), film, _grey())
    assert not shown[:, :30].any()
    assert (shown[105, 40:] > shown[90, 40:]).all()
    assert PLAIN.covered is None


def test_drawn_films_vary_and_repeat() -> None:
    films = [draw_phone_film(np.random.default_rng(seed)) for seed in range(300)]
    phones = [film.phone for film in films if film.phone is not None]
    assert len(phones) == 300
    brightness = np.log2([film.gain.mean() for film in films])
    assert 0.05 < np.mean(brightness < -0.9) < 0.3
    qualities = [film.quality for film in films if film.quality is not None]
    assert 30 <= min(qualities) < 40
    assert 90 < max(qualities) <= 95
    assert 0.15 < np.mean([phone.size_px < 256 for phone in phones]) < 0.45
    assert 0.1 < np.mean([phone.overlay is not None for phone in phones]) < 0.35
    covered = [film.covered.mean() for film in films if film.covered is not None]
    assert 0.02 < np.mean(np.array(covered) > 0) < 0.8
    assert max(covered) < 0.45
    assert 0.1 < np.mean([film.motion_px.any() for film in films]) < 0.35
    again = draw_phone_film(np.random.default_rng(7))
    scene = _grey()
    a, b = (develop(np.random.default_rng(0), film, scene) for film in (films[7], again))
    assert np.array_equal(a, b)
