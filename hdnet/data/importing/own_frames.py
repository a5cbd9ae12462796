"""Import of the user's own frames, masks and DensePose maps: three folders, or videos in their place."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from hdnet.data.importing.frame_files import FrameFiles
from hdnet.data.importing.pairing import frame_numbers, natural
from hdnet.data.importing.partners import OwnFrames, Partners, Picture, Role, by_key, known_with
from hdnet.data.importing.predicted import Finder, add_predicted
from hdnet.data.importing.sequence_import import SequenceSource
from hdnet.data.importing.sequences import SequenceFiles
from hdnet.data.importing.staging import source_identity
from hdnet.data.importing.video import Form, VideoFrames, check_iuv_video, extract_frames, is_video
from hdnet.errors import DataError

__all__ = ["KIND", "OwnFrames", "own_frames_source"]

KIND = "own frames"

_FORMS: dict[Role, Form] = {"image": "colour", "mask": "grey", "densepose": "iuv"}


def own_frames_source(own: OwnFrames, progress: bool = False, finder: Finder | None = None) -> SequenceSource:
    """Return one sequence as a source of :func:`~hdnet.data.importing.sequence_import.import_sequences`.

    Pictures belong together that have the same name but for the ending (``_img``, ``_mask``, ``_dp`` and the like) and
    the padding of numbers, or else the same number in it; see :mod:`hdnet.data.importing.pairing`.

    Args:
        own: Places of the pictures.
        progress: Show progress bars on stderr.
        finder: Network for the masks and maps that are not given.

    Raises:
        DataError: A folder or video cannot be used, or maps are neither given nor found.
    """
    _expect(own.densepose is not None or finder is not None, own.images, "has no DensePose maps; expected a folder")
    if own.selection.start_s is not None or own.selection.end_s is not None:
        _expect(
            is_video(own.images), own.images, "--start and --end are for videos; expected a video, or --every alone"
        )
    if own.densepose is not None and is_video(own.densepose):
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
        "pairing": own.pairing,
        "finder": finder.name if finder else None,
    }

    def find(work: Path) -> list[SequenceFiles]:
        sequence = _sequence(own, work, progress)
        if finder is None:
            return [sequence]
        masks, maps = own.masks is None, own.densepose is None
        frames = add_predicted(sequence.frames, finder, masks, maps, work / "predicted", progress)
        return [replace(sequence, frames=tuple(frames))]

    extra = {"found by": finder.name} if finder else {}
    return SequenceSource(KIND, str(own.images), (own.sequence_name,), find, identity, extra)


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
    chosen = pictures if "image" in videos else pictures[:: own.selection.every]
    frames = {picture.source: FrameFiles(picture.source, picture.number, picture.file) for picture in pictures}
    problems = {picture.source: picture.problem for picture in pictures}
    for role, place in places[1:]:
        if place is None:
            continue
        partners = Partners(own, role, place, frames, videos, remarks).of(pictures, chosen)
        for picture, (file, problem) in partners.items():
            frames[picture] = known_with(frames[picture], role, file)
            problems[picture] = problems[picture] or problem
    complete = (replace(frames[picture.source], problem=problems[picture.source]) for picture in chosen)
    return SequenceFiles(own.sequence_name, tuple(complete), tuple(remarks))


def _pictures_of_video(own: OwnFrames, video: VideoFrames) -> list[Picture]:
    return [
        Picture(f"{own.images.name}/frame {number}", str(number), number, file) for number, file in video.files.items()
    ]


def _pictures_of_folder(own: OwnFrames) -> list[Picture]:
    files = by_key(own, own.images, "image")
    numbers = dict(zip(files, frame_numbers(list(files)), strict=True))
    distinct = None not in numbers.values() and len(set(numbers.values())) == len(numbers)
    keys = sorted(files, key=(lambda key: (numbers[key] or 0, key)) if distinct else natural)
    pictures = []
    for position, key in enumerate(keys):
        number = numbers[key] if distinct else position
        names = " and ".join(file.name for file in files[key])
        several = len(files[key]) > 1
        problem = f"{own.images}: {names} are the same frame; expected one" if several else None
        pictures += [
            Picture(f"{own.images.name}/{file.name}", key, number or 0, None if several else str(file), problem)
            for file in files[key]
        ]
    return pictures


def _expect(condition: bool, path: Path | None, text: str) -> None:
    if not condition:
        raise DataError(f"{path}: {text}")
