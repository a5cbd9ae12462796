"""Videos that are large, fast, cut or interrupted, and what the caller knows of them, through the whole command."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from red_person import Figure, paint
from video_files import write_video

import hdnet
from hdnet.data.parallel import using_backend
from hdnet.errors import InputError
from hdnet.models.lite import PersonMaps
from hdnet.pictures.people import HEAD_PARTS
from hdnet.video import clip, writing
from hdnet.video.clip import Options
from hdnet.video.writing import save_video

pytestmark = pytest.mark.usefixtures("predictor")
# Parts of a standing body from the top down, and down to which share of its height each goes.
BODY = ((HEAD_PARTS[0], 0.2), (2, 0.5), (8, 0.72), (12, 0.93), (5, 1.0))


def moving(count: int) -> list[np.ndarray]:
    return [paint(Figure(70 + 12 * np.sin(i / 5))) for i in range(count)]


def with_body(maps: PersonMaps) -> PersonMaps:
    """The maps with the parts of :data:`BODY` in place of the network's."""
    inside = maps.mask_b1hw[0, 0, ::4, ::4] > 0
    rows = inside.any(1).nonzero()[:, 0]
    share = (torch.arange(len(inside)) - rows[0]) / (rows[-1] - rows[0] + 1)
    part = torch.zeros_like(share)
    for number, end in reversed(BODY):
        part[share < end] = number
    label = torch.where(inside, part[:, None], 0)
    return maps._replace(parts_b25hw=10.0 * (torch.arange(25.0)[:, None, None] == label)[None])


def test_a_video_of_8k_is_shrunk_to_the_size_wanted(tmp_path: Path) -> None:
    small = [paint(Figure(70 + i, y=45), height=90) for i in range(2)]
    large = [one.repeat(48, axis=0).repeat(48, axis=1) for one in small]
    content = save_video(write_video(tmp_path / "a.mp4", large), tmp_path / "out", Options(fx=9600.0), size=480)
    assert (content["width"], content["height"]) == (7680, 4320)
    assert (content["maps"]["width"], content["maps"]["height"]) == (480, 270)
    assert content["frames"][1]["box"] == pytest.approx([48 * x for x in (59, 9, 83, 81)], abs=130)
    depth = np.asarray(Image.open(tmp_path / "out/depth/000001.png"))
    assert (depth > 0).sum() == pytest.approx(np.pi * 12 * 36 * 9, rel=0.1)


def test_240_frames_a_second_are_all_taken_at_their_times(tmp_path: Path) -> None:
    """Key pictures are as far apart in time as those of other videos, and nobody is lost between them."""
    video = write_video(tmp_path / "a.mp4", [paint(Figure(60 + i)) for i in range(24)], rate=240)
    frames = list(hdnet.predict_video(video, fx=200.0))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 240 for i in range(24)], abs=1e-4)
    for i, frame in enumerate(frames):
        assert frame.prediction is not None
        assert np.nonzero(frame.prediction.mask)[1].mean() == pytest.approx(60 + i, abs=2)


def test_a_cut_every_second_begins_every_shot_anew(tmp_path: Path) -> None:
    """The dancer stands elsewhere after each cut, at another distance; no frame lies between two shots."""
    shots = [(40, 36), (110, 24), (60, 30)]
    frames = [paint(Figure(x, half_height=half), background=k) for k, (x, half) in enumerate(shots) for _ in range(8)]
    found = list(hdnet.predict_video(write_video(tmp_path / "a.mp4", frames, rate=8), fx=200.0))
    assert [frame.shot for frame in found] == [0] * 8 + [1] * 8 + [2] * 8
    for frame in found:
        x, half = shots[frame.shot]
        assert frame.prediction is not None
        rows, columns = np.nonzero(frame.prediction.mask)
        assert columns.mean() == pytest.approx(x, abs=2)
        assert np.ptp(rows) == pytest.approx(2 * half, abs=4)


def test_two_dancers_who_cross_are_never_mixed(tmp_path: Path) -> None:
    """Every frame shows the one wanted or is left out: no mask is as wide as two people."""
    pink = (250, 120, 170)
    frames = [paint(Figure(24 + 4 * i, colour=pink, half_height=28), Figure(136 - 4 * i)) for i in range(28)]
    found = list(hdnet.predict_video(write_video(tmp_path / "a.mp4", frames), fx=200.0))
    apart = [i for i in range(28) if abs(112 - 8 * i) > 40]
    for i in apart:
        if found[i].prediction is not None:
            assert np.nonzero(found[i].prediction.mask)[1].mean() == pytest.approx(136 - 4 * i, abs=6), i
    widths = [np.ptp(np.nonzero(one.prediction.mask)[1]) for one in (found[i] for i in apart) if one.prediction]
    assert len(widths) > len(apart) / 2
    assert max(widths) < 32


def test_a_known_height_gives_the_distance_of_all_frames(tmp_path: Path, predictor, monkeypatch) -> None:
    """A figure of 72 pixels and 1.5 m at 200 pixels of focal length is 4.2 m away."""
    see = predictor.network.forward
    monkeypatch.setattr(predictor.network, "forward", lambda inputs: with_body(see(inputs)))
    video = write_video(tmp_path / "a.mp4", [paint(Figure(80 + i)) for i in range(4)])
    frames = list(hdnet.predict_video(video, fx=200.0, height_m=1.5))
    assert {frame.prediction.scale.source for frame in frames} == {"height"}
    for frame in frames:
        assert frame.prediction.scale.distance_m == pytest.approx(200 * 1.5 / 72, rel=0.08)


def test_without_a_height_the_distances_lean_towards_those_of_an_adult(tmp_path: Path, predictor, monkeypatch) -> None:
    see = predictor.network.forward
    monkeypatch.setattr(predictor.network, "forward", lambda inputs: with_body(see(inputs)))
    monkeypatch.setattr(clip, "is_metric", lambda _: True)
    video = write_video(tmp_path / "a.mp4", [paint(Figure(80 + i)) for i in range(4)])

    def distances_m(height_m: float | None = None) -> np.ndarray:
        frames = hdnet.predict_video(video, fx=200.0, height_m=height_m)
        return np.array([frame.prediction.scale.distance_m for frame in frames])

    found, of_an_adult = distances_m(), distances_m(clip.ADULT_M)
    monkeypatch.setattr(clip, "ADULT_WEIGHT", 0.0)
    own = distances_m()
    assert np.abs(np.log(own / of_an_adult)).min() > 0.1
    np.testing.assert_allclose(found, own**0.265 * of_an_adult**0.735, rtol=0.02)


def test_a_height_that_cannot_be_measured_or_be_is_one_line(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", moving(3))
    with pytest.raises(InputError, match="height"):
        next(iter(hdnet.predict_video(video, height_m=1.7)))
    with pytest.raises(InputError, match="height is 9 m"):
        next(iter(hdnet.predict_video(video, height_m=9)))


def small_chunks(survey) -> list[range]:
    return [range(k, min(k + 6, survey.count)) for k in range(0, survey.count, 6)]


def assert_same_files(one: Path, other: Path) -> None:
    names = sorted(str(file.relative_to(one)) for file in one.rglob("*.*"))
    assert names == sorted(str(file.relative_to(other)) for file in other.rglob("*.*"))
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_several_workers_write_the_bytes_of_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("hdnet.video.clip.chunks", small_chunks)
    monkeypatch.setattr(writing, "chunks", small_chunks)
    video = write_video(tmp_path / "a.mp4", moving(14))
    save_video(video, tmp_path / "one", Options(fx=200.0))
    with using_backend("threading"):
        save_video(video, tmp_path / "two", Options(fx=200.0, jobs=2))
    assert_same_files(tmp_path / "one", tmp_path / "two")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed process is a fork of this one")
def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(writing, "chunks", small_chunks)
    video, options = write_video(tmp_path / "a.mp4", moving(14)), Options(fx=200.0)
    written = writing._write_maps

    def killed(prediction, folder, name, meshes) -> None:
        if name == "000008":
            os.kill(os.getpid(), signal.SIGKILL)
        written(prediction, folder, name, meshes)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(writing, "_write_maps", killed)
        save_video(video, tmp_path / "out", options)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    again: list[str] = []
    monkeypatch.setattr(writing, "_write_maps", lambda *values: (again.append(values[2]), written(*values)))
    save_video(video, tmp_path / "out", options)
    assert again == [f"{number:06d}" for number in range(6, 14)]
    save_video(video, tmp_path / "whole", options)
    assert_same_files(tmp_path / "whole", tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []
