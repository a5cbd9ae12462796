"""Raw data of synthetic people: parts of a raw folder that are not taken from elsewhere, and contact sheets."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from hdnet.data.layout.folders import HELDOUT_TANG, TANG, TIKTOK, TangFolder, TikTokFolder
from hdnet.data.store.people import PackedPeople
from hdnet.data.store.records import spread
from hdnet.data.store.shards import INDEX_FILE
from hdnet.files import read_json_object, write_json
from hdnet.params import DataParams, SyntheticParams
from hdnet.synthetic import Progress, SyntheticSpec, contact_sheet, film_strip, fingerprint, synthesize
from hdnet.synthetic.contact_sheet import PICTURES, SHEET_COLUMNS, distributions, picture_sheet, strip_names

# Far from every training seed that a user is likely to try next, so that no held-out person is a training person.
_HELDOUT_SEED_OFFSET = 1_000_003


def synthesize_parts(raw: Path, made: Path, data: DataParams, taken: Sequence[str], seed: int, jobs: int) -> None:
    """Make the parts that were not taken from elsewhere, first in ``made``, where an interrupted run is found again."""
    people, sequences = (0 if TANG in taken else data.people), (0 if TIKTOK in taken else data.sequences)
    heldout = 0 if HELDOUT_TANG in taken else data.heldout_people
    made.mkdir(parents=True, exist_ok=True)
    try:
        if people or sequences:
            _synthesize_once(made / "train", "acquire", synthetic_spec(data, people, sequences, seed), jobs)
        if heldout:
            offset = seed + _HELDOUT_SEED_OFFSET
            # Held-out people are measured on: each picture has one.
            shown = data.model_copy(update={"empty": 0.0})
            _synthesize_once(made / "heldout", "acquire heldout", synthetic_spec(shown, heldout, 0, offset), jobs)
        for note in made.glob("*.json"):
            note.unlink()
        for part, source in ((TANG, "train/" + TANG), (TIKTOK, "train/" + TIKTOK), (HELDOUT_TANG, HELDOUT_TANG)):
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
    """Pictures to look at, by file name: people of a raw folder, plots of packed ones, film strips of its sequences."""
    people, frames = TangFolder(raw / TANG), TikTokFolder(raw / TIKTOK)
    sheets = {}
    if (people.root / INDEX_FILE).is_file():
        packed = PackedPeople(people.root)
        shown = range(min(SHEET_COLUMNS, len(packed.names)))
        sheets["contact_sheet.png"] = contact_sheet([packed.sample(k) for k in shown])
        sheets["pictures.png"] = picture_sheet([packed.sample(k).image for k in spread(len(packed), PICTURES)])
        sheets["distributions.png"] = distributions(packed.facts)
    elif people.root.is_dir():
        sheets["contact_sheet.png"] = contact_sheet([people.read(name) for name in people.names()[:SHEET_COLUMNS]])
    if frames.root.is_dir():
        names = strip_names(frames.sequences())
        sheets["sequences.png"] = film_strip([frames.read(name) for name in names])
    return sheets


def save_contact_sheets(raw: Path, folder: Path) -> list[Path]:
    """Write :func:`contact_sheets` into a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, sheet in contact_sheets(raw).items():
        files.append(folder / name)
        sheet.save(files[-1])
    return files
