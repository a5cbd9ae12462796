import io
from pathlib import Path

import numpy as np
import pytest
from dance_videos import Scene, paint
from PIL import Image

from hdnet.data.importing.densepose import check_sharp, densepose_order, read_densepose_rgb
from hdnet.errors import DataError


@pytest.fixture
def iuv() -> np.ndarray:
    return paint(Scene(width=200, height=300))[2]


def colour_map(part: np.ndarray) -> np.ndarray:
    """As tools draw part numbers for people."""
    rng = np.random.default_rng(1)
    colours = rng.integers(30, 255, (25, 3), dtype=np.uint8)
    colours[0] = 0
    return colours[part]


def test_both_orders_are_told_apart(iuv: np.ndarray):
    assert densepose_order(iuv[..., ::-1], "f") == "vui"
    assert densepose_order(iuv, "f") == "iuv"


def test_an_order_that_cannot_be_told_is_none(iuv: np.ndarray):
    unclear = iuv.copy()
    unclear[..., 2] //= 12
    assert densepose_order(unclear, "f") is None


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("grey parts", "a grey map of part numbers without U and V.*visualisation, not IUV data"),
        ("grey", "a grey picture without U and V.*visualisation, not IUV data"),
        ("colour map", r"a colour map of body parts \(2\d colours\).*visualisation, not IUV data"),
        ("overlay", "a coloured picture, no channel holds part numbers.*visualisation, not IUV data"),
        ("green", "part numbers are in the green channel"),
        ("unit scale", "U and V of at most 1.*multiply them by 255"),
        ("black", "is black, DensePose found nobody"),
    ],
)
def test_what_is_no_iuv_data_is_named(iuv: np.ndarray, form: str, reason: str):
    part = iuv[..., 0]
    overlay = (0.5 * colour_map(part) + 0.5 * paint(Scene(width=200, height=300))[0]).astype(np.uint8)
    pictures = {
        "grey parts": np.repeat(part[..., None], 3, axis=2),
        "grey": np.repeat(part[..., None] * np.uint8(10), 3, axis=2),
        "colour map": colour_map(part),
        "overlay": overlay,
        "green": iuv[..., [1, 0, 2]],
        "unit scale": np.dstack([(iuv[..., 1:] > 120).astype(np.uint8), part]),
        "black": np.zeros_like(iuv),
    }
    with pytest.raises(DataError, match=rf"^0001\.png: .*{reason}"):
        densepose_order(pictures[form], "0001.png")


@pytest.mark.parametrize("size", [(120, 180), (333, 500), (800, 1200)])
def test_smooth_resizing_is_noticed_and_nearest_neighbour_is_not(iuv: np.ndarray, size: tuple[int, int]):
    picture = Image.fromarray(iuv)
    assert check_sharp(np.asarray(picture.resize(size, Image.Resampling.NEAREST))[..., 0], "f")
    assert not check_sharp(np.asarray(picture.resize(size, Image.Resampling.BILINEAR))[..., 0], "f")


def test_a_detour_through_jpeg_is_refused(iuv: np.ndarray):
    buffer = io.BytesIO()
    Image.fromarray(iuv).save(buffer, "JPEG", quality=95)
    with pytest.raises(DataError, match=r"f: \d+% of the pixels at the edges .*blurred"):
        check_sharp(np.asarray(Image.open(buffer))[..., 0].clip(0, 24), "f")


def test_a_jpeg_is_refused_for_what_it_is(tmp_path: Path, iuv: np.ndarray):
    Image.fromarray(iuv).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: found lossy storage, which blurs part numbers"):
        read_densepose_rgb(tmp_path / "a.jpg")
