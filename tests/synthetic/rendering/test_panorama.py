from __future__ import annotations

import numpy as np
import pytest

from hdnet.synthetic.rendering.panorama import Panorama, pixel_rays, reduced, solid_angles
from hdnet.synthetic.surface import normalized


def test_directions_of_the_map_by_hand() -> None:
    radiance = np.zeros((4, 8, 3))
    radiance[0], radiance[3] = (9, 0, 0), (0, 9, 0)
    radiance[1:3, :4, 2], radiance[1:3, 4:, 2] = 1, 5
    seen = Panorama(radiance).sample(np.array([[0, 0, 2.0], [0, 0, -1], [-1, 0, 0], [3, 0, 0], [0, 1, 0], [0, -1, 0]]))
    assert seen[:, 2].tolist() == [0, 0, 1, 5, 3, 3]
    assert seen[0].tolist() == [9, 0, 0]
    assert seen[1].tolist() == [0, 9, 0]


def test_sampling_is_bilinear_and_wraps_around() -> None:
    radiance = np.random.default_rng(0).random((16, 32, 3))
    rays = pixel_rays(16).reshape(16, 32, 3)
    at_pixels = Panorama(radiance).sample(rays.reshape(-1, 3)).reshape(radiance.shape)
    np.testing.assert_allclose(at_pixels, radiance, atol=1e-6)
    # Halfway between two columns of a row, also between the last and the first.
    row, following = rays[5], np.roll(rays[5], -1, axis=0)
    between = Panorama(radiance).sample(normalized(row + following) * np.array([1, 1, 1.0]))
    elevation = np.arcsin(normalized(row + following)[:, 2])
    down = (np.pi / 2 - elevation) * 16 / np.pi - 0.5 - 5
    means = (radiance + np.roll(radiance, -1, axis=1)) / 2
    np.testing.assert_allclose(between, means[5] + down[:, None] * (means[5] - means[4]), atol=1e-6)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turn", [0.0, 1.1, 5.0])
def test_turning_is_a_rotation_that_light_and_picture_share(turn: float, mirrored: bool) -> None:
    radiance = np.random.default_rng(1).random((16, 32, 3))
    panorama = Panorama(radiance).turned(turn, mirrored)
    world = panorama.to_world(pixel_rays(16))
    np.testing.assert_allclose(panorama.sample(world), radiance.reshape(-1, 3), atol=1e-6)
    angles = pixel_rays(16)[::7] @ pixel_rays(16)[::7].T
    np.testing.assert_allclose(world[::7] @ world[::7].T, angles, atol=1e-12)
    # Counter-clockwise as seen from above.
    x, y, _ = Panorama(radiance).turned(turn, False).to_world(np.array([[1.0, 0, 0]]))[0]
    assert (x, y) == pytest.approx((np.cos(turn), np.sin(turn)))


def test_solid_angles_fill_the_sphere() -> None:
    assert 2 * 24 * solid_angles(24).sum() == pytest.approx(4 * np.pi)
    np.testing.assert_allclose(
        (solid_angles(24)[:, 0, None] * 48 * pixel_rays(24).reshape(24, 48, 3)[:, 0] ** 2).sum(0)[2],
        4 * np.pi / 3,
        rtol=2e-3,
    )


@pytest.mark.parametrize("height", [32, 20])
def test_shrinking_keeps_all_light(height: int) -> None:
    radiance = np.random.default_rng(2).random((64, 128, 3)) ** 8
    shrunk = reduced(radiance, height)
    assert shrunk.shape == (height, 2 * height, 3)
    light = [(picture * solid_angles(len(picture))[..., None]).sum((0, 1)) for picture in (radiance, shrunk)]
    np.testing.assert_allclose(light[0], light[1], rtol=1e-9)
    assert reduced(shrunk, 64) is shrunk
