"""Separable filters: against Pillow's in floating point, and against a sum over all pixels in float64."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from hdnet.pictures.resampling import Taps, box, dilated, extended, nearest, resize, resize_matrix, triangle


@pytest.fixture
def planes() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 24, 31)).astype(np.float32)


def bilinear(plane: np.ndarray, x: np.ndarray, y: np.ndarray, width: float) -> np.ndarray:
    """Every pixel's share in every target, in float64; the outermost pixels go on for ever."""
    reach = 12
    wide = np.pad(plane.astype(np.float64), reach, mode="edge")

    def shares(positions: np.ndarray, count: int) -> np.ndarray:
        share = (1 - np.abs(np.arange(-reach, count + reach) - positions[:, None]) / max(width, 1)).clip(0)
        return share / share.sum(axis=1, keepdims=True)

    return shares(y, plane.shape[0]) @ wide @ shares(x, plane.shape[1]).T


@pytest.mark.parametrize("spacing", [0.13, 0.5, 1.0, 2.7])
def test_taps_are_the_bilinear_filter(planes: np.ndarray, spacing: float) -> None:
    x, y = np.arange(-1.3, 31.2, spacing), np.arange(-0.4, 23.9, spacing)
    by_x, by_y = Taps(x, 31, spacing), Taps(y, 24, spacing)

    wide = by_x.columns(planes)
    strips = [by_y.rows(wide, slice(top, top + 5)) for top in range(0, len(y), 5)]

    expected = np.stack([bilinear(plane, x, y, spacing) for plane in planes])
    assert np.abs(np.concatenate(strips, axis=1) - expected).max() < 1e-6
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in (wide, *strips))
    assert spacing >= 1 or len(by_x.places) == 2
    assert np.abs(by_x.weights.sum(axis=0) - 1).max() < 1e-6


def test_taps_at_the_pixels_leave_the_picture_as_it_is(planes: np.ndarray) -> None:
    by_x, by_y = Taps(np.arange(31.0), 31, 1.0), Taps(np.arange(24.0), 24, 1.0)

    assert np.array_equal(by_y.rows(by_x.columns(planes), slice(0, 24)), planes)


@pytest.mark.parametrize(("kernel", "pillow"), [(triangle, Image.Resampling.BILINEAR), (box, Image.Resampling.BOX)])
def test_resized_as_pillow_does(planes: np.ndarray, kernel: object, pillow: Image.Resampling) -> None:
    size = (10, 8)  # 31 / 10 and 24 / 8: whole pixels for the box filter along y only
    zoom_x, zoom_y = 3.0, 3.0
    by_x = resize_matrix(np.arange(10) * zoom_x + 1, 31, zoom_x, kernel)  # type: ignore[arg-type]
    by_y = resize_matrix(np.arange(8) * zoom_y + 1, 24, zoom_y, kernel)  # type: ignore[arg-type]

    resized = resize(planes.transpose(1, 2, 0), by_y, by_x)

    for plane, found in zip(planes, resized, strict=True):
        expected = np.asarray(Image.fromarray(plane).resize(size, pillow, box=(0, 0, 30, 24)))
        inner = (slice(1, -1), slice(1, -1))  # beyond its edge Pillow's picture has no pixels, ours is 0
        assert np.abs(found - expected)[inner].max() < 1e-5


def test_nearest_pixel_and_nothing_beyond() -> None:
    picture = np.arange(1, 13, dtype=np.uint8).reshape(3, 4, 1)

    found = nearest(picture, np.array([-0.6, -0.5, 1.49, 1.5, 3.6]), np.array([0.2, 2.4, 2.6]))

    assert found[..., 0].tolist() == [[0, 1, 2, 3, 0], [0, 9, 10, 11, 0], [0, 0, 0, 0, 0]]


def test_extended_by_the_nearest_valid_value() -> None:
    valid = np.array([[True, False, False, False, True]])
    planes = [np.array([[1.0, np.nan, np.nan, np.nan, 5.0]]), np.array([[2.0, 9.0, 9.0, 9.0, 6.0]])]

    found = extended(planes, valid)

    assert found[:, 0, [0, 1, 3, 4]].tolist() == [[1, 1, 5, 5], [2, 2, 6, 6]]


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_dilated_as_scipy_does(steps: int) -> None:
    mask = np.random.default_rng(steps).random((40, 30)) > 0.97
    mask[0, 0] = mask[-1, -1] = True
    before = mask.copy()
    expected = ndimage.binary_dilation(mask, iterations=steps) if steps else mask
    assert np.array_equal(dilated(mask, steps), expected)
    assert np.array_equal(mask, before)
