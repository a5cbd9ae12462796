"""Readers of packed folders, whose format is :mod:`hdnet.data.store.shards`."""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.lib import format as npy_format

from hdnet.data.parallel import cores
from hdnet.data.store import shards
from hdnet.data.store.shards import FORMAT, FORMAT_VERSION, INDEX_FILE, Entry, Field, record_type
from hdnet.errors import DataError
from hdnet.files import read_json_object, sha256_of
from hdnet.geometry import Camera

# Matched pairs had a format of their own; its folders are refused by their version.
_EARLIER_FORMATS = ("hdnet-pairs",)

# Mapped shards of one folder; each costs a file handle, of which a process often has 1024.
_OPEN_SHARDS = 200
# Pages that a folder may keep mapped before they are given back. They stay in the system's cache: this only keeps the
# process from growing to the size of the data, which looks like a leak and counts as one where memory is limited.
_MAPPED_BYTES = 128 << 20


class PackedFolder:
    """A packed folder, opened without reading its records.

    Args:
        folder: The folder.

    Raises:
        DataError: The folder is missing, of another kind or version, or a file is missing or of another size.
    """

    kind: ClassVar[str]
    # Keys that the index of this kind has beside those of all, and how to mend a damaged folder.
    _keys: ClassVar[tuple[str, ...]] = ()
    _again: ClassVar[str] = "pack the data again"

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.index = read_index(self.folder, self._again)
        file = self.folder / INDEX_FILE
        if self.index["kind"] != self.kind:
            raise DataError(f"{file}: a packed folder of kind {self.index['kind']}, expected {self.kind}")
        missing = sorted(set(self._keys) - set(self.index))
        if missing:
            raise DataError(f"{file}: has no {', '.join(missing)}; {self._again}")
        self.names: list[str] = self.index["names"]
        self._check_files()

    def __reduce__(self) -> tuple[Any, ...]:
        # Data loader workers map the files again instead of receiving a copy of all records.
        return type(self), (self.folder,)

    @cached_property
    def digest(self) -> str:
        """Name of the content: the hash of the index, which holds the hash of every file."""
        return sha256_of(self.folder / INDEX_FILE)

    def verify(self, jobs: int | None = None) -> None:
        """Compare every file with its SHA-256.

        Args:
            jobs: Threads that read; one a core without it.

        Raises:
            DataError: A file is missing or has changed since it was packed.
        """
        entries: dict[str, Entry] = self.index["files"]
        with ThreadPoolExecutor(jobs or cores()) as pool:
            hashes = pool.map(sha256_of, [self.folder / name for name in entries])
            for (name, entry), found in zip(entries.items(), hashes, strict=True):
                if found != entry["sha256"]:
                    raise DataError(
                        f"{self.folder / name}: SHA-256 is {found[:12]}..., expected {entry['sha256'][:12]}... as in "
                        f"{INDEX_FILE}; the file has changed, {self._again}"
                    )

    def array(self, name: str, dtype: str, shape: tuple[int, ...], mapped: bool = False) -> np.ndarray:
        """Return the values of ``NAME.npy``.

        Args:
            name: Name of the array.
            dtype: Its type.
            shape: Its shape.
            mapped: Map the file instead of reading it.

        Raises:
            DataError: The file cannot be read, or holds an array of another type or shape.
        """
        file = self.folder / f"{name}.npy"
        try:
            values: np.ndarray = np.load(file, mmap_mode="r" if mapped else None)
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: cannot be opened ({error}); {self._again}") from error
        if values.shape != shape or values.dtype != dtype:
            raise DataError(
                f"{file}: found {values.dtype} {values.shape}, expected {np.dtype(dtype)} {shape}; {self._again}"
            )
        return values

    def _check_files(self) -> None:
        for name, entry in self.index["files"].items():
            file = self.folder / name
            try:
                found = file.stat().st_size
            except OSError as error:
                raise DataError(f"{file}: cannot be opened ({error.strerror}); {self._again}") from error
            if found != entry["bytes"]:
                raise DataError(
                    f"{file}: found {found} bytes, expected {entry['bytes']} as in {INDEX_FILE}; the file is damaged "
                    f"or only half copied, {self._again}"
                )


class WithCameras(PackedFolder):
    """Records with cameras, and optionally with the picture before its background."""

    size: tuple[int, int]
    optional_fields: tuple[str, ...]

    @property
    def has_scenes(self) -> bool:
        """Return whether the records have the picture with its background, field "scene"."""
        return "scene" in self.optional_fields

    def check_scenes(self) -> None:
        """Raise a DataError unless the records have the picture with its background."""
        if not self.has_scenes:
            raise DataError(
                f"{self.folder}: has no pictures with background; pack the data again, from a raw folder with color/"
            )

    @cached_property
    def cameras(self) -> np.ndarray:
        """(N, 7) float64, the fields of :class:`hdnet.geometry.Camera` of every record."""
        return self.array("cameras", "<f8", (len(self.names), 7))

    def camera(self, k: int) -> Camera:
        """Return the camera of record ``k``."""
        return Camera(*(float(value) for value in self.cameras[k]))


class PackedRecords(PackedFolder):
    """A packed folder of records of one size."""

    fields: ClassVar[Mapping[str, Field]]
    optional: ClassVar[Mapping[str, Field]] = {}
    _keys = ("size",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.size: tuple[int, int] = (self.index["size"][0], self.index["size"][1])
        self.optional_fields: tuple[str, ...] = tuple(self.index.get("optional_fields", ()))
        unknown = sorted(set(self.optional_fields) - set(self.optional))
        if unknown:
            raise DataError(
                f"{self.folder / INDEX_FILE}: records have an unknown field {unknown[0]!r}; {self._again}, another "
                "version of hdnet wrote it"
            )
        optional = {name: self.optional[name] for name in self.optional_fields}
        self._dtype = record_type({**self.fields, **optional}, self.size)
        self._places = {name: (place[1], place[0].itemsize) for name, place in (self._dtype.fields or {}).items()}
        self._open: OrderedDict[int, _Mapped] = OrderedDict()
        self._bytes_read = 0

    def __len__(self) -> int:
        return len(self.names)

    def record(self, k: int, fields: Collection[str] | None = None) -> dict[str, np.ndarray]:
        """Return fields of record ``k`` as views of the mapped file, which is read when they are.

        Do not write into them: it would not reach the file, but later reads of this process may return it.

        Args:
            k: Number of the record.
            fields: Names of the fields; without it, all but the optional ones.
        """
        fields = self.fields if fields is None else fields
        shard, place = divmod(range(len(self))[k], shards.SHARD_RECORDS)
        mapped = self._open.get(shard) or self._map(shard)
        self._open.move_to_end(shard)
        first = min(self._places[field][0] for field in fields)
        count = max(sum(self._places[field]) for field in fields) - first
        self._bytes_read += count
        if self._bytes_read > _MAPPED_BYTES:
            self._give_back()
        mapped.fetch(place * self._dtype.itemsize + first, count)
        return {field: mapped.fields[field][place] for field in fields}

    def _map(self, shard: int) -> _Mapped:
        count = min(shards.SHARD_RECORDS, len(self) - shard * shards.SHARD_RECORDS)
        mapped = self._open[shard] = _Mapped.of(self.folder / f"{shard:05d}.npy", self._dtype, count)
        if len(self._open) > _OPEN_SHARDS:
            self._open.popitem(last=False)
        return mapped

    def _give_back(self) -> None:
        for mapped in self._open.values():
            mapped.memory.madvise(mmap.MADV_DONTNEED)
        self._bytes_read = 0


class PackedRows(PackedFolder):
    """A packed folder of records of varying length."""

    row: ClassVar[np.dtype[Any]]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        entries = {name: entry for name, entry in self.index["files"].items() if name.startswith("rows-")}
        self._shards: list[str] = list(entries)
        self._first_record = np.cumsum([0, *(entry["records"] for entry in entries.values())])
        self._header_bytes = len(shards.header(self.row, 0))

    def __len__(self) -> int:
        return int(self._first_record[-1])

    @cached_property
    def offsets(self) -> np.ndarray:
        """(N + 1,) int64: number of rows before each record, and of all; memory-mapped."""
        return self.array("offsets", "<i8", (len(self) + 1,), mapped=True)

    def rows(self, k: int) -> np.ndarray:
        """Return the rows of record ``k``.

        They are read from the file, which costs microseconds once the system has it in its cache, and not mapped: the
        process does not grow to the size of the data.
        """
        k = range(len(self))[k]
        shard = self._shard_of(k)
        first, end = int(self.offsets[k]), int(self.offsets[k + 1])
        begin = int(self.offsets[self._first_record[shard]])
        file = self.folder / self._shards[shard]
        values = (end - first) * self.row.itemsize // self.row.base.itemsize
        place = self._header_bytes + (first - begin) * self.row.itemsize
        try:
            rows = np.fromfile(file, self.row.base, values, offset=place)
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror}); {self._again}") from error
        if rows.size != values:
            raise DataError(f"{file}: ends before row {end - begin}; {self._again}")
        return rows.reshape(-1, *self.row.shape)

    def file_of(self, k: int) -> str:
        """Return the name of the file that holds record ``k``."""
        return self._shards[self._shard_of(k)]

    def _shard_of(self, k: int) -> int:
        return int(np.searchsorted(self._first_record, k, side="right")) - 1


@dataclass(frozen=True, eq=False)
class _Mapped:
    """A mapped shard: its memory, where its records begin in it, and its fields with all records in front."""

    memory: mmap.mmap
    offset: int
    fields: dict[str, np.ndarray]

    def fetch(self, first: int, count: int) -> None:
        """Have the system read those bytes of the records now, all at once, while others are still being asked for.

        By itself it reads some 100 kB whenever a page is missing, and the process waits for each of them.
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


def read_index(folder: Path, again: str = "pack the data again") -> dict[str, Any]:
    """Return ``index.json`` of a packed folder.

    Args:
        folder: The folder.
        again: How to mend it, for error messages.

    Raises:
        DataError: It is missing, not an index, or of another version.
    """
    file = Path(folder) / INDEX_FILE
    index = read_json_object(file)
    if index.get("format") not in (FORMAT, *_EARLIER_FORMATS) or "version" not in index:
        raise DataError(f"{file}: is not the index of a packed folder; {again}")
    if (index["format"], index["version"]) != (FORMAT, FORMAT_VERSION):
        raise DataError(
            f"{file}: format version {index['version']}, expected {FORMAT_VERSION}; {again}, another version of hdnet "
            "wrote it"
        )
    missing = sorted({"kind", "names", "files"} - set(index))
    if missing:
        raise DataError(f"{file}: has no {', '.join(missing)}; {again}")
    return index
