"""Building a folder of pairs, batch by batch, in one process or several, going on where an earlier run was stopped.

Frames are worked on in batches of neighbours, a shard of matches each. A batch that is finished is noted with what it
was made from, so that a run that was killed goes on behind it, and ends with the same bytes as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from hdnet import __version__
from hdnet.data.layout.correspondences import CORR_MAT_FILE, ORIGINAL_PARTNERS, pair_files
from hdnet.data.layout.folders import write_corr_mat, write_correspondences
from hdnet.data.parallel import ordered_map
from hdnet.data.store.pairs_writing import FORMAT_VERSION, INDEX_FILE, Pair, PairsIndex, Shard, write_shard
from hdnet.errors import DataError
from hdnet.files import read_json_object, resumable_folder, sha256_of, write_json

# Frames of a shard: at 256 x 256 pixels and four partners some 60 MB, written in seconds.
BATCH_FRAMES = 256


@dataclass(frozen=True)
class Batch:
    """Frames with their wanted partners, whose pairs make one shard."""

    file: str
    wanted: tuple[tuple[str, tuple[str, ...]], ...]


class Source(Protocol):
    """Where pairs come from."""

    def files(self, batch: Batch) -> Iterator[Path]:
        """Everything on the disk that the pairs of a batch are made from."""
        ...

    def pairs(self, batch: Batch, dropped: Counter[str]) -> Iterator[Pair]:
        """The pairs of a batch to keep; counts the others."""
        ...


def build_pairs(
    source: Source,
    wanted: Mapping[str, Sequence[str]],
    names: Sequence[str],
    out: Path,
    settings: Mapping[str, Any],
    jobs: int = 1,
    progress: bool = False,
    text_files: bool = False,
) -> tuple[PairsIndex, Counter[str]]:
    """Write a folder of pairs.

    Args:
        source: Makes the pairs; pickled where several processes work.
        wanted: Frames with the partners to try, in order.
        names: Names of all frames.
        out: The folder to write; it appears (or is replaced) only when complete.
        settings: How the pairs are made, JSON-able: a run with others begins again.
        jobs: Processes.
        progress: Show a progress bar on stderr.
        text_files: Write the original's text files, too.

    Returns:
        What was written, and how many pairs were left out for which reason.

    Raises:
        DataError: What the source raises, no pair is left, or ``out`` cannot be written.
    """
    frames = [(name, tuple(others)) for name, others in wanted.items()]
    batches = [
        Batch(f"rows-{k:05d}.npy", tuple(frames[first : first + BATCH_FRAMES]))
        for k, first in enumerate(range(0, len(frames), BATCH_FRAMES))
    ]
    with resumable_folder(out, marker=INDEX_FILE) as (folder, notes):
        index, dropped = PairsIndex(names), Counter[str]()
        made_from = json.dumps([__version__, FORMAT_VERSION, settings, text_files])
        work = partial(_finish, source, folder, notes, made_from, text_files)
        label = f"correspondences ({BATCH_FRAMES} frames)"
        for batch, _ in zip(batches, ordered_map(work, batches, jobs, progress, label), strict=True):
            note = read_json_object(_note(notes, batch))
            index.add(Shard.from_dict(note["shard"]))
            dropped.update(note["dropped"])
        if not len(index.column("pairs")):
            for file in notes.iterdir():  # there is nothing to go on with
                file.unlink()
            raise DataError(_none_left(out, dropped))
        index.write(folder, settings)
        if text_files:
            _write_table(folder, index)
        _remove_leftovers(folder, index, {batch.file for batch in batches}, text_files)
    return index, dropped


def _finish(source: Source, folder: Path, notes: Path, settings: str, text_files: bool, batch: Batch) -> None:
    """Write the shard of a batch and its note, unless an earlier run has done so from the same files."""
    state = [settings, batch.wanted, [_state(file) for file in source.files(batch)]]
    made_from = hashlib.sha256(json.dumps(state).encode()).hexdigest()
    note, file = _note(notes, batch), folder / batch.file
    if _is_finished(note, made_from, file):
        return
    note.unlink(missing_ok=True)
    if text_files:
        (folder / "corrs").mkdir(exist_ok=True)
    dropped = Counter[str]()

    def pairs() -> Iterator[Pair]:
        for pair in source.pairs(batch, dropped):
            if text_files:
                write_correspondences(folder, pair.name_i, pair.name_j, pair.matches)
            yield pair

    shard = write_shard(file, pairs())
    write_json(note, {"made_from": made_from, "shard": shard.to_dict(), "dropped": dropped})


def _note(notes: Path, batch: Batch) -> Path:
    return notes / f"{batch.file}.json"


def _is_finished(note: Path, made_from: str, file: Path) -> bool:
    try:
        earlier = read_json_object(note)
    except DataError:  # none, or a power cut left it empty
        return False
    return (
        earlier["made_from"] == made_from
        and file.is_file()
        and file.stat().st_size == earlier["shard"]["bytes"]
        and sha256_of(file) == earlier["shard"]["sha256"]
    )


def _state(file: Path) -> tuple[str, int, int]:
    try:
        found = file.stat()
    except OSError:  # whoever reads it will say so
        return file.name, 0, 0
    return file.name, found.st_size, found.st_mtime_ns


def _write_table(folder: Path, index: PairsIndex) -> None:
    partners: dict[str, list[str]] = {}
    for i, j in index.column("pairs").tolist():
        partners.setdefault(index.names[i], []).append(index.names[j])
    write_corr_mat(folder, partners, ORIGINAL_PARTNERS)


def _remove_leftovers(folder: Path, index: PairsIndex, shards: set[str], text_files: bool) -> None:
    """What an earlier run with other settings or data had left in the temporary folder."""
    for file in folder.glob("rows-*"):
        if file.name not in shards:
            file.unlink()
    corrs = folder / "corrs"
    if not text_files:
        (folder / CORR_MAT_FILE).unlink(missing_ok=True)
        shutil.rmtree(corrs, ignore_errors=True)
        return
    wanted = {
        file.name
        for i, j in index.column("pairs").tolist()
        for file in pair_files(folder, index.names[i], index.names[j])
    }
    for file in corrs.iterdir():
        if file.name not in wanted:
            file.unlink()


def _none_left(out: Path, dropped: Counter[str]) -> str:
    reasons = ", ".join(f"{count} for {reason.replace('_', ' ')}" for reason, count in dropped.most_common())
    return (
        f"{out}: none of {sum(dropped.values())} pairs of frames is usable ({reasons or 'no frame has a partner'}); "
        "expected frames of one person in a sequence, DensePose as V, U, I"
    )
