"""Predictions of a whole clip: distances, scale, gaps, memory of what is finished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from red_person import SCALE, Figure, RedPerson, paint
from torch import nn
from video_files import write_video

import hdnet
from hdnet.errors import DataError, InputError, ModelError
from hdnet.geometry import Camera
from hdnet.pictures.crop import NETWORK_SIZE
from hdnet.video import clip as clip_module
from hdnet.video.clip import Options, open_clip
from hdnet.video.frames import stable_frames
from hdnet.video.tracking import NOBODY

pytestmark = pytest.mark.usefixtures("predictor")


def dance(count: int) -> list[np.ndarray]:
    return [paint(Figure(70 + 15 * np.sin(i / 6))) for i in range(count)]


def test_every_frame_comes_in_order_with_its_prediction(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", dance(40))
    frames = list(hdnet.predict_video(video, fx=200.0))
    assert [frame.number for frame in frames] == list(range(40))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 30 for i in range(40)], abs=1e-3)
    for i, frame in enumerate(frames):
        assert frame.image.shape == (96, 160, 3)
        assert frame.prediction is not None
        _, x = np.nonzero(frame.prediction.mask)
        assert x.mean() == pytest.approx(70 + 15 * np.sin(i / 6), abs=1.5)
        assert frame.prediction.camera == Camera(200, 200, 79.5, 47.5)
        facing = frame.prediction.normals[frame.prediction.mask]
        assert facing[:, 2].mean() < -0.97
    assert not list(Path(tmp_path).glob("hdnet-video-*"))


def test_the_distance_is_smooth_and_4_m_in_the_median_where_the_model_tells_none(tmp_path: Path) -> None:
    """A figure that grows by a fifth comes nearer by as much; the network's scale of squares is constant."""
    frames = [paint(Figure(80, half_height=30 + 0.15 * i, half_width=10 + 0.05 * i)) for i in range(40)]
    found = [frame.prediction for frame in hdnet.predict_video(write_video(tmp_path / "a.mp4", frames), fx=200.0)]
    distances = np.array([one.scale.distance_m for one in found])
    assert np.median(distances) == pytest.approx(4.0, abs=0.05)
    assert {one.scale.source for one in found} == {"assumed"}
    assert distances[0] > distances[20] > distances[39]
    assert np.abs(np.diff(distances, 2)).max() < 0.01


def test_a_model_that_knows_sizes_gives_the_distance(tmp_path: Path, predictor, monkeypatch) -> None:
    monkeypatch.setattr(clip_module, "is_metric", lambda _: True)
    video = write_video(tmp_path / "a.mp4", [paint(Figure(80))] * 6)
    (frame, *_) = hdnet.predict_video(video, fx=200.0)
    side = 72 * (1 + 2 * 0.12)
    expected = 200 / (side / NETWORK_SIZE) / SCALE
    assert frame.prediction.scale.distance_m == pytest.approx(expected, rel=0.1)
    assert frame.prediction.scale.source == "estimated"


def test_a_dancer_who_leaves_is_a_gap_with_a_reason(tmp_path: Path) -> None:
    frames = [paint(Figure(80))] * 20 + [paint()] * 20 + [paint(Figure(80))] * 20
    found = list(hdnet.predict_video(write_video(tmp_path / "a.mp4", frames)))
    assert [frame.prediction is None for frame in found[25:35]] == [True] * 10
    assert found[30].skipped == NOBODY
    assert found[10].skipped == ""
    assert found[10].prediction is not None
    assert found[50].prediction is not None


def test_nothing_is_carried_across_a_cut(tmp_path: Path) -> None:
    """Of two shots at other distances no frame lies between."""
    frames = [paint(Figure(50), background=0)] * 15 + [paint(Figure(110, half_height=20), background=1)] * 15
    found = list(hdnet.predict_video(write_video(tmp_path / "a.mp4", frames), fx=200.0))
    assert [frame.shot for frame in found] == [0] * 15 + [1] * 15
    distances = [frame.prediction.scale.distance_m for frame in found]
    assert np.ptp(distances[:15]) < 0.02 * distances[0]
    assert np.ptp(distances[15:]) < 0.02 * distances[15]
    assert distances[15] / distances[14] == pytest.approx(36 / 20, rel=0.1)


def test_frames_of_another_size_keep_the_geometry(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", [paint(Figure(80))] * 4)
    clip = open_clip(video, tmp_path / "work", Options(fx=200.0))
    (large, *_), (small, *_) = stable_frames(clip, range(4)), stable_frames(clip, range(4), 2)
    assert small.image.shape == (48, 80, 3)
    assert small.prediction.camera.pixel_intrinsics() == pytest.approx((100, 100, 39.5, 23.5))
    assert small.prediction.scale.distance_m == pytest.approx(large.prediction.scale.distance_m, rel=0.01)
    assert small.prediction.mask.sum() * 4 == pytest.approx(large.prediction.mask.sum(), rel=0.05)


def test_what_was_looked_at_before_is_not_looked_at_again(tmp_path: Path, predictor) -> None:
    video = write_video(tmp_path / "a.mp4", dance(40))
    network: RedPerson = predictor.network
    first = open_clip(video, tmp_path / "work", Options())
    calls = network.calls
    again = open_clip(video, tmp_path / "work", Options())
    assert network.calls == calls
    assert again.distances_m == first.distances_m
    (tmp_path / "work/looks/0000032.json").unlink()
    open_clip(video, tmp_path / "work", Options())
    assert network.calls == calls + 8


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"these are words", "cannot be opened as a video"), (b"", "cannot be opened as a video")],
)
def test_what_is_no_video_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        next(iter(hdnet.predict_video(file)))


def test_sound_alone_is_one_line(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match="has no video stream; expected a video file"):
        next(iter(hdnet.predict_video(tmp_path / "a.wav")))


def test_impossible_wishes_are_one_line(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", dance(3))
    with pytest.raises(InputError, match="person 0, jobs 1: expected 1 or more"):
        next(iter(hdnet.predict_video(video, person=0)))
    with pytest.raises(InputError, match="focal length fx"):
        next(iter(hdnet.predict_video(video, fx=1.0)))


def test_a_model_of_two_hourglasses_is_refused(tmp_path: Path, monkeypatch) -> None:
    class Hourglasses(nn.Module):
        camera = Camera.centred()

    monkeypatch.undo()
    monkeypatch.setattr(clip_module, "load_source", lambda _: (Hourglasses(), None))
    clip_module._settled.cache_clear()
    video = write_video(tmp_path / "a.mp4", dance(3))
    with pytest.raises(ModelError, match="videos need a model for photographs"):
        next(iter(hdnet.predict_video(video)))
