"""Format of packed folders, arrays in a few large files with checksums; read by :mod:`hdnet.data.store.reading`.

==================== =================================================================================================
file                 content
==================== =================================================================================================
``index.json``       format version, kind, names of the records in order, and bytes and SHA-256 of every other file
``00000.npy``, ...   shards of records of one size, :data:`SHARD_RECORDS` each, as a NumPy array of structured type:
                     all fields of a record lie together, so that a record is one read from the disk
``rows-00000.npy``   shards of records of varying length: the rows of all of them, one after the other, as one array;
                     record k has the rows ``offsets[k] .. offsets[k + 1]`` of all shards
``NAME.npy``         one value a record, as ``cameras.npy``; ``offsets.npy`` has one more
==================== =================================================================================================

A folder has shards of one of the two forms. Of a record of varying length a row may be a match of five numbers, or a
byte of a compressed picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from hdnet.errors import DataError
from hdnet.files import Finished, atomic_write, sha256_of, write_json

INDEX_FILE = "index.json"
FORMAT, FORMAT_VERSION = "hdnet-packed", 2
SHARD_RECORDS = 512

Record = Mapping[str, np.ndarray]
# Shape of a field, "h" and "w" for the size of the pictures, and its type.
Field = tuple[tuple[str | int, ...], str]
# Of a file in the index: "records", "bytes", "sha256".
Entry = dict[str, Any]


def record_type(fields: Mapping[str, Field], size: tuple[int, int]) -> np.dtype[Any]:
    """Return the structured type of a record of pictures of ``size`` (H, W), every field aligned to its own type."""
    named = {"h": size[0], "w": size[1]}
    columns = [
        (name, dtype, tuple(named[axis] if isinstance(axis, str) else axis for axis in shape))
        for name, (shape, dtype) in fields.items()
    ]
    return np.dtype(columns, align=True)


@dataclass(frozen=True)
class Shard:
    """Records of one size that lie in one file.

    Attributes:
        file: Name of the file.
        first: Number of its first record.
        names: Names of its records.
    """

    file: str
    first: int
    names: tuple[str, ...]


def shards_of(names: Sequence[str]) -> list[Shard]:
    """Return the shards of records of one size."""
    starts = range(0, len(names), SHARD_RECORDS)
    return [Shard(f"{k:05d}.npy", first, tuple(names[first : first + SHARD_RECORDS])) for k, first in enumerate(starts)]


def write_shard(file: Path, dtype: np.dtype[Any], blocks: Iterable[np.ndarray]) -> Entry:
    """Write one shard, atomically and durably. It takes memory for one block.

    Args:
        file: The file to write.
        dtype: Type of an item, with its shape: a record, or a row.
        blocks: Arrays of items in order.

    Returns:
        Entry of the file for the index, with the number of items as "records".
    """
    count = 0
    with atomic_write(file, durable=True) as partial:
        with partial.open("wb") as stream:
            stream.write(header(dtype, 0))
            for block in blocks:
                stream.write(np.ascontiguousarray(block, dtype.base).view(np.uint8).data)
                count += len(block)
            # NumPy leaves room for a count that grows: the header has one size, whatever the number of items.
            stream.seek(0)
            stream.write(header(dtype, count))
        return _entry(partial, count)


def record_blocks(dtype: np.dtype[Any], names: Sequence[str], records: Iterable[Record], origin: str) -> Iterator[Any]:
    """Yield records of one size as blocks of :func:`write_shard`, in memory that is used again.

    Args:
        dtype: As from :func:`record_type`.
        names: Names of the records.
        records: As many records, in that order.
        origin: Source of the records, for error messages.

    Raises:
        DataError: More or fewer records, a field of another shape, or values that are not finite.
    """
    row, count = np.zeros(1, dtype), 0
    for count, record in enumerate(records, start=1):
        if count > len(names):
            break
        _fill(row, record, f"{origin}, frame {names[count - 1]}")
        yield row
    if count != len(names):
        found = f"more than {len(names)}" if count > len(names) else str(count)
        raise DataError(f"{origin}: found {found} records to be packed, expected {len(names)}, one a name")


def finish_shard(
    file: Path, finished: Finished, made_from: str | None, write: Callable[[Path], dict[str, Any]]
) -> dict[str, Any]:
    """Return what is known of a shard, which is written unless an earlier run has done so from the same inputs.

    Args:
        file: The shard.
        finished: Resume record of the folder.
        made_from: Fingerprint of all inputs; None always writes.
        write: Writes the file and returns "bytes", "sha256" and what else is to be known, JSON-able.
    """
    if made_from is not None:
        known = finished.get(file.name, made_from)
        if known and file.is_file() and file.stat().st_size == known["bytes"] and sha256_of(file) == known["sha256"]:
            return known
    finished.drop(file.name)
    made = write(file)
    if made_from is not None:
        finished.put(file.name, made_from, made)
    return made


def write_index(
    folder: Path,
    kind: str,
    names: Sequence[str],
    shards: Mapping[str, Entry],
    arrays: Mapping[str, np.ndarray],
    about: Mapping[str, Any],
) -> None:
    """Complete a packed folder.

    Args:
        folder: Holds the shards.
        kind: Kind of the records.
        names: Names of the records, or of what they refer to.
        shards: Entries by file.
        arrays: Values by name, one a record; written here.
        about: Further JSON-able content of the index.
    """
    files = dict(shards)
    for name, values in arrays.items():
        file = folder / f"{name}.npy"
        np.save(file, values)
        files[file.name] = _entry(file, len(values))
    index = {"format": FORMAT, "version": FORMAT_VERSION, "kind": kind, **about, "files": files, "names": list(names)}
    write_json(folder / INDEX_FILE, index)


def _entry(file: Path, records: int) -> Entry:
    return {"records": records, "bytes": file.stat().st_size, "sha256": sha256_of(file)}


def header(dtype: np.dtype[Any], count: int) -> bytes:
    """Return the header of a NumPy file of items; its size does not depend on their number."""
    stream = io.BytesIO()
    description = {
        "descr": npy_format.dtype_to_descr(dtype.base),
        "fortran_order": False,
        "shape": (count, *dtype.shape),
    }
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
