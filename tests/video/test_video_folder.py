"""The folder of a video: its files, and runs that were interrupted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest
import trimesh
from PIL import Image
from red_person import Figure, paint
from video_files import write_video

from hdnet.cli import main
from hdnet.errors import DataError, InputError
from hdnet.files import sha256_of
from hdnet.video import writing
from hdnet.video.adapted import Adapted
from hdnet.video.clip import Options
from hdnet.video.tracking import NOBODY
from hdnet.video.writing import normal_levels, save_video
from hdnet.workspace import SHIPPED

pytestmark = pytest.mark.usefixtures("predictor")


def film(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def video_with_gap(tmp_path: Path) -> Path:
    """Twelve frames of a dance, then the dancer leaves on the right and comes back."""
    x = [*range(60, 72), *range(72, 190, 6), *range(190, 70, -6), *[72] * 4]
    return write_video(tmp_path / "dance.mp4", [paint(Figure(at)) for at in x])


def test_a_folder_holds_films_maps_and_what_is_known(tmp_path: Path) -> None:
    out = tmp_path / "out"
    content = save_video(video_with_gap(tmp_path), out, Options(fx=200.0), size=80, meshes=True)
    assert content == json.loads((out / "clip.json").read_text())
    assert sorted(file.name for file in out.iterdir()) == [
        *("clip.json", "depth", "meshes", "normals", "panels.mp4", "turntable.mp4"),
    ]
    assert content["width"] == 160
    assert content["maps"] == {
        "width": 80,
        "height": 48,
        "camera": pytest.approx({"fx": 200, "fy": 200, "cx": 79.5, "cy": 47.5, "origin_x": 0.5, "origin_y": 0.5,
                                 "scale": 2.0}),
    }  # fmt: skip
    assert content["scale"] == {"source": "assumed", "distance_m": pytest.approx(4.0, abs=0.05)}
    (gap,) = content["skipped"]
    assert gap["reason"] == NOBODY
    assert (gap["first"], gap["last"]) == (pytest.approx(29, abs=3), pytest.approx(35, abs=3))
    assert len(content["frames"]) == 56
    frame = content["frames"][3]
    np.testing.assert_allclose(frame["box"], [51, 12, 75, 84], atol=3)
    assert frame["distance_m"] == pytest.approx(4, abs=0.2)
    seen = [f"{one['number']:06d}" for one in content["frames"] if "skipped" not in one]
    for folder, suffix in (("depth", "png"), ("normals", "png"), ("meshes", "glb")):
        assert sorted(file.name for file in (out / folder).iterdir()) == [f"{name}.{suffix}" for name in seen]


def test_the_maps_are_in_millimetres_and_unit_vectors(tmp_path: Path) -> None:
    out = tmp_path / "out"
    video = write_video(tmp_path / "a.mp4", [paint(Figure(80))] * 3)
    save_video(video, out, Options(fx=200.0), meshes=True)
    depth = np.asarray(Image.open(out / "depth/000001.png"))
    assert depth.dtype == np.uint16 or depth.dtype == np.int32
    inside = depth > 0
    assert np.median(depth[inside]) == pytest.approx(4000, abs=50)
    assert inside.sum() == pytest.approx(np.pi * 12 * 36, rel=0.1)
    mesh = trimesh.load(out / "meshes/000001.glb", force="mesh")
    # glTF looks along -z; the figure of 72 pixels is 1.44 m high.
    assert mesh.bounds[:, 2] == pytest.approx([-4.0, -4.0], abs=0.1)
    assert np.ptp(mesh.bounds[:, 1]) == pytest.approx(72 / 200 * 4, rel=0.1)


def test_levels_of_normals_are_exact_to_their_step() -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(5, 7, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    mask = rng.random((5, 7)) > 0.3
    levels = normal_levels(normals, mask)
    np.testing.assert_allclose(levels[mask] / 32767.5 - 1, normals[mask], atol=1 / 65535)
    assert (levels[~mask] == 0).all()


def test_films_show_every_frame_with_one_range_of_colours(tmp_path: Path) -> None:
    """Picture, depth, normals, confidence side by side; white where the person is not seen."""
    save_video(video_with_gap(tmp_path), tmp_path / "out", Options(fx=200.0))
    panels, table = film(tmp_path / "out/panels.mp4"), film(tmp_path / "out/turntable.mp4")
    assert len(panels) == len(table) == 56
    assert panels[0].shape == (96, 640, 3)
    assert table[0].shape == (480, 960, 3)
    shown, gap = panels[6].astype(int), panels[32].astype(int)
    assert np.abs(shown[:, :160] - paint(Figure(66))).mean() < 12
    assert (gap[:, 160:] > 240).all()
    assert (table[32] > 240).all()
    assert (table[6] < 240).any()
    facing = shown[48, 2 * 160 + 66]
    assert facing[2] > 230
    assert abs(facing[0] - 127) < 25


def test_an_interrupted_run_goes_on_and_ends_with_the_same_files(tmp_path: Path, predictor, monkeypatch) -> None:
    monkeypatch.setattr(
        writing, "chunks", lambda survey: [range(k, min(k + 8, survey.count)) for k in range(0, survey.count, 8)]
    )
    video, options = video_with_gap(tmp_path), Options(fx=200.0)
    save_video(video, tmp_path / "whole", options)
    written = writing._write_maps

    def stopped(prediction, folder, name, meshes) -> None:
        if name == "000044":
            raise KeyboardInterrupt
        written(prediction, folder, name, meshes)

    monkeypatch.setattr(writing, "_write_maps", stopped)
    with pytest.raises(KeyboardInterrupt):
        save_video(video, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
    calls, again = predictor.network.calls, []
    monkeypatch.setattr(writing, "_write_maps", lambda *values: (again.append(values[2]), written(*values)))
    save_video(video, tmp_path / "out", options)
    assert predictor.network.calls == calls
    assert min(again) == "000040"
    for file in (tmp_path / "whole").rglob("*.*"):
        assert (tmp_path / "out" / file.relative_to(tmp_path / "whole")).read_bytes() == file.read_bytes(), file
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_another_wish_starts_afresh(tmp_path: Path, monkeypatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    video = write_video(tmp_path / "a.mp4", [paint(Figure(80))] * 3)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "join_pieces", stopped)
        with pytest.raises(KeyboardInterrupt):
            save_video(video, tmp_path / "out", Options(fx=200.0), meshes=True)
    assert len(list((tmp_path / ".out.partial/meshes").iterdir())) == 3
    save_video(video, tmp_path / "out", Options(fx=200.0))
    assert not (tmp_path / "out/meshes").exists()


class Learned:
    """Adapter that hands out a file of some content, or none."""

    steps = 20

    def __init__(self, content: bytes | None) -> None:
        self.content = content

    def __call__(self, _: Path, folder: Path, *__: object) -> Adapted:
        report = {"steps": 20, "kept_step": 20 if self.content else 0}
        if self.content is None:
            return Adapted(None, report)
        (folder / "learned.safetensors").write_bytes(self.content)
        return Adapted(folder / "learned.safetensors", report)


def test_adapted_weights_are_used_kept_and_named(tmp_path: Path, predictor) -> None:
    video, options = write_video(tmp_path / "a.mp4", [paint(Figure(80))] * 3), Options(fx=200.0)
    content = save_video(video, tmp_path / "out", options, adapter=Learned(b"weights"))
    assert (tmp_path / "out/adapted.safetensors").read_bytes() == b"weights"
    assert content["model_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert content["model"] == "shipped"
    assert content["adapted"] == {"steps": 20, "kept_step": 20}
    content = save_video(video, tmp_path / "out", options, adapter=Learned(None))
    assert not (tmp_path / "out/adapted.safetensors").exists()
    assert content["model_sha256"] == sha256_of(SHIPPED)


def test_a_resumed_run_never_mixes_weights(tmp_path: Path, predictor, monkeypatch) -> None:
    """Looks of other weights, and films of them, are made again."""
    video, options = write_video(tmp_path / "a.mp4", [paint(Figure(80))] * 3), Options(fx=200.0)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "join_pieces", stopped)

    def calls_after(adapter: Learned) -> int:
        before = predictor.network.calls
        with pytest.raises(KeyboardInterrupt):
            save_video(video, tmp_path / "out", options, adapter=adapter)
        return predictor.network.calls - before

    assert calls_after(Learned(b"one")) > 3
    assert calls_after(Learned(b"one")) == 0
    assert calls_after(Learned(b"two")) == 3


def test_a_fault_of_the_video_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no person found"):
        save_video(write_video(tmp_path / "a.mp4", [paint()] * 6), tmp_path / "out", Options())
    with pytest.raises(DataError, match="file is missing; expected a video"):
        save_video(tmp_path / "none.mp4", tmp_path / "out", Options())
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_a_folder_of_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/diary.txt").write_text("mine")
    with pytest.raises(DataError, match="holds other things"):
        save_video(write_video(tmp_path / "a.mp4", [paint(Figure(80))] * 3), tmp_path / "out", Options())


def test_the_command_says_what_it_found(tmp_path: Path, capsys) -> None:
    main(["video", str(video_with_gap(tmp_path)), "--out", str(tmp_path / "out"), "--fx", "200", "--jobs", "1"])
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("panels.mp4")
    assert "of 56 frames, 0 cuts, person at 4.0" in said[3]
    assert said[4].startswith("frames 2")
    assert said[4].endswith(NOBODY)
