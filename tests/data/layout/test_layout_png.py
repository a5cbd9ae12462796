import numpy as np
import pytest
from PIL import Image

from hdnet.data.layout.png import read_iuv_rgb, read_mask, read_rgb, write_png
from hdnet.errors import DataError
from hdnet.visualize import normal_picture

RGB = np.random.default_rng(0).integers(0, 255, (6, 5, 3), dtype=np.uint8)


def test_rgb_round_trip(tmp_path):
    write_png(tmp_path / "a.png", RGB)
    for read in (read_rgb, read_iuv_rgb):
        np.testing.assert_array_equal(read(tmp_path / "a.png"), RGB)


def test_palette_grey_and_opaque_rgba_become_rgb(tmp_path):
    two_colours = np.where(RGB[..., :1] > 100, np.uint8([[[200, 10, 30]]]), np.uint8([[[0, 5, 250]]]))
    Image.fromarray(two_colours).quantize(2).save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "palette.png"), two_colours)
    Image.fromarray(RGB[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "grey.png"), np.repeat(RGB[..., :1], 3, axis=2))
    rgba = np.concatenate([RGB, np.full((6, 5, 1), 255, np.uint8)], axis=2)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "rgba.png"), RGB)


def test_transparent_picture_is_refused(tmp_path):
    rgba = np.concatenate([RGB, np.full((6, 5, 1), 255, np.uint8)], axis=2)
    rgba[2, 2, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    with pytest.raises(DataError, match=r"rgba.png: .*transparent"):
        read_rgb(tmp_path / "rgba.png")


def test_sixteen_bit_pictures_are_refused(tmp_path):
    Image.fromarray(np.arange(30, dtype=np.uint16).reshape(6, 5) * 2000).save(tmp_path / "deep.png")
    for read in (read_rgb, read_iuv_rgb, read_mask):
        with pytest.raises(DataError, match=r"deep.png: found .*16"):
            read(tmp_path / "deep.png")


def test_sixteen_bit_colour_is_refused(tmp_path):
    # Pillow cannot write it: a 1 x 1 picture by hand.
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + b"\x12\x34" * 3)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(png)
    with pytest.raises(DataError, match=r"deep.png: found 16 bits"):
        read_rgb(tmp_path / "deep.png")


def test_grey_picture_is_no_iuv(tmp_path):
    Image.fromarray(RGB[..., 0]).save(tmp_path / "grey.png")
    with pytest.raises(DataError, match=r"grey.png: found pixel format L"):
        read_iuv_rgb(tmp_path / "grey.png")


@pytest.mark.parametrize("read", [read_rgb, read_iuv_rgb, read_mask])
def test_damaged_files_are_refused_by_name(tmp_path, read):
    write_png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    (tmp_path / "short.png").write_bytes((tmp_path / "a.png").read_bytes()[:3000])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    Image.fromarray(RGB).save(tmp_path / "jpeg.png", format="JPEG")
    for name in ("short", "text", "empty", "jpeg", "missing"):
        with pytest.raises(DataError, match=rf"{name}.png: ") as caught:
            read(tmp_path / f"{name}.png")
        assert "\n" not in str(caught.value)


def test_mask_threshold_lies_between_100_and_101(tmp_path):
    Image.fromarray(np.array([[0, 1, 100, 101, 255]], dtype=np.uint8)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), [[False, False, False, True, True]])


def test_mask_of_one_bit_or_of_equal_channels(tmp_path):
    mask = RGB[..., 0] > 120
    write_png(tmp_path / "mask.png", mask)
    Image.fromarray(mask).save(tmp_path / "bit.png")
    Image.fromarray(np.repeat(np.where(mask, 255, 0)[..., None], 3, axis=2).astype(np.uint8)).save(tmp_path / "rgb.png")
    for name in ("mask", "bit", "rgb"):
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.png"), mask)
    write_png(tmp_path / "colour.png", RGB)
    with pytest.raises(DataError, match=r"colour.png: .*channels differ"):
        read_mask(tmp_path / "colour.png")


def test_normal_picture_of_known_normals():
    normals = np.array([[[0, 0, -1], [1, 0, 0], [0, -1, 0], [0, 0, 1]]], dtype=np.float32)
    picture = normal_picture(normals, np.array([[True, True, True, False]]))
    np.testing.assert_array_equal(picture, [[[127, 127, 255], [0, 127, 0], [127, 255, 0], [255, 255, 255]]])
