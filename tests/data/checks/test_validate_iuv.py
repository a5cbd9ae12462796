import io
from pathlib import Path

import numpy as np
import pytest
from dolls import doll
from PIL import Image

from hdnet.data.checks.findings import Findings
from hdnet.data.checks.iuv import check_directions, check_encoding, check_parts
from hdnet.pictures.reading import iuv_to_png_rgb

FILE = Path("densepose/0000000.png")
PERSON = doll()
STORED = iuv_to_png_rgb(PERSON.iuv)
PART, U, V = (PERSON.iuv[..., k] for k in range(3))


def encoded(rgb):
    found = Findings()
    iuv = check_encoding(found, FILE, np.ascontiguousarray(rgb))
    return iuv, [str(error) for error in found.errors], [str(warning) for warning in found.warnings]


def placed(iuv, mask=PERSON.mask, min_parts=5):
    found = Findings()
    figures = check_parts(found, FILE, iuv, mask, min_parts)
    return figures, [str(error) for error in found.errors], [str(warning) for warning in found.warnings]


def directed(iuv):
    found = Findings()
    check_directions(found, FILE, iuv)
    return [str(error) for error in found.errors], [str(warning) for warning in found.warnings]


def refusal(rgb):
    iuv, (error,), _ = encoded(rgb)
    assert iuv is None
    assert "densepose/0000000.png: " in error
    assert "expected channels V, U, I" in error
    return error


def test_correct_map_passes():
    iuv, errors, warnings = encoded(STORED)
    assert (errors, warnings) == ([], [])
    assert np.array_equal(iuv, PERSON.iuv)
    figures, errors, warnings = placed(iuv)
    assert (errors, warnings) == ([], [])
    assert figures["body_parts"] == 11
    assert figures["part_coverage"] > 0.9
    assert directed(iuv) == ([], [])


def test_empty_map_has_no_order_but_is_an_error():
    assert encoded(np.zeros_like(STORED))[1:] == ([], [])
    assert "no body part at all" in placed(np.zeros_like(STORED))[1][0]


@pytest.mark.parametrize("order", ["I, U, V", "I, V, U", "U, I, V", "V, I, U"])
@pytest.mark.parametrize("divisor", [1, 6], ids=["0..255", "0..42"])
def test_other_orders_are_named(order, divisor):
    planes = {"I": PART, "U": U // divisor, "V": V // divisor}
    assert f"order {order}," in refusal(np.stack([planes[name] for name in order.split(", ")], axis=-1))


@pytest.mark.parametrize("divisor", [11, 32], ids=["0..23", "0..7"])
def test_order_is_found_where_u_and_v_are_no_larger_than_part_numbers(divisor):
    assert "order I, U, V," in refusal(np.stack([PART, U // divisor, V // divisor], axis=-1))
    assert encoded(np.stack([V // divisor, U // divisor, PART], axis=-1))[1] == []


def test_order_is_found_where_u_and_v_are_0_or_1():
    assert "part numbers (0..24) in channel R" in refusal(np.stack([PART, U // 128, V // 128], axis=-1))


def test_u_and_v_exchanged_are_named():
    iuv, errors, _ = encoded(np.stack([U, V, PART], axis=-1))
    assert errors == []
    (error,), _ = directed(iuv)
    assert "U and V are exchanged (order U, V, I)" in error


def test_grey_part_map_is_named():
    assert "a map of part numbers alone" in refusal(np.repeat(PART[..., None], 3, axis=-1))


def test_grey_map_of_multiplied_parts_is_named():
    assert "three equal channels" in refusal(np.repeat(PART[..., None] * 10, 3, axis=-1))


def test_multiplied_parts_are_named():
    error = refusal(np.stack([V, U, PART * 10], axis=-1))
    assert "multiples of 10" in error
    assert "divide the last channel by 10" in error


def test_colour_map_is_named():
    colours = np.random.default_rng(0).integers(40, 255, (25, 3)).astype(np.uint8)
    colours[0] = 0
    assert "a coloured drawing" in refusal(colours[PART])


def test_drawing_over_the_photograph_is_refused():
    colours = np.random.default_rng(0).integers(0, 255, (25, 3)).astype(np.uint8)
    assert "no channel that holds part numbers" in refusal(PERSON.image // 2 + colours[PART] // 2)


def test_jpeg_is_refused():
    stream = io.BytesIO()
    Image.fromarray(STORED).save(stream, "JPEG", quality=90)
    refusal(np.asarray(Image.open(stream)))


def test_part_numbers_above_24_are_refused():
    rgb = STORED.copy()
    rgb[..., 2][PART == 23] = 25
    error = refusal(rgb)
    assert "part numbers up to 25" in error
    assert "nearest neighbour" in error


def test_smooth_resizing_is_a_warning():
    small = Image.fromarray(STORED).resize((200, 200), Image.Resampling.BILINEAR)
    mask = Image.fromarray(PERSON.mask).resize((200, 200))
    iuv, errors, _ = encoded(np.asarray(small))
    assert errors == []
    assert any("that no neighbour shares" in warning for warning in placed(iuv, np.asarray(mask))[2])
    nearest = np.asarray(Image.fromarray(STORED).resize((200, 200), Image.Resampling.NEAREST))
    assert placed(encoded(nearest)[0], np.asarray(mask))[2] == []


def test_scale_0_to_1_is_an_error():
    _, (error,), _ = encoded(np.stack([V // 128, U // 128, PART], axis=-1))
    assert "U and V of at most 1" in error
    assert "multiply U and V by 255" in error


def test_missing_coordinate_is_a_warning():
    _, errors, (warning,) = encoded(np.stack([V, np.zeros_like(U), PART], axis=-1))
    assert errors == []
    assert "U of at most 0" in warning


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda iuv: iuv[:, ::-1], "mirrored left to right"),
        (lambda iuv: np.roll(iuv, -8, axis=0), "8 pixels too high"),
        (lambda iuv: np.roll(iuv, 25, axis=1), "25 pixels too far right"),
    ],
)
def test_map_in_another_place_is_an_error(change, text):
    _, (error,), _ = placed(change(PERSON.iuv))
    assert text in error


def test_parts_beside_the_mask_are_named():
    iuv, mask = PERSON.iuv.copy(), np.zeros_like(PERSON.mask)
    mask[5:15, 5:15] = True
    assert "no body part inside the mask" in placed(iuv, mask)[1][0]


def test_little_coverage_and_much_outside_are_warnings():
    only_head = np.where((PART >= 23)[..., None], PERSON.iuv, np.uint8(0))
    figures, errors, warnings = placed(only_head)
    assert errors == []
    assert "body parts on " in warnings[0]
    assert "2 body parts; expected 5 or more" in warnings[1]
    assert figures["part_coverage"] < 0.1
    without_legs = PERSON.mask.copy()
    without_legs[170:] = False
    assert "of the body parts lie outside the mask" in placed(PERSON.iuv, without_legs)[2][0]


def test_two_people_are_a_warning():
    iuv, mask = PERSON.iuv.copy(), PERSON.mask.copy()
    iuv[34:66, 10:46], mask[34:66, 10:46] = iuv[34:66, 108:144], mask[34:66, 108:144]
    assert "2 heads far apart" in placed(iuv, mask)[2][0]


def test_exchanged_sides_are_a_warning():
    exchanged = np.arange(25, dtype=np.uint8)
    exchanged[3:23] = exchanged[3:23].reshape(-1, 2)[:, ::-1].ravel()
    errors, (warning,) = directed(np.dstack([exchanged[PART], U, V]))
    assert errors == []
    assert "left and right part numbers are exchanged" in warning


def test_mirrored_body_is_a_warning():
    errors, (warning,) = directed(np.ascontiguousarray(PERSON.iuv[:, ::-1]))
    assert errors == []
    assert "mirrored over the whole body" in warning


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_turned_people_run_the_right_way(quarter_turns):
    assert directed(np.ascontiguousarray(np.rot90(PERSON.iuv, quarter_turns))) == ([], [])


def test_other_charts_are_not_judged():
    y, x = np.mgrid[:256, :256]
    own = np.dstack([PART, np.where(PART > 0, x, 0), np.where(PART > 0, y, 0)]).astype(np.uint8)
    assert directed(own) == ([], [])
