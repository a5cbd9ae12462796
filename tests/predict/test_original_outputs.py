"""The original's files against the libraries that its scripts called, and against plain loops."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdnet.errors import InputError
from hdnet.predict.original_outputs import (
    OriginalMaps,
    depth_picture,
    mesh_faces,
    mesh_obj,
    normal_picture,
    save_original,
    text_map,
    unit,
)
from hdnet.visualize import hot_table

BLACK = hot_table()[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("farthest_share", [1.0, 0.99])
def test_depth_colours_are_those_of_matplotlib(dtype: type[np.floating], farthest_share: float) -> None:
    image = pytest.importorskip("matplotlib.image")
    chance = np.random.default_rng(0)
    depth = chance.uniform(-0.5, 4.2, (300, 300)).astype(dtype)
    mask = chance.uniform(size=depth.shape) < 0.8
    low, high = depth[mask & (depth > 0)].min(), depth[mask].max() * farthest_share
    buffer = io.BytesIO()
    image.imsave(buffer, np.clip(depth * mask, low, high), cmap="hot")

    found = depth_picture(depth, mask, farthest_share)

    expected = np.asarray(Image.open(buffer).convert("RGB"))
    assert np.array_equal(found[mask], expected[mask])
    assert (found[~mask] == 255).all()


@pytest.mark.parametrize(("depths", "share"), [([4.0, 4.0], 1.0), ([4.0, 4.01], 0.99)])
def test_depth_without_a_range_is_black(depths: list[float], share: float) -> None:
    assert (depth_picture(np.array([depths]), np.ones((1, 2), bool), share) == BLACK).all()


@pytest.mark.parametrize("mask", [np.zeros((2, 2), bool), np.array([[True, False], [True, False]])])
def test_no_positive_depth_is_named(mask: np.ndarray) -> None:
    depth = np.array([[-1.0, 3.0], [0.0, 3.0]])

    with pytest.raises(InputError, match=f"none of the mask's {mask.sum()} pixels has a positive depth") as caught:
        depth_picture(depth, mask)
    assert "\n" not in str(caught.value)


def test_normal_colours_are_cut_off_and_wrap() -> None:
    normals = np.array([[[0, 0, -2], [0, 0, 3], [0, 0, 0], [0.6, 0, -0.8], [0, 0, -1]]], np.float32)

    picture = normal_picture(normals, np.array([[True] * 4 + [False]]))[0].tolist()

    # nz = 1 gives -255, which is 1 modulo 256; 0.2 x 255 = 51.0 and 0.8 x 255 = 204.0 in exact numbers.
    assert picture[:3] == [[127, 127, 255], [127, 127, 1], [127, 127, 0]]
    assert picture[3][0] in (50, 51)
    assert picture[3][2] in (203, 204)
    assert picture[4] == [255, 255, 255]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_keeps_precision_and_zeros(dtype: type[np.floating]) -> None:
    found = unit(np.array([[[3, 0, -4], [0, 0, 0]]], dtype))

    assert found.dtype == dtype
    assert np.abs(found - [[[0.6, 0, -0.8], [0, 0, 0]]]).max() < 1e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_text_is_that_of_savetxt(dtype: type[np.floating]) -> None:
    values = np.random.default_rng(0).normal(0, 3, (7, 9)).astype(dtype)
    values[1, :4] = [0.0, -0.0, -1e-7, 1234.5]
    buffer = io.BytesIO()
    np.savetxt(buffer, values, fmt="%.5f", delimiter=" ")

    text = text_map(values)

    assert text == buffer.getvalue().decode()
    assert text.splitlines()[1].startswith("0.00000 -0.00000 -0.00000 1234.50000 ")


@pytest.fixture
def surface() -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(5)
    mask = chance.uniform(size=(14, 17)) < 0.9
    return (3 + chance.uniform(-0.03, 0.03, (14, 17))).astype(np.float32), mask


def is_smooth(depth: np.ndarray, row: int, column: int) -> bool:
    rows = [[depth[row + i, column + j] for j in (-1, 0, 1)] for i in (-1, 0, 1)]
    return all(
        abs(first - second) < 0.07 and abs(first - third) < 0.07
        for first, second, third in [*rows, *zip(*rows, strict=True)]
    )


def test_faces_agree_with_a_loop(surface: tuple[np.ndarray, np.ndarray]) -> None:
    depth, mask = surface
    depth[6, 6:] += 0.1
    expected = []
    for row, column in itertools.product(range(2, 13), range(2, 16)):
        if mask[row, column] and is_smooth(depth.astype(float), row, column):
            here, below = row * 17 + column + 1, (row + 1) * 17 + column + 1
            expected += [[here, here + 1, below], [below + 1, below, here + 1]]

    faces = mesh_faces(depth, mask)

    assert faces.tolist() == expected
    assert len(expected) > 50


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 3), (3, 9)])
def test_small_maps_have_no_faces(shape: tuple[int, int]) -> None:
    assert mesh_faces(np.ones(shape), np.ones(shape, bool)).shape == (0, 3)


def test_mesh_file(surface: tuple[np.ndarray, np.ndarray]) -> None:
    depth, mask = surface

    lines = mesh_obj(depth, mask).splitlines()

    assert lines[17 * 3 + 5] == f"v {6 / 14} {10 / 17} {float(depth[3, 5])}"
    assert [line.split()[0] for line in lines] == ["v"] * depth.size + ["f"] * len(mesh_faces(depth, mask))


@pytest.fixture
def maps() -> OriginalMaps:
    chance = np.random.default_rng(2)
    mask = np.zeros((16, 16), bool)
    mask[2:14, 3:12] = True
    depth = np.where(mask, 4, -2) + chance.uniform(0, 0.01, mask.shape)
    normals = unit(chance.normal(size=(16, 16, 3))) * mask[..., None]
    image = np.where(mask[..., None], chance.integers(0, 255, (16, 16, 3)), 255).astype(np.uint8)
    return OriginalMaps(depth.astype(np.float32), normals.astype(np.float32), mask, image)


def test_six_files_hold_the_masked_maps(maps: OriginalMaps, tmp_path: Path) -> None:
    files = save_original(maps, tmp_path / "new" / "folder", "x")

    names = ["x.txt", "x_mesh.obj", "x_normal_1.txt", "x_normal_2.txt", "x_normal_3.txt", "x_results.png"]
    assert sorted(files) == names
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == names
    depth = np.loadtxt(files["x.txt"])
    assert np.abs(depth - np.where(maps.mask, maps.depth_m, 0)).max() <= 0.500001e-5
    assert files["x.txt"].read_text().startswith("-0.00000 -0.00000 ")  # a product with the mask (docs/parity.md, 54)
    for axis in range(3):
        normal = np.loadtxt(files[f"x_normal_{axis + 1}.txt"])
        assert np.abs(normal - maps.normals[..., axis]).max() <= 0.500001e-5
    picture = np.asarray(Image.open(files["x_results.png"]))
    assert picture.shape == (16, 48, 3)
    assert np.array_equal(picture[:, :16], maps.image)
    assert np.array_equal(picture[:, 16:32], depth_picture(maps.depth_m, maps.mask))
    assert np.array_equal(picture[:, 32:], normal_picture(maps.normals, maps.mask))
    assert files["x_mesh.obj"].read_text().splitlines()[0] == "v 0.0 0.0 -0.0"


def test_nothing_is_written_without_a_positive_depth(maps: OriginalMaps, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="positive depth"):
        save_original(OriginalMaps(-maps.depth_m, maps.normals, maps.mask, maps.image), tmp_path / "out", "x")
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_written_is_named(maps: OriginalMaps, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InputError, match="file: cannot be written"):
        save_original(maps, tmp_path / "file", "x")
