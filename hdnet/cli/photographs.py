"""Photographs that the command line names, their partners and their folders of results."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hdnet.errors import InputError

# Endings of pictures in a folder; a file that is named is read whatever its ending.
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".heic", ".heif", ".bmp", ".gif"))


@dataclass(frozen=True)
class Photograph:
    """A picture on disk and the folder of its results.

    Attributes:
        image: The picture.
        out: Folder of the results.
    """

    image: Path
    out: Path


def find_photographs(given: Sequence[str], out: Path) -> list[Photograph]:
    """Find the pictures of the command line.

    Args:
        given: Files, folders, of which all pictures are taken, and patterns such as ``trip/*.jpg``.
        out: Folder of the results: of one named file itself, of several pictures a folder each.

    Raises:
        InputError: A folder or pattern has no picture.
    """
    images: dict[Path, None] = {}  # in order, each once
    for one in given:
        images |= dict.fromkeys(_matching(one))
    files = list(images)
    if len(files) == 1 and Path(given[0]) == files[0]:
        return [Photograph(files[0], out)]
    return [Photograph(image, out / name) for image, name in zip(files, _names(files), strict=True)]


def partner(given: Path | None, image: Path, option: str) -> Path | None:
    """The mask or map of a picture: the given file, or of a folder the one of the picture's name.

    Raises:
        InputError: The folder has none, or several.
    """
    if given is None or not given.is_dir():
        return given
    found = [file for file in _pictures_of(given) if file.stem == image.stem]
    if len(found) != 1:
        raise InputError(
            f"{option} {given}: found {len(found)} pictures for {image.name}, expected one of the name {image.stem}"
        )
    return found[0]


def _matching(given: str) -> list[Path]:
    path = Path(given)
    if path.is_dir():
        found = _pictures_of(path)
    elif path.exists() or not glob.has_magic(given):
        return [path]  # a missing file is named when it is read
    else:
        found = [Path(name) for name in sorted(glob.glob(given, recursive=True)) if Path(name).is_file()]  # noqa: PTH207 - the pattern may be absolute
    if not found:
        endings = ", ".join(sorted(SUFFIXES))
        raise InputError(f"{given}: no pictures found; expected files that end in {endings}")
    return found


def _pictures_of(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    )


def _names(files: Sequence[Path]) -> list[str]:
    """Names of the results' folders: the pictures' without ending, with it where two are alike, numbered at last."""
    for names in ([file.stem for file in files], [file.name for file in files]):
        if max(Counter(names).values(), default=0) <= 1:
            return names
    digits = len(str(len(files)))
    return [f"{number:0{digits}}_{file.stem}" for number, file in enumerate(files, start=1)]
