"""Packed folders of synthetic people, written straight by the generator, without text in between.

Their records are those of :mod:`hdnet.data.store.person_record`. Beside them lie ``cameras.npy`` as in other packed
folders, ``people.npy`` with the number of the person that each shows, and ``facts.npy``, a structured array of what was
drawn for a picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from hdnet.data.layout.samples import LabelledSample
from hdnet.data.store.person_record import PersonPicture, PersonRecord, encode
from hdnet.data.store.reading import PackedRows, WithCameras
from hdnet.data.store.records import FIELDS_OF_KIND, NORMAL_SCALE, OPTIONAL_FIELDS_OF_KIND
from hdnet.data.store.shards import SHARD_RECORDS, Entry, finish_shard, write_index, write_shard
from hdnet.errors import DataError
from hdnet.files import Finished, fingerprint
from hdnet.geometry import MEDIAN_DEPTH_M

ROW = np.dtype(np.uint8)


class PackedPeople(WithCameras, PackedRows):
    """Packed folder of synthetic people, read as :class:`hdnet.data.store.packed.PackedLabelled` is, and more."""

    kind = "people"
    row = ROW
    fields = FIELDS_OF_KIND["labelled"]
    optional_fields = tuple(OPTIONAL_FIELDS_OF_KIND["labelled"])
    more_fields = ("coverage", "canonical_m")
    """Fields that only these folders have: (1, H, W) uint8 and (3, H, W) float32, as of :class:`PersonPicture`."""
    _keys = ("size", "empty")
    _again = "make the people again"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.size: tuple[int, int] = (self.index["size"][0], self.index["size"][1])

    @property
    def empty(self) -> int:
        """Number of pictures without a person."""
        return int(self.index["empty"])

    @cached_property
    def people(self) -> np.ndarray:
        """(N,) int64, number of the person of each picture."""
        return self.array("people", "<i8", (len(self),))

    @cached_property
    def facts(self) -> np.ndarray:
        """(N,) structured: what was drawn for each picture, texts and float32 with their units in the names."""
        return np.asarray(np.load(self.folder / "facts.npy"))

    def record(self, k: int, fields: Collection[str] | None = None) -> dict[str, np.ndarray]:
        """Return fields of record ``k``.

        Args:
            k: Number of the record.
            fields: Names of the fields; without it, those that every labelled record has.

        Raises:
            DataError: The record is damaged.
        """
        decoder = self._decoder(k)
        try:
            return {name: decoder.field(name) for name in (self.fields if fields is None else fields)}
        except (zlib.error, ValueError, OSError) as error:
            raise DataError(
                f"{self.folder / self.file_of(k)}: record {self.names[k]} is damaged ({error}); {self._again}"
            ) from error

    def sample(self, k: int) -> LabelledSample:
        """Return record ``k`` as the text layout would hold it, with the depth scaled to a median of 4 m."""
        fields = self.record(k, ("scene", "white_image", "vui", "mask", "normals", "depth_m", "shift_m"))
        mask, shift_m = fields["mask"][0], float(fields["shift_m"][0])
        scale = np.float32(MEDIAN_DEPTH_M / (MEDIAN_DEPTH_M - shift_m))
        return LabelledSample(
            name=self.names[k],
            image=fields["scene"].transpose(1, 2, 0),
            white_image=fields["white_image"].transpose(1, 2, 0),
            iuv=fields["vui"][::-1].transpose(1, 2, 0),
            mask=mask,
            depth_m=np.where(mask, (fields["depth_m"][0] - np.float32(shift_m)) * scale, np.float32(0)),
            normals=fields["normals"].transpose(1, 2, 0) / np.float32(NORMAL_SCALE),
            camera=self.camera(k),
        )

    def _decoder(self, k: int) -> PersonRecord:
        return PersonRecord(self.rows(k), self.size)


@dataclass(frozen=True)
class Piece:
    """Finished pictures of one person, in a file of their own.

    Attributes:
        file: Their records, one after the other.
        size: (H, W) of the pictures.
        lengths: Bytes of each.
        names: Names of the pictures.
        cameras: Their cameras, (N, 7).
        person: Number of the person.
        empty: Number of pictures without a person.
        facts: What was drawn for each picture.
    """

    file: Path
    size: tuple[int, int]
    lengths: tuple[int, ...]
    names: tuple[str, ...]
    cameras: tuple[tuple[float, ...], ...]
    person: int
    empty: int
    facts: tuple[Mapping[str, str | float], ...]

    @classmethod
    def written(cls, file: Path, pictures: Sequence[PersonPicture]) -> Piece:
        """Write the pictures of one person, which have one number."""
        records = [encode(picture) for picture in pictures]
        file.write_bytes(b"".join(records))
        samples = [picture.sample for picture in pictures]
        height, width = samples[0].mask.shape
        return cls(
            file,
            (height, width),
            tuple(len(record) for record in records),
            tuple(sample.name for sample in samples),
            tuple(astuple(sample.camera) for sample in samples),
            pictures[0].person,
            sum(not sample.mask.any() for sample in samples),
            tuple(dict(picture.facts) for picture in pictures),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all but the file, JSON-able."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "file"}

    @classmethod
    def from_dict(cls, file: Path, values: Mapping[str, Any]) -> Piece:
        """Return a piece from its file and what :meth:`to_dict` gave."""
        cameras = tuple(tuple(camera) for camera in values["cameras"])
        lists = {name: tuple(values[name]) for name in ("size", "lengths", "names", "facts")}
        return cls(file, cameras=cameras, person=values["person"], empty=values["empty"], **lists)


def people_per_shard(pictures_per_person: int) -> int:
    """Return how many people, with all their pictures, lie in one shard."""
    return -(-SHARD_RECORDS // pictures_per_person)


def shard_file(number: int) -> str:
    """Return the name of a shard."""
    return f"rows-{number:05d}.npy"


def join_pieces(folder: Path, notes: Path, pieces: Sequence[Piece], count: int) -> None:
    """Complete a packed folder of people from pieces that lie in it; each is deleted once its shard is on the disk.

    An interrupted run goes on when it is called with the same pieces, of which those of finished shards may be gone.

    Args:
        folder: The folder.
        notes: Folder for the record of what is finished.
        pieces: The people in order.
        count: People of a shard.
    """
    finished, entries = Finished(notes), {}
    for first in range(0, len(pieces), count):
        group, file = pieces[first : first + count], folder / shard_file(first // count)
        made_from = fingerprint([[list(piece.names), list(piece.lengths)] for piece in group])
        entries[file.name] = finish_shard(file, finished, made_from, partial(_write_shard, group))
        for piece in group:
            piece.file.unlink(missing_ok=True)
    lengths = [length for piece in pieces for length in piece.lengths]
    arrays = {
        "offsets": np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype("<i8"),
        "cameras": np.array([camera for piece in pieces for camera in piece.cameras], "<f8").reshape(-1, 7),
        "people": np.array([piece.person for piece in pieces for _ in piece.names], "<i8"),
        "facts": table_of_facts([facts for piece in pieces for facts in piece.facts]),
    }
    about = {"size": list(pieces[0].size), "empty": sum(piece.empty for piece in pieces)}
    write_index(folder, "people", [name for piece in pieces for name in piece.names], entries, arrays, about)


def table_of_facts(facts: Sequence[Mapping[str, str | float]]) -> np.ndarray:
    """Return facts as a structured array: numbers float32, nan where a picture has none; texts as wide as needed."""
    names = sorted({name for one in facts for name in one})
    columns: dict[str, np.ndarray] = {}
    for name in names:
        found = [one.get(name) for one in facts]
        if any(isinstance(value, str) for value in found):
            columns[name] = np.array([value or "" for value in found], dtype=str)
        else:
            columns[name] = np.array([np.nan if value is None else value for value in found], np.float32)
    table = np.zeros(len(facts), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        table[name] = column
    return table


def _write_shard(pieces: Sequence[Piece], file: Path) -> Entry:
    blocks = (np.frombuffer(piece.file.read_bytes(), ROW) for piece in pieces)
    return {**write_shard(file, ROW, blocks), "records": sum(len(piece.names) for piece in pieces)}
