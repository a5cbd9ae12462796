"""Packed training data: text and pictures parsed once, then read without a copy.

What a record holds stands in :mod:`hdnet.data.store.records`, how records lie on the disk in
:mod:`hdnet.data.store.shards`.
Packing goes on where a killed or failed one stopped: finished shards are verified, not made again, unless a file that
they were made from has changed. Labelled samples and frames also have ``cameras.npy``, (N, 7) float64: the fields of
:class:`hdnet.geometry.Camera` in order.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hdnet import __version__
from hdnet.data.parallel import ordered_map
from hdnet.data.store.records import FIELDS_OF_KIND, FrameRecords, LabelledRecords, NormalRecords, Source
from hdnet.data.store.shards import (
    FORMAT,
    FORMAT_VERSION,
    INDEX_FILE,
    Shard,
    ShardReader,
    read_index,
    record_type,
    shards_of,
    write_shard,
)
from hdnet.errors import DataError
from hdnet.files import read_json_object, resumable_folder, sha256_of, write_json
from hdnet.geometry import Camera

_log = logging.getLogger(__name__)

CAMERAS_FILE = "cameras.npy"


def pack_tang(folder: Path, out: Path, progress: bool = False, jobs: int = 1, median_m: float = 4.0) -> None:
    """Packs a Tang folder; see :func:`pack`.

    Args:
        folder: The ``Tang_data`` folder itself.
        out: The packed folder.
        progress: Show a progress bar on stderr.
        jobs: Processes, of which each writes whole shards.
        median_m: The median over the mask to which each depth map is shifted, in metres (quirk 38).
    """
    pack(LabelledRecords(Path(folder), median_m), out, progress, jobs)


def pack_tiktok(folder: Path, out: Path, progress: bool = False, jobs: int = 1) -> None:
    """Packs the pictures, cameras and sequences of a TikTok folder; arguments as :func:`pack_tang`."""
    pack(FrameRecords(Path(folder)), out, progress, jobs)


def write_pseudo_normals(
    out: Path,
    pictures: PackedFrames | PackedLabelled,
    predict: Callable[[range], Iterable[np.ndarray]],
    made_from: str | None = None,
    progress: bool = False,
) -> None:
    """Stores normals that an estimator gives packed pictures; see :func:`pack`.

    Args:
        out: The packed folder.
        pictures: The pictures.
        predict: The normals of a range of them, in order: (H, W, 3) unit vectors, 0 where there is none.
        made_from: Names model and pictures, so that an interrupted run with the same goes on; None starts over.
        progress: Show a progress bar on stderr.
    """
    pack(NormalRecords(pictures.names, pictures.size, predict, made_from), out, progress, jobs=1)


def pack(source: Source, out: Path, progress: bool, jobs: int) -> None:
    """Packs one source into ``out``, which appears (or is replaced) only when complete.

    Raises:
        DataError: A file is missing or damaged, a mask is empty, sizes differ, or ``out`` cannot be written.
    """
    with resumable_folder(out, marker=INDEX_FILE) as (temporary, notes):
        _fill(temporary, notes, source, progress, jobs, Path(out).name)


def pack_together(sources: Mapping[str, Source], out: Path, progress: bool, jobs: int) -> None:
    """Packs every source into a folder of its name in ``out``, which appears only when all are complete."""
    with resumable_folder(out, marker=next(iter(sources))) as (temporary, notes):
        _remove_all_but({*sources, notes.name}, temporary)
        for name, source in sources.items():
            for folder in (temporary / name, notes / name):
                folder.mkdir(exist_ok=True)
            _fill(temporary / name, notes / name, source, progress, jobs, name)


def _fill(folder: Path, notes: Path, source: Source, progress: bool, jobs: int, label: str) -> None:
    names, size = source.names(), source.size()
    dtype, shards = record_type(FIELDS_OF_KIND[source.kind], size), shards_of(names)
    _warn_of_a_full_disk(folder, len(names) * dtype.itemsize - _bytes_in(folder))
    work = partial(_finish, source, folder, notes, dtype)
    with _progress(folder, dtype.itemsize, len(names), f"pack {label}", progress):
        done = ordered_map(work, shards, jobs, progress=False, label="")
        files = {shard.file: entry for shard, entry in zip(shards, done, strict=True)}
    cameras, more = source.about(names)
    if cameras is not None:
        file = folder / CAMERAS_FILE
        np.save(file, cameras)
        files[CAMERAS_FILE] = {"records": len(names), "bytes": file.stat().st_size, "sha256": sha256_of(file)}
    _remove_all_but({*files, notes.name}, folder)
    index = {"format": FORMAT, "version": FORMAT_VERSION, "kind": source.kind, "size": list(size)}
    write_json(folder / INDEX_FILE, {**index, "files": files, **more, "names": names})


def _finish(source: Source, folder: Path, notes: Path, dtype: np.dtype[Any], shard: Shard) -> dict[str, Any]:
    """Entry of one shard for the index; it is written unless an earlier run has done so from the same files."""
    file, note = folder / shard.file, notes / f"{shard.file}.json"
    state = source.state(shard)
    made_from = None
    if state is not None:
        everything = json.dumps([__version__, FORMAT_VERSION, str(dtype), shard.names, state])
        made_from = hashlib.sha256(everything.encode()).hexdigest()
        earlier = _read_note(note)
        if earlier.get("made_from") == made_from and _is_intact(file, earlier["entry"]):
            entry: dict[str, Any] = earlier["entry"]
            return entry
    note.unlink(missing_ok=True)
    entry = write_shard(file, dtype, shard.names, source.records(shard), source.origin)
    if made_from is not None:
        write_json(note, {"made_from": made_from, "entry": entry})
    return entry


def _remove_all_but(names: set[str], folder: Path) -> None:
    """Clears away what an interrupted run of other data has left."""
    for path in folder.iterdir():
        if path.name in names:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _read_note(note: Path) -> dict[str, Any]:
    try:
        return read_json_object(note)
    except DataError:  # none, or a power cut left it empty: the shard is made again
        return {}


def _is_intact(file: Path, entry: dict[str, Any]) -> bool:
    return file.is_file() and file.stat().st_size == entry["bytes"] and sha256_of(file) == entry["sha256"]


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
    """A bar that counts records by the bytes in the folder, whichever process or machine writes them."""
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


class _Packed(ShardReader):
    """A packed folder, opened without reading its records; see :class:`hdnet.data.store.shards.ShardReader`."""

    kind: str

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, self.kind, FIELDS_OF_KIND[self.kind])

    def __reduce__(self) -> tuple[Any, ...]:
        # Data loader workers map the files again instead of receiving a copy of all records.
        return type(self), (self.folder,)


class _WithPictures(_Packed):
    @cached_property
    def cameras(self) -> np.ndarray:
        """(N, 7) float64, the fields of :class:`hdnet.geometry.Camera` of every record."""
        file = self.folder / CAMERAS_FILE
        try:
            cameras: np.ndarray = np.load(file)
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: cannot be opened ({error}); pack the data again") from error
        if cameras.shape != (len(self), 7):
            raise DataError(f"{file}: found {cameras.shape}, expected {(len(self), 7)}; pack the data again")
        return cameras

    def camera(self, k: int) -> Camera:
        """Camera of record ``k``."""
        return Camera(*(float(value) for value in self.cameras[k]))


class PackedLabelled(_WithPictures):
    """Reader of what :func:`pack_tang` wrote."""

    kind = "labelled"


class PackedFrames(_WithPictures):
    """Reader of what :func:`pack_tiktok` wrote."""

    kind = "frames"

    @property
    def sequences(self) -> dict[str, list[str]]:
        """Frame names in order, by sequence."""
        sequences: dict[str, list[str]] = self.index["sequences"]
        return sequences


class PseudoNormals(_Packed):
    """Reader of what :func:`write_pseudo_normals` wrote."""

    kind = "pseudo_normals"

    def check_names(self, frames: PackedFrames | PackedLabelled) -> None:
        """Raise a DataError unless these are normals of exactly those pictures."""
        if self.names != frames.names or self.size != frames.size:
            raise DataError(
                f"{self.folder}: normals of {len(self)} frames of size {self.size}, but {frames.folder} has "
                f"{len(frames)} of size {frames.size} or other names; predict the normals again"
            )


def open_packed(folder: Path) -> PackedLabelled | PackedFrames | PseudoNormals:
    """A packed folder of whichever kind.

    Raises:
        DataError: As :class:`hdnet.data.store.shards.ShardReader`, or the kind is unknown.
    """
    kind = read_index(folder)["kind"]
    for reader in (PackedLabelled, PackedFrames, PseudoNormals):
        if reader.kind == kind:
            return reader(folder)
    raise DataError(f"{Path(folder) / INDEX_FILE}: a packed folder of unknown kind {kind!r}; pack the data again")
