"""Photographs as Python hands them over: every form means the same picture, mask, map and camera."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from hdnet.errors import InputError
from hdnet.geometry import Camera
from hdnet.pictures import decoding
from hdnet.pictures.cameras import camera_of_focal_35mm
from hdnet.predict.sources import read_photograph


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (60, 40, 3), dtype=np.uint8)


@pytest.fixture
def mask() -> np.ndarray:
    inside = np.zeros((60, 40), bool)
    inside[10:50, 5:30] = True
    return inside


def exif(orientation: int, focal_mm: int = 0) -> Image.Exif:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    if focal_mm:
        tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = focal_mm
    return tags


def test_opened_pictures_mean_what_their_files_mean(pixels: np.ndarray, mask: np.ndarray, tmp_path: Path) -> None:
    lying, name = np.ascontiguousarray(np.rot90(pixels)), tmp_path / "a.png"
    Image.fromarray(lying).save(name, exif=exif(6, 35))
    Image.fromarray(mask).save(tmp_path / "m.png", exif=exif(6))
    iuv = np.dstack([mask * np.uint8(2), pixels[..., 1:]])
    Image.fromarray(np.ascontiguousarray(iuv[..., ::-1])).save(tmp_path / "d.png", exif=exif(3))
    for form in (Path, lambda path: Path(path).read_bytes(), Image.open):
        read = read_photograph(*(form(tmp_path / one) for one in ("a.png", "m.png", "d.png")))  # type: ignore[operator]
        assert np.array_equal(read.image, pixels)
        assert np.array_equal(read.mask, mask)  # of the upright picture, whatever its own EXIF
        assert np.array_equal(read.iuv, iuv)
        assert (read.camera.source, read.camera.camera) == ("exif", camera_of_focal_35mm(35, 40, 60))
    opened = Image.open(name)
    read_photograph(opened)
    assert opened.size == (60, 40)  # as it was


def test_masks_and_maps_of_16_bits_and_transparency(pixels: np.ndarray, mask: np.ndarray) -> None:
    deep = Image.fromarray(mask.astype(np.uint16) * 255)
    assert np.array_equal(read_photograph(pixels, deep).mask, mask)
    cut_out = Image.fromarray(np.dstack([pixels, mask * np.uint8(255)]))
    read = read_photograph(cut_out)
    assert np.array_equal(read.mask, mask)
    assert (read.image[~mask] == 255).all()
    with pytest.raises(InputError, match="is of type NoneType"):
        read_photograph(None)  # type: ignore[arg-type]


def test_arrays_and_camera_follow_a_file_that_is_shrunk(
    pixels: np.ndarray, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "WORKING_PIXELS", pixels.shape[0] * pixels.shape[1])
    large = io.BytesIO()
    Image.fromarray(pixels.repeat(2, axis=0).repeat(2, axis=1)).save(large, "PNG")
    wide = mask.repeat(2, axis=0).repeat(2, axis=1)
    stated = Camera(120.0, 130.0, 39.5, 61.0)
    read = read_photograph(large.getvalue(), wide, np.dstack([wide * np.uint8(3)] * 3), camera=stated)
    assert np.array_equal(read.image, pixels)
    assert np.array_equal(read.mask, mask)
    assert np.array_equal(read.iuv[..., 0], mask * 3)  # type: ignore[index]
    assert read.camera.camera is not None
    fx, fy, cx, cy = read.camera.camera.pixel_intrinsics()
    assert (7 - cx) / fx == pytest.approx((14.5 - 39.5) / 120)
    assert (20 - cy) / fy == pytest.approx((40.5 - 61) / 130)
