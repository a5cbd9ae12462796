"""First pass over a video: times, cuts and small pictures of the frames; and reading any part of it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from hdnet.data.importing.cuts import appearance_of, find_cuts
from hdnet.data.importing.video import Selection, VideoReader, opened, upright
from hdnet.errors import DataError
from hdnet.files import read_json_object, write_json

_FILE = "survey.json"
_PICTURES = "pictures"
# Key pictures a second: between two of them a dancer stays within the square about the box.
_KEYS_PER_S = 6.0
PICTURE_SIDE_PX = 960
"""Longest side of the pictures that are kept."""
_JPEG_QUALITY = 95
# Cuts are found by every n-th pixel along a side, n such that at most so many pixels are left.
_APPEARANCE_SIDE_PX = 512


@dataclass(frozen=True)
class Survey:
    """What the first pass over a video finds. Positions count the frames taken, from 0.

    Attributes:
        width: Of the upright picture in pixels.
        height: Of the upright picture in pixels.
        numbers: Number in the video of every frame taken.
        times_s: Time of every frame taken, from the first one.
        stamps: Presentation time stamps in the video's unit; empty where they do not tell the frames apart.
        cuts: Positions at which a new shot begins, without 0.
        key_step: Every so many frames the person is looked for.
        remarks: Irregularities of the file.
    """

    width: int
    height: int
    numbers: list[int]
    times_s: list[float]
    stamps: list[int]
    cuts: list[int]
    key_step: int
    remarks: list[str]

    @property
    def count(self) -> int:
        """Number of frames taken."""
        return len(self.numbers)

    @property
    def rate(self) -> float:
        """Frames a second, in the median."""
        steps = np.diff(self.times_s)
        return float(1 / max(float(np.median(steps)), 1e-3)) if len(steps) else 30.0

    @property
    def shrink(self) -> int:
        """Pixels of the video per pixel of the kept pictures."""
        return self.shrink_to(PICTURE_SIDE_PX)

    def shrink_to(self, side_px: int) -> int:
        """Whole number to divide the pictures' size by, so that the longer side has at most so many pixels."""
        return _shrink_to((self.height, self.width), side_px)

    @property
    def shots(self) -> list[range]:
        """Positions of each shot."""
        ends = [0, *self.cuts, self.count]
        return [range(first, last) for first, last in pairwise(ends)]


def survey_video(video: Path, folder: Path, selection: Selection, progress: bool = False) -> Survey:
    """Read a video once.

    Of a video that is larger than :data:`PICTURE_SIDE_PX` every frame is kept, shrunk: reading that again takes a
    third of decoding it once more. Of other videos key pictures are kept.

    Args:
        video: The file.
        folder: Where the result and the pictures are kept; a result that is there is returned.
        selection: Frames to take.
        progress: Show a progress bar on stderr.

    Raises:
        DataError: PyAV is missing, the file is no video, or no frame can be taken.
    """
    if (folder / _FILE).exists():
        return Survey(**read_json_object(folder / _FILE))
    (folder / _PICTURES).mkdir(parents=True, exist_ok=True)
    reader, appearances = VideoReader(video, selection), []
    numbers: list[int] = []
    times: list[float] = []
    stamps: list[int] = []
    key_step, size = 1, (0, 0)
    with opened(video) as container:
        stream = container.streams.video[0]
        announced, rate = stream.frames or 0, float(stream.average_rate or 30) / selection.every
        key_step = max(1, round(rate / _KEYS_PER_S))
        with tqdm(total=announced or None, desc="reading", unit="frame", disable=not progress) as bar:
            for number, frame in reader.frames(container):
                bar.update(number + 1 - bar.n)
                size = _upright_size(frame)
                shrink = _shrink_to(size, PICTURE_SIDE_PX)
                picture = upright(frame, "rgb24", None if shrink == 1 else (size[0] // shrink, size[1] // shrink))
                every = _shrink_to(picture.shape[:2], _APPEARANCE_SIDE_PX)
                few = picture[::every, ::every]
                appearances.append(appearance_of(few, _middle(few.shape[:2])))
                if shrink > 1 or len(numbers) % key_step == 0:
                    _write_picture(folder, len(numbers), picture)
                times.append(float(frame.time) if frame.time is not None else number / max(rate, 1e-3))
                stamps.append(frame.pts)
                numbers.append(number)
        # Times are kept here, so that a variable frame rate is nothing to remark on.
        remarks = [
            one for one in reader.remarks(announced, (container.duration or 0) / 1_000_000) if "frame rate" not in one
        ]
    if not numbers:
        raise DataError(
            f"{video}: no frame taken of {reader.total} read; expected a video with frames between --start and --end"
            + "".join(f"; {remark}" for remark in remarks)
        )
    is_ordered = all(stamp is not None for stamp in stamps) and all(np.diff(np.array(stamps, dtype=np.int64)) > 0)
    times = [time_s - times[0] for time_s in times]
    ordered = stamps if is_ordered else []
    found = Survey(size[1], size[0], numbers, times, ordered, find_cuts(appearances), key_step, remarks)
    write_json(folder / _FILE, asdict(found))
    return found


def kept_picture(folder: Path, position: int) -> np.ndarray:
    """Return the picture (h, w, 3) uint8 that was kept of a position: of small videos one in ``key_step``.

    Raises:
        DataError: It is missing or damaged.
    """
    file = folder / _PICTURES / f"{position:06d}.jpg"
    try:
        with Image.open(file) as picture:
            return np.asarray(picture)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error}); delete {folder} and run again") from error


def read_part(video: Path, folder: Path, survey: Survey, part: range, shrink: int = 1) -> Iterator[np.ndarray]:
    """Yield the upright RGB pictures of some positions in a row.

    Args:
        video: The file of the survey.
        folder: That of the survey.
        survey: Its survey.
        part: Positions.
        shrink: Whole number by which to shrink them; those that were kept are read where they were shrunk as much.

    Raises:
        DataError: The video has changed, or a frame cannot be read again.
    """
    if shrink == survey.shrink > 1:
        yield from (kept_picture(folder, position) for position in part)
        return
    size = None if shrink == 1 else (survey.height // shrink, survey.width // shrink)
    done = 0
    for picture in _decoded(video, survey, part, size):
        yield picture
        done += 1
    if done < len(part):
        raise DataError(
            f"{video}: frame {survey.numbers[part[done]]} cannot be read again; was the file changed meanwhile?"
        )


def _decoded(video: Path, survey: Survey, part: range, size: tuple[int, int] | None) -> Iterator[np.ndarray]:
    import av  # optional package

    with opened(video) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if survey.stamps and part.start:
            container.seek(survey.stamps[part.start], stream=stream)
        wanted = survey.stamps[part.start : part.stop] if survey.stamps else survey.numbers[part.start : part.stop]
        place, number = 0, 0
        try:
            for frame in container.decode(stream):
                label, number = frame.pts if survey.stamps else number, number + 1
                if label is None or label < wanted[place]:
                    continue
                if label > wanted[place] and place == 0 and survey.stamps:
                    break  # the seek led behind the frame
                if label == wanted[place]:
                    yield upright(frame, "rgb24", size)
                    place += 1
                    if place == len(wanted):
                        return
        except av.FFmpegError:
            return  # reported by the caller
    if place == 0 and survey.stamps and part.start:
        yield from _from_the_start(video, survey, part, size)


def _from_the_start(video: Path, survey: Survey, part: range, size: tuple[int, int] | None) -> Iterator[np.ndarray]:
    """Like :func:`_decoded` for a file in which seeking fails: all frames before are decoded, too."""
    fields: dict[str, Any] = asdict(survey) | {"stamps": []}
    yield from _decoded(video, Survey(**fields), part, size)


def _shrink_to(size: tuple[int, ...], side_px: int) -> int:
    return -(-max(size) // side_px)


def _upright_size(frame: Any) -> tuple[int, int]:
    turned = round((frame.rotation or 0) / 90) % 2
    return (frame.width, frame.height) if turned else (frame.height, frame.width)


def _middle(size: tuple[int, int]) -> np.ndarray:
    """The middle third of a picture as the person's mask: who is in it is not known yet."""
    mask = np.zeros(size, bool)
    mask[:, size[1] // 3 : -(size[1] // 3) or None] = True
    return mask


def _write_picture(folder: Path, position: int, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(folder / _PICTURES / f"{position:06d}.jpg", quality=_JPEG_QUALITY)
