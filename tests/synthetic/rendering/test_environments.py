from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from maps import SUN, sunny, write_hdr

from hdnet.errors import DataError
from hdnet.synthetic.rendering import environments
from hdnet.synthetic.rendering.environments import (
    environment_files,
    find_lamps,
    fit_lobes,
    irradiance,
    load_environment,
    read_map,
)
from hdnet.synthetic.rendering.light import Light
from hdnet.synthetic.rendering.panorama import pixel_rays, reduced, solid_angles
from hdnet.synthetic.surface import normalized

pytest.importorskip("OpenImageIO")

NORMALS = normalized(np.random.default_rng(0).normal(size=(400, 3)))


def integrated(radiance: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Irradiance over pi by a plain sum over the pixels of a map, float64."""
    height = len(radiance)
    total = np.zeros((len(normals), 3))
    for row in range(height):
        elevation = np.pi / 2 - (row + 0.5) * np.pi / height
        for column in range(2 * height):
            azimuth = (column + 0.5) * np.pi / height - np.pi
            level = np.cos(elevation)
            ray = np.array([level * np.sin(azimuth), level * np.cos(azimuth), np.sin(elevation)])
            cosine = np.maximum(normals @ ray, 0)
            total += cosine[:, None] * radiance[row, column] * level * (np.pi / height) ** 2 / np.pi
    return total


def of_light(light: Light, normals: np.ndarray) -> np.ndarray:
    direct = sum(np.clip(normals @ lamp.direction, 0, None)[:, None] * lamp.rgb for lamp in light.lamps)
    return light.ambient(normals) + direct


def rooms() -> dict[str, np.ndarray]:
    """Maps (32, 64, 3): sun and sky, one window, uneven walls, uniform light."""
    rays, rng = pixel_rays(32), np.random.default_rng(3)
    window = np.where((np.abs(rays[:, 2]) < 0.3) & (rays[:, 0] > 0.94), 9.0, 0.3)[:, None] * [1, 0.9, 0.8]
    walls = 1 + 0.8 * np.sin(rays @ rng.normal(size=(3, 3)) * 2)
    flat = {"window": window, "walls": walls, "uniform": np.ones((2048, 3))}
    return {"sun": reduced(sunny(), 32).astype(np.float64)} | {k: v.reshape(32, 64, 3) for k, v in flat.items()}


@pytest.mark.parametrize("name", ["sun", "window", "walls", "uniform"])
def test_the_light_of_a_map_gives_its_irradiance(name: str) -> None:
    radiance = rooms()[name]
    lamps, rest = find_lamps(radiance)
    light = environments._light(*fit_lobes(rest), lamps)
    wanted = integrated(radiance, NORMALS)
    error = np.abs(of_light(light, NORMALS) - wanted).mean(1) / wanted.mean()
    assert error.mean() < 0.03
    assert error.max() < 0.12
    np.testing.assert_allclose(irradiance(radiance, NORMALS), wanted, rtol=2e-3)
    assert bool(lamps) == (name in ("sun", "window"))


def test_white_in_uniform_light_is_as_bright_as_the_light() -> None:
    assert irradiance(np.ones((32, 64, 3)), NORMALS) == pytest.approx(1, rel=1e-3)


def test_the_sun_becomes_one_sharp_lamp_and_keeps_its_light() -> None:
    radiance = sunny(256).astype(np.float64)
    lamps, rest = find_lamps(radiance)
    assert len(lamps) == 1
    assert np.degrees(np.arccos(lamps[0].direction @ SUN)) < 0.1
    # A disc of 4 degrees radius.
    assert lamps[0].spread == pytest.approx(np.tan(np.radians(4)), rel=0.03)
    assert lamps[0].rgb == pytest.approx(np.array([400, 380, 300]) * 2 * (1 - np.cos(np.radians(4))), rel=0.03)
    solid = solid_angles(256)[..., None]
    assert ((radiance - rest) * solid).sum((0, 1)) / np.pi == pytest.approx(lamps[0].rgb)
    assert rest.max() < 4


def test_a_turned_map_turns_its_light(tmp_path: Path) -> None:
    environment = load_environment(write_hdr(tmp_path / "sun.hdr", sunny())).turned(0.7, True)
    lamp = environment.lamps[0].direction
    assert environment.picture.sample(lamp[None]).min() > 100
    assert environment.picture.sample(-lamp[None]).max() < 1
    world = environment.picture.to_world(pixel_rays(64))
    picture = environment.picture.radiance.reshape(-1, 3).astype(np.float64)
    flux = picture * np.repeat(solid_angles(64), 128)[:, None]
    wanted = np.clip(NORMALS @ world.T, 0, None) @ flux / np.pi
    light = environment.light(np.random.default_rng(0))
    assert np.abs(of_light(light, NORMALS) - wanted).mean() / wanted.mean() < 0.03
    assert light.mirror is not None
    assert light.mirror.sample(lamp[None]).max() < 4


def test_exposure_is_that_of_drawn_light_and_shorter_against_bright_backgrounds(tmp_path: Path) -> None:
    environment = load_environment(write_hdr(tmp_path / "sun.hdr", sunny()))
    exposed = {}
    for turn in np.linspace(0, 2 * np.pi, 16, endpoint=False):
        light = environment.turned(float(turn), False).light(np.random.default_rng(0))
        exposed[round(float(turn), 3)] = light.frontal_irradiance() * light.exposure
    assert max(exposed.values()) == pytest.approx(np.random.default_rng(0).uniform(0.75, 1.25))
    assert min(exposed.values()) > 0.3
    dark, bright = np.full((32, 64, 3), 0.05, np.float32), np.full((32, 64, 3), 0.05, np.float32)
    bright[8:20, 24:40] = 4
    values = []
    for name, radiance in (("dark", dark), ("bright", bright)):
        light = load_environment(write_hdr(tmp_path / f"{name}.hdr", radiance)).light(np.random.default_rng(0))
        values.append(light.frontal_irradiance() * light.exposure)
    assert values[1] < 0.6 * values[0]


def test_white_balance_takes_a_part_of_the_colour_away(tmp_path: Path) -> None:
    orange = np.full((32, 64, 3), (2.0, 1.0, 0.25), np.float32)
    seen = load_environment(write_hdr(tmp_path / "orange.hdr", orange)).picture.radiance.astype(float)
    assert seen[0, 0, 0] / seen[0, 0, 2] == pytest.approx(8**0.4, rel=1e-2)
    assert seen[0, 0] @ [0.2126, 0.7152, 0.0722] == pytest.approx(orange[0, 0] @ [0.2126, 0.7152, 0.0722], rel=0.1)


def test_exr_and_hdr_read_the_same(tmp_path: Path) -> None:
    import OpenImageIO as oiio  # noqa: N813

    radiance = sunny(16)
    writer = oiio.ImageOutput.create(str(tmp_path / "sun.exr"))
    writer.open(str(tmp_path / "sun.exr"), oiio.ImageSpec(32, 16, 3, "float"))
    writer.write_image(radiance)
    writer.close()
    write_hdr(tmp_path / "sun.hdr", radiance)
    exr, hdr = (read_map(tmp_path / f"sun.{kind}") for kind in ("exr", "hdr"))
    np.testing.assert_array_equal(exr, radiance)
    np.testing.assert_allclose(hdr, radiance, atol=radiance.max(-1, keepdims=True).max() / 100, rtol=0.01)
    assert [file.name for file in environment_files(tmp_path)] == ["sun.exr", "sun.hdr"]


def test_negative_values_of_lossy_maps_are_filled_from_around() -> None:
    radiance = np.full((32, 64, 3), 1.0, np.float32)
    radiance[10:13, 20:23], radiance[11, 21] = 500, -300
    mended = environments._mended(radiance)
    assert mended[11, 21].tolist() == [500, 500, 500]
    assert mended.sum() == pytest.approx(radiance[radiance > 0].sum() + 1500)


def wide(file: Path) -> None:
    write_hdr(file, np.ones((32, 32, 3), np.float32))


def infinite(file: Path) -> None:
    radiance = np.ones((16, 32, 3), np.float32)
    radiance[3, 4, 1] = np.inf
    import OpenImageIO as oiio  # noqa: N813

    writer = oiio.ImageOutput.create("a.exr")
    writer.open(str(file), oiio.ImageSpec(32, 16, 3, "float"))
    writer.write_image(radiance)
    writer.close()


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("wide.hdr", wide, "32 x 32 pixels .*twice as wide as high"),
        ("infinite.exr", infinite, "not finite"),
        ("black.hdr", lambda file: write_hdr(file, np.zeros((16, 32, 3), np.float32)), "is black"),
        ("text.exr", lambda file: file.write_text("no picture"), "cannot be read"),
        ("cut.hdr", lambda file: file.write_bytes(write_hdr(file, sunny(16)).read_bytes()[:300]), "cannot be read"),
        ("grey.exr", lambda file: write_grey(file), "1 channels"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, name: str, make, message: str) -> None:
    make(tmp_path / name)
    with pytest.raises(DataError, match=message) as caught:
        load_environment(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def write_grey(file: Path) -> None:
    import OpenImageIO as oiio  # noqa: N813

    writer = oiio.ImageOutput.create("a.exr")
    writer.open(str(file), oiio.ImageSpec(32, 16, 1, "float"))
    writer.write_image(np.ones((16, 32, 1), np.float32))
    writer.close()


def test_missing_folders_and_packages_are_clear_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="is no folder"):
        environment_files(tmp_path / "none")
    with pytest.raises(DataError, match="no environment map"):
        environment_files(tmp_path)
    file = write_hdr(tmp_path / "sun.hdr", sunny(16))
    monkeypatch.setitem(sys.modules, "OpenImageIO", None)
    environments._library.cache_clear()
    with pytest.raises(DataError, match=r"OpenImageIO.*pip install .*-e .*\[environments\]"):
        read_map(file)
    environments._library.cache_clear()
