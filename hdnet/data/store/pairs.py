"""Correspondences in a few large files: written in shards by several processes, read pair by pair.

A folder of pairs holds::

    index.json         names of the frames, how they were matched, the shards, bytes and SHA-256 of every file
    pairs.npy          (N, 2) int32: frames i and j of each pair, as places in the list of names
    offsets.npy        (N + 1,) int64: matches of pair k are offsets[k] .. offsets[k + 1]
    overlap.npy        (N,) float32: matches / body pixels of frame i
    turn_deg.npy       (N,) float32: turn of the body from i to j (hdnet.data.correspondence.body_turn), nan where
    unknown rows-00000.npy ... (M, 5) int16: part, row and column in i, row and column in j, 1-based; grouped by part

and, on request, the same pairs in the original's text files beside them (layout_correspondences.py). The limits of the
original's second file are those of the groups in the rows. A match takes 10 bytes, where text takes 17.
"""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from hdnet.data.correspondence.matching import Correspondences
from hdnet.data.layout.correspondences import CORR_MAT_FILE, read_corr_mat, read_correspondences, stored_names
from hdnet.data.store.pairs_writing import (
    ARRAYS,
    FORMAT,
    FORMAT_VERSION,
    HEADER_BYTES,
    INDEX_FILE,
    ROW_TYPE,
    Pair,
    PairsIndex,
    write_shard,
)
from hdnet.errors import DataError
from hdnet.files import read_json_object, sha256_of

__all__ = ["INDEX_FILE", "PackedPairs", "is_packed", "read_index", "read_pairs", "text_pairs"]

_ROW_BYTES = 5 * ROW_TYPE.itemsize


class PackedPairs:
    """Pairs of frames with their correspondences, opened without reading the matches.

    Args:
        folder: A folder of pairs; or one in the original's text form (``corr_mat.txt`` and ``corrs/``), which is
            converted now, into a temporary folder that lives as long as this object. That takes a minute for
            every 10,000 pairs: ``hdnet data correspond --given`` does it once and for all.

    Raises:
        DataError: The folder holds neither, is damaged, of another version, or a file is missing or of another size.
    """

    def __init__(self, folder: Path) -> None:
        self.source = self.folder = Path(folder)
        if not (self.folder / INDEX_FILE).exists() and (self.folder / CORR_MAT_FILE).exists():
            self.folder = Path(mkdtemp(prefix="hdnet-pairs-"))
            weakref.finalize(self, _remove, self.folder, os.getpid())
            _convert(self.source, self.folder)
        self.index = read_index(self.folder)
        self.names: list[str] = self.index["names"]
        """Names of all frames that could be in a pair."""
        self._check_files()
        self._first_pair = np.cumsum([0, *(shard["pairs"] for shard in self.index["shards"])])

    def __len__(self) -> int:
        return len(self.pairs)

    def __reduce__(self) -> tuple[Any, ...]:
        # Data loader workers open the folder again instead of receiving a copy of all arrays.
        return type(self), (self.folder,)

    @cached_property
    def pairs(self) -> np.ndarray:
        """(N, 2) int32: frames i and j of each pair, as places in :attr:`names`; memory-mapped."""
        return self._array("pairs")

    @cached_property
    def offsets(self) -> np.ndarray:
        """(N + 1,) int64: number of matches before each pair, and of all; memory-mapped."""
        return self._array("offsets")

    @cached_property
    def overlap(self) -> np.ndarray:
        """(N,) float32: matches / body pixels of frame i, nan where unknown; memory-mapped."""
        return self._array("overlap")

    @cached_property
    def turn_deg(self) -> np.ndarray:
        """(N,) float32: turn of the body from i to j, nan where unknown; memory-mapped."""
        return self._array("turn_deg")

    @property
    def largest(self) -> tuple[int, int]:
        """Largest row and column of all matches, 1-based: the pictures have at least that size (H, W)."""
        return self.index["largest"][0], self.index["largest"][1]

    def places_in(self, names: Sequence[str], size: tuple[int, int]) -> np.ndarray:
        """The pairs as places in another list of names.

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

    def rows(self, k: int) -> np.ndarray:
        """Matches of pair ``k``, (M, 5) int16: part, row and column in i, row and column in j, 1-based.

        They are read from the file, which costs microseconds once the system has it in its cache, and not mapped: the
        process does not grow to the size of the data.
        """
        k = range(len(self))[k]
        shard = self._shard_of(k)
        first, end = int(self.offsets[k]), int(self.offsets[k + 1])
        begin = int(self.offsets[self._first_pair[shard]])
        file = self.folder / self.index["shards"][shard]["file"]
        place = HEADER_BYTES + (first - begin) * _ROW_BYTES
        try:
            values = np.fromfile(file, ROW_TYPE, (end - first) * 5, offset=place)
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror}); match the frames again") from error
        if values.size != (end - first) * 5:
            raise DataError(f"{file}: ends before match {end - begin}; match the frames again")
        return values.reshape(-1, 5)

    def file_of(self, k: int) -> str:
        """Name of the file that holds the matches of pair ``k``."""
        name: str = self.index["shards"][self._shard_of(k)]["file"]
        return name

    def matches(self, k: int) -> Correspondences:
        """Matches of pair ``k`` with their limits."""
        return Correspondences.from_rows(self.rows(k))

    def verify(self) -> None:
        """Compare every file with its SHA-256.

        Raises:
            DataError: A file has changed since it was written.
        """
        for name, expected in self.index["files"].items():
            found = sha256_of(self.folder / name)
            if found != expected["sha256"]:
                raise DataError(
                    f"{self.folder / name}: SHA-256 is {found[:12]}..., expected {expected['sha256'][:12]}... as in "
                    f"{INDEX_FILE}; the file has changed, match the frames again"
                )

    def _shard_of(self, k: int) -> int:
        return int(np.searchsorted(self._first_pair, k, side="right")) - 1

    def _array(self, name: str) -> np.ndarray:
        file = self.folder / f"{name}.npy"
        try:
            array: np.ndarray = np.load(file, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: cannot be opened ({error}); match the frames again") from error
        dtype, shape = ARRAYS[name]
        expected = (int(self._first_pair[-1]) + (name == "offsets"), *shape)
        if array.shape != expected or array.dtype != dtype:
            raise DataError(
                f"{file}: found {array.dtype} {array.shape}, expected {np.dtype(dtype)} {expected}; "
                "match the frames again"
            )
        return array

    def _check_files(self) -> None:
        for name, expected in self.index["files"].items():
            file = self.folder / name
            try:
                found = file.stat().st_size
            except OSError as error:
                raise DataError(f"{file}: cannot be opened ({error.strerror}); match the frames again") from error
            if found != expected["bytes"]:
                raise DataError(
                    f"{file}: found {found} bytes, expected {expected['bytes']} as in {INDEX_FILE}; the file is "
                    "damaged or only half copied, match the frames again"
                )


def is_packed(folder: Path) -> bool:
    """Whether a folder holds packed pairs, rather than other packed data or text."""
    file = Path(folder) / INDEX_FILE
    return file.exists() and read_json_object(file).get("format") == FORMAT


def read_index(folder: Path) -> dict[str, Any]:
    """``index.json`` of a folder of pairs.

    Raises:
        DataError: It is missing, not such an index, or of another version.
    """
    file = folder / INDEX_FILE
    index = read_json_object(file)
    if index.get("format") != FORMAT:
        raise DataError(f"{file}: is not the index of matched pairs; match the frames with `hdnet data correspond`")
    if index.get("version") != FORMAT_VERSION:
        raise DataError(
            f"{file}: format version {index.get('version')}, expected {FORMAT_VERSION}; match the frames again"
        )
    missing = sorted({"names", "shards", "files", "largest"} - set(index))
    if missing:
        raise DataError(f"{file}: has no {', '.join(missing)}; match the frames again")
    return index


def text_pairs(folder: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Partners by frame of a folder in the original's text form, in the order of the frames."""
    partners = read_corr_mat(folder, names)
    return {name: partners[name] for name in names if name in partners}


def read_pairs(folder: Path, partners: Mapping[str, Sequence[str]], size: tuple[int, int] | None) -> Iterable[Pair]:
    """Pairs of a folder in the original's text form, one after the other."""
    for name_i, others in partners.items():
        for name_j in others:
            yield Pair(name_i, name_j, read_correspondences(folder, name_i, name_j, size))


def _remove(folder: Path, owner: int) -> None:
    # A process that was forked holds a copy of the reader, but not the folder.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _convert(folder: Path, out: Path) -> None:
    index = PairsIndex(stored_names(folder))
    index.add(write_shard(out / "rows-00000.npy", read_pairs(folder, text_pairs(folder, index.names), None)))
    index.write(out, {"source": "given"})
