"""A video whose frames the network has looked at: camera, and distance of the person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from hdnet import __version__
from hdnet.data.importing.video import Selection
from hdnet.data.parallel import ordered_map, workers_started
from hdnet.errors import InputError, ModelError
from hdnet.files import Finished, fingerprint, sha256_of
from hdnet.geometry import MEDIAN_DEPTH_M, Camera
from hdnet.models import ModelIdentity, PersonModel
from hdnet.models.lite import PersonMaps
from hdnet.pictures.cameras import caller_camera, camera_of_focal_35mm, shrunk_camera
from hdnet.predict.finding import Look, box_of
from hdnet.predict.inference import Predictor, load_source, model_file
from hdnet.predict.person import (
    ADULT_M,
    ADULT_WEIGHT,
    check_height,
    height_of,
    in_picture,
    mask_of_picture,
    person_maps,
)
from hdnet.predict.prediction import PersonLook, Prediction, ScaleSource
from hdnet.predict.runtimes.choice import settled_runtime
from hdnet.predict.surface import agreed_normals
from hdnet.video.distance import depth_limits, log_distances
from hdnet.video.looks import PackedLook, look_at, read_looks, shrink_for, write_looks
from hdnet.video.stability import Surface
from hdnet.video.survey import Survey, read_part, survey_video
from hdnet.video.tracking import Track, track_person
from hdnet.workspace import SHIPPED_SOURCE

CHUNK_FRAMES = 32
"""Frames that one process works on at a time, and that a run that was killed loses at most."""
# Phones' main cameras film at about 28 mm of 35 mm film.
_ASSUMED_FOCAL_MM = 28.0
_QUANTILES = (0.01, 0.99)
# Frames that a given height is measured in.
_HEIGHT_FRAMES = 16


@dataclass(frozen=True)
class Options:
    """What is wanted of a video.

    Attributes:
        model: Source of a model for photographs, as of :meth:`hdnet.predict.inference.Predictor.load`.
        runtime: Runtime of the network; "" for that of :func:`hdnet.predict.runtimes.choice.settled_runtime`.
        person: Whom to follow, counted from 1, most likely subject of the first frames first.
        selection: Frames to take.
        fx: Focal length in pixels of the upright picture; None if not known.
        fov_deg: Vertical field of view instead.
        height_m: Height of the person; None if not known.
        jobs: Processes.
    """

    model: str = SHIPPED_SOURCE
    runtime: str = ""
    person: int = 1
    selection: Selection = field(default_factory=Selection)
    fx: float | None = None
    fov_deg: float | None = None
    height_m: float | None = None
    jobs: int = 1

    def __post_init__(self) -> None:
        if self.person < 1 or self.jobs < 1:
            raise InputError(f"person {self.person}, jobs {self.jobs}: expected 1 or more of each")
        check_height(self.height_m)


@dataclass(frozen=True, eq=False)
class Clip:
    """A video with all that does not change from frame to frame.

    Attributes:
        video: The file.
        folder: Where the survey and the network's maps are kept.
        options: What is wanted.
        survey: Times, cuts.
        track: Smoothed boxes.
        camera: Of the upright pictures.
        camera_source: "given", "fov" or "assumed".
        weights: SHA-256 of the model file.
        identity: The registered model.
        scale_source: As of :class:`hdnet.predict.prediction.Scale`.
        distances_m: Smoothed median distance of the person along the ray through the square's middle, by position.
        limits_m: Nearest and farthest depth of nearly all of the person over the whole clip.
        skipped: Why a frame has no prediction, by position.
    """

    video: Path
    folder: Path
    options: Options
    survey: Survey
    track: Track
    camera: Camera
    camera_source: str
    weights: str
    identity: ModelIdentity | None
    scale_source: ScaleSource
    distances_m: Mapping[int, float]
    limits_m: tuple[float, float]
    skipped: Mapping[int, str]

    def camera_of_width(self, width: int) -> Camera:
        """The camera of pictures that were resized to a width."""
        return shrunk_camera(self.camera, self.survey.width / width)


@dataclass(frozen=True, eq=False)
class Followed:
    """A video in which the person was followed.

    Attributes:
        folder: Where its survey is kept.
        survey: Times, cuts.
        track: Smoothed boxes.
        camera: Of the upright pictures.
        camera_source: "given", "fov" or "assumed".
        look: The network.
    """

    folder: Path
    survey: Survey
    track: Track
    camera: Camera
    camera_source: str
    look: Look


def follow(video: Path, folder: Path, options: Options, progress: bool = False) -> Followed:
    """Read a video and follow the person; what is known of both already is taken from ``folder``.

    Raises:
        HDNetError: As :func:`hdnet.video.frames.predict_video`.
    """
    survey = survey_video(video, folder, options.selection, progress)
    camera, camera_source = _camera(survey, options)
    look = partial(_look, options)
    track = track_person(survey, folder, look, options.person, progress)
    return Followed(folder, survey, track, camera, camera_source, look)


def weights_of(model: str) -> str:
    """Return the SHA-256 of the file of a model's source.

    Raises:
        ModelError: The registry has no such model.
        DataError: The file cannot be read.
    """
    return sha256_of(model_file(model)[0])


def chunks(survey: Survey) -> list[range]:
    """Parts of a video of at most :data:`CHUNK_FRAMES` frames."""
    return [range(first, min(first + CHUNK_FRAMES, survey.count)) for first in range(0, survey.count, CHUNK_FRAMES)]


def open_clip(video: Path, folder: Path, options: Options, progress: bool = False) -> Clip:
    """Read a video, follow the person, run the network, and settle camera and distances.

    What an interrupted run of the same video and options has left in ``folder`` is used.

    Raises:
        HDNetError: As :func:`hdnet.video.frames.predict_video`.
    """
    with ThreadPoolExecutor(1) as beside:
        runtime = beside.submit(_settled, options.model) if not options.runtime else None
        parts = chunks(survey_video(video, folder, options.selection, progress))
    if runtime is not None:
        options = replace(options, runtime=runtime.result())
    # The processes load the network meanwhile, if it has frames to look at.
    waiting = sum(not _looks_file(folder, part).exists() for part in parts)
    with workers_started(partial(_load, options), min(options.jobs, waiting)):
        found = follow(video, folder, options, progress)
    file, identity = model_file(options.model)
    survey, camera, weights = found.survey, found.camera, sha256_of(file)
    work = partial(_look_at_chunk, video, folder, options, fingerprint([__version__, weights]))
    frames: dict[int, dict[str, Any]] = {}
    for made in ordered_map(work, parts, options.jobs, progress, f"network ({CHUNK_FRAMES} frames)", 1):
        frames.update({int(position): one for position, one in made.items()})
    skipped = {position: one["skipped"] for position, one in frames.items() if "skipped" in one}
    seen = {position: one for position, one in frames.items() if "skipped" not in one}
    if not seen:
        raise InputError(f"{video}: no frame of {survey.count} shows the person well enough", "no_person")
    logs = log_distances(survey, seen, camera)
    clip = Clip(
        *(video, folder, options, survey, found.track, camera, found.camera_source, weights, identity, "estimated"),
        distances_m={position: float(np.exp(value)) for position, value in logs.items()},
        limits_m=(0.0, 0.0),
        skipped=skipped,
    )
    clip = _scaled(clip)
    return replace(clip, limits_m=depth_limits(seen, clip.distances_m, camera))


def _scaled(clip: Clip) -> Clip:
    """The clip with all distances at one scale: by the person's height, as the model tells, or 4 m in the median."""
    if clip.options.height_m is not None:
        return _with_distances(clip, _height_factor(clip, clip.options.height_m), "height")
    if is_metric(clip.options):
        try:
            return _with_distances(clip, _height_factor(clip, ADULT_M) ** ADULT_WEIGHT, "estimated")
        except InputError:  # nobody stands
            return clip
    return _with_distances(clip, MEDIAN_DEPTH_M / float(np.median(list(clip.distances_m.values()))), "assumed")


def _with_distances(clip: Clip, factor: float, source: ScaleSource) -> Clip:
    distances_m = {position: factor * value for position, value in clip.distances_m.items()}
    return replace(clip, distances_m=distances_m, scale_source=source)


def _height_factor(clip: Clip, height_m: float) -> float:
    """Factor of all distances by which the person has a height, in the median of frames that show it."""
    positions = list(clip.distances_m)
    factors: list[float] = []
    fault = InputError("")
    for position in positions[:: -(-len(positions) // _HEIGHT_FRAMES)]:
        _, surface = next(surfaces_in(clip, range(position, position + 1)))
        square = surface.look.crop
        look = PersonLook(surface.maps(surface.values), surface.look.inside, square)
        camera = clip.camera.crop(square.left, square.top, square.zoom)
        try:
            factors.append(height_m / height_of(np.exp(surface.values[..., 0]), look, camera))
        except InputError as error:
            fault = error
    if not factors:
        raise fault
    return float(np.median(factors))


def finished_prediction(clip: Clip, surface: Surface, values: np.ndarray, image: np.ndarray) -> Prediction:
    """Return the prediction of a frame, at the clip's distance.

    Args:
        clip: The clip.
        surface: Of the frame.
        values: As :attr:`Surface.values`.
        image: (H, W, 3) uint8, the frame, which may be smaller than the video's.

    Raises:
        InputError: Too little of a person is seen.
    """
    shrink, square = clip.survey.width / image.shape[1], surface.look.crop
    small = square.shrunk(shrink)
    look = PersonLook(surface.maps(values), surface.look.inside, small)
    mask = mask_of_picture(surface.look.probability_map(), look, image.shape[:2])
    depth_m, in_square = np.exp(values[..., 0]), clip.camera.crop(square.left, square.top, square.zoom)
    normals = agreed_normals(depth_m, values[..., 1:], look.inside, in_square)
    maps_hw = in_picture(depth_m, normals, look, mask)
    box = box_of(look.inside, small)
    camera = clip.camera_of_width(image.shape[1])
    return Prediction(*maps_hw, mask, image, camera, clip.identity, look, clip.scale_source, (box,))


def surfaces_in(clip: Clip, part: range) -> Iterator[tuple[int, Surface]]:
    """Yield position and surface of the frames of a part that show the person."""
    for chunk in chunks(clip.survey):
        if chunk.stop > part.start and chunk.start < part.stop:
            for position, look in read_looks(_looks_file(clip.folder, chunk), part):
                yield position, Surface.of(look, clip.camera, clip.distances_m[position])


def _camera(survey: Survey, options: Options) -> tuple[Camera, str]:
    found = caller_camera(b"", survey.width, survey.height, fx=options.fx, fov_deg=options.fov_deg)
    if found.camera is not None:
        return found.camera, found.source
    return camera_of_focal_35mm(_ASSUMED_FOCAL_MM, survey.width, survey.height), "assumed"


def _network(model: str) -> tuple[PersonModel, ModelIdentity | None]:
    network, identity = load_source(model)
    if not isinstance(network, PersonModel):
        raise ModelError(f"{model}: is a model of two hourglasses; videos need a model for photographs, as shipped")
    return network, identity


@lru_cache(maxsize=1)
def _settled(model: str) -> str:
    """The runtime for a model where none is wanted."""
    return settled_runtime(_network(model)[0], threads=1)


@lru_cache(maxsize=1)
def _predictor(model: str, runtime: str) -> Predictor:
    """The model, read once a process."""
    return Predictor(*_network(model), runtime=runtime or _settled(model), threads=1)


def _load(options: Options, _: int) -> None:
    _predictor(options.model, options.runtime)


def is_metric(options: Options) -> bool:
    """Return whether the model has learned the size of people."""
    return _predictor(options.model, options.runtime).is_metric


def _look(options: Options, inputs_4hw: np.ndarray) -> PersonMaps:
    outputs = _predictor(options.model, options.runtime).runtime(inputs_4hw[None])
    return person_maps(tuple(one[0] for one in outputs))


def _looks_file(folder: Path, chunk: range) -> Path:
    return folder / "looks" / f"{chunk.start:07d}.npz"


def _look_at_chunk(video: Path, folder: Path, options: Options, made_from: str, chunk: range) -> dict[str, Any]:
    """Run the network on the frames of a chunk; return what each shows, by position as text for JSON."""
    file, finished = _looks_file(folder, chunk), Finished(folder / "looks")
    file.parent.mkdir(exist_ok=True)
    done = finished.get(file.stem, made_from)
    if done is not None and file.exists():
        return done
    found = follow(video, folder, options)
    survey, track, look = found.survey, found.track, found.look
    looks: dict[int, PackedLook] = {}
    frames: dict[str, Any] = {}
    shrink = shrink_for(survey, [box for box in track.boxes[chunk.start : chunk.stop] if box is not None])
    for position, picture in zip(chunk, read_part(video, folder, survey, chunk, shrink), strict=True):
        box = track.boxes[position]
        seen = track.reasons[position] if box is None else look_at(picture, box, look, shrink)
        if isinstance(seen, str):
            frames[str(position)] = {"skipped": seen}
            continue
        looks[position] = seen
        relief = seen.relief_map()[seen.inside].astype(np.float64)
        ends = np.quantile(relief, _QUANTILES) - np.median(relief)
        frames[str(position)] = {
            "square": seen.square.tolist(),
            "box": box_of(seen.inside, seen.crop),
            "log_scale": float(seen.log_scale),
            "relief": ends.tolist(),
        }
    write_looks(file, looks)
    finished.put(file.stem, made_from, frames)
    return frames
