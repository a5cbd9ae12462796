"""Pictures that users hand in: every mode read as documented, every broken one refused by name."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from hdnet.errors import InputError
from hdnet.pictures import reading as pictures


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


@pytest.fixture
def iuv() -> np.ndarray:
    drawn = np.random.default_rng(1).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    drawn[..., 0] %= 25
    drawn[0, 0] = (24, 255, 200)
    return drawn


def test_rgb_is_read_as_it_is(rgb: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(rgb)))

    assert np.array_equal(pictures.read_image(tmp_path / "a.png"), rgb)
    assert pictures.read_alpha(tmp_path / "a.png") is None


def test_transparency_is_shown_on_white_and_serves_as_mask(rgb: np.ndarray) -> None:
    alpha = np.zeros(rgb.shape[:2], np.uint8)
    alpha[:, :3], alpha[:, 3:6] = 255, 101
    data = encoded(Image.fromarray(np.dstack([rgb, alpha])))

    shown = pictures.decode_image(data, "cut-out")

    share = alpha[..., None] / 255
    assert np.abs(shown - (rgb * share + 255 * (1 - share))).max() <= 1
    assert np.array_equal(pictures.decode_alpha(data, "cut-out"), alpha > 100)


def test_opaque_alpha_says_nothing_about_a_mask(rgb: np.ndarray) -> None:
    data = encoded(Image.fromarray(rgb).convert("RGBA"))

    assert pictures.decode_alpha(data, "opaque") is None
    assert np.array_equal(pictures.decode_image(data, "opaque"), rgb)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK"])
def test_other_modes_become_rgb(mode: str) -> None:
    grey = Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 4, axis=0))
    data = encoded(grey.convert("RGB").convert(mode), "JPEG" if mode == "CMYK" else "PNG")

    read = pictures.decode_image(data, mode)

    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - np.asarray(grey)[..., None]).max() <= (4 if mode == "CMYK" else 0)


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    data = encoded(Image.fromarray(np.array([[0, 256 * 128, 65535]], np.uint16)))

    assert pictures.decode_image(data, "deep")[0, :, 1].tolist() == [0, 128, 255]
    assert pictures.decode_mask(data, "deep").tolist() == [[False, True, True]]


def test_exif_orientation_is_applied(rgb: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    smooth = np.kron(rgb // 2 + 60, np.ones((8, 8, 1), np.uint8))
    data = encoded(Image.fromarray(smooth), "JPEG", exif=exif, quality=98)

    turned = pictures.decode_image(data, "phone")

    assert turned.shape == (72, 48, 3)
    assert np.abs(turned.astype(int) - np.rot90(smooth, -1)).mean() < 6


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P"])
def test_masks_of_all_modes_agree(mode: str) -> None:
    inside = np.zeros((5, 7), bool)
    inside[1:4, 2:6] = True
    image = Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).convert("RGB").convert(mode)

    assert np.array_equal(pictures.decode_mask(encoded(image), mode), inside)


def test_mask_counts_above_100_and_transparent_is_outside() -> None:
    values = np.array([[100, 101, 255, 255]], np.uint8)
    alpha = np.array([[255, 255, 255, 0]], np.uint8)

    read = pictures.decode_mask(encoded(Image.fromarray(np.dstack([values, alpha]))), "m")

    assert read.tolist() == [[False, True, True, False]]


def test_mask_of_zero_and_one_is_refused_instead_of_being_empty() -> None:
    data = encoded(Image.fromarray(np.eye(4, dtype=np.uint8)))

    with pytest.raises(InputError, match=r"m\.png: largest value is 1, expected 255"):
        pictures.decode_mask(data, "m.png")


def test_mask_with_colours_is_refused(rgb: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"m\.png: a mask with colours"):
        pictures.decode_mask(encoded(Image.fromarray(rgb)), "m.png")


@pytest.mark.parametrize("order", ["vui", "iuv"])
def test_iuv_is_read_in_both_orders_when_stated(iuv: np.ndarray, order: pictures.IuvOrder) -> None:
    stored = iuv[..., ::-1] if order == "vui" else iuv
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)))

    assert np.array_equal(pictures.decode_iuv(data, "dp", order), iuv)


def test_iuv_in_the_wrong_order_names_the_channel_that_looks_like_parts(iuv: np.ndarray) -> None:
    data = encoded(Image.fromarray(iuv))

    with pytest.raises(InputError, match=r"dp\.png: blue goes up to 2\d\d.*red looks like I: state .*'iuv'"):
        pictures.decode_iuv(data, "dp.png")


def test_iuv_with_parts_in_the_middle_is_refused(iuv: np.ndarray) -> None:
    data = encoded(Image.fromarray(np.ascontiguousarray(iuv[..., [1, 0, 2]])))

    with pytest.raises(InputError, match="green looks like I: reorder it to V, U, I"):
        pictures.decode_iuv(data, "dp.png")


def test_photograph_as_iuv_is_refused(rgb: np.ndarray) -> None:
    with pytest.raises(InputError, match="no channel looks like I"):
        pictures.decode_iuv(encoded(Image.fromarray(rgb)), "dp.png")


def test_lossy_or_grey_iuv_is_refused(iuv: np.ndarray) -> None:
    image = Image.fromarray(iuv)

    with pytest.raises(InputError, match="JPEG"):
        pictures.decode_iuv(encoded(image, "JPEG"), "dp.jpg")
    with pytest.raises(InputError, match="mode 'L'"):
        pictures.decode_iuv(encoded(image.convert("L")), "dp.png")


READERS = (pictures.decode_image, pictures.decode_alpha, pictures.decode_mask, pictures.decode_iuv)


@pytest.mark.parametrize("decode", READERS)
def test_broken_files_give_one_line(decode: Callable[..., object], rgb: np.ndarray) -> None:
    whole = encoded(Image.fromarray(np.kron(rgb, np.ones((20, 20, 1), np.uint8))))
    cases = {
        "empty": (b"", "is empty"),
        "text": (b"hello", "not a picture"),
        "cut": (whole[:200], "truncated"),
    }

    for name, (data, words) in cases.items():
        with pytest.raises(InputError, match=words) as caught:
            decode(data, name)
        assert str(caught.value).startswith(name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "decode", [pictures.decode_image, pictures.decode_alpha, pictures.decode_mask, pictures.decode_iuv]
)
def test_palette_picture_without_its_palette_is_damaged(decode: Callable[..., object], rgb: np.ndarray) -> None:
    data = encoded(Image.fromarray(rgb).quantize(16))
    start = data.index(b"PLTE") - 4
    (length,) = struct.unpack_from(">I", data, start)

    with pytest.raises(InputError, match=r"a truncated or damaged picture .its palette is missing"):
        decode(data[:start] + data[start + length + 12 :], "a.png")


def test_too_many_pixels_are_refused_before_decompression(rgb: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"a\.png: 9 x 6 = 0\.0 megapixels, the limit is 0\.0"):
        pictures.decode_image(encoded(Image.fromarray(rgb)), "a.png", max_pixels=53)
    assert pictures.decode_image(encoded(Image.fromarray(rgb)), "a.png", max_pixels=54).shape == (6, 9, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 60_000])
def test_decompression_bomb_is_refused(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    body = b"IDAT" + zlib.compress(bytes(1000))
    data += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    with pytest.raises(InputError, match=r"bomb\.png: .*(pixels)"):
        pictures.decode_image(data, "bomb.png")


def test_missing_file_and_rare_formats(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png: cannot be read \(No such file"):
        pictures.read_image(tmp_path / "none.png")
    with pytest.raises(InputError, match=r"a\.tif: found a TIFF picture or .*, expected PNG, .* or GIF; save it as"):
        pictures.decode_image(encoded(Image.new("RGB", (4, 4)), "TIFF"), "a.tif")
    with pytest.raises(InputError, match="mode 'CMYK'"):
        pictures.decode_mask(encoded(Image.new("CMYK", (4, 4)), "JPEG"), "m.jpg")


# Pillow warns of damaged tags and of claimed sizes.
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", *(["AVIF"] if features.check("avif") else [])])
def test_mutated_files_never_raise_anything_else(kind: str, rgb: np.ndarray) -> None:
    data = encoded(Image.fromarray(np.kron(rgb, np.ones((3, 3, 1), np.uint8))), kind)
    chance = random.Random(kind)
    refused = 0
    for _ in range(150):
        mutated = bytearray(data)
        for _ in range(chance.randint(1, 8)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        del mutated[chance.choice([len(mutated), chance.randrange(len(mutated))]) :]
        for decode in READERS:
            try:
                decode(bytes(mutated), "mutated", max_pixels=1_000_000)
            except InputError:
                refused += 1

    assert refused > 100
