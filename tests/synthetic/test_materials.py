from __future__ import annotations

import numpy as np

from hdnet.synthetic.body import SKIN_VERTICES
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.materials import Plain, draw_colour, draw_noise, draw_skin, eye_centre

AFRICAN, ASIAN, CAUCASIAN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def test_skin_goes_from_dark_to_light_and_varies_within() -> None:
    def grey(race: tuple[float, float, float]) -> np.ndarray:
        return np.array([draw_skin(np.random.default_rng(seed), race)[0].tone.mean() for seed in range(60)])

    means = [grey(race).mean() for race in (AFRICAN, ASIAN, CAUCASIAN)]
    assert means[0] < 0.5 * means[1]
    assert means[1] < means[2]
    assert all(grey(race).std() > 0.02 for race in (AFRICAN, ASIAN, CAUCASIAN))


def test_lips_are_redder_brows_darker_and_the_rest_of_the_face_even() -> None:
    body = canonical_body()
    points = body.vertices[:SKIN_VERTICES]
    skin, _ = draw_skin(np.random.default_rng(1), CAUCASIAN)
    colour = skin.albedo(points)
    eye = eye_centre()
    front = points[:, 1] < body.joints["head"][1] - 0.08

    def around(up_m: float, x_m: float, size_m: float = 0.005) -> np.ndarray:
        near = np.hypot(np.abs(points[:, 0]) - x_m, points[:, 2] - eye[2] - up_m) < size_m
        return colour[near & front].mean(0)

    forehead = around(0.045, 0.0, 0.012)
    lips, brow = around(-0.072, 0.0), around(0.022, 0.036)
    assert lips[0] / lips[1] > 1.1 * forehead[0] / forehead[1]
    assert brow.mean() < 0.7 * forehead.mean()
    assert colour.min() > 0
    assert colour.max() < 1


def test_pupil_iris_and_white() -> None:
    _, eyes = draw_skin(np.random.default_rng(2), ASIAN)
    centre = eye_centre()
    pupil, iris, white = eyes.albedo(centre + np.array([[0.0, 0, 0], [0.004, 0, 0], [0.01, 0, 0]]))
    assert pupil.max() < 0.02
    assert np.allclose(iris, eyes.iris)
    assert white.min() > iris.max()


def test_noise_is_smooth_bounded_and_worn_colours_stay_near() -> None:
    noise = draw_noise(np.random.default_rng(3), 5, 2)
    points = np.random.default_rng(4).uniform(-1, 1, (4000, 3))
    values = noise(points)
    assert abs(values.mean()) < 0.1
    assert 0.3 < values.std() < 1.2
    assert np.abs(noise(points + 1e-4) - values).max() < 0.05
    worn = Plain(np.full(3, 0.4), noise=noise).albedo(points)
    assert np.abs(worn / 0.4 - 1).max() < 0.25
    assert np.array_equal(Plain(np.full(3, 0.4)).albedo(points), np.full((4000, 3), 0.4))


def test_cloth_colours_are_dark_and_bright_grey_and_coloured() -> None:
    colours = np.stack([draw_colour(np.random.default_rng(seed)) for seed in range(300)])
    value, spread = colours.max(1), np.ptp(colours, axis=1)
    assert (value < 0.06).mean() > 0.15
    assert (value > 0.35).mean() > 0.15
    assert (spread < 1e-9).mean() > 0.15
    assert (spread > 0.5 * value).mean() > 0.15
