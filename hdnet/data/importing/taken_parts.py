"""Parts of the raw data taken from the user's folder or from the authors' archive."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hdnet.data.importing.authors import import_authors
from hdnet.data.importing.copying import copy_folder
from hdnet.data.importing.report import ImportReport
from hdnet.data.layout.folders import HELDOUT_TANG, TANG, TIKTOK
from hdnet.errors import DataError

# Parts of the raw data by the value of data.take.
PARTS_TAKEN = {"both": (TANG, HELDOUT_TANG, TIKTOK), "people": (TANG, HELDOUT_TANG), "dances": (TIKTOK,)}


def copy_parts(source: Path, target: Path, parts: Sequence[str]) -> None:
    """Copy the parts of a raw folder.

    Raises:
        DataError: A part is missing.
        OSError: A file cannot be read or written.
    """
    _expect_parts(source, source, parts)
    for part in parts:
        copy_folder(source / part, target / part, progress=True)


def import_parts(
    source: Path, target: Path, parts: Sequence[str], imported: Path, seed: int, jobs: int
) -> ImportReport:
    """Import the parts of an archive, first into ``imported``, where an interrupted import is found again.

    Raises:
        DataError: A part is missing, or the archive cannot be read.
    """
    wanted = [part for part in parts if part != HELDOUT_TANG]
    try:
        report = import_authors(source, imported, seed=seed, only=wanted, jobs=jobs, progress=True)
        _expect_parts(imported, source, parts)
        for part in parts:
            (target / part).parent.mkdir(exist_ok=True)
            (imported / part).rename(target / part)
    finally:
        shutil.rmtree(imported, ignore_errors=True)
    return report


def _expect_parts(folder: Path, source: Path, parts: Sequence[str]) -> None:
    """Raise a DataError unless ``folder`` holds the parts that are to be taken from ``source``."""
    expected = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    if not folder.is_dir():
        raise DataError(f"{source}: no such folder; set data.folder to one with {expected}")
    missing = next((part for part in parts if not (folder / part).is_dir()), None)
    if missing == HELDOUT_TANG:
        raise DataError(f"{source}: has no {HELDOUT_TANG}; move some of the people in {TANG} there, for evaluation")
    if missing:
        other = "dances" if missing == TANG else "people"
        advice = f"; data.take: {other} makes the rest synthetic" if TANG in parts and TIKTOK in parts else ""
        raise DataError(f"{source}: has no {missing}; expected {expected} in it{advice}")
