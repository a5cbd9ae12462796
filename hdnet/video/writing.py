"""The folder of a video: films, depth and normals of every frame, meshes on request, and what is known of the clip."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hdnet import __version__, visualize
from hdnet.data.parallel import ordered_map
from hdnet.errors import DataError, HDNetError
from hdnet.files import Finished, fingerprint, read_json_object, resumable_folder, write_json
from hdnet.pictures.crop import bounds
from hdnet.pictures.writing import encode_png
from hdnet.predict.prediction import Prediction, confidence_levels, depth_millimetres
from hdnet.predict.surface import largest_step_m
from hdnet.video import player
from hdnet.video.adapted import Adapted, Adapter
from hdnet.video.clip import CHUNK_FRAMES, Clip, Options, chunks, open_clip, weights_of
from hdnet.video.films import PIECE_SUFFIX, film_piece, join_pieces, resized
from hdnet.video.frames import VideoFrame, stable_frames
from hdnet.video.survey import PICTURE_SIDE_PX
from hdnet.video.turntable import Turntable

CLIP_FILE, ADAPTED_FILE, PAGE_FILE = "clip.json", "adapted.safetensors", "meshes.html"
FILMS = ("panels", "turntable")
_PANEL_SIDE_PX = 640
_STATE = "made_from.json"


def save_video(
    video: Path,
    out: Path,
    options: Options,
    size: int = PICTURE_SIDE_PX,
    meshes: bool = False,
    progress: bool = False,
    adapter: Adapter | None = None,
    page: bool = False,
) -> dict[str, Any]:
    """Follow one person through a video and write all that is estimated.

    ``panels.mp4``: picture | depth | normals | confidence; depth in one range of colours for the whole clip.
    ``turntable.mp4``: the surface in its colours and as clay, seen from sides that change. ``depth/NNNNNN.png``: 16-bit
    millimetres, 0 = background. ``normals/NNNNNN.png``: 16-bit colours, n = 2 c / 65535 - 1 in the camera frame, 0 =
    background. ``meshes/NNNNNN.glb`` with ``meshes``. ``clip.json``. Files have the frame's number in the video; a
    frame without the person has none but in the films. ``adapted.safetensors`` with ``adapter``, unless the weights
    stay as they were. ``meshes.html`` with ``page``.

    An interrupted run, also by kill -9, goes on when it is started again.

    Args:
        video: The file.
        out: The folder to write; it appears when it is complete.
        options: What is wanted.
        size: Longer side of depth and normals in pixels, at most; the video's is divided by a whole number.
        meshes: Whether to write a mesh a frame.
        progress: Show progress bars on stderr.
        adapter: Adapts the network to the video first, :class:`hdnet.training.adaptation.Adaptation`.
        page: Whether to write a page that plays the meshes, :mod:`hdnet.video.player`.

    Returns:
        What ``clip.json`` says.

    Raises:
        HDNetError: As :func:`hdnet.video.frames.predict_video`, or the folder cannot be written.
    """
    if not video.is_file():
        raise DataError(f"{video}: file is missing; expected a video")
    with resumable_folder(out, marker=CLIP_FILE) as (folder, notes):
        made_from = [__version__, str(video.resolve()), video.stat().st_size, video.stat().st_mtime_ns]
        made_from += [asdict(options) | {"jobs": 0}, weights_of(options.model), size, meshes, page]
        made_from.append(adapter and adapter.steps)
        _start(folder, notes, made_from)
        try:
            adapted = adapter(video, notes, options, progress) if adapter else Adapted(None, {})
            used = options if adapted.model is None else replace(options, model=str(adapted.model))
            clip = open_clip(video, notes, used, progress)
        except HDNetError:
            if not (notes / "looks").exists() and not any(notes.glob("adaptation/round-*")):  # nothing to go on with
                shutil.rmtree(notes)
                notes.mkdir()
            raise
        step = clip.survey.shrink_to(size)
        work = partial(_write_chunk, clip, folder, notes, step, meshes, page)
        parts, written = chunks(clip.survey), {}
        for one in ordered_map(work, parts, options.jobs, progress, f"films and maps ({CHUNK_FRAMES} frames)", 1):
            written.update(one)
        for name in FILMS:
            join_pieces([_piece(notes, name, part) for part in parts], folder / f"{name}.mp4")
        if page:
            shown = [notes / "page" / f"{k:07d}.json" for k in range(clip.survey.count) if player.is_shown(clip, k)]
            player.write_page(folder / PAGE_FILE, clip, _turntable(clip).reach_m, map(read_json_object, shown))
        content = _description(clip, step, written) | {"model": options.model}
        if adapter is not None:
            content["adapted"] = adapted.report
        if adapted.model is not None:
            shutil.copyfile(adapted.model, folder / ADAPTED_FILE)
        write_json(folder / CLIP_FILE, content)
    return content


def _start(folder: Path, notes: Path, made_from: list[Any]) -> None:
    """Delete what a run of another video or with other options has left."""
    state = Finished(notes)
    if state.get("run", fingerprint(made_from)) is None:
        for left in folder.iterdir():
            if left != notes:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        shutil.rmtree(notes)
        notes.mkdir()
        state.put("run", fingerprint(made_from), {})


def _piece(notes: Path, film: str, part: range) -> Path:
    return notes / "films" / f"{film}-{part.start:07d}{PIECE_SUFFIX}"


def _write_chunk(
    clip: Clip, folder: Path, notes: Path, step: int, meshes: bool, page: bool, part: range
) -> dict[str, Any]:
    """Write the files of a chunk and the pieces of the films; return what clip.json says of its frames, by position."""
    finished, made_from = Finished(notes / "films"), fingerprint([__version__, clip.weights, step, meshes])
    name = f"{part.start:07d}"
    done = finished.get(name, made_from)
    if done is not None:
        return done
    for sub in ("depth", "normals", *(["meshes"] if meshes else [])):
        (folder / sub).mkdir(exist_ok=True)
    for sub in ("films", "page"):
        (notes / sub).mkdir(exist_ok=True)
    height, width = clip.survey.height // step, clip.survey.width // step
    panel = min(1.0, _PANEL_SIDE_PX / max(height, width))
    table = _turntable(clip)
    sizes = {"panels": (round(panel * height), 4 * round(panel * width)), "turntable": (table.size, 2 * table.size)}
    frames: dict[str, Any] = {}
    with ExitStack() as stack:
        films = {
            film: stack.enter_context(film_piece(_piece(notes, film, part), size, clip.survey.rate))
            for film, size in sizes.items()
        }
        for frame in stable_frames(clip, part, step):
            films["panels"].add(_panels(clip, frame, films["panels"].size), frame.time_s)
            films["turntable"].add(_view(clip, frame, table), frame.time_s)
            if frame.prediction is not None:
                _write_maps(frame.prediction, folder, f"{frame.number:06d}", meshes)
            if page and player.is_shown(clip, frame.position):
                write_json(notes / "page" / f"{frame.position:07d}.json", player.record_of(clip, frame))
            frames[str(frame.position)] = _frame_content(clip, frame)
    finished.put(name, made_from, frames)
    return frames


def _write_maps(prediction: Prediction, folder: Path, name: str, meshes: bool) -> None:
    files: dict[Path, Callable[[], bytes]] = {
        folder / "depth" / f"{name}.png": lambda: encode_png(depth_millimetres(prediction.depth_m, prediction.mask)),
        folder / "normals" / f"{name}.png": lambda: encode_png(normal_levels(prediction.normals, prediction.mask)),
    }
    if meshes:
        files[folder / "meshes" / f"{name}.glb"] = lambda: prediction.mesh().to_glb()
    for file, content in files.items():
        file.write_bytes(content())


def normal_levels(normals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint16 of unit normals, -1..1 as 0..65535; 0 outside the mask."""
    levels = np.zeros(normals.shape, np.uint16)
    if mask.any():
        rows, columns = (slice(*ends) for ends in bounds(mask))
        for channel in range(3):  # over a last axis of three NumPy takes several times as long
            level = np.rint((normals[rows, columns, channel] + 1) * 32767.5).clip(0, 65535).astype(np.uint16)
            levels[rows, columns, channel] = level * mask[rows, columns]
    return levels


def _panels(clip: Clip, frame: VideoFrame, size: tuple[int, int]) -> np.ndarray:
    """Picture, depth, normals and confidence of a frame side by side, (*size, 3) uint8; white where nobody is."""
    picture = np.full((*size, 3), visualize.WHITE, np.uint8)
    panel_px, width = size[1] // 4, frame.image.shape[1]
    prediction = frame.prediction
    if prediction is None:
        picture[:, :panel_px] = resized(frame.image, (size[0], panel_px))
        return picture
    # Only the columns of the person, from one that is an edge of pixels in the film, too.
    whole = width // math.gcd(width, panel_px)
    _, (left, right) = bounds(prediction.mask)
    left, right = left // whole * whole, -(-right // whole) * whole
    columns = np.s_[:, left:right]
    mask = prediction.mask[columns]
    sure = np.where(mask, confidence_levels(prediction)[columns], np.uint8(visualize.WHITE))
    shown = [
        frame.image,
        visualize.depth_picture(prediction.depth_m[columns], mask, clip.limits_m),
        visualize.normal_picture(prediction.normals[columns], mask),
        np.broadcast_to(sure[..., None], (*mask.shape, 3)),
    ]
    first, last = left * panel_px // width, right * panel_px // width
    strip = resized(np.concatenate(shown, axis=1), (size[0], panel_px + 3 * (last - first)))
    picture[:, :panel_px] = strip[:, :panel_px]
    for number, part in enumerate(np.split(strip[:, panel_px:], 3, axis=1), start=1):
        picture[:, number * panel_px + first : number * panel_px + last] = part
    return picture


def _view(clip: Clip, frame: VideoFrame, table: Turntable) -> np.ndarray:
    """The turning view of a frame, about the middle of the smoothed box."""
    if frame.surface is None:
        return np.full((table.size, 2 * table.size, 3), visualize.WHITE, np.uint8)
    surface, values = frame.surface
    square = surface.look.crop
    x, y = square.pixels()
    fx, fy, cx, cy = clip.camera.pixel_intrinsics()
    z = np.exp(values[..., 0])
    points = np.stack([z * ((x - cx) / fx)[None, :], z * ((y - cy) / fy)[:, None], z], axis=-1)
    points -= np.array(player.middle_m(clip, frame))
    colours = player.square_colours(clip, frame)
    max_jump_m = largest_step_m(surface.distance_m, clip.camera.crop(square.left, square.top, square.zoom))
    yaw_deg = table.yaw_deg(frame.time_s)
    return table.picture(points, values[..., 1:], colours, surface.look.inside, yaw_deg, max_jump_m)


def _turntable(clip: Clip) -> Turntable:
    """A view that nearly all frames of the clip fit into."""
    fx = clip.camera.pixel_intrinsics()[0]
    sides = [
        clip.distances_m[position] / fx * max(box[2] - box[0], box[3] - box[1])
        for position, box in enumerate(clip.track.boxes)
        if box is not None and position in clip.distances_m
    ]
    return Turntable(reach_m=0.56 * float(np.quantile(sides, 0.95)))


def _frame_content(clip: Clip, frame: VideoFrame) -> dict[str, Any]:
    content: dict[str, Any] = {"number": frame.number, "time_s": round(frame.time_s, 6), "shot": frame.shot}
    if frame.prediction is None:
        return content | {"skipped": frame.skipped}
    shrink = clip.survey.width / frame.image.shape[1]
    box = [round(shrink * (edge + 0.5) - 0.5, 1) for edge in frame.prediction.people[0]]
    inside = frame.prediction.confidence
    confidence = None if inside is None else round(float(inside[frame.prediction.mask].mean()), 3)
    return content | {
        "box": box,
        "distance_m": round(frame.prediction.scale.distance_m, 4),
        "confidence": confidence,
    }


def _description(clip: Clip, step: int, written: dict[str, Any]) -> dict[str, Any]:
    survey = clip.survey
    height, width = survey.height // step, survey.width // step
    distance_m = float(np.median(list(clip.distances_m.values())))
    return {
        "video": clip.video.name,
        "hdnet": __version__,
        "model": clip.options.model,
        "model_sha256": clip.weights,
        "width": survey.width,
        "height": survey.height,
        "frames_per_s": round(survey.rate, 3),
        "camera": clip.camera.to_dict(),
        "camera_source": clip.camera_source,
        "maps": {"width": width, "height": height, "camera": clip.camera_of_width(width).to_dict()},
        "scale": {"source": clip.scale_source, "distance_m": round(distance_m, 4)},
        "depth_range_m": [round(limit, 4) for limit in clip.limits_m],
        "people": clip.track.people,
        "cuts": [survey.numbers[cut] for cut in survey.cuts],
        "remarks": survey.remarks,
        "skipped": _gaps(clip, written),
        "frames": [written[str(position)] for position in range(survey.count)],
    }


def _gaps(clip: Clip, written: dict[str, Any]) -> list[dict[str, Any]]:
    """Frames in a row without the person, with the reason."""
    gaps: list[dict[str, Any]] = []
    last = -2
    for position in range(clip.survey.count):
        reason, number = written[str(position)].get("skipped"), clip.survey.numbers[position]
        if reason is None:
            continue
        if gaps and last == position - 1 and gaps[-1]["reason"] == reason:
            gaps[-1]["last"] = number
        else:
            gaps.append({"first": number, "last": number, "reason": reason})
        last = position
    return gaps
