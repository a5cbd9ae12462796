"""The network's square: against Pillow's resizing of a padded picture, and there and back again."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from hdnet.errors import InputError, ModelError
from hdnet.pictures.crop import NETWORK_SIZE, Crop, bounds, cut_out, map_back, network_inputs, sampled, scene_inputs


def disc(height: int, width: int, row: float, column: float, radius_y: float, radius_x: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return ((y - row) / radius_y) ** 2 + ((x - column) / radius_x) ** 2 < 1


def person(height: int, width: int, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A photograph with a busy background, and a DensePose map with parts in stripes."""
    chance = np.random.default_rng(0)
    image = chance.integers(0, 256, (height, width, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width]
    iuv = np.stack([rows % 25, columns % 256, rows % 256], axis=2).astype(np.uint8)
    return image, iuv


def test_square_surrounds_the_box_with_a_margin() -> None:
    mask = np.zeros((500, 300), bool)
    mask[100:400, 50:200] = True

    square = Crop.around(mask, margin=0.1)

    assert square.zoom * NETWORK_SIZE == pytest.approx(360)
    # The first pixel's upper edge is half a pixel before its centre.
    assert square.top - square.zoom / 2 + 0.5 == pytest.approx(100 - 30)
    assert square.left - square.zoom / 2 + 0.5 == pytest.approx(125 - 180)
    assert bounds(mask) == ((100, 400), (50, 200))


def test_whole_square_picture_of_network_size_is_left_as_it_is() -> None:
    mask = disc(256, 256, 130, 120, 100, 50)
    image, iuv = person(256, 256, mask)

    inputs, inside = network_inputs(image, mask, iuv, Crop.whole(256, 256))

    assert Crop.whole(256, 256) == Crop(0, 0, 1)
    assert np.array_equal(inside, mask)
    assert np.abs(inputs[:3].transpose(1, 2, 0) - np.where(mask[..., None], image, 255)).max() < 1e-4
    assert np.array_equal(inputs[3:6].transpose(1, 2, 0), iuv)
    assert np.array_equal(inputs[6], mask)


# Zoom out, zoom in, and a person whose square reaches beyond the picture on three sides.
SHAPES = [
    (disc(900, 700, 450, 350, 400, 180), "out"),
    (disc(120, 150, 60, 70, 50, 20), "in"),
    (disc(640, 480, 320, 60, 319, 150), "beyond"),
]


@pytest.mark.parametrize(("mask", "kind"), SHAPES, ids=[kind for _, kind in SHAPES])
def test_inputs_agree_with_pillow_on_a_padded_picture(mask: np.ndarray, kind: str) -> None:
    image, iuv = person(*mask.shape, mask)
    pad = 400
    white = np.where(mask[..., None], image, 255).astype(np.uint8)
    padded = np.pad(white, ((pad, pad), (pad, pad), (0, 0)), constant_values=255)
    padded_mask = np.pad(np.where(mask, 255, 0).astype(np.uint8), pad)
    padded_iuv = np.pad(iuv, ((pad, pad), (pad, pad), (0, 0)))
    square = Crop.around(mask)
    left, top = (start - square.zoom / 2 + 0.5 + pad for start in (square.left, square.top))
    side = square.zoom * NETWORK_SIZE
    box, size = (left, top, left + side, top + side), (NETWORK_SIZE, NETWORK_SIZE)

    inputs, inside = network_inputs(image, mask, iuv, square)

    expected = np.asarray(Image.fromarray(padded).resize(size, Image.Resampling.BILINEAR, box)).astype(float)
    expected = np.where(inside[..., None], expected, 255)
    assert np.abs(inputs[:3].transpose(1, 2, 0) - expected).max() <= 1.01  # Pillow rounds twice
    area = np.asarray(Image.fromarray(padded_mask).resize(size, Image.Resampling.BOX, box))
    # Pillow's box filter counts whole pixels only: off by the border of the mask at most.
    assert (inside != (area > 127)).mean() < 0.01
    assert inside.mean() == pytest.approx(mask.sum() / side**2, rel=0.01)
    nearest = np.asarray(Image.fromarray(padded_iuv).resize(size, Image.Resampling.NEAREST, box))
    assert (inputs[3:6].transpose(1, 2, 0) != nearest).any(axis=2).mean() < 0.02  # ties between two pixels


def test_mask_counts_where_it_covers_more_than_half() -> None:
    mask = np.random.default_rng(4).uniform(size=(512, 512)) < 0.5
    mask[[0, -1]] = mask[:, [0, -1]] = True
    image, iuv = person(512, 512, mask)

    _, inside = network_inputs(image, mask, iuv, Crop.whole(512, 512))

    covered = mask.reshape(256, 2, 256, 2).sum(axis=(1, 3))
    assert set(np.unique(covered)) == {0, 1, 2, 3, 4}
    assert np.array_equal(inside, covered > 2)


def test_iuv_is_never_interpolated() -> None:
    mask = disc(700, 700, 350, 350, 300, 150)
    image, _ = person(700, 700, mask)
    iuv = np.zeros((700, 700, 3), np.uint8)
    iuv[:, 350:] = (24, 255, 255)
    iuv[:, :350] = (2, 0, 0)

    inputs, _ = network_inputs(image, mask, iuv, Crop.around(mask))

    found = {tuple(v) for v in inputs[3:6].reshape(3, -1).T.astype(int).tolist()}
    assert found == {(2, 0, 0), (24, 255, 255), (0, 0, 0)}  # 0 beyond the picture


def test_outside_of_the_mask_never_shows() -> None:
    mask = disc(500, 400, 250, 200, 220, 90)
    image, iuv = person(500, 400, mask)
    other = np.where(mask[..., None], image, np.uint8(7))

    first, _ = network_inputs(image, mask, iuv, Crop.around(mask))
    second, _ = network_inputs(other, mask, iuv, Crop.around(mask))

    assert np.array_equal(first, second)
    assert (first[:3, first[6] == 0] == 255).all()


def test_scattered_mask_is_refused() -> None:
    mask = np.zeros((1200, 1200), bool)
    mask[np.arange(1200), np.arange(1200)] = True
    image, iuv = person(1200, 1200, mask)

    with pytest.raises(InputError, match="too thin or scattered"):
        network_inputs(image, mask, iuv, Crop.around(mask))


def test_whole_picture_has_to_be_square() -> None:
    with pytest.raises(InputError, match="640 x 480"):
        Crop.whole(480, 640)


def towards(x: float, y: float) -> np.ndarray:
    vector = np.array([x, y, -1.0])
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(("mask", "kind"), SHAPES, ids=[kind for _, kind in SHAPES])
def test_linear_maps_come_back_exactly_and_without_background(mask: np.ndarray, kind: str) -> None:
    square = Crop.around(mask)
    image, iuv = person(*mask.shape, mask)
    _, inside = network_inputs(image, mask, iuv, square)
    columns, rows = square.pixels()
    depth = np.where(inside, 4 + 1e-3 * columns[None, :] - 5e-4 * rows[:, None], -1000)
    normals = np.where(inside[..., None], towards(0.3, -0.2), 77)
    (top, bottom), (left, right) = bounds(mask)
    x, y = square.places(np.arange(left, right), np.arange(top, bottom))

    depth_back, normals_back = map_back(depth, normals, inside, x, y)

    expected = 4 + 1e-3 * np.arange(left, right)[None, :] - 5e-4 * np.arange(top, bottom)[:, None]
    wrong = np.abs(depth_back - expected)[mask[top:bottom, left:right]]
    assert wrong.max() < 2.5e-3 * square.zoom + 1e-3  # at the rim the value of a neighbour about two pixels away
    assert np.median(wrong) < 5e-5 / square.zoom
    assert np.abs(normals_back - towards(0.3, -0.2)).max() < 1e-6


def test_parts_lost_by_the_resolution_take_the_nearest_value() -> None:
    inside = np.zeros((256, 256), bool)
    inside[100:150, 100:150] = True
    depth = np.where(inside, 4.0, np.nan)
    normals = np.where(inside[..., None], towards(0, 0), np.nan)

    depth_back, normals_back = map_back(depth, normals, inside, np.arange(0, 256, 0.5), np.arange(0, 256, 0.5))

    assert depth_back.shape == (512, 512)
    assert (depth_back == 4).all()
    assert np.array_equal(normals_back, np.broadcast_to(towards(0, 0), (512, 512, 3)))


def test_normals_stay_unit_where_opposite_ones_meet() -> None:
    inside = np.ones((256, 256), bool)
    normals = np.zeros((256, 256, 3))
    normals[:, :128, 0], normals[:, 128:, 0] = 1, -1

    _, back = map_back(np.full((256, 256), 4.0), normals, inside, np.array([126.5, 127.5, 128.5]), np.array([9.0]))

    assert np.abs(np.linalg.norm(back, axis=2) - 1).max() < 1e-6
    assert back[0, :, 0].tolist() == [1, -1, -1]


def test_model_without_normals_is_named() -> None:
    inside = np.ones((256, 256), bool)

    with pytest.raises(ModelError, match="no surface normal"):
        map_back(np.ones((256, 256)), np.zeros((256, 256, 3)), inside, np.arange(4.0), np.arange(4.0))


def gradient(height, width):
    """A picture whose red is its column and green its row, in parts of 255."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / (width - 1), y * 255 / (height - 1), 0 * x + 60], axis=2).round().astype(np.uint8)


@pytest.mark.parametrize("size", [(100, 60), (256, 256), (300, 500), (3000, 2000)])
def test_a_scene_is_resampled_where_its_pixels_are(size):
    """Colours that grow evenly are, after any resampling, those of the places that `Crop.pixels` names."""
    height, width = size
    square = Crop.letterbox(height, width)
    inputs, within = scene_inputs(gradient(height, width), None, square)
    x, y = square.pixels()
    inner = within & (abs(x - (width - 1) / 2) < width / 2 - 2 * square.zoom)[None]
    inner &= (abs(y - (height - 1) / 2) < height / 2 - 2 * square.zoom)[:, None]
    expected = (
        np.broadcast_to(x[None] * 255 / (width - 1), within.shape),
        np.broadcast_to(y[:, None] * 255 / (height - 1), within.shape),
    )
    for channel, values in enumerate(expected):
        error = (inputs[channel] - values)[inner]
        assert np.abs(error).max() < 1  # colours are rounded, twice
        assert abs(error.mean()) < 0.01
    assert (inputs[:3, ~within] == 127).all()
    assert (inputs[3, ~within] == -1).all()
    assert not inputs[3, within].any()
    assert within.sum() == pytest.approx(256 * 256 * min(size) / max(size), rel=0.02)


def test_a_scenes_hint_is_the_mask_where_the_square_shows_the_picture():
    mask = np.zeros((200, 100), bool)
    mask[50:150, 20:60] = True
    square = Crop.around(mask)
    inputs, within = scene_inputs(gradient(200, 100), mask, square)
    x, y = square.pixels()
    expected = ((y > 49.5) & (y < 149.5))[:, None] & ((x > 19.5) & (x < 59.5))
    assert set(np.unique(inputs[3])) == {-1, 1}
    assert ((inputs[3] > 0) != expected).mean() < 0.01
    assert within[expected].all()


@pytest.mark.parametrize("size", [(200, 100), (3000, 1500)])
def test_outside_a_mask_a_scene_is_white_and_beyond_the_picture_grey(size):
    height, width = size
    mask = np.zeros(size, bool)
    mask[height // 4 : height * 3 // 4, : width // 2] = True
    square = Crop.around(mask)
    inputs, within = scene_inputs(gradient(height, width), mask, square)
    plain, _ = scene_inputs(gradient(height, width), None, square)
    inside = ndimage.binary_erosion(inputs[3] > 0, iterations=2)
    outside = ndimage.binary_erosion(within, iterations=2) & ~ndimage.binary_dilation(inputs[3] > 0, iterations=2)
    assert np.abs(inputs[:3] - plain[:3])[:, inside].max() <= 2  # rounded at other places
    assert (inputs[:3, outside] == 255).all()
    assert (inputs[:3, ~within] == 127).all()
    assert outside.any()
    assert (~within).any()


def test_a_person_cut_out_of_a_scene_is_the_scene_with_a_mask():
    """The square is a pixel a pixel, so that nothing is resampled; it reaches beyond the picture."""
    mask = np.zeros((200, 256), bool)
    mask[50:150, 20:60] = True
    square = Crop.letterbox(200, 256)
    plain, within = scene_inputs(gradient(200, 256), None, square)
    masked, _ = scene_inputs(gradient(200, 256), mask, square)
    inside = np.zeros((256, 256), bool)
    inside[28:228] = mask
    np.testing.assert_array_equal(cut_out(plain, inside, within), masked)
    assert not within.all()


def test_a_square_found_in_a_crop_lies_in_the_picture():
    whole = Crop.letterbox(400, 1000)
    mask = np.zeros((NETWORK_SIZE, NETWORK_SIZE), bool)
    rows, columns = np.arange(100, 300), np.arange(600, 700)
    x, y = (np.round(values).astype(int) for values in whole.places(columns, rows))
    mask[y[0] : y[-1] + 1, x[0] : x[-1] + 1] = True
    picture = np.zeros((400, 1000), bool)
    picture[100:300, 600:700] = True
    found, direct = whole.inner(mask), Crop.around(picture)
    assert (found.left, found.top, found.zoom) == pytest.approx((direct.left, direct.top, direct.zoom), abs=8)


def test_a_plane_is_sampled_at_the_pictures_pixels():
    square = Crop(10.0, -20.0, 0.5)
    x, y = square.places(np.arange(20, 60), np.arange(0, 30))
    columns, rows = np.meshgrid(np.arange(NETWORK_SIZE), np.arange(NETWORK_SIZE))
    np.testing.assert_allclose(sampled(2.0 * columns - rows, x, y), 2 * x[None] - y[:, None], atol=1e-3)
