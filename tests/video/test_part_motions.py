"""Motion of parts against pictures that were moved by known maps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from hdnet.video.motion import MotionPicture, inverted, joined, part_motions

SIZE = 128
STILL = np.array([[1.0, 0, 0], [0, 1, 0]])


def textured(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 128 + 700 * gaussian_filter(rng.normal(size=(SIZE, SIZE)), 3)


def halves() -> np.ndarray:
    """Part 1 on the left, part 2 on the right of a square of people."""
    parts = np.zeros((SIZE, SIZE), np.uint8)
    parts[30:98, 30:64], parts[30:98, 64:98] = 1, 2
    return parts


def coordinates() -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.stack([x * 2, y * 2]).astype(np.uint8)


def moved(picture: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """The picture in which pixel p of the first lies at ``maps`` p."""
    back = inverted(maps[None])[0]
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    source = np.stack([back[i, 0] * x + back[i, 1] * y + back[i, 2] for i in (0, 1)])
    return map_coordinates(picture, source[::-1], order=1, mode="nearest")


def prepared(picture: np.ndarray, parts: np.ndarray, uv: np.ndarray | None = None) -> MotionPicture:
    uv = np.zeros((2, SIZE, SIZE), np.uint8) if uv is None else uv
    return MotionPicture.of(picture.clip(0, 255).astype(np.uint8), parts, uv)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.3, -0.6), (3.0, 2.0)])
def test_a_shift_is_found_to_a_fraction_of_a_pixel(shift: tuple[float, float]) -> None:
    true = STILL.copy()
    true[:, 2] = shift
    first = textured()
    found = part_motions(prepared(first, halves()), prepared(moved(first, true), halves()), STILL)
    middle = np.array([47.0, 64, 1])
    np.testing.assert_allclose(found[1] @ middle, true @ middle, atol=0.15)


def test_every_part_has_its_own_motion() -> None:
    first, parts = textured(), halves()
    second = first.copy()
    second[:, 64:] = moved(first, np.array([[1, 0, 0], [0, 1, 2.0]]))[:, 64:]
    found = part_motions(prepared(first, parts), prepared(second, parts), STILL)
    np.testing.assert_allclose(found[1] @ [47, 64, 1], [47, 64], atol=0.2)
    np.testing.assert_allclose(found[2] @ [80, 64, 1], [80, 66], atol=0.3)


def test_a_turn_of_a_part_is_found() -> None:
    angle = np.deg2rad(4)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([47.0, 64])
    true = np.concatenate([linear, (middle - linear @ middle)[:, None]], axis=1)
    first = textured()
    found = part_motions(prepared(first, halves()), prepared(moved(first, true), halves()), STILL)
    for corner in ([35, 35, 1], [60, 90, 1]):
        np.testing.assert_allclose(found[1] @ corner, true @ corner, atol=0.6)


def test_the_body_map_tells_where_a_fast_part_went() -> None:
    """A shift of 14 pixels is too far for the brightness alone."""
    true = np.array([[1.0, 0, 14], [0, 1, -9]])
    first, parts, uv = textured(), halves(), coordinates()
    second = moved(first, true)
    moved_parts = np.roll(parts, (-9, 14), axis=(0, 1))
    moved_uv = np.roll(uv, (-9, 14), axis=(1, 2))
    middle = np.array([47.0, 64, 1])
    alone = part_motions(prepared(first, parts), prepared(second, moved_parts), STILL)
    assert np.linalg.norm(alone[1] @ middle - true @ middle) > 5
    found = part_motions(prepared(first, parts, uv), prepared(second, moved_parts, moved_uv), STILL)
    np.testing.assert_allclose(found[1] @ middle, true @ middle, atol=0.5)


def test_what_does_not_move_follows_the_square() -> None:
    """Of a part without any texture nothing is known but how the squares lie."""
    flat = np.full((SIZE, SIZE), 90.0)
    still = np.array([[1.1, 0, -3], [0, 1.1, 4]])
    found = part_motions(prepared(flat, halves()), prepared(flat, halves()), still)
    np.testing.assert_allclose(found[1], still, atol=1e-6)


def test_maps_are_inverted_and_joined() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(25, 2, 3)) + STILL
    np.testing.assert_allclose(joined(inverted(maps), maps), np.broadcast_to(STILL, maps.shape), atol=1e-9)
