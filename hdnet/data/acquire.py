"""Where raw data comes from: made here, the user's own in the real layout, or the authors' archive."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from hdnet.data.importing.authors import import_authors
from hdnet.data.importing.copying import copy_folder
from hdnet.data.importing.report import ImportReport
from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.errors import DataError
from hdnet.files import atomic_folder, read_json_object, write_json
from hdnet.params import DataParams, SyntheticParams
from hdnet.synthetic import Progress, SyntheticSpec, contact_sheet, film_strip, fingerprint, synthesize
from hdnet.synthetic.contact_sheet import SHEET_COLUMNS, strip_names

TANG, TIKTOK, HELDOUT = "Tang_data", "tiktok_data", "heldout/Tang_data"
PEOPLE, DANCES = (TANG, HELDOUT), (TIKTOK,)

# Far from every training seed that a user is likely to try next, so that no held-out person is a training person.
_HELDOUT_SEED_OFFSET = 1_000_003


def acquire(out: Path, source: Path, data: DataParams, seed: int, jobs: int) -> ImportReport | None:
    """Brings labelled people, unlabelled sequences and held-out people together.

    Args:
        out: Gets ``Tang_data``, ``tiktok_data`` and ``heldout/Tang_data``; appears only when complete.
        source: ``data.folder``: folder or archive to take data from; not looked at if ``data.source`` is "synthetic".
        data: What to take and what to make.
        seed: Of everything that is made, and of the choice of held-out people from an archive.
        jobs: Processes.

    Returns:
        The report on an imported archive.

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
        _synthesize(temporary, out.with_name(f".{out.name}.made"), data, parts, seed, jobs)
    return report and replace(report, out=str(out))


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


def _synthesize(raw: Path, made: Path, data: DataParams, taken: Sequence[str], seed: int, jobs: int) -> None:
    """Makes what was not taken from elsewhere, first in ``made``, where the next run finds it after an interruption."""
    people, sequences = (0 if TANG in taken else data.people), (0 if TIKTOK in taken else data.sequences)
    heldout = 0 if HELDOUT in taken else data.heldout_people
    made.mkdir(parents=True, exist_ok=True)
    try:
        if people or sequences:
            _synthesize_once(made / "train", "acquire", synthetic_spec(data, people, sequences, seed), jobs)
        if heldout:
            offset = seed + _HELDOUT_SEED_OFFSET
            _synthesize_once(made / "heldout", "acquire heldout", synthetic_spec(data, heldout, 0, offset), jobs)
        for note in made.glob("*.json"):
            note.unlink()
        for part, source in ((TANG, "train/" + TANG), (TIKTOK, "train/" + TIKTOK), (HELDOUT, HELDOUT)):
            if part not in taken:
                (raw / part).parent.mkdir(exist_ok=True)
                (made / source).rename(raw / part)
        shutil.rmtree(made)
    finally:
        with suppress(OSError):
            made.rmdir()  # only if nothing is finished


def synthetic_spec(data: SyntheticParams, people: int, sequences: int, seed: int) -> SyntheticSpec:
    """So many people and sequences of the kind that the parameters describe."""
    look = data.model_dump(include=set(SyntheticParams.model_fields) - {"people", "sequences"})
    return SyntheticSpec(**look, people=people, sequences=sequences, seed=seed)


def _synthesize_once(folder: Path, label: str, spec: SyntheticSpec, jobs: int) -> None:
    """Nothing, if an interrupted run has noted beside the folder that it is complete."""
    note, key = folder.with_name(f"{folder.name}.json"), {"fingerprint": fingerprint(spec)}
    if note.exists() and read_json_object(note) == key:
        return
    note.unlink(missing_ok=True)
    with progress_bar(label) as progress:
        synthesize(folder, spec, jobs, progress)
    write_json(note, key)


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A bar with pictures, pictures an hour and the time left, driven by (done, total) calls from the start on."""
    with ExitStack() as stack:
        bars: list[tqdm[Any]] = []

        def advance(done: int, total: int) -> None:
            if not bars:
                # What an earlier run had finished says nothing about the speed of this one.
                bars.append(stack.enter_context(_PictureBar(total=total, initial=done, desc=label, mininterval=0.5)))
            bars[0].update(done - bars[0].n)

        yield advance


class _PictureBar(tqdm):  # type: ignore[type-arg]
    """Pictures an hour, where tqdm has items a second."""

    def __init__(self, **settings: Any) -> None:
        form = "{l_bar}{bar}| {n_fmt}/{total_fmt} pictures [{elapsed}<{remaining}, {per_hour}]"
        super().__init__(bar_format=form, **settings)

    @property
    def format_dict(self) -> dict[str, Any]:
        values = dict(super().format_dict)
        done, elapsed = values["n"] - values["initial"], values["elapsed"]
        per_hour = f"{3600 * done / elapsed:,.0f}/h" if done and elapsed else "?/h"
        return {**values, "per_hour": per_hour}


def contact_sheets(raw: Path) -> dict[str, Image.Image]:
    """Pictures to look at, by file name: labelled people of a raw folder, and film strips of its sequences."""
    people, frames = TangFolder(raw / TANG), TikTokFolder(raw / TIKTOK)
    sheets = {}
    if people.root.is_dir():
        sheets["contact_sheet.png"] = contact_sheet([people.read(name) for name in people.names()[:SHEET_COLUMNS]])
    if frames.root.is_dir():
        shown = strip_names(frames.sequences())
        sheets["sequences.png"] = film_strip([frames.read(name) for name in shown])
    return sheets
