"""Plan of an imported video: its shots, the 256 x 256 window of every frame, the order of the IUV channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from hdnet.data.checks.shift import Shift
from hdnet.data.importing.cuts import find_cuts
from hdnet.data.importing.frame_files import FrameFiles
from hdnet.data.importing.frames import Cut, FrameOptions, Survey
from hdnet.data.store.records import spread
from hdnet.errors import DataError
from hdnet.pictures.crop import NETWORK_SIZE, Crop
from hdnet.pictures.reading import IuvOrder

# Less than this part of the person's usual area: the person is leaving the picture.
_LEAST_OF_USUAL = 0.1
# Frames of a sequence whose DensePose decides the order of its channels.
_ORDER_SAMPLES = 7
DEFAULT_ORDER: IuvOrder = "vui"

# The typical size is a high quantile: a raised arm fits, a stray mask in one frame does not shrink all others.
_TYPICAL_QUANTILE = 0.95
# Largest box of the shot that counts, in parts of the typical size (without margin).
_LARGEST_BELIEVED = 1.5
_LEAST_ROOM = 1.02
# About a third of a second at 30 frames a second: slower than a mask's flicker, faster than a walking person.
_SMOOTH_FRAMES = 10.0
_PULLS = 20


@dataclass(frozen=True)
class SequenceFiles:
    """Files of a video, one entry a frame.

    Attributes:
        name: Name of the sequence.
        frames: In the order of time.
        remarks: For the report.
    """

    name: str
    frames: tuple[FrameFiles, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)  # 100,000 of them are in memory
class PlannedFrame:
    """Window of a frame and the size of the picture that it is cut from; ``index`` counts the sequence's frames."""

    index: int
    shot: str
    window: Crop
    width: int
    height: int

    def cut(self, name: str, sequence: str, order: IuvOrder, options: FrameOptions) -> Cut:
        """Return the frame's task."""
        camera = options.intrinsics.camera(sequence, self.width, self.height)
        window = self.window
        return Cut(name, self.shot, window, camera.crop(window.left, window.top, window.zoom), order)


@dataclass(frozen=True)
class SequencePlan:
    """Plan of a sequence, made before its frames are written.

    Attributes:
        name: The sequence.
        order: Channel order of its DensePose pictures.
        frames: Frames to be cut.
        refused: Reason by index of the others.
        remarks: For the report.
    """

    name: str
    order: IuvOrder
    frames: tuple[PlannedFrame, ...]
    refused: dict[int, str]
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {
            "name": self.name,
            "order": self.order,
            "frames": [
                [f.index, f.shot, f.window.left, f.window.top, f.window.zoom, f.width, f.height] for f in self.frames
            ],
            "refused": list(self.refused.items()),
            "remarks": list(self.remarks),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> SequencePlan:
        """Return the plan of :meth:`to_dict`."""
        frames = tuple(
            PlannedFrame(index, shot, Crop(left, top, zoom), width, height)
            for index, shot, left, top, zoom, width, height in content["frames"]
        )
        return cls(content["name"], content["order"], frames, dict(content["refused"]), tuple(content["remarks"]))


def order_samples(count: int) -> set[int]:
    """Return the indices of the frames whose DensePose decides the order of the channels."""
    return set(spread(count, _ORDER_SAMPLES))


def plan_sequence(
    sequence: SequenceFiles,
    surveys: Sequence[Survey],
    options: FrameOptions,
    max_gap: int,
    shifts: Sequence[Shift] = (),
) -> SequencePlan:
    """Split a sequence into shots and place the windows.

    A new shot begins at a cut and where more than ``max_gap`` frame numbers are missing (numbers with a common step,
    as of every 5th frame, have no gaps). A frame that is refused does not end a shot.

    Args:
        sequence: The files.
        surveys: One a frame.
        options: Margin, cameras, known order.
        max_gap: Missing numbers inside a shot.
        shifts: Runs of frames whose masks or maps are those of other frames; they refuse the whole sequence.
    """
    refused = {i: survey.reason for i, survey in enumerate(surveys) if survey.reason}
    if shifts:
        reason = _shifted(sequence, shifts)
        refused = {i: refused.get(i, reason) for i in range(len(surveys))}
    usable = [i for i in range(len(surveys)) if i not in refused]
    for i in usable:
        try:
            options.intrinsics.camera(sequence.name, *surveys[i].size)
        except DataError as error:
            refused[i] = f"{sequence.frames[i].source}: {error}"
    usable = [i for i in usable if i not in refused]
    numbers = np.array([frame.number for frame in sequence.frames])
    starts = _gaps(numbers, max_gap)
    cuts = set()
    if options.cut_detection:
        appearances = [surveys[i].appearance for i in usable]
        cuts = {usable[k] for k in find_cuts([one for one in appearances if one is not None])}
    shots = _split(usable, starts | cuts, surveys)
    planned: list[PlannedFrame] = []
    for position, members in enumerate(shots, start=1):
        shot = sequence.name if len(shots) == 1 else f"{sequence.name}-{position}"
        kept = _not_leaving(members, surveys, sequence, refused)
        boxes = np.array([surveys[i].box for i in kept])
        for i, window in zip(kept, plan_windows(boxes, numbers[kept], options.margin), strict=True):
            planned.append(PlannedFrame(i, shot, window, *surveys[i].size))
    order, remark = _order(surveys, options)
    remarks = [*sequence.remarks] + [remark] * bool(remark)
    if len(shots) > 1:
        # The frame that a shot begins with, by the last part of its name.
        first = ", ".join(sequence.frames[members[0]].source.rsplit("/", 1)[-1] for members in shots[1:])
        remarks.append(f"{len(shots)} shots, new ones from {first}")
    return SequencePlan(sequence.name, order, tuple(planned), dict(sorted(refused.items())), tuple(remarks))


def _shifted(sequence: SequenceFiles, shifts: Sequence[Shift]) -> str:
    first, last = (sequence.frames[i].source.rsplit("/", 1)[-1] for i in (shifts[0].first, shifts[0].last))
    return (
        f"{sequence.name}: from {first} to {last} {'; '.join(map(str, shifts))}; expected picture, mask and map of the "
        "same frame; number them alike, or pass --no-pairing-check if they are right"
    )


def _gaps(numbers: np.ndarray, max_gap: int) -> set[int]:
    """Return the indices of frames before which too many numbers are missing."""
    if len(numbers) < 2:
        return set()
    steps = np.diff(numbers)
    step = Counter(steps.tolist()).most_common(1)[0][0]
    return {int(i) + 1 for i in np.flatnonzero(steps > step * (1 + max_gap))}


def _split(usable: Sequence[int], starts: set[int], surveys: Sequence[Survey]) -> list[list[int]]:
    """Return usable frames by shot; a change of the picture's size ends a shot as well."""
    shots: list[list[int]] = []
    for i in usable:
        before = shots[-1][-1] if shots else None
        if before is None or any(before < start <= i for start in starts) or surveys[before].size != surveys[i].size:
            shots.append([])
        shots[-1].append(i)
    return shots


def _not_leaving(
    members: Sequence[int], surveys: Sequence[Survey], sequence: SequenceFiles, refused: dict[int, str]
) -> list[int]:
    """Return the frames without those that show hardly anything of the person."""
    usual = float(np.median([surveys[i].area for i in members]))
    for i in members:
        share = surveys[i].area / usual
        if share < _LEAST_OF_USUAL:
            refused[i] = (
                f"{sequence.frames[i].mask or sequence.frames[i].image}: the person is cut to {share:.0%} of the usual "
                f"size of the shot; expected {_LEAST_OF_USUAL:.0%} or more"
            )
    return [i for i in members if i not in refused]


def _order(surveys: Sequence[Survey], options: FrameOptions) -> tuple[IuvOrder, str]:
    """Return the order of the channels, and a remark if it is not the usual one."""
    if options.iuv_order:
        return options.iuv_order, ""
    found = Counter(survey.order for survey in surveys if survey.order)
    if not found:
        return DEFAULT_ORDER, ""
    order = found.most_common(1)[0][0]
    return order, "" if order == DEFAULT_ORDER else f"DensePose read in the order {', '.join(order.upper())}"


def plan_windows(boxes: np.ndarray, numbers: np.ndarray, margin: float) -> list[Crop]:
    """Return the window of every frame of a shot.

    All windows have one size, so that the person's scale changes only when the person comes nearer: that of the
    95 % quantile of the boxes' longer sides plus the margin, more where the largest box needs it (up to 1.5 times).
    The centre follows the middle of the box, smoothed over about 10 frames, and is pulled no further than needed to
    keep the whole box inside. The cameras carry the window exactly, so following costs no accuracy.

    Args:
        boxes: (N, 4) top, bottom, left, right of the person; first and last + 1 pixel.
        numbers: (N,) frame numbers, increasing.
        margin: Free room on each side in parts of the typical size, 0.1 as at inference.

    Returns:
        N crops of 256 x 256.
    """
    edges = np.asarray(boxes, dtype=np.float64)
    longer = np.maximum(edges[:, 1] - edges[:, 0], edges[:, 3] - edges[:, 2])
    typical = float(np.quantile(longer, _TYPICAL_QUANTILE))
    side = max(typical * (1 + 2 * margin), min(float(longer.max()) * _LEAST_ROOM, typical * _LARGEST_BELIEVED))
    side = max(side, 1.0)
    zoom = round(side / NETWORK_SIZE, 6)
    centre_y = _follow(edges[:, 0], edges[:, 1], numbers, side)
    centre_x = _follow(edges[:, 2], edges[:, 3], numbers, side)
    # Pixel edges lie half a pixel before pixel centres, in both pictures (as in Crop.around).
    offset = (zoom * (1 - NETWORK_SIZE) - 1) / 2
    return [
        Crop(round(float(x + offset), 4), round(float(y + offset), 4), zoom)
        for x, y in zip(centre_x, centre_y, strict=True)
    ]


def _follow(first: np.ndarray, last: np.ndarray, numbers: np.ndarray, side: float) -> np.ndarray:
    """Return the (N,) middle of the window along one axis, from the first and last edge of the boxes."""
    middle = (first + last) / 2
    lowest, highest = np.minimum(last - side / 2, middle), np.maximum(first + side / 2, middle)
    path = _smooth(middle, numbers)
    for _ in range(_PULLS):
        missing = np.clip(path, lowest, highest) - path
        if np.abs(missing).max() < side * 1e-3:
            break
        path = path + _smooth(missing, numbers)
    inside: np.ndarray = np.clip(path, lowest, highest)
    return inside


def _smooth(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Smooth by a Gaussian over frame numbers; numbers without a frame are interpolated."""
    step = float(np.median(np.diff(numbers))) if len(numbers) > 1 else 1.0
    places = (numbers - numbers[0]) / max(step, 1.0)
    grid = np.arange(int(places[-1]) + 1, dtype=np.float64)
    smooth = ndimage.gaussian_filter1d(np.interp(grid, places, values), _SMOOTH_FRAMES, mode="nearest")
    smoothed: np.ndarray = np.interp(places, grid, smooth)
    return smoothed
