from __future__ import annotations

from dataclasses import replace

import numpy as np

from hdnet.synthetic.rendering.film import Film, develop, draw_film

PLAIN = Film(
    gain=np.ones(3, dtype=np.float32),
    contrast=0.0,
    gamma=2.2,
    shoulder=0.8,
    saturation=1.0,
    vignette=0.0,
    blur_px=0.0,
    motion_px=np.zeros(2),
    shot=0.0,
    read=0.0,
    grain=0.5,
    sharpening=0.0,
    quality=None,
    halved_colour=False,
)


def _scene() -> np.ndarray:
    picture = np.full((256, 256, 3), 0.2, dtype=np.float32)
    picture[64:192, 64:192] = [0.6, 0.3, 0.1]
    return picture


def test_same_seed_same_bytes() -> None:
    for seed in range(5):
        first, second = (
            develop(np.random.default_rng(seed), draw_film(np.random.default_rng((seed, 1))), _scene())
            for _ in range(2)
        )
        assert first.dtype == np.uint8
        assert first.shape == (256, 256, 3)
        assert (first == second).all()
    other = develop(np.random.default_rng(9), replace(PLAIN, shot=1e-3), _scene())
    assert (other != develop(np.random.default_rng(8), replace(PLAIN, shot=1e-3), _scene())).any()


def test_an_ideal_film_is_the_display_curve() -> None:
    shown = develop(np.random.default_rng(0), PLAIN, _scene())
    assert (shown[5, 5] == round(255 * 0.2 ** (1 / 2.2))).all()
    assert abs(int(shown[128, 128, 0]) - 255 * 0.6 ** (1 / 2.2)) <= 1


def test_highlights_never_pass_white_and_keep_their_order() -> None:
    ramp = np.tile(np.linspace(0, 8, 256, dtype=np.float32)[:, None, None], (1, 256, 3))
    shown = develop(np.random.default_rng(0), PLAIN, ramp)[:, 0, 0].astype(int)
    assert (np.diff(shown) >= 0).all()
    assert shown[-1] == 255


def test_noise_blur_and_jpeg_stay_realistic() -> None:
    errors = []
    for seed in range(40):
        film = replace(
            draw_film(np.random.default_rng(seed)), gain=PLAIN.gain, contrast=0.0, saturation=1.0, vignette=0.0
        )
        shown = develop(np.random.default_rng(seed), film, _scene()).astype(float)
        errors.append(shown[100:150, 100:150].std(axis=(0, 1)).max())
    assert np.median(errors) < 4
    assert max(errors) < 20


def test_motion_blurs_along_its_direction_only() -> None:
    moved = develop(np.random.default_rng(0), replace(PLAIN, motion_px=np.array([4.0, 0.0])), _scene()).astype(int)
    assert abs(moved[128, 64, 0] - moved[128, 60, 0]) > 20
    assert moved[128, 64, 0] - moved[128, 62, 0] > 0
    assert (moved[64, 100] == moved[128, 100]).all()
    assert (moved[63, 100] == moved[10, 100]).all()
