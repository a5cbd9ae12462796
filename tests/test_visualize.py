"""Colouring rules against formulas and matplotlib's own table; rendering; convergence plots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdnet import visualize
from hdnet.errors import DataError
from hdnet.geometry import Camera
from hdnet.predict.mesh import Mesh, depth_to_mesh


def test_hot_table_is_matplotlibs() -> None:
    matplotlib = pytest.importorskip("matplotlib")

    expected = matplotlib.colormaps["hot"](np.arange(256))[:, :3] * 255

    assert np.abs(visualize.hot_table() - expected).max() <= 1


def test_depth_colours_run_from_nearest_to_farthest_in_the_mask() -> None:
    depth = np.array([[9.0, 2.0, 3.0, 4.0, -1.0, np.nan]])
    mask = np.array([[False, True, True, True, True, True]])

    picture = visualize.depth_picture(depth, mask)[0]

    table = visualize.hot_table()
    assert picture.tolist() == [
        [255, 255, 255], *(table[i].tolist() for i in (0, 128, 255)), table[0].tolist(), table[0].tolist(),
    ]  # fmt: skip


@pytest.mark.parametrize("value", [0.0, -2.0, 4.0, np.nan])
def test_depth_picture_never_fails(value: float) -> None:
    depth = np.full((3, 3), value)

    assert (visualize.depth_picture(depth, np.zeros((3, 3), bool)) == 255).all()
    assert (visualize.depth_picture(depth, np.ones((3, 3), bool)) == visualize.hot_table()[0]).all()


def test_normal_colours() -> None:
    normals = np.array([[[0, 0, -1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0, 1], [np.nan, 0, 0], [0, 0, -1]]], float)
    mask = np.array([[True] * 6 + [False]])

    picture = visualize.normal_picture(normals, mask)[0].tolist()

    assert picture == [
        [127, 127, 255], [0, 127, 0], [255, 127, 0], [127, 0, 0], [127, 127, 0], [127, 127, 0], [255] * 3,
    ]  # fmt: skip


def test_panel_and_contact_sheet() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    mask = np.ones((4, 5), bool)

    panel = visualize.panel(image, np.ones((4, 5)), np.zeros((4, 5, 3)), mask)
    sheet = visualize.contact_sheet([panel, [image, image[:2, :3]]], gap=1)

    assert panel.shape == (4, 15, 3)
    assert sheet.shape == (9, 15, 3)
    assert np.array_equal(sheet[:4], panel)
    assert (sheet[4] == 255).all()
    assert (sheet[5:, :5] == 0).all()
    assert (sheet[5:7, 6:9] == 0).all()
    assert (sheet[7:, 6:] == 255).all()
    with pytest.raises(ValueError, match="at least one picture"):
        visualize.contact_sheet([])


@pytest.fixture(scope="module")
def ball() -> Mesh:
    y, x = np.mgrid[:64, :64] - 31.5
    inside = 1 - (x**2 + y**2) / 28**2
    depth = 4 - 0.35 * np.sqrt(inside.clip(0))
    colours = np.zeros((64, 64, 3), np.uint8)
    colours[:, 32:, 0] = colours[:, :32, 2] = 250
    return depth_to_mesh(depth, inside > 0, Camera.centred(314.0, 64), colours, max_jump_m=1.0)


def test_mesh_picture_has_the_silhouette_without_holes(ball: Mesh) -> None:
    picture = visualize.mesh_picture(ball, 128)

    shown = (picture < 255).any(axis=2)
    y, x = np.mgrid[:128, :128] - 63.5
    radius = np.hypot(x, y)
    assert picture.shape == (128, 128, 3)
    assert shown[radius < 50].all()
    assert not shown[radius > 62].any()
    assert picture[32:96, 32:96].std() > 5  # shaded, not flat


def test_mesh_picture_shows_the_near_side_and_turns(ball: Mesh) -> None:
    front, right = (visualize.mesh_picture(ball, 96, yaw, textured=True).astype(int) for yaw in (0, 70))

    def is_red(picture: np.ndarray) -> np.ndarray:
        return (picture[..., 0] > picture[..., 2] + 50) & (picture[..., 1] < 200)

    assert is_red(front)[:, 50:].any()
    assert not is_red(front)[:, :46].any()
    blue_right = (right[..., 2] > right[..., 0] + 50).sum()
    assert is_red(right).sum() > 3 * max(1, blue_right)


def test_nearer_triangle_hides_the_farther_one() -> None:
    near = np.array([[-1, -1, 3], [-1, 1, 3], [1, -1, 3]], np.float32)
    vertices = np.concatenate([near, near + np.float32([0, 0, 1])])
    colours = np.array([[200, 0, 0]] * 3 + [[0, 0, 200]] * 3, np.uint8)

    for faces in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]):
        picture = visualize.mesh_picture(Mesh(vertices, np.array(faces, np.int32), colours), 64, textured=True)
        assert picture[20, 20, 0] > 100
        assert picture[20, 20, 2] == 0


def write_log(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_convergence_plot_is_drawn(tmp_path: Path) -> None:
    rows = [f"{s},{3 * 0.99**s:.4f},{0.5 if s % 20 == 0 else ''},0" for s in range(0, 300, 10)]
    first = write_log(tmp_path / "depth.csv", ["step,total,validation,warp", *rows])
    second = write_log(tmp_path / "one_step.csv", ["total,step", "1.5,10"])

    visualize.plot_convergence([first, second], tmp_path / "plots" / "out.png")

    picture = np.asarray(Image.open(tmp_path / "plots" / "out.png").convert("RGB"))
    assert picture.shape[0] > 600
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([""], "holds no values"),
        (["step,total"], "holds no values"),
        (["iteration,total", "1,2"], "columns are iteration, total; expected 'step'"),
        (["step", "1"], "expected 'step' and one or more loss terms"),
        (["step,total", "1,much"], "row 2, column total: 'much' is not a number"),
        (["step,total", "1,2", "2,3,4"], "row 3 has 3 cells, the header has 2"),
    ],
)
def test_useless_log_is_named(rows: list[str], words: str, tmp_path: Path) -> None:
    log = write_log(tmp_path / "train.csv", rows)

    with pytest.raises(DataError, match=words) as caught:
        visualize.plot_convergence([log], tmp_path / "out.png")
    assert str(log) in str(caught.value)
    assert not (tmp_path / "out.png").exists()


def test_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: training log cannot be read"):
        visualize.plot_convergence([tmp_path / "none.csv"], tmp_path / "out.png")
    with pytest.raises(DataError, match="no training log given"):
        visualize.plot_convergence([], tmp_path / "out.png")


def test_running_mean_agrees_with_a_loop() -> None:
    values = np.random.default_rng(0).normal(size=450)

    expected = [values[max(0, i - 4) : i + 5].mean() for i in range(450)]

    assert np.abs(visualize.running_mean(values) - expected).max() < 1e-12
