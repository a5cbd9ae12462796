"""Files that phones and picture tools make: formats, sizes, colour profiles, 16 bits, orientation."""

from __future__ import annotations

import struct
import sys
import zlib

import numpy as np
import pytest
from picture_files import encoded, icc_profile, person_iuv, person_mask, png_of_16_bits
from PIL import ExifTags, Image, features

from hdnet.errors import InputError
from hdnet.pictures import decoding
from hdnet.pictures.cameras import caller_camera, camera_of_focal_35mm, exif_camera
from hdnet.pictures.reading import decode_given, decode_image, decode_iuv, decode_mask, decode_photo

# Columns are XYZ of red, green, blue under D50 (Bradford), of Display P3 and of sRGB.
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
SRGB = np.array([[0.43604, 0.38512, 0.14305], [0.22249, 0.71690, 0.06061], [0.01392, 0.09706, 0.71393]])


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, 128 + 60 * np.sin(x / 40)], axis=-1).astype(np.uint8)


def turned_exif(orientation: int = 6, **tags: object) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = tags.pop("Make", "maker")
    for name, value in tags.items():
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base[name]] = value
    return exif


def test_colours_of_display_p3_become_srgb() -> None:
    gamma = 2.2
    image = np.full((4, 5, 3), (200, 90, 60), np.uint8)
    image[0] = (120, 130, 125)
    data = encoded(Image.fromarray(image), icc_profile=icc_profile(P3, gamma))

    read = decode_image(data, "phone.png").astype(float)

    linear = (image / 255.0) ** gamma @ (np.linalg.inv(SRGB) @ P3).T
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(0) ** (1 / 2.4) - 0.055).clip(0, 1)
    assert np.abs(read - 255 * expected).max() < 2
    assert read[1, 1, 0] > 208  # sRGB needs more red for it


def test_a_profile_of_srgb_and_a_damaged_one_change_nothing() -> None:
    image = smooth(30, 40)
    plain = Image.fromarray(image)
    own = decoding.ImageCms.ImageCmsProfile(decoding.ImageCms.createProfile("sRGB")).tobytes()

    assert np.array_equal(decode_image(encoded(plain, icc_profile=own), "a"), image)
    assert np.array_equal(decode_image(encoded(plain, icc_profile=b"x" * 200), "a"), image)
    assert np.array_equal(decode_image(encoded(plain.convert("L"), icc_profile=own), "a")[..., 0], plain.convert("L"))


def test_a_profile_leaves_transparency_masks_and_maps_alone() -> None:
    iuv, profile = person_iuv(), icc_profile(P3, 1.8)
    mask = person_mask(iuv).astype(np.uint8) * 255
    cut_out = encoded(Image.fromarray(np.dstack([smooth(200, 160), mask])), icc_profile=profile)

    assert np.array_equal(decode_photo(cut_out, "a").alpha, mask > 0)
    assert np.array_equal(decode_mask(encoded(Image.fromarray(mask), icc_profile=profile), "m"), mask > 0)
    assert np.array_equal(decode_iuv(encoded(Image.fromarray(iuv), icc_profile=profile), "d", "iuv"), iuv)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read() -> None:
    image = smooth(64, 96)
    assert np.abs(decode_image(encoded(Image.fromarray(image), "AVIF", quality=95), "a").astype(int) - image).mean() < 3


def test_heic_is_read_upright_with_its_camera() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    image = smooth(64, 96)
    data = encoded(Image.fromarray(image), "HEIF", quality=95, exif=turned_exif(6, FocalLengthIn35mmFilm=26).tobytes())

    read = decode_image(data, "phone.heic")

    assert read.shape == (96, 64, 3)
    assert np.abs(read.astype(int) - np.rot90(image, -1)).mean() < 4
    assert exif_camera(data, 64, 96) == camera_of_focal_35mm(26, 64, 96)


def test_heic_is_named_where_its_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(400)
    with pytest.raises(
        InputError, match=r"p\.heic: found a HEIC or HEIF picture.*`pip install pillow-heif`.*JPEG"
    ) as caught:
        decode_image(data, "p.heic")
    assert (caught.value.code, caught.value.parts) == ("unsupported_format", ("image",))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%PDF-1.7\nrest", "a PDF document.*export the page"),
        (b"II*\0rest", "a TIFF picture"),
        (b"\0\0\0\x20ftypisom", "a video"),
        (b"\0\0\0\x18ftypcrx ", "raw file"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
        (b"  <svg xmlns=''>", "an SVG drawing"),
        (b"<!doctype html>", "a web page"),
        (b"PK\x03\x04 archive", "a ZIP archive.*unpack"),
        (b"\x93NUMPY\x01\0", "a NumPy array"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS.*git lfs pull"),
    ],
)
@pytest.mark.parametrize("decode", [decode_image, decode_mask, decode_iuv])
def test_kinds_that_people_send_are_named(data: bytes, said: str, decode: object) -> None:
    with pytest.raises(InputError, match=rf"^a: found .*{said}.*") as caught:
        decode(data.ljust(300, b"\0"), "a")  # type: ignore[operator]
    assert caught.value.code == "unsupported_format"
    assert "expected PNG, JPEG" in str(caught.value)


def test_the_first_frame_of_a_film_is_taken() -> None:
    frames = [Image.fromarray(np.full((40, 50, 3), level, np.uint8)) for level in (10, 200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode_image(data, "a.gif") == 10).all()


@pytest.mark.parametrize(("limit", "shrink"), [(640_000, 1), (639_999, 2), (159_999, 4)])
def test_a_large_jpeg_is_shrunk_while_it_is_decoded(limit: int, shrink: int) -> None:
    image = smooth(800, 800)
    data = encoded(Image.fromarray(image), "JPEG", quality=95, subsampling=0)

    photo = decode_photo(data, "phone.jpg", limit)

    side = 800 // shrink
    assert (photo.shrink, photo.image.shape) == (shrink, (side, side, 3))
    blocks = image.reshape(side, shrink, side, shrink, 3).mean((1, 3))
    assert np.abs(photo.image - blocks).mean() < 2
    with pytest.raises(InputError, match=r"0\.6 megapixels, the limit is 0\.1 .*--max-megapixels"):
        decode_photo(data, "phone.jpg", 79_999)


def test_other_formats_and_progressive_jpeg_have_tighter_limits() -> None:
    image = Image.fromarray(smooth(100, 100))
    for kind, options, limit in (("PNG", {}, 9_999), ("WEBP", {}, 9_999), ("JPEG", {"progressive": True}, 4_999)):
        with pytest.raises(InputError, match="100 x 100"):
            decode_photo(encoded(image, kind, **options), "a", limit)
        assert decode_photo(encoded(image, kind, **options), "a", limit + 1).shrink == (2 if kind == "JPEG" else 1)


def test_a_photograph_of_200_megapixels_is_read_in_little_memory() -> None:
    """The header of a phone's picture; Pillow alone would call it a decompression bomb."""
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", 12_240, 16_320)
    header = decoding.open_header(bytes(data))
    assert header.size == (16_320, 12_240)
    assert decode_photo(bytes(data), "a.jpg").image.shape == (3_060, 4_080, 3)
    with pytest.raises(InputError, match=r"16320 x 12240 = 199\.8 megapixels, the limit is 20\.0"):
        decode_photo(bytes(data), "a.jpg", 20_000_000)


def test_pictures_beyond_the_working_size_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "WORKING_PIXELS", 5_000)
    image = smooth(81, 100)
    for mode in ("RGB", "P", "RGBA"):
        photo = decode_photo(encoded(Image.fromarray(image).convert(mode)), "a.png")
        assert photo.shrink == 2
        assert photo.image.shape == (41, 50, 3)
    assert (
        np.abs(
            decode_image(encoded(Image.fromarray(image)), "a")[:40] - image[:80].reshape(40, 2, 50, 2, 3).mean((1, 3))
        ).max()
        < 1
    )
    assert decode_mask(encoded(Image.fromarray(image[..., 0] // 200 * 255)), "m").shape == (81, 100)


def test_mask_map_and_intrinsics_follow_a_picture_that_was_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "WORKING_PIXELS", 3 * 200 * 160)
    iuv = person_iuv(scale=4)
    photo = encoded(Image.fromarray(smooth(800, 640)), "JPEG")
    files = encoded(Image.fromarray(person_mask(iuv))), encoded(Image.fromarray(iuv))

    given = decode_given(photo, *files, "iuv")

    assert given.shrink == 4
    assert np.array_equal(given.iuv, person_iuv())
    assert np.array_equal(given.mask, person_mask(person_iuv()))
    small = encoded(Image.fromarray(person_iuv()))  # of the shrunk size already
    assert np.array_equal(decode_given(photo, None, small, "iuv").iuv, person_iuv())
    stated = {"fx": 900.0, "fy": 880.0, "cx": 319.5, "cy": 411.0}
    camera = caller_camera(photo, 160, 200, **stated).camera
    assert camera is not None
    # Pixel x of the shrunk picture covers 4 x to 4 x + 3 of the file's: rays through their middle agree.
    fx, fy, cx, cy = camera.pixel_intrinsics()
    assert (10 - cx) / fx == pytest.approx((4 * 10 + 1.5 - 319.5) / 900)
    assert (70 - cy) / fy == pytest.approx((4 * 70 + 1.5 - 411) / 880)
    same = caller_camera(photo, 640, 800, **stated).camera
    assert same is not None
    assert same.pixel_intrinsics() == (900.0, 880.0, 319.5, 411.0)


def test_masks_and_maps_ignore_the_orientation_that_was_copied_into_them() -> None:
    iuv = person_iuv()
    for orientation in (3, 6, 8):
        exif = turned_exif(orientation)
        assert np.array_equal(decode_iuv(encoded(Image.fromarray(iuv), exif=exif), "d", "iuv"), iuv)
        assert np.array_equal(decode_mask(encoded(Image.fromarray(person_mask(iuv)), exif=exif), "m"), person_mask(iuv))
        assert decode_image(encoded(Image.fromarray(iuv), exif=exif), "i").shape[:2] == (
            (200, 160) if orientation == 3 else (160, 200)
        )


@pytest.mark.parametrize("scale", [1, 257, 256])
@pytest.mark.parametrize("channels", ["grey", "grey and alpha", "rgb", "rgba"])
def test_masks_of_16_bits(scale: int, channels: str) -> None:
    mask = person_mask(person_iuv())
    grey = mask.astype(np.uint16) * 255 * scale
    opaque = np.full_like(grey, 65535)
    planes = {"grey": grey, "grey and alpha": [grey, opaque], "rgb": [grey] * 3, "rgba": [grey, grey, grey, opaque]}
    pixels = planes[channels] if channels == "grey" else np.stack(planes[channels], axis=-1)
    assert np.array_equal(decode_mask(png_of_16_bits(np.asarray(pixels)), "m"), mask)


@pytest.mark.parametrize("scale", [1, 257, 256])
def test_maps_of_16_bits(scale: int) -> None:
    iuv = person_iuv()
    data = png_of_16_bits(iuv.astype(np.uint16) * scale)
    assert np.array_equal(decode_iuv(data, "d", "iuv"), iuv)
    mixed = iuv.astype(np.uint16) * np.array([1, 257, 257], np.uint16)
    assert np.array_equal(decode_iuv(png_of_16_bits(mixed), "d", "iuv"), iuv)


def test_photographs_of_16_bits_keep_their_dark_channels() -> None:
    image = smooth(20, 30).astype(np.uint16) * 257
    image[..., 2] = 200  # of 65535: black
    read = decode_image(png_of_16_bits(image), "a")
    assert np.array_equal(read[..., :2], image[..., :2] >> 8)
    assert not read[..., 2].any()
    assert np.array_equal(decode_image(png_of_16_bits(smooth(20, 30).astype(np.uint16)), "a"), smooth(20, 30))


def test_a_picture_cut_off_in_its_header_is_one_line() -> None:
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">II", 9, 9) + zlib.compress(b"")
    for data in (bomb, b"\xff\xd8\xff", b"\xff\xd8\xff\xe0" + bytes(30), b"\0\0\0\x1cftypheic"):
        with pytest.raises(InputError) as caught:
            decode_image(data, "a")
        assert str(caught.value).startswith("a: ")
        assert "\n" not in str(caught.value)
