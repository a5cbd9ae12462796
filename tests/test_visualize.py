"""Colouring rules against formulas and matplotlib's own table; convergence plots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdnet import visualize
from hdnet.errors import DataError


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


def test_normal_colours_of_a_tall_picture_in_any_memory_order() -> None:
    normals = np.random.default_rng(0).normal(size=(150, 7, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    mask = np.random.default_rng(1).uniform(size=(150, 7)) < 0.5
    mask[60:140] = False  # whole strips without a person

    expected = np.stack([(1 - normals[..., 0]) / 2, (1 - normals[..., 1]) / 2, -normals[..., 2]], axis=2)
    expected = np.where(mask[..., None], (expected.clip(0, 1) * 255).astype(np.uint8), 255)

    assert np.array_equal(visualize.normal_picture(normals, mask), expected)
    planes = np.ascontiguousarray(normals.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert np.array_equal(visualize.normal_picture(planes, mask), expected)


def test_strips_are_the_rows_in_their_order() -> None:
    rows = np.arange(150)

    assert np.concatenate([rows[strip] for strip in visualize.strips(150)]).tolist() == rows.tolist()
    assert [strip.stop for strip in visualize.strips(64)] == [64]
    assert list(visualize.strips(0)) == []


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


def test_reliability_plot_is_drawn(tmp_path: Path) -> None:
    expected, angle = np.array([4.0, np.nan, 22.0]), np.array([5.0, np.nan, 35.0])

    visualize.plot_reliability(expected, angle, np.array([0.7, 0.0, 0.3]), tmp_path / "plots" / "out.png")

    picture = np.asarray(Image.open(tmp_path / "plots" / "out.png").convert("RGB"))
    assert picture.shape[0] > 600
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    with pytest.raises(DataError, match="no pixel to draw"):
        visualize.plot_reliability(expected, angle, np.zeros(3), tmp_path / "none.png")
