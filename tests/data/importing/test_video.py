import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video_files import write_video

from hdnet.data.importing import video as video_module
from hdnet.data.importing.video import Selection, check_iuv_video, extract_frames, is_video
from hdnet.errors import DataError

av = pytest.importorskip("av")


def counted(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Grey frames that grow brighter, with a white corner at the top left."""
    frames = []
    for i in range(count):
        frame = np.full((height, width, 3), 20 + 4 * i, dtype=np.uint8)
        frame[:16, :16] = 250
        frames.append(frame)
    return frames


def numbers_seen(files: dict[int, str]) -> list[int]:
    return [round((float(np.asarray(Image.open(file))[24:, 24:].mean()) - 20) / 4) for file in files.values()]


def test_all_frames_in_order(tmp_path: Path):
    video = write_video(tmp_path / "a.mp4", counted(25))
    frames = extract_frames(video, tmp_path / "frames", "colour", Selection())
    assert (list(frames.files), frames.total, frames.remarks) == (list(range(25)), 25, ())
    assert numbers_seen(frames.files) == list(range(25))
    with Image.open(frames.files[3]) as picture:
        assert picture.size == (64, 48)


def test_every_start_and_end(tmp_path: Path):
    video = write_video(tmp_path / "a.mp4", counted(40), rate=10)
    frames = extract_frames(video, tmp_path / "frames", "colour", Selection(every=3, start_s=0.5, end_s=2.0))
    assert list(frames.files) == [5, 8, 11, 14, 17]
    assert numbers_seen(frames.files) == [5, 8, 11, 14, 17]
    assert frames.remarks == ()


def test_start_counts_from_the_first_frame_whatever_its_time_stamp(tmp_path: Path):
    video = write_video(tmp_path / "a.mkv", counted(20), rate=10, times=[1000 + i for i in range(20)])
    frames = extract_frames(video, tmp_path / "frames", "colour", Selection(start_s=1.0))
    assert list(frames.files) == list(range(10, 20))


def turned(video: Path, matrix: tuple[int, ...]) -> Path:
    """The same MP4 with another display matrix in its track header, as a phone that is held upright writes it."""
    data = video.read_bytes()
    place = data.index(b"tkhd") + 4 + 4 + 20 + 16
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    assert data[place : place + 36] == identity
    video.write_bytes(data[:place] + struct.pack(">9i", *matrix) + data[place + 36 :])
    return video


@pytest.mark.parametrize(
    ("matrix", "corner", "size"),
    [
        ((0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30), (slice(0, 12), slice(-12, None)), (48, 64)),
        ((-65536, 0, 0, 0, -65536, 0, 64 << 16, 48 << 16, 1 << 30), (slice(-12, None), slice(-12, None)), (64, 48)),
        ((0, -65536, 0, 65536, 0, 0, 0, 64 << 16, 1 << 30), (slice(-12, None), slice(0, 12)), (48, 64)),
    ],
    ids=["a quarter to the right", "upside down", "a quarter to the left"],
)
def test_frames_stand_upright(tmp_path: Path, matrix: tuple, corner: tuple, size: tuple):
    video = turned(write_video(tmp_path / "a.mp4", counted(3)), matrix)
    frames = extract_frames(video, tmp_path / "frames", "grey", Selection())
    picture = Image.open(frames.files[0])
    assert (picture.mode, picture.size) == ("L", size)
    pixels = np.asarray(picture).astype(int)
    assert pixels[corner].min() > 200
    assert (pixels > 128).mean() == pytest.approx(16 * 16 / (48 * 64), abs=0.02)


def test_a_variable_frame_rate_counts_frames_and_says_so(tmp_path: Path):
    video = write_video(tmp_path / "a.mkv", counted(12), rate=10, times=[0, 1, 2, 3, 9, 10, 11, 20, 21, 22, 23, 24])
    frames = extract_frames(video, tmp_path / "frames", "colour", Selection())
    assert numbers_seen(frames.files) == list(range(12))
    assert frames.remarks == (
        "a.mkv has a variable frame rate (1.11 to 10 frames a second); frames are counted, not timed",
    )


def test_pixels_that_are_not_square_are_said(tmp_path: Path):
    video = write_video(tmp_path / "a.mkv", counted(3), pixel_shape=(4, 3))
    frames = extract_frames(video, tmp_path / "frames", "colour", Selection())
    assert frames.remarks == ("a.mkv has pixels that are not square; give fx and fy by --intrinsics",)


def test_a_truncated_video_gives_what_can_be_read_and_a_remark(tmp_path: Path):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(60)]
    video = write_video(tmp_path / "a.mkv", noise)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    frames = extract_frames(video, tmp_path / "frames", "colour", Selection())
    assert 10 < len(frames.files) < 50
    assert len(frames.remarks) == 1
    assert "a.mkv is truncated or damaged" in frames.remarks[0]


def test_an_mp4_without_its_index_is_refused(tmp_path: Path):
    video = write_video(tmp_path / "a.mp4", counted(30))
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\.mp4: cannot be opened as a video .*has lost its index"):
        extract_frames(video, tmp_path / "frames", "colour", Selection())


@pytest.mark.parametrize("data", [b"", b"no video at all " * 50])
def test_what_is_no_video_is_refused(tmp_path: Path, data: bytes):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.mp4: cannot be opened as a video"):
        extract_frames(tmp_path / "a.mp4", tmp_path / "frames", "colour", Selection())


def test_sound_alone_is_refused(tmp_path: Path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        frame.rate = 8000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    with pytest.raises(DataError, match="has no video stream"):
        extract_frames(tmp_path / "a.mkv", tmp_path / "frames", "colour", Selection())


def test_nothing_between_start_and_end_is_an_error(tmp_path: Path):
    video = write_video(tmp_path / "a.mp4", counted(10), rate=10)
    with pytest.raises(DataError, match=r"a\.mp4: no frame taken of 10 read"):
        extract_frames(video, tmp_path / "frames", "colour", Selection(start_s=5))


def test_lossless_iuv_keeps_every_value(tmp_path: Path):
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    video = write_video(tmp_path / "a.mkv", maps, codec="ffv1", pixels="bgr0")
    check_iuv_video(video)
    frames = extract_frames(video, tmp_path / "frames", "iuv", Selection())
    for given, file in zip(maps, frames.files.values(), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(file)), given)


@pytest.mark.parametrize(
    ("codec", "pixels", "reason"),
    [
        ("libx264", "yuv420p", "DensePose in a h264 video: lossy storage blurs part numbers"),
        ("ffv1", "yuv444p", "DensePose in pixel format yuv444p: the conversion from RGB changes part numbers"),
    ],
)
def test_lossy_iuv_is_refused_with_the_reason(tmp_path: Path, codec: str, pixels: str, reason: str):
    video = write_video(tmp_path / "a.mkv", counted(3), codec=codec, pixels=pixels)
    with pytest.raises(DataError, match=reason):
        check_iuv_video(video)


def test_frames_of_an_interrupted_run_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    video = write_video(tmp_path / "a.mp4", counted(5))
    first = extract_frames(video, tmp_path / "frames", "colour", Selection())
    monkeypatch.setattr(video_module, "opened", None)
    assert extract_frames(video, tmp_path / "frames", "colour", Selection()) == first


def test_selections_out_of_range_are_refused():
    with pytest.raises(DataError, match="--every 0"):
        Selection(every=0)
    with pytest.raises(DataError, match="--end 1: expected more than --start 2"):
        Selection(start_s=2, end_s=1)


def test_videos_are_known_by_name(tmp_path: Path):
    (tmp_path / "a.MOV").touch()
    (tmp_path / "b.png").touch()
    assert is_video(tmp_path / "a.MOV")
    assert not is_video(tmp_path / "b.png")
    assert not is_video(tmp_path)
