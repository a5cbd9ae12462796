"""Import of the TikTok dataset as published: ROOT/00001/{images,masks,densepose}/0001.png, one folder a video.

It has 340 folders of 10 to 15 seconds at 30 frames a second, about 100,000 frames, most of 604 x 1080 pixels; archives
hold one folder ``TikTok_dataset`` or two of that name in each other; DensePose is stored as V, U, I, and in some frames
two people's maps are stitched together (issue 17 of the original). Any folder of that form is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hdnet.data.importing.frame_files import FrameFiles
from hdnet.data.importing.sequence_import import SequenceSource
from hdnet.data.importing.sequences import SequenceFiles
from hdnet.data.importing.staging import source_identity
from hdnet.data.layout.folders import TIKTOK
from hdnet.errors import DataError

KIND = "TikTok dataset"
IMAGES, MASKS, DENSEPOSE = "images", "masks", "densepose"
# ROOT/TikTok_dataset/TikTok_dataset/00001 is the deepest form seen.
_DEPTH = 3
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def dataset_source(source: Path, only: Iterable[str] = ()) -> SequenceSource:
    """Return the published TikTok dataset, or a folder of the same form, as a source of ``import_sequences``.

    Args:
        source: The dataset's folder, or that of a single video.
        only: Names or patterns (``0000*``) of the sequences wanted; none for all.

    Raises:
        DataError: The folder has another form.
    """
    patterns = tuple(only)
    folders = _chosen(source, sequence_folders(source), patterns)
    identity: dict[str, Any] = {"only": patterns, "folders": [source_identity(folder) for folder in folders]}
    return SequenceSource(
        KIND, str(source), [f.name for f in folders], lambda _: [_sequence(folder) for folder in folders], identity
    )


def is_authors_form(source: Path) -> bool:
    """Return whether a source is an archive or folder of the authors' training data, already cut and numbered."""
    return source.is_file() or any((folder / "color_WO_bg").is_dir() for folder in (source, source / TIKTOK))


def sequence_folders(source: Path) -> list[Path]:
    """Return the folders of the videos, sorted by name.

    Raises:
        DataError: The folder is missing, unreadable, or holds no video in that form.
    """
    if not source.is_dir():
        hint = "; unpack the archive first" if source.is_file() else ""
        raise DataError(f"{source}: is no folder; expected the dataset's folder with 00001/images/0001.png in it{hint}")
    folders = _find(source, _DEPTH)
    if not folders:
        raise DataError(
            f"{source}: no video found; expected folders like 00001 with {IMAGES}/, {MASKS}/ and {DENSEPOSE}/ of PNG "
            "pictures in them"
        )
    return folders


def _find(folder: Path, depth: int) -> list[Path]:
    try:
        if (folder / IMAGES).is_dir():
            return [folder]
        if depth == 0:
            return []
        inner = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not _is_junk(entry.name))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    return [found for entry in inner for found in _find(entry, depth - 1)]


def _is_junk(name: str) -> bool:
    """Return whether a name is of a file that archive tools leave behind."""
    return name.startswith(".") or name == "__MACOSX"


def _chosen(source: Path, folders: list[Path], patterns: tuple[str, ...]) -> list[Path]:
    if not patterns:
        return folders
    for pattern in patterns:
        if not any(fnmatch(folder.name, pattern) for folder in folders):
            raise DataError(f"{source}: no sequence matches {pattern!r}; the first one is {folders[0].name}")
    return [folder for folder in folders if any(fnmatch(folder.name, pattern) for pattern in patterns)]


@dataclass(frozen=True)
class _Part:
    """Pictures of one kind by frame number; several of one number are kept for the error message."""

    folder: Path
    files: dict[int, list[Path]]
    others: list[Path]

    def get(self, number: int, kind: str) -> tuple[str | None, str | None]:
        """Return (file, problem)."""
        files = self.files.get(number, [])
        if len(files) == 1:
            return str(files[0]), None
        if not files:
            return None, f"{self.folder}: no {kind} for frame {number}; expected a file like {number:04d}.png"
        names = " and ".join(file.name for file in files)
        return None, f"{self.folder}: {names} have the same frame number {number}; expected one"


def numbered_pictures(folder: Path) -> tuple[dict[int, list[Path]], list[Path]]:
    """Return pictures by the number that is their name, and those with other names.

    Raises:
        DataError: The folder cannot be read.
    """
    numbered: dict[int, list[Path]] = {}
    others: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not _is_junk(entry.name) and entry.is_file())
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    for file in (folder / name for name in names if name.lower().endswith(_PICTURES)):
        if file.stem.isascii() and file.stem.isdigit():
            numbered.setdefault(int(file.stem), []).append(file)
        else:
            others.append(file)
    return numbered, others


def _sequence(folder: Path) -> SequenceFiles:
    images, masks, densepose = (
        _Part(folder / name, *numbered_pictures(folder / name)) for name in (IMAGES, MASKS, DENSEPOSE)
    )
    frames = []
    for number in sorted(images.files):
        for file in images.files[number]:
            image, problem = images.get(number, "picture")
            mask, mask_problem = masks.get(number, "mask")
            iuv, iuv_problem = densepose.get(number, "DensePose picture")
            source = f"{folder.name}/{IMAGES}/{file.name}"
            frames.append(FrameFiles(source, number, image, mask, iuv, problem or mask_problem or iuv_problem))
    last = max(images.files, default=-1)
    for file in images.others:
        last += 1
        frames.append(
            FrameFiles(
                f"{folder.name}/{IMAGES}/{file.name}",
                last,
                problem=f"{file}: the name is no number; expected names like 0001.png",
            )
        )
    left = {part.folder.name: part.files.keys() - images.files.keys() for part in (masks, densepose)}
    remarks = (
        f"{len(numbers)} pictures in {kind} belong to no picture, first number {min(numbers)}"
        for kind, numbers in left.items()
        if numbers
    )
    return SequenceFiles(folder.name, tuple(frames), tuple(remarks))
