"""Packed training data: texts and pictures parsed once, then read without a copy.

Content of the records: :mod:`hdnet.data.store.records`; format of the files: :mod:`hdnet.data.store.shards`.
Packing resumes after a kill or failure: finished shards are verified, not made again, unless a file that they were made
from has changed. Labelled samples and frames also have ``cameras.npy``, (N, 7) float64: the fields of
:class:`hdnet.geometry.Camera` in order.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hdnet import __version__
from hdnet.data.parallel import ordered_map
from hdnet.data.store.people import PackedPeople
from hdnet.data.store.reading import PackedRecords, WithCameras, read_index
from hdnet.data.store.records import (
    FIELDS_OF_KIND,
    OPTIONAL_FIELDS_OF_KIND,
    FrameRecords,
    LabelledRecords,
    NormalRecords,
    Source,
)
from hdnet.data.store.shards import (
    FORMAT_VERSION,
    INDEX_FILE,
    Entry,
    Shard,
    finish_shard,
    record_blocks,
    record_type,
    shards_of,
    write_index,
    write_shard,
)
from hdnet.errors import DataError
from hdnet.files import Finished, fingerprint, resumable_folder
from hdnet.geometry import MEDIAN_DEPTH_M

_log = logging.getLogger(__name__)


def pack_tang(folder: Path, out: Path, progress: bool = False, jobs: int = 1, median_m: float = MEDIAN_DEPTH_M) -> None:
    """Pack a Tang folder; see :func:`pack`.

    Args:
        folder: The ``Tang_data`` folder itself.
        out: The packed folder.
        progress: Show a progress bar on stderr.
        jobs: Processes, of which each writes whole shards.
        median_m: The median over the mask to which each depth map is shifted, in metres (docs/parity.md, 38).
    """
    pack(LabelledRecords(Path(folder), median_m), out, progress, jobs)


def pack_tiktok(folder: Path, out: Path, progress: bool = False, jobs: int = 1) -> None:
    """Pack the pictures, cameras and sequences of a TikTok folder; arguments as :func:`pack_tang`."""
    pack(FrameRecords(Path(folder)), out, progress, jobs)


def write_pseudo_normals(
    out: Path,
    pictures: PackedFrames | People,
    predict: Callable[[range], Iterable[np.ndarray]],
    made_from: str | None = None,
    progress: bool = False,
) -> None:
    """Pack normals that are predicted from packed pictures; see :func:`pack`.

    Args:
        out: The packed folder.
        pictures: The pictures.
        predict: The normals of a range of them, in order: (H, W, 3) unit vectors, 0 where there is none.
        made_from: Identifies model and pictures: an interrupted run with the same is resumed; None starts over.
        progress: Show a progress bar on stderr.
    """
    pack(NormalRecords(pictures.names, pictures.size, predict, made_from), out, progress, jobs=1)


def pack(source: Source, out: Path, progress: bool, jobs: int) -> None:
    """Pack one source into ``out``, which appears (or is replaced) only when complete.

    Raises:
        DataError: A file is missing or damaged, a mask is empty, sizes differ, or ``out`` cannot be written.
    """
    with resumable_folder(out, marker=INDEX_FILE) as (temporary, notes):
        _fill(temporary, notes, source, progress, jobs, Path(out).name)


def pack_together(sources: Mapping[str, Source | Path], out: Path, progress: bool, jobs: int) -> None:
    """Pack every source into a folder of its name in ``out``, which appears only when all are complete.

    A path is a folder that is packed already: its files are linked, or copied to another disk.
    """
    with resumable_folder(out, marker=next(iter(sources))) as (temporary, notes):
        _remove_all_but({*sources, notes.name}, temporary)
        for name, source in sources.items():
            for folder in (temporary / name, notes / name):
                folder.mkdir(exist_ok=True)
            if isinstance(source, Path):
                _link(source, temporary / name)
            else:
                _fill(temporary / name, notes / name, source, progress, jobs, name)


def _link(source: Path, folder: Path) -> None:
    _remove_all_but(set(), folder)
    for name in (*open_packed(source).index["files"], INDEX_FILE):
        try:
            os.link(source / name, folder / name)
        except OSError:  # another disk, or a file system without links
            shutil.copy2(source / name, folder / name)


def _fill(folder: Path, notes: Path, source: Source, progress: bool, jobs: int, label: str) -> None:
    names, size = source.names(), source.size()
    optional = source.optional_fields(names)
    dtype, shards = record_type({**FIELDS_OF_KIND[source.kind], **optional}, size), shards_of(names)
    _warn_of_a_full_disk(folder, len(names) * dtype.itemsize - _bytes_in(folder))
    work = partial(_finish, source, folder, Finished(notes), dtype)
    with _progress(folder, dtype.itemsize, len(names), f"pack {label}", progress):
        done = ordered_map(work, shards, jobs, progress=False, label="")
        entries = {shard.file: entry for shard, entry in zip(shards, done, strict=True)}
    _remove_all_but({*entries, notes.name}, folder)
    cameras, about = source.about(names)
    arrays = {} if cameras is None else {"cameras": cameras}
    if optional:  # a folder without them has the bytes that it had before there were any
        about = {"optional_fields": list(optional), **about}
    write_index(folder, source.kind, names, entries, arrays, {"size": list(size), **about})


def _finish(source: Source, folder: Path, finished: Finished, dtype: np.dtype[Any], shard: Shard) -> Entry:
    """Return the entry of one shard for the index."""
    state = source.state(shard)
    inputs = [__version__, FORMAT_VERSION, str(dtype), shard.names, state]

    def write(file: Path) -> Entry:
        return write_shard(file, dtype, record_blocks(dtype, shard.names, source.records(shard), source.origin))

    return finish_shard(folder / shard.file, finished, None if state is None else fingerprint(inputs), write)


def _remove_all_but(names: set[str], folder: Path) -> None:
    """Delete what an interrupted run of other data has left."""
    for path in folder.iterdir():
        if path.name in names:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.iterdir():
        try:
            total += file.stat().st_size if file.suffix in (".npy", ".partial") else 0
        except FileNotFoundError:  # another process has just renamed it
            continue
    return total


def _warn_of_a_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        _log.warning("%s: %.1f GB are to be written, %.1f GB are free", folder, needed / 1e9, free / 1e9)


@contextmanager
def _progress(folder: Path, record_bytes: int, count: int, label: str, shown: bool) -> Iterator[None]:
    """Progress bar that counts records by the bytes in the folder, whichever process or machine writes them."""
    if not shown:
        yield
        return
    ended = threading.Event()
    interval_s = 0.5 if sys.stderr.isatty() else 15.0

    def written() -> int:
        return min(count, _bytes_in(folder) // record_bytes)

    with tqdm(total=count, initial=written(), desc=label, unit="frame") as bar:

        def watch() -> None:
            while not ended.wait(interval_s):
                bar.n = written()
                bar.refresh()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            bar.n = written()


class PackedLabelled(WithCameras, PackedRecords):
    """Packed folder of :func:`pack_tang`."""

    kind = "labelled"
    fields = FIELDS_OF_KIND[kind]
    optional = OPTIONAL_FIELDS_OF_KIND[kind]


People = PackedLabelled | PackedPeople
"""Packed labelled people of either form."""


class PackedFrames(WithCameras, PackedRecords):
    """Packed folder of :func:`pack_tiktok`."""

    kind = "frames"
    fields = FIELDS_OF_KIND[kind]
    optional = OPTIONAL_FIELDS_OF_KIND[kind]

    @property
    def sequences(self) -> dict[str, list[str]]:
        """Frame names in order, by sequence."""
        sequences: dict[str, list[str]] = self.index["sequences"]
        return sequences


class PseudoNormals(PackedRecords):
    """Packed folder of :func:`write_pseudo_normals`."""

    kind = "pseudo_normals"
    fields = FIELDS_OF_KIND[kind]

    def check_names(self, frames: PackedFrames | People) -> None:
        """Raise a DataError unless these are normals of exactly those pictures."""
        if self.names != frames.names or self.size != frames.size:
            raise DataError(
                f"{self.folder}: normals of {len(self)} frames of size {self.size}, but {frames.folder} has "
                f"{len(frames)} of size {frames.size} or other names; predict the normals again"
            )


def open_packed(folder: Path) -> PackedLabelled | PackedPeople | PackedFrames | PseudoNormals:
    """Open a packed folder of records of any kind.

    Raises:
        DataError: As :class:`hdnet.data.store.reading.PackedFolder`, or the kind is unknown.
    """
    kind = read_index(folder)["kind"]
    for reader in (PackedLabelled, PackedPeople, PackedFrames, PseudoNormals):
        if reader.kind == kind:
            return reader(folder)
    raise DataError(f"{Path(folder) / INDEX_FILE}: a packed folder of unknown kind {kind!r}; pack the data again")


def open_people(folder: Path) -> People:
    """Open a packed folder of labelled people: of :func:`pack_tang`, or made as one.

    Raises:
        DataError: As :class:`hdnet.data.store.reading.PackedFolder`, or the folder is of another kind.
    """
    return PackedPeople(folder) if read_index(folder)["kind"] == PackedPeople.kind else PackedLabelled(folder)
