"""Import of the user's own frames, masks and DensePose maps: three folders, or videos in their place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from hdnet.data.importing.frame_files import FrameFiles
from hdnet.data.importing.sequence_import import SequenceSource
from hdnet.data.importing.sequences import SequenceFiles
from hdnet.data.importing.staging import source_identity
from hdnet.data.importing.video import Form, Selection, VideoFrames, check_iuv_video, extract_frames, is_video
from hdnet.errors import DataError

KIND = "own frames"

Role = Literal["image", "mask", "densepose"]

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
# Endings that distinguish the three pictures of a frame in tools and the original's demo.
_ENDINGS: dict[Role, tuple[str, ...]] = {
    "image": ("_img", "_image", "_color", "_rgb"),
    "mask": ("_mask", "_matte", "_alpha", "_seg"),
    "densepose": ("_dp", "_densepose", "_iuv"),
}
_FORMS: dict[Role, Form] = {"image": "colour", "mask": "grey", "densepose": "iuv"}
_COMMON_NAMES = {"images", "image", "frames", "color", "rgb"}
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class OwnFrames:
    """Places of the pictures of one sequence.

    Attributes:
        images: Folder of pictures, or a video.
        masks: Folder of masks or a video; None takes the pictures' alpha channel.
        densepose: Folder of DensePose maps, or a lossless video.
        name: Name of the sequence; "" takes that of the folder or video.
        selection: Frames to take.
        first_number: Number of the first frame of a video in the names of mask and DensePose files, 0 or 1; None
            detects it.
    """

    images: Path
    masks: Path | None
    densepose: Path
    name: str = ""
    selection: Selection = field(default_factory=Selection)
    first_number: int | None = None

    @property
    def sequence_name(self) -> str:
        """The given name, or one from the place of the pictures."""
        if self.name:
            return self.name
        path = self.images.absolute()
        stem = path.stem if path.is_file() else path.name
        return path.parent.name if stem.lower() in _COMMON_NAMES and path.parent.name else stem


@dataclass(frozen=True)
class _Picture:
    source: str
    key: str
    number: int
    file: str | None
    problem: str | None = None


def own_frames_source(own: OwnFrames, progress: bool = False) -> SequenceSource:
    """Return one sequence as a source of :func:`~hdnet.data.importing.sequence_import.import_sequences`.

    Pictures belong together that have the same name but for the ending (``_img``, ``_mask``, ``_dp`` and the like), or
    where no two names agree, the same last number in it.

    Args:
        own: Places of the pictures.
        progress: Show progress bars on stderr.

    Raises:
        DataError: A folder or video cannot be used.
    """
    if own.selection.start_s is not None or own.selection.end_s is not None:
        _expect(
            is_video(own.images), own.images, "--start and --end are for videos; expected a video, or --every alone"
        )
    if is_video(own.densepose):
        check_iuv_video(own.densepose)
    places = {"images": own.images, "masks": own.masks, "densepose": own.densepose}
    for place in places.values():
        _expect(
            place is None or is_video(place) or place.is_dir(), place, "expected a folder of pictures or a video file"
        )
    identity = {
        "places": {key: source_identity(place) if place else None for key, place in places.items()},
        "name": own.sequence_name,
        "selection": asdict(own.selection),
        "first_number": own.first_number,
    }
    return SequenceSource(
        KIND, str(own.images), (own.sequence_name,), lambda work: [_sequence(own, work, progress)], identity
    )


def _sequence(own: OwnFrames, work: Path, progress: bool) -> SequenceFiles:
    remarks: list[str] = []
    videos: dict[Role, VideoFrames] = {}
    places: tuple[tuple[Role, Path | None], ...] = (
        ("image", own.images),
        ("mask", own.masks),
        ("densepose", own.densepose),
    )
    for role, place in places:
        if place is not None and is_video(place):
            videos[role] = extract_frames(place, work / role, _FORMS[role], own.selection, progress)
            remarks += videos[role].remarks
    pictures = _pictures_of_video(own, videos["image"]) if "image" in videos else _pictures_of_folder(own)
    masks = _partners(own, "mask", own.masks, pictures, videos, remarks) if own.masks else None
    densepose = _partners(own, "densepose", own.densepose, pictures, videos, remarks)
    frames = []
    for i, picture in enumerate(pictures):
        mask, mask_problem = masks[i] if masks else (None, None)
        iuv, iuv_problem = densepose[i]
        problem = picture.problem or mask_problem or iuv_problem
        frames.append(FrameFiles(picture.source, picture.number, picture.file, mask, iuv, problem))
    return SequenceFiles(own.sequence_name, tuple(frames), tuple(remarks))


def _pictures_of_video(own: OwnFrames, video: VideoFrames) -> list[_Picture]:
    return [
        _Picture(f"{own.images.name}/frame {number}", str(number), number, file) for number, file in video.files.items()
    ]


def _pictures_of_folder(own: OwnFrames) -> list[_Picture]:
    files = _by_key(own.images, "image")
    numbers = {key: _last_number(key) for key in files}
    distinct = None not in numbers.values() and len(set(numbers.values())) == len(numbers)
    keys = sorted(files, key=(lambda key: (numbers[key] or 0, key)) if distinct else _natural)
    pictures = []
    for position, key in enumerate(keys):
        number = numbers[key] if distinct else position
        names = " and ".join(file.name for file in files[key])
        several = len(files[key]) > 1
        problem = f"{own.images}: {names} are the same frame; expected one" if several else None
        pictures += [
            _Picture(f"{own.images.name}/{file.name}", key, number or 0, None if several else str(file), problem)
            for file in files[key]
        ]
    return pictures[:: own.selection.every]


def _partners(
    own: OwnFrames,
    role: Role,
    place: Path,
    pictures: Sequence[_Picture],
    videos: Mapping[Role, VideoFrames],
    remarks: list[str],
) -> list[tuple[str | None, str | None]]:
    """Return (file, problem) of one role for every picture."""
    if role in videos:
        frames = videos[role]
        if "image" not in videos:
            if len(frames.files) != len(pictures):
                raise DataError(
                    f"{place}: holds {len(frames.files)} frames for {len(pictures)} pictures in {own.images}; expected "
                    "as many"
                )
            return [(file, None) for file in frames.files.values()]
        return [
            (
                frames.files.get(picture.number),
                _missing(place, role, picture) if picture.number not in frames.files else None,
            )
            for picture in pictures
        ]
    files = _by_key(place, role)
    if "image" in videos:
        return _by_video_number(own, role, place, files, pictures, videos["image"], remarks)
    if not files.keys() & {picture.key for picture in pictures}:
        by_number: dict[str, list[Path]] = {}
        for key, found in files.items():
            by_number.setdefault(str(_last_number(key)), []).extend(found)
        remarks.append(f"{role} pictures matched by number, no two names agree")
        return [_only(by_number.get(str(_last_number(picture.key)), []), place, role, picture) for picture in pictures]
    return [_only(files.get(picture.key, []), place, role, picture) for picture in pictures]


def _by_video_number(
    own: OwnFrames,
    role: Role,
    place: Path,
    files: Mapping[str, list[Path]],
    pictures: Sequence[_Picture],
    video: VideoFrames,
    remarks: list[str],
) -> list[tuple[str | None, str | None]]:
    """Return files of a folder for the frames of a video: by number, or in order if there are as many as taken."""
    by_number: dict[int, list[Path]] = {}
    for key, found in files.items():
        number = _last_number(key)
        if number is None:
            raise DataError(f"{found[0]}: has no number in its name; expected the number of the video's frame")
        by_number.setdefault(number, []).extend(found)
    first = own.first_number
    if first is None and by_number:
        least, largest = min(by_number), max(by_number)
        if least == 0:
            first = 0
        elif largest == video.total or (least == 1 and largest > video.total):
            first = 1
        as_taken = len(by_number) == len(pictures) and largest - least == len(pictures) - 1 and least <= 1
        if as_taken and own.selection != Selection():
            remarks.append(f"{role} pictures matched in order: as many as frames were taken")
            ordered = [by_number[number] for number in sorted(by_number)]
            return [_only(found, place, role, picture) for found, picture in zip(ordered, pictures, strict=True)]
    if first is None:
        raise DataError(
            f"{place}: files are numbered {min(by_number, default=0)} to {max(by_number, default=0)} for a video of "
            f"{video.total} frames; state by --first-number whether its first frame is 0 or 1"
        )
    remarks.append(f"{role} pictures matched by number, the video's first frame is {first}")
    return [_only(by_number.get(picture.number + first, []), place, role, picture) for picture in pictures]


def _only(files: Sequence[Path], place: Path, role: Role, picture: _Picture) -> tuple[str | None, str | None]:
    if len(files) == 1:
        return str(files[0]), None
    if not files:
        return None, _missing(place, role, picture)
    names = " and ".join(file.name for file in files)
    return None, f"{place}: {names} belong to the same frame; expected one"


def _missing(place: Path, role: Role, picture: _Picture) -> str:
    what = "mask" if role == "mask" else "DensePose picture"
    return f"{place}: no {what} for {picture.source}; expected a file of the same name or number"


def _by_key(folder: Path, role: Role) -> dict[str, list[Path]]:
    """Return pictures of one role by name without ending."""
    found: dict[str, list[Path]] = {}
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _PICTURES and file.is_file())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    for file in files:
        if file.name.startswith("."):
            continue
        key, of = _split_ending(file.stem)
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


def _last_number(key: str) -> int | None:
    digits = _NUMBER.findall(key)
    return int(digits[-1]) if digits else None


def _natural(key: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts digits by value: frame2 before frame10."""
    parts = re.split(r"(\d+)", key)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _expect(condition: bool, path: Path | None, text: str) -> None:
    if not condition:
        raise DataError(f"{path}: {text}")
