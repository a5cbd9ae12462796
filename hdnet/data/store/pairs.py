"""Correspondences of pairs of frames as a packed folder, and conversion from the original's text files.

Records are pairs, in the form with varying length of :mod:`hdnet.data.store.shards`. A row is a match, int16: part, row
and column in i, row and column in j, 1-based, grouped by part. A match takes 10 bytes, where text takes 17. The names
in the index are those of the frames; beside it lie

=============== =============== =======================================================================================
``pairs.npy``    (N, 2) int32    frames i and j of each pair, as places in the names
``offsets.npy``  (N + 1,) int64  matches of pair k are offsets[k] .. offsets[k + 1]
``overlap.npy``  (N,) float32    matches / body pixels of frame i, nan where unknown
``turn_deg.npy`` (N,) float32    turn of the body from i to j (hdnet.data.correspondence.body_turn), nan where unknown
=============== =============== =======================================================================================

and, on request, the same pairs in the original's text files (:mod:`hdnet.data.layout.correspondences`).
"""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from hdnet.data.layout.correspondences import (
    CORR_MAT_FILE,
    Correspondences,
    read_corr_mat,
    read_correspondences,
    stored_names,
)
from hdnet.data.store.reading import PackedRows
from hdnet.data.store.shards import INDEX_FILE, Entry, write_index, write_shard
from hdnet.errors import DataError
from hdnet.files import read_json_object

KIND = "pairs"
ROW_TYPE: np.dtype[Any] = np.dtype(("<i2", (5,)))
# Columns of the rows that hold rows, and columns, of pictures.
_PLACES = ([1, 3], [2, 4])
_LARGEST = int(np.iinfo(ROW_TYPE.base).max)


@dataclass(frozen=True, eq=False)
class Pair:
    """One pair of frames to be packed.

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
class PairsShard:
    """Content of a shard; its attributes are JSON-able.

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


def write_pairs(file: Path, pairs: Iterable[Pair]) -> PairsShard:
    """Write the matches of some pairs; see :func:`hdnet.data.store.shards.write_shard`.

    Raises:
        DataError: A row or column is beyond 32767.
    """
    written: list[tuple[tuple[str, str], int, int, float, float]] = []
    largest = [0, 0]

    def blocks() -> Iterator[np.ndarray]:
        for pair in pairs:
            rows = pair.matches.rows
            for side, columns in enumerate(_PLACES):
                largest[side] = max(largest[side], int(rows[:, columns].max(initial=0)))
            if max(largest) > _LARGEST:
                raise DataError(
                    f"{file.parent}: frames {pair.name_i} and {pair.name_j} match at row or column {max(largest)}; "
                    f"expected pictures of at most {_LARGEST} pixels a side"
                )
            measured = float(np.float32(pair.overlap)), float(np.float32(pair.turn_deg))
            written.append(((pair.name_i, pair.name_j), len(rows), pair.matches.parts, *measured))
            yield rows

    entry = write_shard(file, ROW_TYPE, blocks())
    names, matches, parts, overlap, turn_deg = map(list, zip(*written, strict=True)) if written else ([],) * 5
    return PairsShard(
        file.name, entry["bytes"], entry["sha256"], names, matches, parts, overlap, turn_deg, (largest[0], largest[1])
    )


class PairsIndex:
    """Index of a folder of pairs, collected from its shards in order; some 30 bytes of memory a pair.

    Args:
        names: Names of all frames that could be in a pair.
    """

    _TYPES: Mapping[str, str] = {"matches": "i8", "parts": "i1", "overlap": "<f4", "turn_deg": "<f4"}

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._number = {name: k for k, name in enumerate(names)}
        self._entries: dict[str, Entry] = {}
        self._columns: dict[str, list[np.ndarray]] = {"pairs": [np.zeros((0, 2), "<i4")]}
        self._columns |= {name: [np.zeros(0, dtype)] for name, dtype in self._TYPES.items()}
        self._largest = np.zeros(2, dtype=np.int64)

    def add(self, shard: PairsShard) -> None:
        """Add the next shard."""
        self._entries[shard.file] = {"records": len(shard.names), "bytes": shard.bytes, "sha256": shard.sha256}
        numbers = [(self._number[i], self._number[j]) for i, j in shard.names]
        self._columns["pairs"].append(np.array(numbers, "<i4").reshape(-1, 2))
        for name, dtype in self._TYPES.items():
            self._columns[name].append(np.array(getattr(shard, name), dtype))
        self._largest = np.maximum(self._largest, shard.largest)

    def column(self, name: str) -> np.ndarray:
        """Return one value a pair: "pairs" (N, 2) places in the names, "matches", "parts", "overlap" or "turn_deg"."""
        return np.concatenate(self._columns[name])

    def write(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Write the small arrays and the index.

        Args:
            folder: The folder that holds the shards.
            settings: How the pairs were made, JSON-able; kept in the index.
        """
        arrays = {name: self.column(name) for name in ("pairs", "overlap", "turn_deg")}
        arrays["offsets"] = np.cumsum([0, *self.column("matches")], dtype="<i8")
        about = {"settings": dict(settings), "largest": self._largest.tolist()}
        write_index(folder, KIND, self.names, self._entries, arrays, about)


class PackedPairs(PackedRows):
    """Pairs of frames with their correspondences, opened without reading the matches.

    Args:
        folder: A packed folder of pairs; or one in the original's text form (``corr_mat.txt`` and ``corrs/``), which is
            converted now, into a temporary folder that lives as long as this object. That takes a minute for
            every 10,000 pairs: ``hdnet data correspond --given`` does it once and for all.

    Raises:
        DataError: The folder holds neither, is damaged, of another version, or a file is missing or of another size.
    """

    kind = KIND
    row = ROW_TYPE
    _keys = ("largest",)
    _again = "match the frames again with `hdnet data correspond`"

    def __init__(self, folder: Path) -> None:
        self.source = folder = Path(folder)
        if not (folder / INDEX_FILE).exists() and (folder / CORR_MAT_FILE).exists():
            folder = Path(mkdtemp(prefix="hdnet-pairs-"))
            weakref.finalize(self, _remove, folder, os.getpid())
            _convert(self.source, folder)
        super().__init__(folder)

    @cached_property
    def pairs(self) -> np.ndarray:
        """(N, 2) int32: frames i and j of each pair, as places in :attr:`names`; memory-mapped."""
        return self.array("pairs", "<i4", (len(self), 2), mapped=True)

    @cached_property
    def overlap(self) -> np.ndarray:
        """(N,) float32: matches / body pixels of frame i, nan where unknown; memory-mapped."""
        return self.array("overlap", "<f4", (len(self),), mapped=True)

    @cached_property
    def turn_deg(self) -> np.ndarray:
        """(N,) float32: turn of the body from i to j, nan where unknown; memory-mapped."""
        return self.array("turn_deg", "<f4", (len(self),), mapped=True)

    @cached_property
    def gap_frames(self) -> np.ndarray:
        """(N,) float32: difference of the frame numbers, j - i."""
        numbers = np.array([int(name) for name in self.names], dtype=np.int64)
        places = np.asarray(self.pairs)
        return np.asarray((numbers[places[:, 1]] - numbers[places[:, 0]]).astype(np.float32))

    @property
    def largest(self) -> tuple[int, int]:
        """Largest row and column of all matches, 1-based: the pictures have at least that size (H, W)."""
        return self.index["largest"][0], self.index["largest"][1]

    def places_in(self, names: Sequence[str], size: tuple[int, int]) -> np.ndarray:
        """Return the pairs as places in another list of names.

        Args:
            names: Names of the frames that are at hand.
            size: (H, W) of their pictures.

        Returns:
            (N, 2) int64.

        Raises:
            DataError: A frame is not among the names, or a match lies outside the pictures.
        """
        place = {name: k for k, name in enumerate(names)}
        unknown = sorted({self.names[k] for k in np.unique(self.pairs)} - set(place))
        if unknown:
            raise DataError(
                f"{self.source}: frame {unknown[0]} has matches, but is not among the {len(place)} frames; "
                "match them again"
            )
        if self.largest[0] > size[0] or self.largest[1] > size[1]:
            raise DataError(
                f"{self.source}: matches reach row {self.largest[0]} and column {self.largest[1]}, the frames have "
                f"{size[0]} rows and {size[1]} columns; match them again"
            )
        # Names without a pair may be missing: nothing points to them.
        places = np.array([place.get(name, -1) for name in self.names], dtype=np.int64)
        return np.asarray(places[self.pairs])

    def matches(self, k: int) -> Correspondences:
        """Return the matches of pair ``k`` with their limits."""
        return Correspondences.from_rows(self.rows(k))


def is_packed(folder: Path) -> bool:
    """Return whether a folder holds packed pairs, of any version, rather than other packed data or text."""
    file = Path(folder) / INDEX_FILE
    if not file.exists():
        return False
    index = read_json_object(file)
    return index.get("kind") == KIND or index.get("format") == "hdnet-pairs"


def text_pairs(folder: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the partners by frame of a folder in the original's text form, in the order of the frames."""
    partners = read_corr_mat(folder, names)
    return {name: partners[name] for name in names if name in partners}


def read_pairs(folder: Path, partners: Mapping[str, Sequence[str]], size: tuple[int, int] | None) -> Iterator[Pair]:
    """Yield the pairs of a folder in the original's text form."""
    for name_i, others in partners.items():
        for name_j in others:
            yield Pair(name_i, name_j, read_correspondences(folder, name_i, name_j, size))


def _remove(folder: Path, owner: int) -> None:
    # A process that was forked holds a copy of the reader, but not the folder.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _convert(folder: Path, out: Path) -> None:
    index = PairsIndex(stored_names(folder))
    index.add(write_pairs(out / "rows-00000.npy", read_pairs(folder, text_pairs(folder, index.names), None)))
    index.write(out, {"source": "given"})
