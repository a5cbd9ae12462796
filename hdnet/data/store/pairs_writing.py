"""Writing a folder of pairs: see :mod:`hdnet.data.store.pairs` for what lies in it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from hdnet.data.correspondence.matching import Correspondences
from hdnet.errors import DataError
from hdnet.files import sha256_of, write_json

INDEX_FILE = "index.json"
FORMAT, FORMAT_VERSION = "hdnet-pairs", 1
ROW_TYPE = np.dtype("<i2")
ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "pairs": ("<i4", (2,)),
    "offsets": ("<i8", ()),
    "overlap": ("<f4", ()),
    "turn_deg": ("<f4", ()),
}
_MEASURED = ("overlap", "turn_deg")
# Columns of the rows that hold rows, and columns, of pictures.
_PLACES = ([1, 3], [2, 4])
_LARGEST = int(np.iinfo(ROW_TYPE).max)


@dataclass(frozen=True, eq=False)
class Pair:
    """One pair of frames on its way into a shard.

    Attributes:
        name_i: Frame i.
        name_j: Frame j.
        matches: Their correspondences.
        overlap: Matches / body pixels of frame i; nan where unknown.
        turn_deg: Turn of the body from i to j; nan where unknown.
    """

    name_i: str
    name_j: str
    matches: Correspondences
    overlap: float = float("nan")
    turn_deg: float = float("nan")


@dataclass(frozen=True, eq=False)
class Shard:
    """What a shard holds.

    Attributes:
        file: Its name.
        bytes: Its size.
        sha256: Its SHA-256.
        names: Frames (i, j) of its pairs.
        matches: Number of matches of each pair.
        parts: Number of body parts of each.
        overlap: :attr:`Pair.overlap` of each.
        turn_deg: :attr:`Pair.turn_deg` of each.
        largest: Largest row and column in it.
    """

    file: str
    bytes: int
    sha256: str
    names: list[tuple[str, str]]
    matches: list[int]
    parts: list[int]
    overlap: list[float]
    turn_deg: list[float]
    largest: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, in which nan is null."""
        return {key: _nan_to_null(value) for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Shard:
        """The shard of :meth:`to_dict`.

        Raises:
            TypeError: Attributes are missing, or others are there.
        """
        return cls(**{key: _null_to_nan(value) for key, value in values.items()})


def write_shard(file: Path, pairs: Iterable[Pair]) -> Shard:
    """Write the matches of some pairs; the file appears only when it is complete. Memory for one pair is all it takes.

    Raises:
        DataError: A row or column is beyond 32767.
    """
    partial = file.with_suffix(".partial")
    names: list[tuple[str, str]] = []
    matches, parts = [], []
    overlap, turn_deg = [], []
    largest = [0, 0]
    try:
        with partial.open("wb") as stream:
            stream.write(_header(0))
            for pair in pairs:
                rows = pair.matches.rows
                if len(rows):
                    largest = [
                        max(known, int(rows[:, columns].max())) for known, columns in zip(largest, _PLACES, strict=True)
                    ]
                if max(largest) > _LARGEST:
                    raise DataError(
                        f"{file.parent}: frames {pair.name_i} and {pair.name_j} match at row or column {max(largest)}; "
                        f"expected pictures of at most {_LARGEST} pixels a side"
                    )
                stream.write(rows.astype(ROW_TYPE).tobytes())
                names.append((pair.name_i, pair.name_j))
                matches.append(len(rows))
                parts.append(pair.matches.parts)
                overlap.append(float(np.float32(pair.overlap)))
                turn_deg.append(float(np.float32(pair.turn_deg)))
            stream.seek(0)
            stream.write(_header(sum(matches)))
            stream.flush()
            os.fsync(stream.fileno())
        size, sha256 = partial.stat().st_size, sha256_of(partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return Shard(file.name, size, sha256, names, matches, parts, overlap, turn_deg, (largest[0], largest[1]))


class PairsIndex:
    """Collects the shards of a folder in order, and completes the folder; some 30 bytes of memory a pair.

    Args:
        names: Names of all frames that could be in a pair.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._number = {name: k for k, name in enumerate(names)}
        self._shards: list[dict[str, Any]] = []
        self._files: dict[str, dict[str, Any]] = {}
        self._columns: dict[str, list[np.ndarray]] = {key: [] for key in ("pairs", "matches", "parts", *_MEASURED)}
        self._largest = np.zeros(2, dtype=np.int64)

    def add(self, shard: Shard) -> None:
        """Adds the next shard."""
        self._shards.append({"file": shard.file, "pairs": len(shard.names)})
        self._files[shard.file] = {"bytes": shard.bytes, "sha256": shard.sha256}
        numbers = [(self._number[i], self._number[j]) for i, j in shard.names]
        self._columns["pairs"].append(np.array(numbers, dtype=np.int32).reshape(-1, 2))
        self._columns["matches"].append(np.array(shard.matches, dtype=np.int64))
        self._columns["parts"].append(np.array(shard.parts, dtype=np.int8))
        for key in _MEASURED:
            self._columns[key].append(np.array(getattr(shard, key), dtype=np.float32))
        self._largest = np.maximum(self._largest, shard.largest)

    def column(self, name: str) -> np.ndarray:
        """One value a pair: "pairs" (N, 2) places in the names, "matches", "parts", "overlap" or "turn_deg"."""
        columns = self._columns[name]
        return np.concatenate(columns) if columns else np.zeros((0, 2) if name == "pairs" else 0)

    def write(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Writes the small arrays and the index.

        Args:
            folder: The folder that holds the shards' files.
            settings: How the pairs were made, JSON-able; kept in the index.
        """
        offsets = np.cumsum(np.concatenate([np.zeros(1, np.int64), self.column("matches").astype(np.int64)]))
        files = dict(self._files)
        for key, (dtype, _) in ARRAYS.items():
            file = folder / f"{key}.npy"
            np.save(file, (offsets if key == "offsets" else self.column(key)).astype(dtype))
            files[file.name] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
        index = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "settings": dict(settings),
            "largest": self._largest.tolist(),
            "shards": self._shards,
            "files": files,
            "names": self.names,
        }
        write_json(folder / INDEX_FILE, index)


def _nan_to_null(value: Any) -> Any:
    return [None if one != one else one for one in value] if isinstance(value, list) else value


def _null_to_nan(value: Any) -> Any:
    return [float("nan") if one is None else one for one in value] if isinstance(value, list) else value


def _header(count: int) -> bytes:
    """NumPy leaves room for a count that grows: the header has one size, whatever the number of rows."""
    stream = io.BytesIO()
    header = {"descr": npy_format.dtype_to_descr(ROW_TYPE), "fortran_order": False, "shape": (count, 5)}
    npy_format.write_array_header_1_0(stream, header)
    return stream.getvalue()


HEADER_BYTES = len(_header(0))
