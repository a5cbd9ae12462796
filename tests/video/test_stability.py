"""Averaging over time against surfaces whose true motion is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hdnet.geometry import Camera
from hdnet.models.lite import PersonMaps
from hdnet.video.looks import PackedLook
from hdnet.video.stability import REACH, Surface, motion_between, stable_values

SIZE = 256
CAMERA = Camera.centred(1500.0, SIZE)
RATE = 30.0
TIMES = [k / RATE for k in range(60)]


def look_of(
    relief: np.ndarray, normals: np.ndarray, inside: np.ndarray, shift: int, square=(0.0, 0.0, 1.0)
) -> PackedLook:
    """A look of a textured person of one part that has moved by some columns."""
    texture = 128 + 900 * gaussian_filter(np.random.default_rng(7).normal(size=(SIZE, SIZE)), 6)
    grey = np.roll(texture, shift, axis=1).clip(0, 255)
    return PackedLook(
        square=np.array(square),
        inside=inside,
        support=inside,
        probability=np.full(int(inside.sum()), 255, np.uint8),
        relief=relief[inside].astype(np.float16),
        normals=normals[inside].astype(np.float16),
        log_kappa=np.zeros(int(inside.sum()), np.float16),
        parts=np.full((SIZE // 4, SIZE // 4), 2, np.uint8),
        uv=np.zeros((2, SIZE // 4, SIZE // 4), np.uint8),
        log_scale=np.array(5.0),
        grey=grey.reshape(SIZE // 2, 2, SIZE // 2, 2).mean(axis=(1, 3)).astype(np.uint8),
    )


def facing(tilt_x: np.ndarray | float = 0.0) -> np.ndarray:
    normals = np.zeros((SIZE, SIZE, 3))
    normals[..., 0], normals[..., 2] = tilt_x, -1
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def surfaces_of(looks: list[PackedLook]) -> tuple[dict[int, Surface], dict[int, np.ndarray]]:
    surfaces = {k: Surface.of(look, CAMERA, 4.0) for k, look in enumerate(looks)}
    return surfaces, {k: motion_between(surfaces[k], surfaces[k + 1]) for k in range(len(looks) - 1)}


def person(shift: int = 0) -> np.ndarray:
    inside = np.zeros((SIZE, SIZE), bool)
    inside[60:200, 80 + shift : 150 + shift] = True
    return inside


def test_values_and_maps_are_each_other() -> None:
    rng = np.random.default_rng(1)
    relief = 0.3 * gaussian_filter(rng.normal(size=(SIZE, SIZE)), 8)
    look = look_of(relief, facing(0.2), person(), 0, square=(-40.0, 30.0, 1.7))
    surface = Surface.of(look, CAMERA, 3.1)
    maps: PersonMaps = surface.maps(surface.values)
    again = Surface.of(look_of(maps.relief_b1hw[0, 0].numpy(), maps.normals_b3hw[0].numpy().transpose(1, 2, 0),
                               person(), 0, square=(-40.0, 30.0, 1.7)), CAMERA, 3.1)  # fmt: skip
    np.testing.assert_allclose(again.values[person()], surface.values[person()], atol=2e-3)
    assert float(maps.log_scale_b1) == pytest.approx(np.log(1500 / 1.7 / 3.1), abs=0.02)


def flicker(error: np.ndarray) -> np.ndarray:
    """Mean error of depth and of the normals' x; a distance of the whole is not told by the relief."""
    return np.abs(error - np.median(error, axis=(0, 1)))[..., :2].mean(axis=(0, 1))


def test_flicker_of_a_person_who_moves_is_halved_and_a_step_stays_sharp() -> None:
    """Two pixels a frame, blotches of noise in each: what remains is less than half of them."""
    rng = np.random.default_rng(2)
    step = np.where(np.arange(SIZE) < 125, 0.0, 0.4)[None, :].repeat(SIZE, 0)
    looks = []
    for k in range(9):
        noise = 0.8 * gaussian_filter(rng.normal(size=(SIZE, SIZE)), 8)
        tilt = 0.2 * gaussian_filter(rng.normal(size=(SIZE, SIZE)), 8) / 0.03
        looks.append(look_of(np.roll(step, 2 * k, 1) + noise, facing(tilt), person(2 * k), 2 * k))
    surfaces, motions = surfaces_of(looks)
    before, after, across = np.zeros(2), np.zeros(2), []
    for k in range(REACH, 9 - REACH):
        inner = slice(70, 190), slice(90 + 2 * k, 140 + 2 * k)
        stable = stable_values(surfaces, motions, k, TIMES, RATE)[inner]
        truth = Surface.of(look_of(np.roll(step, 2 * k, 1), facing(), person(2 * k), 2 * k), CAMERA, 4.0).values[inner]
        before += flicker(surfaces[k].values[inner] - truth)
        after += flicker(stable - truth)
        across.append(np.diff(stable[..., 0], axis=1).mean(axis=0).max())
    assert (after < 0.5 * before).all()
    jump = 0.4 * 32 / 1500
    assert min(across) > 0.8 * jump


def test_what_moves_steadily_is_kept() -> None:
    """A person who comes nearer by 3 cm a frame, and turns by 3 degrees a frame, as on a turntable."""
    surfaces, motions = {}, {}
    for k in range(9):
        look = look_of(np.zeros((SIZE, SIZE)), facing(np.tan(np.deg2rad(3 * (k - 4)))), person(), 0)
        surfaces[k] = Surface.of(look, CAMERA, 4.0 - 0.03 * k)
    for k in range(8):
        motions[k] = motion_between(surfaces[k], surfaces[k + 1])
    for k in (0, 4, 8):
        stable = stable_values(surfaces, motions, k, TIMES, RATE)[person()]
        # At the ends of the clip the line is a little too flat.
        tolerance = 1e-4 if k == 4 else 4e-3
        np.testing.assert_allclose(stable[:, 0], surfaces[k].values[person()][:, 0], atol=tolerance)
        np.testing.assert_allclose(stable[:, 1], surfaces[k].values[person()][:, 1], atol=0.004 if k == 4 else 0.03)


def test_an_arm_that_passes_before_is_not_mixed_in() -> None:
    """Half a metre nearer for one frame."""
    looks = [look_of(np.zeros((SIZE, SIZE)), facing(), person(), 0) for _ in range(7)]
    surfaces, motions = surfaces_of(looks)
    nearer = Surface.of(looks[2], CAMERA, 3.5)
    surfaces[2] = nearer
    stable = stable_values(surfaces, motions, 3, TIMES, RATE)[person()]
    np.testing.assert_allclose(stable[:, 0], np.log(4.0), atol=1e-3)
    kept = stable_values(surfaces, motions, 2, TIMES, RATE)[person()]
    np.testing.assert_allclose(kept[:, 0], np.log(3.5), atol=1e-3)


def test_frames_behind_a_gap_do_not_count() -> None:
    looks = [look_of(np.zeros((SIZE, SIZE)), facing(), person(), 0) for _ in range(8)]
    surfaces, motions = surfaces_of(looks)
    del surfaces[2]
    alone = {k: one for k, one in surfaces.items() if k > 2}
    np.testing.assert_array_equal(
        stable_values(surfaces, motions, 3, TIMES, RATE), stable_values(alone, motions, 3, TIMES, RATE)
    )
    assert REACH >= 2


def test_one_frame_alone_stays_as_it_is() -> None:
    surface = Surface.of(look_of(np.zeros((SIZE, SIZE)), facing(0.3), person(), 0), CAMERA, 4.0)
    np.testing.assert_allclose(stable_values({5: surface}, {}, 5, TIMES, RATE), surface.values, atol=1e-6)


def test_squares_that_move_with_the_camera_are_compared_in_the_picture() -> None:
    """The square shifts by 10 pixels and grows: what stands still in the picture moves in it."""
    one = look_of(np.zeros((SIZE, SIZE)), facing(), person(), 0)
    other = look_of(np.zeros((SIZE, SIZE)), facing(), person(), 0, square=(-10.0, 4.0, 1.25))
    flat = np.full((SIZE // 2, SIZE // 2), 90, np.uint8)
    first, second = (Surface.of(PackedLook(**{**vars(look), "grey": flat}), CAMERA, 4.0) for look in (one, other))
    maps = motion_between(first, second)
    np.testing.assert_allclose(maps[2] @ [100.0, 60.0, 1.0], [(100 + 10) / 1.25, (60 - 4) / 1.25], atol=1e-6)
