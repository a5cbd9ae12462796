"""Records of one size in a few large files, checksummed when written and memory-mapped when read.

A folder of shards holds ``index.json`` and ``00000.npy``, ``00001.npy``, ... of :data:`SHARD_RECORDS` records each, the
last one of the rest. A shard is a NumPy array of structured type: all fields of a record lie together, so that a record
is one read from the disk. ``index.json`` names the records in order, their size, and bytes and SHA-256 of every file.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from hdnet.errors import DataError
from hdnet.files import read_json_object, sha256_of

INDEX_FILE = "index.json"
FORMAT, FORMAT_VERSION = "hdnet-packed", 2
SHARD_RECORDS = 512

# Mapped shards of one folder; each costs a file handle, of which a process often has 1024.
_OPEN_SHARDS = 200
# Pages that a folder may keep mapped before they are given back. They stay in the system's cache: this only keeps the
# process from growing to the size of the data, which looks like a leak and counts as one where memory is limited.
_MAPPED_BYTES = 128 << 20

Record = Mapping[str, np.ndarray]
# Shape of a field, "h" and "w" for the size of the pictures, and its type.
Field = tuple[tuple[str | int, ...], str]


def record_type(fields: Mapping[str, Field], size: tuple[int, int]) -> np.dtype[Any]:
    """Structured type of a record of pictures of ``size`` (H, W), every field aligned to its own type."""
    named = {"h": size[0], "w": size[1]}
    columns = [
        (name, dtype, tuple(named[axis] if isinstance(axis, str) else axis for axis in shape))
        for name, (shape, dtype) in fields.items()
    ]
    return np.dtype(columns, align=True)


@dataclass(frozen=True)
class Shard:
    """Which records a shard holds.

    Attributes:
        file: Its name in the folder.
        first: Number of its first record.
        names: Names of its records.
    """

    file: str
    first: int
    names: tuple[str, ...]


def shards_of(names: Sequence[str]) -> list[Shard]:
    """The shards for so many records."""
    starts = range(0, len(names), SHARD_RECORDS)
    return [Shard(f"{k:05d}.npy", first, tuple(names[first : first + SHARD_RECORDS])) for k, first in enumerate(starts)]


def write_shard(
    file: Path, dtype: np.dtype[Any], names: Sequence[str], records: Iterable[Record], origin: str
) -> dict[str, int | str]:
    """Writes one shard; it appears only when it is complete and on the disk. Memory for one record is all it takes.

    Args:
        file: The file to write.
        dtype: As from :func:`record_type`.
        names: Names of the records, for error lines.
        records: As many records, in that order.
        origin: Where they come from, for error lines.

    Returns:
        "records", "bytes" and "sha256" of the file, for the index.

    Raises:
        DataError: More or fewer records, a field of another shape, or values that are not finite.
    """
    partial = file.with_suffix(".partial")
    digest, row, count = hashlib.sha256(), np.zeros(1, dtype), 0
    try:
        with partial.open("wb") as stream:

            def write(content: Any) -> None:
                stream.write(content)
                digest.update(content)

            write(_header(dtype, len(names)))
            for count, record in enumerate(records, start=1):
                if count > len(names):
                    break
                _fill(row, record, f"{origin}, frame {names[count - 1]}")
                write(row.view(np.uint8).data)
            if count != len(names):
                found = f"more than {len(names)}" if count > len(names) else str(count)
                raise DataError(f"{origin}: found {found} records to be packed, expected {len(names)}, one a name")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return {"records": len(names), "bytes": file.stat().st_size, "sha256": digest.hexdigest()}


def _header(dtype: np.dtype[Any], count: int) -> bytes:
    stream = io.BytesIO()
    description = {"descr": npy_format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    npy_format.write_array_header_1_0(stream, description)
    return stream.getvalue()


def _fill(row: np.ndarray, record: Record, where: str) -> None:
    for field in row.dtype.names or ():
        value, place = record[field], row[field][0]
        if value.shape != place.shape:
            raise DataError(
                f"{where}: {field} has shape {value.shape}, expected {place.shape} as in the first frame; crop and "
                "resize all frames to one size"
            )
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise DataError(f"{where}: {field} holds values that are not finite; expected finite numbers")
        place[...] = value


class ShardReader:
    """A folder of shards, opened without reading its records.

    Args:
        folder: The folder.
        kind: What its index must say that it holds.
        fields: The fields of its records.

    Raises:
        DataError: The folder is missing, of another kind or version, or a shard is missing or of another size.
    """

    def __init__(self, folder: Path, kind: str, fields: Mapping[str, Field]) -> None:
        self.folder = Path(folder)
        self.index = read_index(self.folder, kind)
        self.names: list[str] = self.index["names"]
        self.size: tuple[int, int] = (self.index["size"][0], self.index["size"][1])
        self._dtype = record_type(fields, self.size)
        self._files = list(self.index["files"])
        self._open: OrderedDict[int, _Mapped] = OrderedDict()
        self._bytes_read = 0
        self._check_files()

    def __len__(self) -> int:
        return len(self.names)

    def record(self, k: int) -> dict[str, np.ndarray]:
        """The fields of record ``k`` as views of the mapped file: nothing is read before it is looked at.

        Do not write into them. What is written never reaches the file, but later reads of this process may see it.
        """
        shard, place = divmod(range(len(self))[k], SHARD_RECORDS)
        mapped = self._open.get(shard) or self._map(shard)
        self._open.move_to_end(shard)
        self._bytes_read += self._dtype.itemsize
        if self._bytes_read > _MAPPED_BYTES:
            self._give_back()
        mapped.fetch(place * self._dtype.itemsize, self._dtype.itemsize)
        return {field: pictures[place] for field, pictures in mapped.fields.items()}

    def verify(self, jobs: int | None = None) -> None:
        """Compares every file with its SHA-256.

        Args:
            jobs: Threads that read; one a core without it.

        Raises:
            DataError: A file is missing or has changed since it was packed.
        """
        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
            hashes = pool.map(sha256_of, [self.folder / name for name in self._files])
            for name, found in zip(self._files, hashes, strict=True):
                expected = self.index["files"][name]["sha256"]
                if found != expected:
                    raise DataError(
                        f"{self.folder / name}: SHA-256 is {found[:12]}..., expected {expected[:12]}... as in "
                        f"{INDEX_FILE}; the file has changed, pack the data again"
                    )

    def _check_files(self) -> None:
        for name in self._files:
            file, expected = self.folder / name, self.index["files"][name]["bytes"]
            try:
                found = file.stat().st_size
            except OSError as error:
                raise DataError(f"{file}: cannot be opened ({error.strerror}); pack the data again") from error
            if found != expected:
                raise DataError(
                    f"{file}: found {found} bytes, expected {expected} as in {INDEX_FILE}; the file is damaged or only "
                    "half copied, pack the data again"
                )

    def _map(self, shard: int) -> _Mapped:
        names = self.names[shard * SHARD_RECORDS : (shard + 1) * SHARD_RECORDS]
        mapped = self._open[shard] = _Mapped.of(self.folder / f"{shard:05d}.npy", self._dtype, len(names))
        if len(self._open) > _OPEN_SHARDS:
            self._open.popitem(last=False)
        return mapped

    def _give_back(self) -> None:
        for mapped in self._open.values():
            mapped.memory.madvise(mmap.MADV_DONTNEED)
        self._bytes_read = 0


@dataclass(frozen=True, eq=False)
class _Mapped:
    """A mapped shard: its memory, where its records begin in it, and its fields with all records in front."""

    memory: mmap.mmap
    offset: int
    fields: dict[str, np.ndarray]

    def fetch(self, first: int, count: int) -> None:
        """Has the system read those bytes of the records now, all at once, while others are still being asked for.

        Left to itself it reads some 100 kB whenever a page is missing, and the process waits for each of them.
        """
        begin = (self.offset + first) // mmap.PAGESIZE * mmap.PAGESIZE
        self.memory.madvise(mmap.MADV_WILLNEED, begin, self.offset + first + count - begin)

    @classmethod
    def of(cls, file: Path, dtype: np.dtype[Any], count: int) -> _Mapped:
        try:
            with file.open("rb") as stream:
                npy_format.read_magic(stream)
                shape, _, found = npy_format.read_array_header_1_0(stream)
                offset = stream.tell()
                # Copy on write: torch warns about every tensor on memory that is read-only.
                memory = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: cannot be opened ({error}); pack the data again") from error
        if shape != (count,) or found != dtype:
            raise DataError(
                f"{file}: found {shape} records of {found}, expected {count} of {dtype}; pack the data again"
            )
        records = np.frombuffer(memory, dtype, count, offset)
        return cls(memory, offset, {field: records[field] for field in dtype.names or ()})


def read_index(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """``index.json`` of a folder of shards.

    Args:
        folder: The folder.
        kind: What it must hold, if known.

    Raises:
        DataError: It is missing, not an index, or of another version or kind.
    """
    file = Path(folder) / INDEX_FILE
    index = read_json_object(file)
    if index.get("format") != FORMAT or "version" not in index:
        raise DataError(f"{file}: is not the index of a packed folder; pack the data again")
    if index["version"] != FORMAT_VERSION:
        raise DataError(f"{file}: format version {index['version']}, expected {FORMAT_VERSION}; pack the data again")
    missing = sorted({"kind", "size", "names", "files"} - set(index))
    if missing:
        raise DataError(f"{file}: has no {', '.join(missing)}; pack the data again")
    if kind is not None and index["kind"] != kind:
        raise DataError(f"{file}: a packed folder of kind {index['kind']}, expected {kind}")
    return index
