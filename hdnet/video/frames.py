"""Frames of a video with their predictions, stable over time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hdnet.data.importing.video import Selection
from hdnet.errors import InputError
from hdnet.predict.prediction import Prediction
from hdnet.video.clip import Clip, Options, chunks, finished_prediction, open_clip, surfaces_in
from hdnet.video.stability import REACH, Surface, motion_between, stable_values
from hdnet.video.survey import read_part
from hdnet.video.tracking import NOBODY
from hdnet.workspace import SHIPPED_SOURCE


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame of a video.

    Attributes:
        position: Among the frames taken, from 0.
        number: In the video, from 0.
        time_s: From the first frame taken.
        shot: Number of the shot, from 0.
        image: (H, W, 3) uint8, the upright picture.
        prediction: Depth, normals, mask, confidence and body map; None where the person is not seen.
        skipped: Why there is no prediction; "" if there is.
        surface: What the prediction was made from; None without one.
    """

    position: int
    number: int
    time_s: float
    shot: int
    image: np.ndarray
    prediction: Prediction | None
    skipped: str
    surface: tuple[Surface, np.ndarray] | None = None


def predict_video(
    video: str | Path,
    *,
    model: str | Path = SHIPPED_SOURCE,
    runtime: str = "",
    person: int = 1,
    every: int = 1,
    start_s: float | None = None,
    end_s: float | None = None,
    fx: float | None = None,
    fov_deg: float | None = None,
    height_m: float | None = None,
    jobs: int = 1,
    progress: bool = False,
) -> Iterator[VideoFrame]:
    """Follow one person through a video and yield every frame, in order, stable over time.

    The video is read and looked at once as a whole before the first frame comes: the distance and the neighbours of a
    frame count. Memory does not grow with the video; the network's maps, and small pictures of large frames, wait in a
    temporary folder, 0.35 MB a frame.

    Args:
        video: A file that FFmpeg reads.
        model: Source of a model for photographs, as of :meth:`hdnet.predict.inference.Predictor.load`.
        runtime: Runtime of the network; "" for OpenVINO where it is installed, in bfloat16 where the processor
            computes that and the model bears it; else PyTorch.
        person: Whom to follow, counted from 1: the people of the first frames, the most likely subject first.
        every: Take every n-th frame.
        start_s: Seconds from the first frame.
        end_s: Seconds; frames from there on are left out.
        fx: Focal length in pixels of the upright picture. Without one that of a phone is assumed.
        fov_deg: Vertical field of view instead.
        height_m: The person's height, which then gives the distance.
        jobs: Processes.
        progress: Show progress bars on stderr.

    Raises:
        DataError: PyAV is missing, the file is no video or shows no frame.
        InputError: No person is found, or a value is out of range.
        ModelError: The model cannot be read, or is none for photographs.
    """
    options = Options(str(model), runtime, person, Selection(every, start_s, end_s), fx, fov_deg, height_m, jobs)
    with tempfile.TemporaryDirectory(prefix="hdnet-video-") as folder:
        clip = open_clip(Path(video), Path(folder), options, progress)
        for part in chunks(clip.survey):
            yield from stable_frames(clip, part)


def stable_frames(clip: Clip, part: range, shrink: int = 1) -> Iterator[VideoFrame]:
    """Yield the frames of a part of the clip.

    Args:
        clip: The clip.
        part: Positions.
        shrink: Whole number by which to shrink the pictures. The camera follows.
    """
    shots = clip.survey.shots
    surfaces: dict[int, Surface] = {}
    motions: dict[int, np.ndarray] = {}
    waiting = surfaces_in(clip, range(max(part.start - REACH, 0), min(part.stop + REACH, clip.survey.count)))
    upcoming = next(waiting, None)
    for position, image in zip(part, read_part(clip.video, clip.folder, clip.survey, part, shrink), strict=True):
        shot = next(k for k, one in enumerate(shots) if position in one)
        while upcoming is not None and upcoming[0] <= position + REACH:
            surfaces[upcoming[0]] = upcoming[1]
            upcoming = next(waiting, None)
        surfaces = {key: value for key, value in surfaces.items() if key >= position - REACH}
        frame = VideoFrame(
            position, clip.survey.numbers[position], clip.survey.times_s[position], shot, image, None,
            clip.skipped.get(position, ""),
        )  # fmt: skip
        if position not in surfaces:
            yield frame
            continue
        near = {key: value for key, value in surfaces.items() if key in shots[shot]}
        for key in near:
            if key + 1 in near and key not in motions:
                motions[key] = motion_between(near[key], near[key + 1])
        motions = {key: value for key, value in motions.items() if key >= position - REACH}
        values = stable_values(near, motions, position, clip.survey.times_s, clip.survey.rate)
        try:
            prediction = finished_prediction(clip, surfaces[position], values, image)
        except InputError:  # a remainder at the picture's edge
            yield replace(frame, skipped=NOBODY)
            continue
        yield replace(frame, prediction=prediction, surface=(surfaces[position], values))
