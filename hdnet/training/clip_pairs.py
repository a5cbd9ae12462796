"""Pairs of frames of one video for the joint stage, with pseudo-normals and matches by the network's own body maps.

Also the warp residual of such pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from hdnet import losses
from hdnet.data.correspondence.body_turn import torso_turn_deg
from hdnet.data.correspondence.frames import reason_to_drop
from hdnet.data.correspondence.matching import FrameIndex, choose_pairs, match_indexed
from hdnet.data.store.batches import Batch, prepare
from hdnet.data.store.datasets import Item, collate
from hdnet.data.store.pairs import Pair
from hdnet.data.store.records import spread, to_fixed_point
from hdnet.geometry import MEDIAN_DEPTH_M, Camera
from hdnet.models.estimates import body_map, in_camera, person_inputs
from hdnet.params import CorrespondParams
from hdnet.pictures.crop import scene_inputs
from hdnet.video.clip import Followed
from hdnet.video.distance import log_distances
from hdnet.video.looks import PackedLook, look_at
from hdnet.video.stability import Surface
from hdnet.video.survey import Survey, read_part
from hdnet.video.tracking import Track

# Frames of a window, their rate, and the most windows: about a second each, spread over the video.
WINDOW_FRAMES, _WINDOW_RATE, _MOST_WINDOWS = 8, 7.5, 24
# Every so many windows one is held out, beginning with the second.
_HELDOUT_EVERY = 4
_MOST_MEASURED_PAIRS = 48
# The body map of the network errs by some pixels: what does not move as its part does is left out.
_RULE = CorrespondParams(mutual=True, max_residual_px=4.0)


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """A frame as the joint stage takes it.

    Attributes:
        position: Among the frames taken of the video.
        item: As :func:`hdnet.data.store.datasets.stored_item`: "scene", "mask", "normals", "camera", and "shift_m", by
            which a depth with the clip's distance is moved to a median of 4 m.
        index: Of its body map.
    """

    position: int
    item: Item
    index: FrameIndex


class ClipPairs(Dataset[Item]):
    """Pairs of frames of one video, items as of :class:`hdnet.data.store.datasets.PairDataset`, in memory.

    Args:
        windows: Frames that may be paired with each other, in order of time.
    """

    def __init__(self, windows: list[list[ClipFrame]]) -> None:
        self.frames = [frame for window in windows for frame in window]
        self.places: list[tuple[int, int]] = []
        self.pairs: list[Pair] = []
        first = 0
        for window in windows:
            for i, j, pair in _matched(window):
                self.places.append((first + i, first + j))
                self.pairs.append(pair)
            first += len(window)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, k: int) -> Item:
        (i, j), pair = self.places[k], self.pairs[k]
        frame_i, frame_j = self.frames[i], self.frames[j]
        return {
            "i": frame_i.item,
            "j": frame_j.item,
            "rows": torch.from_numpy(pair.matches.rows.astype(np.int16)),
            "gap_frames": torch.tensor(float(frame_j.position - frame_i.position)),
            "turn_deg": torch.tensor(pair.turn_deg, dtype=torch.float32),
        }


def read_windows(video: Path, found: Followed, metric: bool, progress: bool = False) -> list[list[ClipFrame]]:
    """Look at some frames of a video, about a second at a time, evenly spread over it.

    Args:
        video: The file.
        found: The person followed through it.
        metric: The network tells the distance; otherwise its median is 4 m.
        progress: Show a progress bar on stderr.
    """
    chosen = windows_of(found.survey, found.track)
    looks: dict[int, PackedLook] = {}
    scenes: dict[int, np.ndarray] = {}
    for window in tqdm(chosen, desc="frames to learn from", unit="window", disable=not progress):
        part = range(window[0], window[-1] + 1)
        for position, picture in zip(part, read_part(video, found.folder, found.survey, part), strict=True):
            box = found.track.boxes[position]
            if position not in window or box is None:
                continue
            look = look_at(picture, box, found.look)
            if isinstance(look, PackedLook):
                looks[position] = look
                scenes[position] = scene_inputs(picture, None, look.crop)[0][:3].round().astype(np.uint8)
    seen = {position: {"square": look.square.tolist(), "log_scale": float(look.log_scale)} for position, look in
            looks.items()}  # fmt: skip
    logs = log_distances(found.survey, seen, found.camera)
    middle = 0.0 if metric or not logs else float(np.median(list(logs.values()))) - float(np.log(MEDIAN_DEPTH_M))
    distances_m = {position: float(np.exp(value - middle)) for position, value in logs.items()}
    frames = {
        position: _frame(position, looks[position], scenes[position], found.camera, distances_m[position])
        for position in looks
    }
    return [[frames[position] for position in window if position in frames] for window in chosen]


def windows_of(survey: Survey, track: Track) -> list[list[int]]:
    """Positions of the frames to learn from: neighbours a seventh of a second apart, never across a cut or a gap."""
    step = max(1, round(survey.rate / _WINDOW_RATE))
    reach = step * (WINDOW_FRAMES - 1) + 1
    windows = [
        list(range(first, first + reach, step))
        for shot in survey.shots
        for run in _runs(shot, track)
        for first in range(run.start, run.stop - reach + 1, step * WINDOW_FRAMES)
    ]
    return [windows[k] for k in spread(len(windows), _MOST_WINDOWS)] if windows else []


def divided(windows: list[list[ClipFrame]]) -> tuple[list[list[ClipFrame]], list[list[ClipFrame]]]:
    """Return the windows to learn from, and those that are held out."""
    is_held = [k % _HELDOUT_EVERY == 1 for k in range(len(windows))]
    learned = [window for window, held in zip(windows, is_held, strict=True) if not held]
    return learned, [window for window, held in zip(windows, is_held, strict=True) if held]


def depth_of(model: nn.Module, frames: Batch) -> Tensor:
    """Return depth_b1hw of prepared frames of a video, at the clip's distances, as a video is looked at."""
    inputs = person_inputs(frames["scene"], None).contiguous(memory_format=torch.channels_last)
    return in_camera(model(inputs), frames["camera"]).depth_b1hw * (_distance_m_b111(frames) / MEDIAN_DEPTH_M)


def plane_of(frames: Batch) -> Tensor:
    """Return depth_b1hw of planes at the clip's distances that face the camera."""
    return torch.ones_like(frames["mask"], dtype=torch.float64) * _distance_m_b111(frames)


@torch.no_grad()
def warp_residual_mm(depth_of_frames: Callable[[Batch], Tensor], pairs: ClipPairs) -> float:
    """Return the mean distance of matched points after the rigid motion of their body part, over some pairs.

    Args:
        depth_of_frames: depth_b1hw of prepared frames.
        pairs: The pairs.
    """
    depth: dict[int, Tensor] = {}
    residuals = []
    for k in spread(len(pairs), _MOST_MEASURED_PAIRS):
        batch = prepare(collate([pairs[k]]))
        for place, frame in zip(pairs.places[k], (batch["i"], batch["j"]), strict=True):
            if place not in depth:
                depth[place] = depth_of_frames(frame)
        i, j = pairs.places[k]
        cameras = batch["i"]["camera"], batch["j"]["camera"]
        residuals.append(losses.warp(depth[i], depth[j], batch["rows"], cameras[0], camera_j=cameras[1])[0])
    return 1000 * float(torch.stack(residuals).mean())


def _distance_m_b111(frames: Batch) -> Tensor:
    """The clip's distances of prepared frames, float64."""
    distance_m_b1: Tensor = MEDIAN_DEPTH_M - frames["shift_m"].double()
    return distance_m_b1[..., None, None]


def _runs(shot: range, track: Track) -> Iterator[range]:
    """Positions in a row at which the person is followed."""
    first = shot.start
    for position in range(shot.start, shot.stop + 1):
        if position == shot.stop or track.boxes[position] is None:
            if position > first:
                yield range(first, position)
            first = position + 1


def _frame(position: int, look: PackedLook, scene_3hw: np.ndarray, camera: Camera, distance_m: float) -> ClipFrame:
    surface = Surface.of(look, camera, distance_m)
    square, inside = look.crop, look.inside
    iuv = body_map(look.maps(look.relief_map(), look.normal_map(), float(look.log_scale))) * inside[..., None]
    normals = np.where(inside[..., None], surface.values[..., 1:], np.float32(0))
    in_square = camera.crop(square.left, square.top, square.zoom)
    item = {
        "scene": torch.from_numpy(scene_3hw),
        "mask": torch.from_numpy(inside)[None],
        "normals": torch.from_numpy(to_fixed_point(normals)),
        "camera": torch.tensor(astuple(in_square), dtype=torch.float32),
        "shift_m": torch.tensor([MEDIAN_DEPTH_M - distance_m], dtype=torch.float32),
    }
    return ClipFrame(position, item, FrameIndex(iuv))


def _matched(window: list[ClipFrame]) -> Iterator[tuple[int, int, Pair]]:
    """Pairs of a window that the rule keeps, by their places in it."""
    names = {str(frame.position): place for place, frame in enumerate(window)}
    for name_i, others in choose_pairs({"": list(names)}, _RULE).items():
        for name_j in others:
            i, j = names[name_i], names[name_j]
            one, other = window[i].index, window[j].index
            matches = match_indexed(one, other, _RULE)
            overlap = len(matches.rows) / max(1, len(one.row))
            pair = Pair(name_i, name_j, matches, overlap, torso_turn_deg(one.torso, other.torso, matches.rows))
            if reason_to_drop(_RULE, pair) is None:
                yield i, j, pair
