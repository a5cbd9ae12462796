"""Search for the masks and maps of a sequence's pictures, in folders or videos."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from hdnet.data.checks.shift import REACH, Pair, ShiftCheck
from hdnet.data.importing.frame_files import FrameFiles
from hdnet.data.importing.frames import FrameOptions, survey_frame
from hdnet.data.importing.pairing import How, Pairing, described, frame_numbers, in_order, natural, pair
from hdnet.data.importing.video import Selection, VideoFrames
from hdnet.errors import DataError

Role = Literal["image", "mask", "densepose"]

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
# Endings that distinguish the three pictures of a frame in tools and the original's demo.
_ENDINGS: dict[Role, tuple[str, ...]] = {
    "image": ("_img", "_image", "_color", "_rgb"),
    "mask": ("_mask", "_matte", "_alpha", "_seg"),
    "densepose": ("_dp", "_densepose", "_iuv"),
}
# Where one folder holds several kinds: the same words before a number, as in frame_0001_mask_1.
_WORD = {
    role: re.compile(rf"(?:^|[^a-z])(?:{'|'.join(ending[1:] for ending in endings)})(?![a-z])", re.IGNORECASE)
    for role, endings in _ENDINGS.items()
}
_COMMON_NAMES = {"images", "image", "frames", "color", "rgb"}
_PAIRS: dict[Role, Pair] = {"mask": "mask", "densepose": "body"}
# Two videos of the same frames differ by as many at most: encoders drop or repeat one at an end.
_VIDEO_SLACK = 2
# Frames in a row, and such rows, that decide a pairing which names leave open.
_ROW, _ROWS = 24, 4


@dataclass(frozen=True)
class OwnFrames:
    """Places of the pictures of one sequence.

    Attributes:
        images: Folder of pictures, or a video.
        masks: Folder of masks or a video; None takes the pictures' alpha channel, or what the network finds.
        densepose: Folder of DensePose maps, or a lossless video; None takes what the network finds.
        name: Name of the sequence; "" takes that of the folder or video.
        selection: Frames to take.
        first_number: Number of the first frame of a video in the names of mask and DensePose files, 0 or 1; None
            detects it.
        pairing: Rule by which masks and maps in folders find their pictures; None takes names, then numbers, and
            where these leave doubt, what fits the pictures.
    """

    images: Path
    masks: Path | None
    densepose: Path | None
    name: str = ""
    selection: Selection = field(default_factory=Selection)
    first_number: int | None = None
    pairing: How | None = None

    @property
    def sequence_name(self) -> str:
        """The given name, or one from the place of the pictures."""
        if self.name:
            return self.name
        path = self.images.absolute()
        stem = path.stem if path.is_file() else path.name
        return path.parent.name if stem.lower() in _COMMON_NAMES and path.parent.name else stem


@dataclass(frozen=True)
class Picture:
    """Picture of a frame; ``key`` is its name without ending, ``number`` that of the frame."""

    source: str
    key: str
    number: int
    file: str | None
    problem: str | None = None


# File and problem by the picture's name for the user.
Found = dict[str, tuple[str | None, str | None]]


@dataclass(frozen=True)
class Partners:
    """Search for the masks or maps of pictures.

    Attributes:
        own: Places of all pictures.
        role: Kind that is searched for.
        place: Its folder or video.
        frames: Files that are known already, by picture.
        videos: Frames of places that are videos.
        remarks: For the report; extended.
    """

    own: OwnFrames
    role: Role
    place: Path
    frames: Mapping[str, FrameFiles]
    videos: Mapping[Role, VideoFrames]
    remarks: list[str]

    def of(self, pictures: Sequence[Picture], chosen: Sequence[Picture]) -> Found:
        """Return the file of every picture that has one, and the problem of the others.

        Args:
            pictures: All of them.
            chosen: Those that are wanted.

        Raises:
            DataError: The pairing is not one to one or remains in doubt.
        """
        if self.role in self.videos:
            return self._of_video(chosen)
        files = [(key, file) for key, found in by_key(self.own, self.place, self.role).items() for file in found]
        if "image" in self.videos:
            return self._of_frames_of_video(files, chosen)
        names = [key for key, _ in files]
        if len(names) == len(chosen) < len(pictures) and pair([p.key for p in pictures], names).doubt:
            pictures = chosen  # made for these alone
        return self._of_folder([file for _, file in files], self._pair(pictures, files), pictures)

    def _of_video(self, pictures: Sequence[Picture]) -> Found:
        frames = self.videos[self.role]
        if "image" not in self.videos:
            if len(frames.files) != len(pictures):
                raise DataError(
                    f"{self.place}: holds {len(frames.files)} frames for {len(pictures)} pictures in "
                    f"{self.own.images}; expected as many"
                )
            return {p.source: (file, None) for p, file in zip(pictures, frames.files.values(), strict=True)}
        total = self.videos["image"].total
        if abs(frames.total - total) > _VIDEO_SLACK:
            raise DataError(
                f"{self.place}: holds {frames.total} frames, {self.own.images} {total}; expected as many: the same "
                "clip at the same frame rate"
            )
        return {picture.source: self._only(picture, frames.files.get(picture.number)) for picture in pictures}

    def _of_frames_of_video(self, files: Sequence[tuple[str, Path]], pictures: Sequence[Picture]) -> Found:
        """Return files of a folder for the frames of a video: by number, or in order if there are as many as taken."""
        video, own = self.videos["image"], self.own
        numbers = frame_numbers([key for key, _ in files])
        by_number: dict[int, list[Path]] = {}
        for number, (_, file) in zip(numbers, files, strict=True):
            if number is None:
                raise DataError(f"{file}: has no number in its name; expected the number of the video's frame")
            by_number.setdefault(number, []).append(file)
        least, largest = min(by_number), max(by_number)
        as_many = len(by_number) == len(pictures)
        one_by_one = largest - least == len(pictures) - 1 and least <= 1
        if as_many and (own.pairing == "order" or (one_by_one and own.selection != Selection())):
            self.remarks.append(f"{self.role} pictures matched in order: as many as frames were taken")
            ordered = [by_number[number] for number in sorted(by_number)]
            return {p.source: self._only(p, *found) for found, p in zip(ordered, pictures, strict=True)}
        first = own.first_number
        if first is None:
            if least == 0:
                first = 0
            elif largest == video.total or (least == 1 and largest > video.total):
                first = 1
        short = largest - least + 1 < video.total / 2 and own.first_number is None and largest - least < len(by_number)
        if first is None or short:
            raise DataError(
                f"{self.place}: files are numbered {least} to {largest} for a video of {video.total} frames; state by "
                "--first-number whether its first frame is 0 or 1"
            )
        self.remarks.append(f"{self.role} pictures matched by number, the video's first frame is {first}")
        beyond = [found[0] for number, found in by_number.items() if not first <= number < video.total + first]
        self._report_left(beyond)
        return {p.source: self._only(p, *by_number.get(p.number + first, [])) for p in pictures}

    def _pair(self, pictures: Sequence[Picture], files: Sequence[tuple[str, Path]]) -> Pairing:
        """Pair by names; where these leave doubt, by what fits the pictures.

        Raises:
            DataError: Neither settles it.
        """
        names, keys, how = [picture.key for picture in pictures], [key for key, _ in files], self.own.pairing
        if how == "order" and len(names) != len(keys):
            raise DataError(
                f"{self.place}: holds {len(keys)} files for {len(names)} pictures in {self.own.images}; expected as "
                "many for --pairing order"
            )
        by_name = pair(names, keys, how)
        if not by_name.doubt:
            return by_name
        orders = [in_order(names, keys)] if len(names) == len(keys) else []
        for pairing in (*orders, by_name):
            if self._fits(pairing, pictures, files):
                self.remarks.append(
                    f"{self.role} pictures: {by_name.doubt}; paired by {pairing.how}, since so they fit the pictures"
                )
                return pairing
        ways = [f"--pairing {pairing.how}" for pairing in (by_name, *orders) if any(pairing.partners)]
        remedy = f"state by {' or '.join(ways)} that it is right, or number" if ways else "number"
        raise DataError(
            f"{self.place}: {by_name.doubt}: files {described([file.name for _, file in files])}, pictures "
            f"{described([Path(str(picture.file)).name for picture in pictures])} in {self.own.images}; expected one "
            f"file a picture; {remedy} both alike"
        )

    def _fits(self, pairing: Pairing, pictures: Sequence[Picture], files: Sequence[tuple[str, Path]]) -> bool:
        """Return whether each file fits its picture better than the neighbours', on some rows of frames."""
        check = ShiftCheck()
        options = FrameOptions(keep_largest=True, cut_detection=False)
        rows = max(1, min(_ROWS, len(pictures) // _ROW))
        starts = [round(row * (len(pictures) - _ROW) / max(rows - 1, 1)) for row in range(rows)]
        for start in starts:
            for _ in range(REACH + 1):
                check.add(None)
            for picture, found in list(zip(pictures, pairing.partners, strict=True))[max(start, 0) :][:_ROW]:
                known = self.frames[picture.source]
                if len(found) == 1:
                    known = known_with(known, self.role, str(files[found[0]][1]))
                whole = known.mask is not None or self.own.masks is None
                trace = survey_frame(known, options, with_densepose=False).trace if whole and found else None
                check.add(trace)
        return check.fits(_PAIRS[self.role])

    def _of_folder(self, files: Sequence[Path], pairing: Pairing, pictures: Sequence[Picture]) -> Found:
        if pairing.how == "number":
            self.remarks.append(f"{self.role} pictures matched by number, no two names agree")
        elif self.own.pairing == "order":
            self.remarks.append(f"{self.role} pictures matched in order")
        self._report_left([files[index] for index in pairing.left])
        claims: dict[int, list[str]] = {}
        for picture, found in zip(pictures, pairing.partners, strict=True):
            for index in found:
                claims.setdefault(index, []).append(picture.source)
        result: Found = {}
        for picture, found in zip(pictures, pairing.partners, strict=True):
            shared = next((claims[index] for index in found if len(claims[index]) > 1), None)
            result[picture.source] = self._only(picture, *(files[index] for index in found))
            if shared and picture.problem is None and len(found) == 1:
                names = " and ".join(shared[:2])
                problem = f"{files[found[0]]}: fits {names} alike; expected one picture of that name or number"
                result[picture.source] = None, problem
        return result

    def _report_left(self, files: Sequence[Path]) -> None:
        if files:
            first = min(files, key=lambda file: natural(file.name)).name
            self.remarks.append(f"{len(files)} of the {self.role} pictures belong to no picture, first {first}")

    def _only(self, picture: Picture, *files: Path | str | None) -> tuple[str | None, str | None]:
        there = [str(file) for file in files if file is not None]
        if len(there) == 1:
            return there[0], None
        if not there:
            what = "mask" if self.role == "mask" else "DensePose picture"
            return None, f"{self.place}: no {what} for {picture.source}; expected a file of the same name or number"
        names = " and ".join(Path(file).name for file in there)
        return None, f"{self.place}: {names} belong to the same frame; expected one"


def known_with(files: FrameFiles, role: Role, file: str | None) -> FrameFiles:
    """Return the files of a frame with its mask or map."""
    return replace(files, mask=file) if role == "mask" else replace(files, densepose=file)


def by_key(own: OwnFrames, folder: Path, role: Role) -> dict[str, list[Path]]:
    """Return pictures of one role by name without ending."""
    found: dict[str, list[Path]] = {}
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _PICTURES and file.is_file())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    is_shared = [own.images, own.masks, own.densepose].count(folder) > 1
    for file in files:
        if file.name.startswith("."):
            continue
        key, of = _split_ending(file.stem)
        if of is None and is_shared:
            of = next((other for other, word in _WORD.items() if word.search(file.stem)), "image")
        if of in (role, None):
            found.setdefault(key, []).append(file)
    if not found:
        raise DataError(f"{folder}: holds no {role} pictures; expected PNG files")
    return found


def _split_ending(stem: str) -> tuple[str, Role | None]:
    for role, endings in _ENDINGS.items():
        for ending in endings:
            if stem.lower().endswith(ending) and len(stem) > len(ending):
                return stem[: -len(ending)], role
    return stem, None
