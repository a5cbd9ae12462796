from pathlib import Path

import numpy as np
import pytest
from dance_videos import Scene, paint, save, save_frame
from PIL import Image

from hdnet.data.importing.frame_files import FrameFiles, fit_to, largest_person
from hdnet.data.importing.frames import Cut, FrameOptions, cut_frame, survey_frame
from hdnet.data.importing.intrinsics import Intrinsics
from hdnet.errors import DataError
from hdnet.geometry import Camera
from hdnet.pictures.crop import Crop, network_inputs

WIDTH, HEIGHT = 151, 268


def frame_files(folder: Path, name: str = "0001") -> FrameFiles:
    paths = [str(folder / kind / f"{name}.png") for kind in ("images", "masks", "densepose")]
    return FrameFiles(f"video/images/{name}.png", int(name), *paths)


def written(folder: Path, scene: Scene | None = None, order: str = "vui") -> FrameFiles:
    save_frame(folder, "0001", scene or Scene(width=WIDTH, height=HEIGHT), order)
    return frame_files(folder)


def cut(window: Crop, camera: Camera | None = None, order: str = "vui") -> Cut:
    return Cut("0000007", "video", window, camera or Camera.centred(), order)


def window_around(files: FrameFiles) -> Crop:
    return Crop.around(np.asarray(Image.open(files.mask)) > 100)


def test_the_camera_is_carried_along_exactly():
    """Points projected into the full frame land where the window's camera says."""
    full = Intrinsics(63.0).camera("video", 604, 1080)
    window = Crop(-213.37, 41.9, 3.8128)
    x, y, z = np.random.default_rng(0).uniform((-2, -2, 1), (2, 2, 8), (100, 3)).T
    frame_x, frame_y = full.fx * x / z + full.cx, full.fy * y / z + full.cy
    places = window.places(frame_x, frame_y)
    fx, fy, cx, cy = full.crop(window.left, window.top, window.zoom).pixel_intrinsics()
    np.testing.assert_allclose(fx * x / z + cx, places[0], atol=1e-9)
    np.testing.assert_allclose(fy * y / z + cy, places[1], atol=1e-9)


@pytest.mark.parametrize("zoom", [0.7, 1.0, 1.37, 4.219])
def test_points_in_space_are_seen_at_the_same_place_in_the_cut_frame(tmp_path: Path, zoom: float):
    """Spots painted where points project into the full frame lie, by their centroids, where the frame's camera says."""
    height, width = round(300 * zoom), round(280 * zoom)
    full = Intrinsics(50.0).camera("video", width, height)
    window = Crop(7.31, 11.83, zoom)
    wanted_x, wanted_y = (grid.ravel() for grid in np.meshgrid([40.2, 120.7, 200.4], [39.6, 121.3, 210.1]))
    z = np.linspace(2, 6, 9)
    points_x = (window.left + zoom * wanted_x - full.cx) / full.fx * z
    points_y = (window.top + zoom * wanted_y - full.cy) / full.fy * z
    y, x = np.mgrid[:height, :width]
    light = np.zeros((height, width))
    for frame_x, frame_y in zip(full.fx * points_x / z + full.cx, full.fy * points_y / z + full.cy, strict=True):
        light += 200 * np.exp(-((x - frame_x) ** 2 + (y - frame_y) ** 2) / (2 * (4 * zoom) ** 2))
    parts = np.full((height, width, 3), 20, dtype=np.uint8)
    parts[..., 0] = 200
    for kind, pixels in (("images", light), ("masks", np.full_like(light, 255)), ("densepose", parts)):
        picture = np.repeat(pixels[..., None], 3, axis=2) if kind == "images" else pixels
        save(tmp_path / kind / "0001.png", picture.round().astype(np.uint8))
    camera = full.crop(window.left, window.top, window.zoom)
    frame, _ = cut_frame(frame_files(tmp_path), cut(window, camera), keep_largest=False)
    fx, fy, cx, cy = frame.camera.pixel_intrinsics()
    row, column = np.mgrid[:256, :256]
    for picture in (frame.image, frame.white_image):
        errors = []
        for px, py in zip(fx * points_x / z + cx, fy * points_y / z + cy, strict=True):
            near = (picture[..., 0] - 15.0).clip(0) * ((column - px) ** 2 + (row - py) ** 2 < 16**2)
            errors.append([(near * column).sum() / near.sum() - px, (near * row).sum() / near.sum() - py])
        assert np.abs(errors).max() < 0.01


def test_iuv_is_taken_from_the_nearest_pixel(tmp_path: Path):
    height, width = 300, 280
    y, x = np.mgrid[:height, :width]
    iuv = np.stack([1 + 0 * x, x * 0.9, y * 0.8], axis=-1).astype(np.uint8)
    save(tmp_path / "images" / "0001.png", iuv)
    save(tmp_path / "masks" / "0001.png", np.ones((height, width), dtype=bool))
    save(tmp_path / "densepose" / "0001.png", iuv[..., ::-1])
    window = Crop(3.31, 5.83, 1.037)
    frame, _ = cut_frame(frame_files(tmp_path), cut(window), keep_largest=False)
    columns, rows = (np.floor(places + 0.5).astype(int) for places in window.pixels())
    np.testing.assert_array_equal(frame.iuv, iuv[rows[:, None], columns])


def test_a_frame_is_what_the_network_sees_at_inference(tmp_path: Path):
    files = written(tmp_path)
    image, mask, iuv = paint(Scene(width=WIDTH, height=HEIGHT))
    window = Crop.around(mask)
    frame, notes = cut_frame(files, cut(window), keep_largest=False)
    inputs, inside = network_inputs(image, mask, iuv, window)
    np.testing.assert_array_equal(frame.mask, inside)
    np.testing.assert_array_equal(frame.iuv, inputs[3:6].transpose(1, 2, 0))
    np.testing.assert_allclose(frame.white_image, inputs[:3].transpose(1, 2, 0), atol=0.51)
    # Inside the person both colour pictures come from the same pixels, by two resamplers.
    deep = np.abs(np.asarray(frame.image, float) - frame.white_image)[120:140, 120:140]
    assert deep.max() <= 1
    assert frame.image.shape == (256, 256, 3)
    assert notes == ()


def test_beyond_the_picture_is_white_and_empty(tmp_path: Path):
    files = written(tmp_path, Scene(x=0.2, width=WIDTH, height=HEIGHT))
    window = window_around(files)
    frame, _ = cut_frame(files, cut(window), keep_largest=False)
    beyond = window.pixels()[0] < -2 * window.zoom
    assert beyond.sum() > 20
    assert (frame.image[:, beyond] == 255).all()
    assert (frame.white_image[~frame.mask] == 255).all()
    assert not frame.mask[:, beyond].any()
    assert not frame.iuv[:, beyond].any()


def test_iuv_values_are_never_mixed(tmp_path: Path):
    files = written(tmp_path)
    iuv = paint(Scene(width=WIDTH, height=HEIGHT))[2]
    frame, _ = cut_frame(files, cut(window_around(files)), keep_largest=False)
    given = {tuple(pixel) for pixel in iuv.reshape(-1, 3)}
    assert {tuple(pixel) for pixel in frame.iuv.reshape(-1, 3)} <= given


def test_iuv_in_the_other_order_gives_the_same_frame(tmp_path: Path):
    window = window_around(written(tmp_path / "vui"))
    files = written(tmp_path / "iuv", order="iuv")
    frame, _ = cut_frame(files, cut(window, order="iuv"), keep_largest=False)
    other, _ = cut_frame(frame_files(tmp_path / "vui"), cut(window), keep_largest=False)
    np.testing.assert_array_equal(frame.iuv, other.iuv)
    with pytest.raises(DataError, match=r"order I, U, V; expected V, U, I .*--iuv-order iuv"):
        cut_frame(files, cut(window), keep_largest=False)


def test_masks_and_iuv_of_another_size_are_scaled(tmp_path: Path):
    files = written(tmp_path)
    for kind in ("masks", "densepose"):
        file = tmp_path / kind / "0001.png"
        picture = Image.open(file)
        picture.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.NEAREST).save(file)
    frame, notes = cut_frame(files, cut(Crop(-60.0, 0.0, 1.05)), keep_largest=False)
    expected, _ = cut_frame(written(tmp_path / "same"), cut(Crop(-60.0, 0.0, 1.05)), keep_largest=False)
    np.testing.assert_array_equal(frame.mask, expected.mask)
    np.testing.assert_array_equal(frame.iuv, expected.iuv)
    assert notes == ("mask resized to the picture", "DensePose resized to the picture")


@pytest.mark.parametrize(
    ("size", "hint"), [((HEIGHT, WIDTH), "turned by 90 degrees"), ((100, 100), "box must be put back")]
)
def test_other_shapes_are_refused(size: tuple[int, int], hint: str):
    with pytest.raises(
        DataError, match=rf"mask\.png: found {size[0]} x {size[1]} .*expected {WIDTH} x {HEIGHT}.*{hint}"
    ):
        fit_to(np.zeros((size[1], size[0]), bool), (HEIGHT, WIDTH, 3), "mask.png")


def test_alpha_serves_as_mask(tmp_path: Path):
    files = written(tmp_path)
    image, mask, _ = paint(Scene(width=WIDTH, height=HEIGHT))
    alpha = np.where(mask, np.uint8(255), np.uint8(0))
    save(tmp_path / "images" / "0001.png", np.dstack([image, alpha]))
    files = FrameFiles(files.source, 1, files.image, None, files.densepose)
    frame, _ = cut_frame(files, cut(Crop.around(mask)), keep_largest=False)
    other, _ = cut_frame(written(tmp_path / "b"), cut(Crop.around(mask)), keep_largest=False)
    np.testing.assert_array_equal(frame.mask, other.mask)
    save(tmp_path / "images" / "0001.png", image)
    assert "expected a mask file or an alpha channel" in str(survey_frame(files, FrameOptions(), False).reason)


def two_people(second: float) -> np.ndarray:
    mask = np.zeros((100, 200), dtype=bool)
    mask[10:90, 20:50] = True
    mask[10 : 10 + round(80 * second), 150:180] = True
    return mask


def test_a_small_second_silhouette_is_left_out_and_a_large_one_refused():
    mask, note = largest_person(two_people(0.1), False, "m.png")
    assert note == "small parts apart from the person left out"
    assert not mask[:, 100:].any()
    with pytest.raises(DataError, match=r"m\.png: the mask has 2 large separate parts .*50%.*--keep-largest"):
        largest_person(two_people(0.5), False, "m.png")
    mask, note = largest_person(two_people(0.5), True, "m.png")
    assert note == "another large part of the mask left out"
    assert mask.sum() == 80 * 30


def test_a_piece_within_the_box_of_the_person_stays():
    mask = np.zeros((100, 100), dtype=bool)
    mask[10:90, 20:40] = mask[80:90, 20:80] = True
    mask[30:40, 60:70] = True  # a hand beyond a pole
    kept, note = largest_person(mask, False, "m.png")
    assert note == ""
    np.testing.assert_array_equal(kept, mask)


def test_densepose_of_somebody_else_becomes_background(tmp_path: Path):
    files = written(tmp_path)
    mask, iuv = paint(Scene(width=WIDTH, height=HEIGHT))[1:]
    other = paint(Scene(x=0.85, half_width=0.12, width=WIDTH, height=HEIGHT))[2]
    save(tmp_path / "densepose" / "0001.png", np.where(iuv[..., :1] > 0, iuv, other)[..., ::-1])
    frame, notes = cut_frame(files, cut(Crop.around(mask)), keep_largest=False)
    expected, _ = cut_frame(written(tmp_path / "alone"), cut(Crop.around(mask)), keep_largest=False)
    assert notes == ("DensePose of somebody else, outside the mask, left out",)
    assert not frame.iuv[:, 200:].any()
    np.testing.assert_array_equal(frame.iuv[frame.mask], expected.iuv[frame.mask])


def spoil(tmp_path: Path, kind: str, how: str) -> FrameFiles:
    files = written(tmp_path)
    file = tmp_path / kind / "0001.png"
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:-400])
    elif how == "text":
        file.write_text("not a picture")
    elif how == "empty":
        save(file, np.zeros((HEIGHT, WIDTH), dtype=bool))
    elif how == "0/1":
        save(file, (np.asarray(Image.open(file)) > 0).astype(np.uint8))
    elif how == "sliver":
        sliver = np.zeros((HEIGHT, WIDTH), dtype=bool)
        sliver[20:220, :5] = True
        save(file, sliver)
    elif how == "16-bit":
        Image.fromarray(np.zeros((HEIGHT, WIDTH), dtype=np.uint16)).save(file)
    elif how == "elsewhere":
        save(file, paint(Scene(x=0.85, half_width=0.1, width=WIDTH, height=HEIGHT))[2][..., ::-1])
    return files


@pytest.mark.parametrize(
    ("kind", "how", "reason"),
    [
        ("images", "truncated", r"images/0001\.png: a truncated or damaged picture"),
        ("images", "text", r"images/0001\.png: .*not a picture"),
        ("masks", "truncated", r"masks/0001\.png: a truncated or damaged picture"),
        ("masks", "empty", r"masks/0001\.png: the mask is empty"),
        ("masks", "0/1", r"masks/0001\.png: largest value is 1, expected 255"),
        ("masks", "sliver", r"masks/0001\.png: the person is cut to a sliver of 5 x 200 pixels"),
        ("masks", "16-bit", r"masks/0001\.png: the mask is empty"),
    ],
)
def test_a_survey_refuses_with_a_reason(tmp_path: Path, kind: str, how: str, reason: str):
    survey = survey_frame(spoil(tmp_path, kind, how), FrameOptions(), False)
    assert survey.reason is not None
    with pytest.raises(DataError, match=reason):
        raise DataError(survey.reason)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("truncated", r"densepose/0001\.png: cannot be read .*undamaged"),
        ("text", r"densepose/0001\.png: is not a PNG picture"),
        ("16-bit", r"densepose/0001\.png: .*16"),
        ("elsewhere", r"densepose/0001\.png: body parts cover 0% of the mask"),
    ],
)
def test_unfit_densepose_is_refused_when_the_frame_is_cut(tmp_path: Path, how: str, reason: str):
    files = spoil(tmp_path, "densepose", how)
    with pytest.raises(DataError, match=reason):
        cut_frame(files, cut(window_around(files)), keep_largest=False)


def test_a_person_too_small_in_the_window_is_refused(tmp_path: Path):
    files = written(tmp_path)
    with pytest.raises(DataError, match=r"covers 0\.\d% of the window"):
        cut_frame(files, cut(Crop(-900.0, -900.0, 8.0)), keep_largest=False)


def test_options_out_of_range_are_refused():
    with pytest.raises(DataError, match="--margin 2"):
        FrameOptions(margin=2)
