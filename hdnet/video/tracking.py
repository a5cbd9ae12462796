"""One person followed through the key pictures of a video, and the smoothed box of every frame."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from tqdm import tqdm

from hdnet.data.importing.cuts import appearance_of
from hdnet.errors import InputError
from hdnet.files import read_json_object, write_json
from hdnet.models.lite import PersonMaps
from hdnet.pictures.crop import Crop
from hdnet.predict.finding import Look, box_of, find_people, in_box, person_in, see
from hdnet.predict.prediction import Box
from hdnet.video.survey import Survey, kept_picture

_FILE = "track.json"
# Free space about the last box in which the person is looked for, as a share of its longer side.
_REACH = 0.25
_LEAST_SHARE = 0.03
# From one key picture to the next: largest way of a box's middle in longer sides of the box, and its largest growth.
_STRIDE, _GROWTH = 0.4, 2.0
# Difference of the colours of two people, in levels of 0..255 (:mod:`hdnet.data.importing.cuts`): one dancer's change
# by 2 to 10 from one side to the other.
_OTHER_PERSON_LEVELS = 28.0
# Smoothing of the box over time.
_SMOOTH_S = 0.15

NOBODY, OTHERS = "the person is not seen", "only somebody else is seen"


@dataclass(frozen=True)
class Track:
    """The person's box in every frame.

    Attributes:
        boxes: Smoothed box of each frame in the video's pixels; None where the person was not found.
        reasons: Why a frame has none, by position.
        people: Number of people found in the first key picture that shows anybody.
    """

    boxes: list[Box | None]
    reasons: dict[int, str]
    people: int


def track_person(survey: Survey, folder: Path, look: Look, person: int = 1, progress: bool = False) -> Track:
    """Follow one person through the key pictures.

    Within a shot the person is looked for about the last box. Lost people, and those of a new shot, are searched in the
    whole picture; somebody whose colours differ is taken only in a new shot that shows nobody else.

    Args:
        survey: Of the video.
        folder: That of the survey; the result is kept there, and one that is there is returned.
        look: The network.
        person: Whom to follow, counted from 1: those of the first key picture with people, most likely subject first.
        progress: Show a progress bar on stderr.

    Raises:
        InputError: Nobody is found in the whole video, or fewer people than ``person``.
    """
    kept = folder / _FILE
    if kept.exists():
        content = read_json_object(kept)
        boxes = [None if box is None else (box[0], box[1], box[2], box[3]) for box in content["boxes"]]
        return Track(boxes, {int(key): reason for key, reason in content["reasons"].items()}, content["people"])
    follower, seen, reasons = _Follower(look, person), {}, {}
    with tqdm(total=survey.count, desc="tracking", unit="frame", disable=not progress) as bar:
        for shot in survey.shots:
            follower.begin_shot()
            for position in _keys(shot, survey.key_step):
                picture = kept_picture(folder, position)
                box = follower.follow(picture)
                scale = survey.width / picture.shape[1]
                seen[position] = None if box is None else tuple(scale * (edge + 0.5) - 0.5 for edge in box)
                reasons[position] = follower.reason
            bar.update(len(shot))
    if follower.colours is None:
        raise InputError(f"no person found in {survey.count} frames; expected a video of one person", "no_person")
    track = _of_all_frames(survey, seen, reasons, follower.people)
    write_json(kept, asdict(track))
    return track


def _keys(shot: range, step: int) -> list[int]:
    return [position for position in shot if position % step == 0]


class _Follower:
    """State of the search from one key picture to the next."""

    def __init__(self, look: Look, person: int) -> None:
        self.colours: np.ndarray | None = None
        self.people = 0
        self.reason = NOBODY
        self._look, self._person = look, person
        self._box: Box | None = None
        self._last_colours: np.ndarray | None = None
        self._is_new_shot = True

    def begin_shot(self) -> None:
        self._box, self._is_new_shot = None, True

    def follow(self, picture: np.ndarray) -> Box | None:
        """Return the person's box in the next key picture; None where the person is not seen."""
        if self._box is not None:
            self._box = self._followed(picture, self._box)
        if self._box is None:
            self._box = self._searched(picture)
        if self._box is not None:
            self._is_new_shot = False
        return self._box

    def _followed(self, picture: np.ndarray, last: Box) -> Box | None:
        found = self._seen_about(picture, last, _REACH)
        if found is None or not is_near(found[0], last) or self._differs(found[1]):
            return None
        self._last_colours = found[1]
        return found[0]

    def _searched(self, picture: np.ndarray) -> Box | None:
        self.reason = NOBODY
        try:
            people = [one.box for one in find_people(picture, self._look)]
        except InputError:
            return None
        if self.colours is None:
            self.people = len(people)
            if self._person > len(people):
                raise InputError(
                    f"person {self._person} is wanted, but the first picture with people shows {len(people)}; expected "
                    f"1 to {len(people)}",
                    "no_person",
                )
            people = [people[self._person - 1]]
        looked = [(found, box) for box in people if (found := self._seen_about(picture, box, 0.1)) is not None]
        if not looked:
            return None
        (box, colours), _ = min(looked, key=lambda one: self._levels(one[0][1]))
        if self._differs(colours) and not (self._is_new_shot and len(people) == 1):
            self.reason = OTHERS
            return None
        if self._is_new_shot:
            self.colours = colours
        self._last_colours = colours
        return box

    def _seen_about(self, picture: np.ndarray, box: Box, margin: float) -> tuple[Box, np.ndarray] | None:
        """The person whom the network sees in and near a box: the new box, and the distribution of colours."""
        square = Crop.about(box, margin)
        inputs_4hw, maps, probability, _ = see(picture, square, self._look)
        piece = seen_in(maps, probability, in_box(square, box))
        if piece.mean() < _LEAST_SHARE:
            return None
        colours = inputs_4hw[:3].transpose(1, 2, 0).astype(np.uint8)
        return box_of(piece, square), appearance_of(colours, piece).person

    def _levels(self, colours: np.ndarray) -> float:
        """Difference from the colours at the beginning of the shot, or when the person was last seen."""
        if self.colours is None:
            return 0.0
        known = [self.colours] if self._last_colours is None else [self.colours, self._last_colours]
        levels = [float(np.abs(colours - one).sum(axis=1).mean()) for one in known]
        return min(levels) * 256 / len(colours[0])

    def _differs(self, colours: np.ndarray) -> bool:
        return self._levels(colours) > _OTHER_PERSON_LEVELS


def seen_in(maps: PersonMaps, probability: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The person of :func:`hdnet.predict.finding.person_in`, (S, S) bool; nobody where none reaches into the box."""
    person = person_in(maps, probability, wanted)
    return person if (person & wanted).any() else np.zeros_like(person)


def is_near(one: Box, other: Box) -> bool:
    """Return whether a box may be that of the same person a moment later: near the other one, and of similar size."""
    sides = [max(box[2] - box[0], box[3] - box[1]) for box in (one, other)]
    right, down = ((one[axis] + one[axis + 2] - other[axis] - other[axis + 2]) / 2 for axis in (0, 1))
    return max(sides) < _GROWTH * min(sides) and float(np.hypot(right, down)) < _STRIDE * max(sides)


def _of_all_frames(survey: Survey, seen: dict[int, Box | None], why: dict[int, str], people: int) -> Track:
    """Interpolate and smooth the boxes of the key pictures of each shot; ``why`` some show none."""
    boxes: list[Box | None] = [None] * survey.count
    reasons: dict[int, str] = {}
    for shot in survey.shots:
        keys = [position for position in shot if seen.get(position) is not None]
        has_box = np.zeros(len(shot), bool)
        for position in keys:
            # To the next key picture on both sides; the network then says who is seen there.
            first, last = position - survey.key_step + 1, position + survey.key_step
            has_box[max(first - shot.start, 0) : last - shot.start] = True
        for run in _runs(has_box):
            inside = [position for position in keys if run.start <= position - shot.start < run.stop]
            smooth = _smoothed(np.array([seen[position] for position in inside]), inside, run, shot.start, survey)
            for place, box in zip(run, smooth, strict=True):
                boxes[shot.start + place] = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
        for place, position in enumerate(shot):
            if not has_box[place]:
                reasons[position] = why.get(position - position % survey.key_step, NOBODY)
    return Track(boxes, reasons, people)


def _runs(present: np.ndarray) -> list[range]:
    edges = np.flatnonzero(np.diff(np.r_[False, present, False].astype(np.int8)))
    return [range(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _smoothed(boxes: np.ndarray, keys: list[int], run: range, start: int, survey: Survey) -> np.ndarray:
    """(frames of the run, 4) boxes that move smoothly and contain those of the key pictures."""
    at = np.arange(run.start, run.stop) + start
    middle = [np.interp(at, keys, boxes[:, [axis, axis + 2]].mean(axis=1)) for axis in (0, 1)]
    half = [np.interp(at, keys, (boxes[:, axis + 2] - boxes[:, axis]) / 2) for axis in (0, 1)]
    sigma = _SMOOTH_S * survey.rate
    middle = [gaussian_filter1d(one, sigma, mode="nearest") for one in middle]
    widest = [maximum_filter1d(one, 2 * survey.key_step + 1, mode="nearest") for one in half]
    half = [gaussian_filter1d(one, sigma, mode="nearest") for one in widest]
    return np.stack([middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]], axis=1)
