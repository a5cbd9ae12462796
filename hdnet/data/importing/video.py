"""Frames of a video file as PNG files, read by PyAV (FFmpeg); an optional dependency, extra ``video``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from tqdm import tqdm

from hdnet.data.layout.png import write_png
from hdnet.errors import DataError
from hdnet.extras import install_command
from hdnet.files import read_json_object, write_json

if TYPE_CHECKING:
    from av.container import InputContainer

# "iuv" are colours with exact values.
Form = Literal["colour", "grey", "iuv"]

_INDEX = "frames.json"
_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".gif", ".apng", ".flv", ".wmv")
# Codecs that always keep every value. H.264 and H.265 can, but a file does not say whether it did.
_LOSSLESS_CODECS = {"ffv1", "huffyuv", "ffvhuff", "utvideo", "png", "apng", "qtrle", "rawvideo", "magicyuv"}
# Fewer frames than this part of what the file announces: it was cut off.
_COMPLETE = 0.95


@dataclass(frozen=True)
class Selection:
    """Selection of frames of a video.

    Attributes:
        every: Every n-th frame, counted from the first one at or after ``start_s``.
        start_s: Seconds from the first frame.
        end_s: Seconds; frames at or after it are left out.
    """

    every: int = 1
    start_s: float | None = None
    end_s: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise DataError(f"--every {self.every}: expected 1 or more")
        if self.end_s is not None and self.end_s <= (self.start_s or 0):
            raise DataError(f"--end {self.end_s:g}: expected more than --start {self.start_s or 0:g} (seconds)")


@dataclass(frozen=True)
class VideoFrames:
    """Frames taken from a video.

    Attributes:
        files: PNG by number in the video, counted from 0.
        total: Frames of the video that were read, taken or not.
        remarks: For the report.
    """

    files: dict[int, str]
    total: int
    remarks: tuple[str, ...]


def is_video(path: Path) -> bool:
    """Return whether a path is a file with the name of a video."""
    return path.is_file() and path.suffix.lower() in _SUFFIXES


def extract_frames(video: Path, folder: Path, form: Form, selection: Selection, progress: bool = False) -> VideoFrames:
    """Write frames of a video as PNG files.

    Frames are upright as the file's rotation says. They are counted, not timed: with a variable frame rate each one
    shown is one frame. Of a truncated file, what can be read is taken and a remark says so.

    Args:
        video: The file.
        folder: Target; frames that an interrupted run has taken there are used.
        form: "colour" for RGB, "grey" for masks, "iuv" for RGB that must be exact.
        selection: Frames to take.
        progress: Show a progress bar on stderr.

    Raises:
        DataError: PyAV is missing, the file is no video or not one frame can be read, nothing lies between start and
            end, or "iuv" is wanted of a lossy codec or pixel format.
    """
    index = folder / _INDEX
    if index.exists():
        content = read_json_object(index)
        files = {int(number): file for number, file in content["files"].items()}
        return VideoFrames(files, content["total"], tuple(content["remarks"]))
    folder.mkdir(parents=True, exist_ok=True)
    reader = VideoReader(video, selection)
    files = {}
    with opened(video) as container:
        stream = container.streams.video[0]
        if form == "iuv":
            _check_lossless(video, stream)
        announced = stream.frames or 0
        with tqdm(total=announced or None, desc=f"frames of {video.name}", disable=not progress) as bar:
            for number, frame in reader.frames(container):
                bar.update(number + 1 - bar.n)
                file = folder / f"{number:06d}.png"
                write_png(file, upright(frame, "gray" if form == "grey" else "rgb24"))
                files[number] = str(file)
        remarks = reader.remarks(announced, (container.duration or 0) / 1_000_000)
    if not files:
        raise DataError(
            f"{video}: no frame taken of {reader.total} read; expected a video with frames between --start and --end"
            + "".join(f"; {remark}" for remark in remarks)
        )
    write_json(index, {"files": files, "total": reader.total, "remarks": remarks})
    return VideoFrames(files, reader.total, tuple(remarks))


def check_iuv_video(video: Path) -> None:
    """Refuse a video that cannot hold exact part numbers, before anything is read.

    Raises:
        DataError: See :func:`extract_frames`.
    """
    with opened(video) as container:
        _check_lossless(video, container.streams.video[0])


class VideoReader:
    """Decoder of one video, with remarks on its irregularities.

    Args:
        video: The file, for the remarks.
        selection: Frames to take.

    Attributes:
        total: Frames that were read, taken or not.
    """

    def __init__(self, video: Path, selection: Selection) -> None:
        self.total = 0
        self._video, self._selection = video, selection
        self._error, self._ended = "", False
        self._times: list[float] = []
        self._square = True

    def frames(self, container: InputContainer) -> Iterator[tuple[int, Any]]:
        """Yield (number, frame) of the selected frames."""
        import av

        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        self._square = stream.codec_context.sample_aspect_ratio in (None, 0, 1)
        start_s, end_s, first = self._selection.start_s or 0.0, self._selection.end_s, None
        origin = None
        try:
            for frame in container.decode(stream):
                time_s = frame.time if frame.time is not None else float(self.total)
                origin = time_s if origin is None else origin
                if end_s is not None and time_s - origin >= end_s:
                    self._ended = True
                    return
                number, self.total = self.total, self.total + 1
                self._times.append(time_s)
                if time_s - origin < start_s:
                    continue
                first = number if first is None else first
                if (number - first) % self._selection.every == 0:
                    yield number, frame
        except av.FFmpegError as error:
            self._error = str(error.strerror or error)

    def remarks(self, announced: int, duration_s: float) -> list[str]:
        """Return remarks for the report."""
        remarks = []
        times = np.array(self._times)
        cut_off = self._error or (announced and self.total < _COMPLETE * announced)
        if len(times) > 2 and not announced:
            cut_off = cut_off or times[-1] - times[0] < _COMPLETE * duration_s - 2 * float(np.diff(times).max())
        if cut_off and not self._ended:
            expected = f" of {announced}" if announced else ""
            reason = f" ({self._error})" if self._error else ""
            remarks.append(f"{self._video.name} is truncated or damaged{reason}: {self.total}{expected} frames read")
        steps = np.diff(times)
        if len(steps) and steps.max() > 1.5 * max(float(np.median(steps)), 1e-6):
            remarks.append(
                f"{self._video.name} has a variable frame rate ({1 / max(float(steps.max()), 1e-6):.3g} to "
                f"{1 / max(float(steps.min()), 1e-6):.3g} frames a second); frames are counted, not timed"
            )
        if not self._square:
            remarks.append(f"{self._video.name} has pixels that are not square; give fx and fy by --intrinsics")
        return remarks


@contextmanager
def opened(video: Path) -> Iterator[InputContainer]:
    """Open a video file by PyAV.

    Raises:
        DataError: PyAV is missing, or the file is no video.
    """
    try:
        import av
    except ImportError as error:
        raise DataError(f"{video}: reading videos needs PyAV; {install_command('video')} ({error})") from error
    try:
        container = av.open(str(video))
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{video}: cannot be opened as a video ({reason}); expected a complete file; an MP4 that was cut off has "
            "lost its index and cannot be read at all"
        ) from error
    with container:
        if not container.streams.video:
            raise DataError(f"{video}: has no video stream; expected a video file")
        yield container


def _check_lossless(video: Path, stream: Any) -> None:
    codec, pixels = stream.codec_context.name, stream.codec_context.pix_fmt or "unknown"
    if codec not in _LOSSLESS_CODECS:
        raise DataError(
            f"{video}: DensePose in a {codec} video: lossy storage blurs part numbers and coordinates; expected a "
            "folder of PNG files or a lossless RGB video (FFV1 with pixel format bgr0)"
        )
    if not any(name in pixels for name in ("rgb", "gbr", "bgr")):
        raise DataError(
            f"{video}: DensePose in pixel format {pixels}: the conversion from RGB changes part numbers; expected a "
            "folder of PNG files or a lossless RGB video (FFV1 with pixel format bgr0)"
        )


def upright(frame: Any, pixel_format: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return the pixels of a PyAV frame, turned as its rotation says.

    Args:
        frame: The frame.
        pixel_format: FFmpeg's name.
        size: Height and width of the upright picture to resize to; None keeps the frame's.
    """
    # The display matrix turns counter-clockwise by this angle.
    quarter_turns = round((frame.rotation or 0) / 90) % 4
    if size is None:
        pixels: np.ndarray = frame.to_ndarray(format=pixel_format)
    else:
        height, width = size if quarter_turns % 2 == 0 else size[::-1]
        pixels = frame.to_ndarray(format=pixel_format, width=width, height=height, interpolation="AREA")
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns))
