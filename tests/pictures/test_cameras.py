from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import ExifTags, Image

from hdnet.errors import InputError
from hdnet.pictures.cameras import caller_camera, camera_of_focal_35mm, camera_of_fov, exif_camera

WIDTH, HEIGHT = 64, 48


def photo(kind: str = "JPEG", maker: str = "maker", **tags: object) -> bytes:
    """A photograph with EXIF tags by name."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = maker
    for name, value in tags.items():
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base[name]] = value
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(buffer, format=kind, exif=exif)
    return buffer.getvalue()


def test_the_edges_of_the_picture_lie_at_half_the_field_of_view() -> None:
    camera = camera_of_fov(60.0, 1080, 1920)
    _, fy, cx, cy = camera.pixel_intrinsics()
    upper_edge = -0.5  # pixel edges lie half a pixel before pixel centres
    assert math.degrees(math.atan((cy - upper_edge) / fy)) == pytest.approx(30.0)
    assert (cx, cy) == (539.5, 959.5)


def test_a_35mm_lens_on_a_picture_of_the_films_shape_has_its_textbook_angles() -> None:
    # 50 mm on 36 x 24 mm: 39.6 x 27.0 degrees.
    camera = camera_of_focal_35mm(50.0, 3600, 2400)
    assert math.degrees(2 * math.atan(1800 / camera.fx)) == pytest.approx(39.598, abs=1e-3)
    assert math.degrees(2 * math.atan(1200 / camera.fy)) == pytest.approx(26.991, abs=1e-3)


def test_turning_the_camera_changes_nothing() -> None:
    assert (
        camera_of_focal_35mm(26, 4032, 3024).fx
        == camera_of_focal_35mm(26, 3024, 4032).fx
        == pytest.approx(3028.5, 1e-4)
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_focal_length(kind: str) -> None:
    camera = exif_camera(photo(kind, FocalLengthIn35mmFilm=28), WIDTH, HEIGHT)
    assert camera == camera_of_focal_35mm(28, WIDTH, HEIGHT)
    assert camera.fx == pytest.approx(28 / 43.26661 * 80)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"FocalLength": 4.2},  # of the lens, on a sensor of unknown size
        {"FocalLengthIn35mmFilm": 0},
        {"FocalLengthIn35mmFilm": 60000},
        {"FocalLengthIn35mmFilm": "wide"},
    ],
)
def test_without_a_usable_focal_length_nothing_is_known(tags: dict[str, object]) -> None:
    assert exif_camera(photo(**tags), WIDTH, HEIGHT) is None


@pytest.mark.parametrize(
    ("maker", "zoom", "focal_mm"),
    [
        ("maker", 2.5, 70),
        ("Apple", 2.5, 28),  # its focal length includes the zoom
        ("maker", 0, 28),  # "not used"
        ("maker", 1, 28),
        ("maker", 0.3, 28),
        ("maker", 4000, 28),
    ],
)
def test_digital_zoom_narrows_the_view(maker: str, zoom: float, focal_mm: float) -> None:
    data = photo(maker=maker, FocalLengthIn35mmFilm=28, DigitalZoomRatio=zoom)
    assert exif_camera(data, WIDTH, HEIGHT) == camera_of_focal_35mm(focal_mm, WIDTH, HEIGHT)


def test_a_photograph_that_was_cut_is_not_trusted() -> None:
    tags = {"FocalLengthIn35mmFilm": 28}
    turned = photo(**tags, ExifImageWidth=480, ExifImageHeight=640)
    assert exif_camera(turned, WIDTH, HEIGHT) == camera_of_focal_35mm(28, WIDTH, HEIGHT)
    cut = photo(**tags, ExifImageWidth=640, ExifImageHeight=640)
    assert exif_camera(cut, WIDTH, HEIGHT) is None
    slightly_cut = photo(**tags, ExifImageWidth=720, ExifImageHeight=480)  # 3 : 2, and 4 : 3 is left
    assert exif_camera(slightly_cut, WIDTH, HEIGHT) is None


@pytest.mark.filterwarnings("ignore")  # Pillow mentions what it skips
def test_damaged_exif_is_no_error() -> None:
    data = photo(FocalLengthIn35mmFilm=28)
    start = data.index(b"Exif\0\0") + 6
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        for place in random.integers(start, start + 60, 4):
            damaged[place] = random.integers(256)
        found = exif_camera(bytes(damaged), WIDTH, HEIGHT)
        assert found is None or 0 < found.fx < math.inf
    assert exif_camera(b"", WIDTH, HEIGHT) is None


@pytest.mark.parametrize("value", [0.0, -5.0, math.nan, math.inf, -math.inf, 1e9])
@pytest.mark.parametrize("name", ["fov_deg", "fx", "fy"])
def test_lenses_out_of_range_are_one_line(name: str, value: float) -> None:
    refuse(name, {name: value} if name != "fy" else {"fx": 60.0, name: value})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e9, -49.0, 129.0])
@pytest.mark.parametrize("name", ["cx", "cy"])
def test_centres_out_of_range_are_one_line(name: str, value: float) -> None:
    refuse(name, {"fx": 60.0, name: value * WIDTH / HEIGHT})


def refuse(name: str, given: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rf"{name} is \S+ (pixels|degrees) in a 64 x 48 picture, expected ") as caught:
        caller_camera(b"", WIDTH, HEIGHT, **given)
    assert caught.value.code == "camera_out_of_range"
