"""Construction of a folder of pairs, batch by batch, in one process or several, resumed after an interruption.

A batch of neighbouring frames makes one shard. A run that was killed continues behind its finished batches, and ends
with the same bytes as one that was not.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from hdnet import __version__
from hdnet.data.layout.correspondences import (
    CORR_MAT_FILE,
    ORIGINAL_PARTNERS,
    pair_files,
    write_corr_mat,
    write_correspondences,
)
from hdnet.data.parallel import ordered_map
from hdnet.data.store.pairs import Pair, PairsIndex, PairsShard, write_pairs
from hdnet.data.store.shards import FORMAT_VERSION, INDEX_FILE, finish_shard
from hdnet.errors import DataError
from hdnet.files import Finished, fingerprint, resumable_folder

# Frames of a shard: at 256 x 256 pixels and four partners some 60 MB, written in seconds.
BATCH_FRAMES = 256


@dataclass(frozen=True)
class Batch:
    """Frames with their wanted partners, whose pairs make one shard."""

    file: str
    wanted: tuple[tuple[str, tuple[str, ...]], ...]


class Source(Protocol):
    """Source of pairs."""

    def files(self, batch: Batch) -> Iterator[Path]:
        """Return all files that the pairs of a batch are made from."""
        ...

    def pairs(self, batch: Batch, dropped: Counter[str]) -> Iterator[Pair]:
        """Yield the pairs of a batch to keep, and count the others."""
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
        settings: How the pairs are made, JSON-able: a run with others starts over.
        jobs: Processes.
        progress: Show a progress bar on stderr.
        text_files: Write the original's text files, too.

    Returns:
        The written index, and the numbers of pairs left out, by reason.

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
        work = partial(_finish, source, folder, Finished(notes), settings, text_files)
        label = f"correspondences ({BATCH_FRAMES} frames)"
        for made in ordered_map(work, batches, jobs, progress, label):
            dropped.update(made.pop("dropped"))
            index.add(PairsShard(**made))
        if not len(index.column("pairs")):
            for file in notes.iterdir():  # nothing to resume from
                file.unlink()
            raise DataError(_none_left(out, dropped))
        index.write(folder, settings)
        if text_files:
            _write_table(folder, index)
        _remove_leftovers(folder, index, {batch.file for batch in batches}, text_files)
    return index, dropped


def _finish(
    source: Source, folder: Path, finished: Finished, settings: Mapping[str, Any], text_files: bool, batch: Batch
) -> dict[str, Any]:
    """Return the attributes of the shard of a batch, and how many pairs were left out, as "dropped"."""
    state = [_state(file) for file in source.files(batch)]
    made_from = fingerprint([__version__, FORMAT_VERSION, settings, text_files, batch.wanted, state])

    def write(file: Path) -> dict[str, Any]:
        if text_files:
            (folder / "corrs").mkdir(exist_ok=True)
        dropped = Counter[str]()

        def pairs() -> Iterator[Pair]:
            for pair in source.pairs(batch, dropped):
                if text_files:
                    write_correspondences(folder, pair.name_i, pair.name_j, pair.matches)
                yield pair

        return {**vars(write_pairs(file, pairs())), "dropped": dropped}

    return finish_shard(folder / batch.file, finished, made_from, write)


def _state(file: Path) -> tuple[str, int, int]:
    try:
        found = file.stat()
    except OSError:  # reported by its reader
        return file.name, 0, 0
    return file.name, found.st_size, found.st_mtime_ns


def _write_table(folder: Path, index: PairsIndex) -> None:
    partners: dict[str, list[str]] = {}
    for i, j in index.column("pairs").tolist():
        partners.setdefault(index.names[i], []).append(index.names[j])
    write_corr_mat(folder, partners, ORIGINAL_PARTNERS)


def _remove_leftovers(folder: Path, index: PairsIndex, shards: set[str], text_files: bool) -> None:
    """Delete what an earlier run with other settings or data has left in the temporary folder."""
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
