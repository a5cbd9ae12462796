"""Where raw data comes from: made here, the user's own in the real layout, or the authors' archive."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hdnet.data.copying import copy_folder
from hdnet.data.files import atomic_folder
from hdnet.data.importing.authors import import_authors
from hdnet.data.importing.report import ImportReport
from hdnet.data.layout import TangFolder
from hdnet.data.synthetic import Progress, SyntheticSpec, contact_sheet, synthesize
from hdnet.errors import DataError
from hdnet.params import DataParams

TANG, TIKTOK, HELDOUT = "Tang_data", "tiktok_data", "heldout/Tang_data"
PEOPLE, DANCES = (TANG, HELDOUT), (TIKTOK,)

# Far from every training seed that a user is likely to try next, so that no held-out person is a training person.
_HELDOUT_SEED_OFFSET = 1_000_003
_SHEET_ROWS = 8


def acquire(out: Path, source: Path, data: DataParams, seed: int, jobs: int) -> tuple[np.ndarray, ImportReport | None]:
    """Brings labelled people, unlabelled sequences and held-out people together.

    Args:
        out: Gets ``Tang_data``, ``tiktok_data`` and ``heldout/Tang_data``; appears only when complete.
        source: ``data.folder``: folder or archive to take data from; not looked at if ``data.source`` is "synthetic".
        data: What to take and what to make.
        seed: Of everything that is made, and of the choice of held-out people from an archive.
        jobs: Processes.

    Returns:
        A contact sheet, (H, W, 3) uint8, and the report on an imported archive.

    Raises:
        DataError: The source lacks what is to be taken, cannot be read, or ``out`` cannot be written.
    """
    parts = {"both": PEOPLE + DANCES, "people": PEOPLE, "dances": DANCES}[data.take]
    if data.source == "synthetic":
        parts = ()
    elif out.resolve() in (source.resolve(), *source.resolve().parents):
        raise DataError(f"data.folder {source} lies in {out}, which is written anew; move your data elsewhere")
    report = None
    with atomic_folder(out, marker=TANG) as temporary:
        if data.source == "folder":
            _copy(source, temporary, parts)
        elif data.source == "archive":
            report = _import(source, temporary, parts, out.with_name(f".{out.name}.imported"), seed, jobs)
        _synthesize(temporary, data, parts, seed, jobs)
    return raw_contact_sheet(out), report and replace(report, out=str(out))


def _copy(source: Path, target: Path, parts: Sequence[str]) -> None:
    _expect_parts(source, source, parts)
    for part in parts:
        copy_folder(source / part, target / part, progress=True)


def _import(source: Path, target: Path, parts: Sequence[str], imported: Path, seed: int, jobs: int) -> ImportReport:
    """Imports into a folder of its own first, where an interrupted import is found again."""
    wanted = [part for part in parts if part != HELDOUT]
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
    if missing == HELDOUT:
        raise DataError(f"{source}: has no {HELDOUT}; move some of the people in {TANG} there, for evaluation")
    if missing:
        other = "dances" if missing == TANG else "people"
        advice = f"; data.take: {other} makes the rest synthetic" if TANG in parts and TIKTOK in parts else ""
        raise DataError(f"{source}: has no {missing}; expected {expected} in it{advice}")


def _synthesize(raw: Path, data: DataParams, taken: Sequence[str], seed: int, jobs: int) -> None:
    """Makes what was not taken from elsewhere."""
    people, sequences = (0 if TANG in taken else data.people), (0 if TIKTOK in taken else data.sequences)
    if people or sequences:
        _synthesize_into(raw / "train", "acquire", data, people, sequences, seed, jobs)
        for made in list((raw / "train").iterdir()):
            made.rename(raw / made.name)
        (raw / "train").rmdir()
    if HELDOUT not in taken:
        offset = seed + _HELDOUT_SEED_OFFSET
        _synthesize_into(raw / "heldout", "acquire heldout", data, data.heldout_people, 0, offset, jobs)


def _synthesize_into(
    folder: Path, label: str, data: DataParams, people: int, sequences: int, seed: int, jobs: int
) -> None:
    spec = SyntheticSpec(people, sequences, data.frames_per_sequence, seed, data.focal_px, data.camera)
    with progress_bar(label, people + sequences) as progress:
        synthesize(folder, spec, jobs, progress)


@contextmanager
def progress_bar(label: str, total: int) -> Iterator[Progress]:
    """A bar with the time left, driven by (done, total) calls."""
    with tqdm(total=total, desc=label, mininterval=0.5) as bar:

        def advance(done: int, _: int) -> None:
            bar.update(done - bar.n)

        yield advance


def raw_contact_sheet(raw: Path) -> np.ndarray:
    """Pictures, IUV, depth and normals of the first labelled people in a raw folder."""
    folder = TangFolder(raw / TANG)
    return np.asarray(contact_sheet([folder.read(name) for name in folder.names()[:_SHEET_ROWS]]))
