from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from maps import SUN, sunny, write_hdr, write_photograph
from PIL import Image
from scipy import ndimage
from scipy.spatial.transform import Rotation

from hdnet.errors import DataError
from hdnet.geometry import Camera
from hdnet.synthetic.rendering import (
    check_surroundings,
    draw_background,
    draw_film,
    draw_light,
    draw_surroundings,
    render_frame,
)
from hdnet.synthetic.rendering.environments import load_environment
from hdnet.synthetic.rendering.light import Light
from hdnet.synthetic.rendering.panorama import Panorama, pixel_rays
from hdnet.synthetic.rendering.rays import Hits, project_points
from hdnet.synthetic.rendering.shading import outgoing_radiance
from hdnet.synthetic.rendering.surroundings import Around, Behind, _magnified, load_photograph
from hdnet.synthetic.rendering.view import _FRONT_VIEW, View

pytest.importorskip("OpenImageIO")

PERSON = np.array([0.3, 0.1, 0.9])


def view_of(pitch_deg: float, roll_deg: float, height_m: float) -> View:
    """Camera 4 m in front of the person."""
    rotation = Rotation.from_euler("xz", [pitch_deg, roll_deg], degrees=True).as_matrix() @ _FRONT_VIEW
    return View(Camera.centred(300.0), rotation, -rotation @ np.array([0, -4.0, height_m]))


def around(tmp_path: Path, radiance: np.ndarray, turn: float = 0.0) -> Around:
    environment = load_environment(write_hdr(tmp_path / "map.hdr", radiance)).turned(turn, False)
    return Around(environment, environment.light(np.random.default_rng(0)))


@pytest.fixture
def halves(tmp_path: Path) -> Around:
    """White above the horizon, dark below."""
    white = pixel_rays(256)[:, 2:] > 0
    return around(tmp_path, np.where(white, 1.0, 0.01).repeat(3, 1).reshape(256, 512, 3).astype(np.float32))


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (8, 0), (-6, 3)])
def test_the_horizon_is_where_the_camera_sees_it(halves: Around, pitch: float, roll: float) -> None:
    view = view_of(pitch, roll, 1.5)
    picture = halves.beyond(np.random.default_rng(1), 1.0, view, PERSON).radiance.reshape(256, 256, 3)[..., 0]
    for azimuth_deg in (-15, 0, 15):
        azimuth = np.radians(azimuth_deg)
        far = view.directions(np.array([[np.sin(azimuth), np.cos(azimuth), 0]]))
        x, y = project_points(view.camera, far)[0]
        column = picture[:, round(float(x))]
        edge = np.interp(0.5, column[::-1] / column.max(), np.arange(256)[::-1])
        assert edge == pytest.approx(y, abs=1.5)


def test_the_floor_is_the_plane_below_the_feet(halves: Around) -> None:
    view = view_of(6, 2, 1.4)
    depth = halves.beyond(np.random.default_rng(2), 1.0, view, PERSON).depth_m.reshape(256, 256)
    for place in ([0, 0, 0], [0.8, 1.0, 0], [-0.7, -0.4, 0]):
        point = view.points(np.array([place], dtype=np.float64))
        x, y = np.round(project_points(view.camera, point)[0]).astype(int)
        ray = view.rotation.T @ np.array([(x - 127.5) / 300, (y - 127.5) / 300, 1])
        assert depth[y, x] == pytest.approx(-1.4 / ray[2], rel=1e-4)
        assert depth[y, x] == pytest.approx(point[0, 2], rel=0.02)
    assert (depth[:60] == 0).all()


def test_the_floor_shows_the_map_below_its_middle(tmp_path: Path) -> None:
    """A checkered floor of the map is a checkered floor in the world, undistorted."""
    rays = pixel_rays(512)
    below = rays[:, :2] / np.maximum(-rays[:, 2:], 1e-3)
    checkered = np.where(rays[:, 2] < 0, 1.5 + np.sign(np.sin(2 * below[:, 0]) * np.sin(2 * below[:, 1])), 1.0)
    shown = around(tmp_path, checkered[:, None].repeat(3, 1).reshape(512, 1024, 3).astype(np.float32))
    view, rng = view_of(12, 0, 1.6), np.random.default_rng(4)
    middle = view.centre_m + np.random.default_rng(4).uniform(0.4, 1.0) * (PERSON - view.centre_m)
    beyond = shown.beyond(rng, 1.0, view, PERSON)
    pixel = np.flatnonzero(beyond.depth_m > 0)[::17]
    rays = np.stack([(pixel % 256 - 127.5) / 300, (pixel // 256 - 127.5) / 300, np.ones(len(pixel))], axis=1)
    place = view.world_points(rays * beyond.depth_m[pixel, None])
    assert np.abs(place[:, 2]).max() < 1e-3
    floor = (place[:, :2] - middle[:2]) / 1.6
    near = np.linalg.norm(floor, axis=1) < 3
    edge = np.abs(np.sin(2 * floor)).min(1) < 0.12
    expected = 1.5 + np.sign(np.sin(2 * floor[:, 0]) * np.sin(2 * floor[:, 1]))
    clear = near & ~edge
    assert clear.sum() > 200
    assert np.abs(beyond.radiance[pixel[clear], 0] - expected[clear]).max() < 0.1


def test_coarse_maps_get_detail_where_they_have_contrast() -> None:
    """Nothing on a plain wall, fine grain on grass, no more on the edge between black and white."""
    rng = np.random.default_rng(0)
    plain, grass = np.full((256, 128), 0.5), ndimage.gaussian_filter(rng.normal(0.5, 0.4, (256, 128)), 2)
    grass[:, -32:] = 0.02
    radiance = np.concatenate([plain, grass], axis=1).reshape(-1, 1).repeat(3, 1)
    strongest = next(seed for seed in range(99) if np.random.default_rng(seed).uniform(0, 1) > 0.95)
    fine = _magnified(np.random.default_rng(strongest), radiance, 2.0).reshape(256, 256, 3)
    coarse = ndimage.gaussian_filter(radiance.reshape(256, 256, 3), (2, 2, 0), truncate=2.5, mode="nearest")
    added = fine / coarse - 1
    assert np.abs(added[:, :100]).max() < 1e-5
    assert 0.03 < added[:, 140:210].std() < 0.12
    assert np.abs(added[:, 140:210].mean()) < 0.01
    assert added[:, 220:230].std() < 0.14
    # Neighbours 3 pixels apart differ independently, as those of the coarse picture do not.
    grain = added[:, 140:210, 0]
    assert np.corrcoef(grain[:, 3:].ravel(), grain[:, :-3].ravel())[0, 1] < 0.3


def test_people_stand_in_their_shadow_on_the_floor_of_the_map(tmp_path: Path, stand_in: Any) -> None:
    # The sun behind the camera, so that the shadow falls away from it.
    turn = float(np.arctan2(SUN[0], SUN[1]) - np.radians(150))
    shown = around(tmp_path, sunny(128), turn)
    towards = shown.light.lamps[0].direction
    view = view_of(8, 0, 1.5)
    background = draw_background(np.random.default_rng(0), view, shown.light, [stand_in], shown)
    frame = render_frame(
        view, stand_in, shown.light, background, None, draw_film(np.random.default_rng(1)), np.random.default_rng(2)
    )
    assert frame.mask.mean() > 0.03
    hip = np.array([0, 0, 0.8])
    shadow = hip - towards * hip[2] / towards[2]
    open_floor = shadow * [-1, 1, 0]
    seen = []
    for place in (shadow, open_floor):
        x, y = np.round(project_points(view.camera, view.points(place[None]))[0]).astype(int)
        assert background.depth_m.reshape(256, 256)[y, x] > 0
        assert not frame.mask[y, x]
        seen.append(frame.image[y - 1 : y + 2, x - 1 : x + 2].mean())
    assert seen[0] < 0.75 * seen[1]


def test_metal_shows_what_lies_in_the_mirror_direction() -> None:
    rays = pixel_rays(16)
    mirror = Panorama(np.where(rays[:, :1] > 0.5, [[5.0, 0, 0]], [[0.0, 0, 1]]).reshape(16, 32, 3))
    light = Light("", "outdoor", np.array([[0, 0, 1.0]]), np.full((1, 3), 0.5), (), 1.0, 1.0, mirror)
    view = View(Camera.centred(300.0), _FRONT_VIEW, np.zeros(3))
    # Seen along +y; normals half-way to +x, and back to the camera.
    normals = view.directions(np.array([[1, -1.0, 0], [0, -1, 0]]) / np.sqrt([[2], [1]]))
    ones = np.ones(2, dtype=np.float32)
    direction = np.array([[0, 0, 1.0]] * 2, dtype=np.float32)
    hits = Hits(np.arange(2), np.zeros(2, int), np.ones((2, 3)), ones, np.zeros((2, 3), int), direction, normals)
    grey = np.full((2, 3), 0.8, dtype=np.float32)
    seen = outgoing_radiance(light, view, hits, normals, grey, ones, ones, np.ones((0, 2)))
    assert seen[0, 0] > 4
    assert seen[0, 2] < 0.3
    assert seen[1, 0] < 0.3
    assert seen[1, 2] > 0.8
    matt = outgoing_radiance(light, view, hits, normals, grey, 0 * ones, ones, np.ones((0, 2)))
    assert matt == pytest.approx(grey * light.ambient(np.array([[0, -1.0, 0]])), rel=1e-5)


def test_a_photograph_is_as_bright_as_it_was(tmp_path: Path) -> None:
    file = write_photograph(tmp_path / "a.png", 300, 400)
    light = draw_light(np.random.default_rng(0))
    beyond = Behind(file).beyond(np.random.default_rng(1), light.exposure, view_of(0, 0, 1.5), PERSON)
    shown = beyond.radiance * light.exposure
    colours = np.unique(np.asarray(Image.open(file)).reshape(-1, 3), axis=0)
    linear = (colours / 255) ** 2.2
    gain = shown.max() / linear.max()
    assert 0.79 < gain < 1.26
    nearest = np.abs(shown[:, None] / gain - linear).max(-1).min(1)
    assert np.median(nearest) < 0.01
    assert not beyond.depth_m.any()


def test_photographs_are_cropped_and_mirrored_at_random(tmp_path: Path) -> None:
    width = np.linspace(0, 255, 600).astype(np.uint8)
    Image.fromarray(np.stack([np.tile(width, (300, 1))] * 3, axis=-1)).save(tmp_path / "a.png")
    rights = []
    for seed in range(24):
        view = view_of(0, 0, 1.5)
        picture = Behind(tmp_path / "a.png").beyond(np.random.default_rng(seed), 1.0, view, PERSON).radiance
        row = picture.reshape(256, 256, 3)[128, :, 0]
        rights.append(row[200] > row[50])
    assert 6 <= sum(rights) <= 18


def test_large_photographs_are_kept_small_and_bad_ones_are_clear_errors(tmp_path: Path) -> None:
    assert load_photograph(write_photograph(tmp_path / "large.jpg", 3200, 1600)).shape == (768, 1536, 3)
    with pytest.raises(DataError, match=r"small.png.*255 x 300 .*at least 256 x 256"):
        load_photograph(write_photograph(tmp_path / "other" / "small.png", 255, 300))
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.jpg"):
        check_surroundings(None, tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        check_surroundings(None, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no photograph"):
        check_surroundings(None, tmp_path / "empty")


def test_folders_are_used_in_their_shares(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_hdr(tmp_path / "maps" / f"{name}.hdr", sunny(16))
        write_photograph(tmp_path / "photographs" / f"{name}.png")
    both: list[dict[str, str]] = []
    for seed in range(400):
        drawn = draw_surroundings(np.random.default_rng(seed), tmp_path / "maps", tmp_path / "photographs")
        both.append({} if drawn is None else drawn.facts)
    for kind, low, high in (("environment", 0.43, 0.57), ("photograph", 0.14, 0.26)):
        files = [about[kind] for about in both if kind in about]
        assert low < len(files) / 400 < high
        assert 0.35 < sum(file.startswith("a.") for file in files) / len(files) < 0.65
    assert draw_surroundings(np.random.default_rng(0), None, None) is None
