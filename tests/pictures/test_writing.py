"""PNG files: read back by Pillow, with and without the optional compressor."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from hdnet.pictures import writing
from hdnet.pictures.writing import encode_png

SHAPES = [(1, 1), (1, 7), (9, 1), (33, 50)]
KINDS = [(np.uint8, shape) for shape in [*SHAPES, (33, 50, 3), (1, 1, 3)]] + [(np.uint16, shape) for shape in SHAPES]


def decoded(data: bytes) -> np.ndarray:
    """The pixels of a PNG whose checksums are right."""
    Image.open(io.BytesIO(data)).verify()
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture(params=["isal", "zlib"], autouse=True)
def _compressor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "zlib":
        monkeypatch.setattr(writing, "deflate", zlib)
    else:
        pytest.importorskip("isal")


@pytest.mark.parametrize(("dtype", "shape"), KINDS)
def test_png_holds_any_pixels(dtype: type, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)

    for given in (pixels, pixels[::-1, ::-1], np.asfortranarray(pixels), pixels.astype(pixels.dtype.newbyteorder(">"))):
        assert np.array_equal(decoded(encode_png(given)), given)


def test_colours_of_sixteen_bits_are_read_back_by_ffmpeg() -> None:
    """Pillow would read eight of them."""
    av = pytest.importorskip("av")
    pixels = np.random.default_rng(0).integers(0, 65535, (33, 50, 3), np.uint16, endpoint=True)
    with av.open(io.BytesIO(encode_png(pixels)), format="png_pipe") as container:
        frame = next(container.decode(video=0))
    assert frame.format.name == "rgb48be"
    assert np.array_equal(frame.to_ndarray(), pixels)


def test_png_of_a_smooth_map_is_small() -> None:
    y, x = np.mgrid[:400, :300]
    inside = ((x - 150) / 80) ** 2 + ((y - 200) / 160) ** 2 < 1
    millimetres = np.where(inside, 4000 + 80 * np.sin(x / 30) + 0.3 * y, 0).astype(np.uint16)
    pillow = io.BytesIO()
    Image.fromarray(millimetres).save(pillow, "PNG", compress_level=1)

    assert len(encode_png(millimetres)) < 0.15 * millimetres.nbytes
    assert len(encode_png(millimetres)) < 1.1 * len(pillow.getvalue())  # which tries five filters on each row


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3), np.int16), np.zeros((0, 2), np.uint8)],
)
def test_pixels_of_another_kind_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"pixels are \w+ of shape \(.*expected grey or RGB, uint8 or uint16"):
        encode_png(pixels)
