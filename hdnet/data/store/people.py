"""Compressed records of synthetic people: picture, labels and facts in at most 200 kB, without text in between.

A record is a row of bytes (:class:`hdnet.data.store.reading.PackedRows`): the lengths of its blocks, then the blocks in
the order of :data:`_BLOCKS`, each read only when one of its fields is asked for.

=========== ==================================================== =====================================================
block       content                                              stored as
=========== ==================================================== =====================================================
scene       the picture with its background                      JPEG of quality 95, colour at full resolution
mask        the person, where depth and normals are valid        one bit a pixel
depth       z of the person, and the median of the true z        ln(z / least z) in steps of 3e-5 (0.1 mm at 4 m)
normals     unit normals                                         octahedral, 12 bits each (0.03 degrees)
vui         DensePose in the networks' order                     part of every pixel; V, U where there is a part
coverage    share of a pixel that the person covers              8 bits
canonical   point of the canonical body behind a pixel           steps of 2 mm
=========== ==================================================== =====================================================

All but the picture are differences from pixel to pixel, deflated. Labels are those of the picture as it is stored.

Beside the records, ``cameras.npy`` as in other packed folders, ``people.npy`` with the number of the person that each
shows, and ``facts.npy``, a structured array of what was drawn for a picture.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hdnet.data.layout.samples import LabelledSample
from hdnet.data.store.reading import PackedRows, WithCameras
from hdnet.data.store.records import FIELDS_OF_KIND, NORMAL_SCALE, OPTIONAL_FIELDS_OF_KIND
from hdnet.data.store.shards import SHARD_RECORDS, Entry, finish_shard, write_index, write_shard
from hdnet.errors import DataError
from hdnet.files import Finished, fingerprint

TARGET_MEDIAN_M = 4.0
"""Median of the depth over the mask to which people are scaled in the text layout."""
ROW = np.dtype(np.uint8)
_BLOCKS = ("scene", "mask", "depth", "normals", "vui", "coverage", "canonical")
_QUALITY = 95
_DEPTH_STEP = 3e-5
# Whole numbers on both sides of 0, so that a normal along an axis is exact.
_OCTAHEDRON = 2047
_CANONICAL_STEP_M = 0.002


@dataclass(frozen=True, eq=False)
class PersonPicture:
    """A labelled picture of a synthetic person, with what the text layout has no room for.

    Attributes:
        sample: The picture; its depth is scaled to a median of 4 m. Of a picture without anybody the mask is empty.
        person: Number of the person.
        distance_m: True median of the depth over the mask, 0 without a person.
        coverage: (H, W) uint8, share of a pixel that the person covers, 255 for all of it.
        canonical_m: (H, W, 3) float32, point of the canonical body behind the pixel: metres, x to the person's left, z
            up from the soles, y backwards; 0 where there is no person.
        facts: What was drawn: names, and numbers with their unit in the key.
    """

    sample: LabelledSample
    person: int
    distance_m: float
    coverage: np.ndarray
    canonical_m: np.ndarray
    facts: Mapping[str, str | float] = field(default_factory=dict)


def encode(picture: PersonPicture) -> bytes:
    """Return a picture as one record."""
    sample, mask = picture.sample, picture.sample.mask
    blocks = {
        "scene": _jpeg(sample.image),
        "mask": _deflated(np.packbits(mask)),
        "depth": _encoded_depth(sample.depth_m[mask], picture.distance_m),
        "normals": _deflated(_differences(_octahedral(sample.normals[mask]))),
        "vui": _encoded_iuv(sample.iuv),
        "coverage": _deflated(picture.coverage),
        "canonical": _encoded_canonical(picture.canonical_m),
    }
    lengths = np.array([len(blocks[name]) for name in _BLOCKS], "<u4")
    return lengths.tobytes() + b"".join(blocks[name] for name in _BLOCKS)


class _Decoder:
    """Fields of one record, decoded when they are asked for."""

    def __init__(self, record: np.ndarray, size: tuple[int, int]) -> None:
        self._size, self._bytes = size, record.tobytes()
        lengths = np.frombuffer(self._bytes, "<u4", len(_BLOCKS))
        ends = 4 * len(_BLOCKS) + np.cumsum(lengths)
        self._places = {name: (int(end - n), int(end)) for name, n, end in zip(_BLOCKS, lengths, ends, strict=True)}

    def block(self, name: str) -> bytes:
        begin, end = self._places[name]
        return self._bytes[begin:end]

    @cached_property
    def mask(self) -> np.ndarray:
        bits = np.frombuffer(zlib.decompress(self.block("mask")), np.uint8)
        return np.unpackbits(bits, count=self._size[0] * self._size[1]).view(bool)

    @cached_property
    def inside(self) -> np.ndarray:
        return np.flatnonzero(self.mask)

    @cached_property
    def scene(self) -> np.ndarray:
        with Image.open(io.BytesIO(self.block("scene"))) as picture:
            return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))

    @cached_property
    def depth(self) -> tuple[np.ndarray, float]:
        """True z (N,) float32 within the mask, and its median."""
        block = self.block("depth")
        least, distance_m = np.frombuffer(block, "<f4", 2)
        (codes,) = _summed(block[8:], 1, len(self.inside))
        depth = least * np.exp(np.float32(_DEPTH_STEP) * codes.astype(np.float32))
        return depth.astype(np.float32), float(distance_m)

    def on_mask(self, values: np.ndarray, dtype: Any) -> np.ndarray:
        """Put values (C, N) of the mask's pixels into planes (C, H, W)."""
        planes = np.zeros((len(values), self.mask.size), dtype)
        planes[:, self.inside] = values
        return planes.reshape(-1, *self._size)

    def field(self, name: str) -> np.ndarray:
        return np.asarray(getattr(self, f"_{name}")())

    def _scene(self) -> np.ndarray:
        return self.scene

    def _white_image(self) -> np.ndarray:
        return np.where(self.mask.reshape(self._size), self.scene, np.uint8(255))

    def _mask(self) -> np.ndarray:
        return self.mask.reshape(1, *self._size)

    def _depth_m(self) -> np.ndarray:
        depth, distance_m = self.depth
        return self.on_mask(depth[None] + np.float32(TARGET_MEDIAN_M - distance_m), np.float32)

    def _shift_m(self) -> np.ndarray:
        distance_m = self.depth[1]
        return np.array([TARGET_MEDIAN_M - distance_m if distance_m else 0], np.float32)

    def _normals(self) -> np.ndarray:
        codes = _summed(self.block("normals"), 2, len(self.inside))
        return self.on_mask(_from_octahedral(codes), np.int16)

    def _vui(self) -> np.ndarray:
        return _decoded_vui(self.block("vui"), self._size)

    def _coverage(self) -> np.ndarray:
        return np.frombuffer(zlib.decompress(self.block("coverage")), np.uint8).reshape(1, *self._size).copy()

    def _canonical_m(self) -> np.ndarray:
        return _decoded_canonical(self.block("canonical"), self._size)


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
        scale = np.float32(TARGET_MEDIAN_M / (TARGET_MEDIAN_M - shift_m))
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

    def _decoder(self, k: int) -> _Decoder:
        return _Decoder(self.rows(k), self.size)


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


def _jpeg(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()


def _deflated(values: np.ndarray) -> bytes:
    return zlib.compress(np.ascontiguousarray(values).tobytes(), 6)


def _joined(first: bytes, second: bytes) -> bytes:
    """Return a block of two parts, behind the length of the first."""
    return np.array([len(first)], "<u4").tobytes() + first + second


def _split(block: bytes) -> tuple[bytes, bytes]:
    """Return the two parts of :func:`_joined`."""
    end = 4 + int(np.frombuffer(block, "<u4", 1)[0])
    return block[4:end], block[end:]


def _differences(codes: np.ndarray) -> np.ndarray:
    """Return the low, then the high bytes of the differences of codes (C, N) along N, modulo 2^16, as (C, 2, N)."""
    codes = codes.astype(np.uint16)
    steps = np.diff(codes, axis=1, prepend=np.zeros((len(codes), 1), np.uint16)).astype("<u2")
    return np.ascontiguousarray(steps).view(np.uint8).reshape(*codes.shape, 2).transpose(0, 2, 1)


def _summed(block: bytes, channels: int, count: int) -> np.ndarray:
    """Return the codes (C, N) uint16 that :func:`_differences` and :func:`_deflated` made the block from."""
    steps = np.frombuffer(zlib.decompress(block), np.uint8).reshape(channels, 2, count)
    codes = steps[:, 1].astype(np.uint16)
    codes <<= 8
    codes |= steps[:, 0]
    return np.asarray(np.cumsum(codes, axis=1, dtype=np.uint16))


def _encoded_depth(scaled_m: np.ndarray, distance_m: float) -> bytes:
    depth_m = scaled_m * np.float32(distance_m / TARGET_MEDIAN_M)
    least = float(depth_m.min()) if depth_m.size else 1.0
    codes = np.round(np.log(depth_m / np.float32(least)) / _DEPTH_STEP)
    if depth_m.size and not (least > 0 and codes.max() < 2**16):
        raise DataError(
            f"depth from {least:.2f} to {depth_m.max():.2f} m; expected positive, the farthest at most 7 times the "
            "nearest"
        )
    return np.array([least, distance_m], "<f4").tobytes() + _deflated(_differences(codes[None]))


def _octahedral(normals_n3: np.ndarray) -> np.ndarray:
    """Return codes (2, N) of unit vectors: the sphere folded onto a square."""
    a = normals_n3 / np.maximum(np.abs(normals_n3).sum(1, keepdims=True), 1e-9)
    # Normals that face the camera, z < 0, lie in the middle, away from the folds.
    folded = (1 - np.abs(a[:, 1::-1])) * np.where(a[:, :2] >= 0, 1, -1)
    square = np.where(a[:, 2:] > 0, folded, a[:, :2])
    return np.asarray(np.round(square * _OCTAHEDRON + _OCTAHEDRON).T)


def _from_octahedral(codes_2n: np.ndarray) -> np.ndarray:
    """Return unit vectors times NORMAL_SCALE (3, N) float32."""
    square = (codes_2n.astype(np.float32) - _OCTAHEDRON) / np.float32(_OCTAHEDRON)
    x, y = square
    z = np.abs(x) + np.abs(y) - 1
    outside = np.maximum(z, 0)
    x = x - np.copysign(outside, x)
    y = y - np.copysign(outside, y)
    scale = NORMAL_SCALE / np.sqrt(x * x + y * y + z * z)
    return np.asarray(np.rint(np.stack([x, y, z]) * scale))


def _encoded_iuv(iuv: np.ndarray) -> bytes:
    part = np.ascontiguousarray(iuv[..., 0]).ravel()
    has_part = part > 0
    uv = iuv[..., 1:].reshape(-1, 2)[has_part].T
    steps = np.diff(uv, axis=1, prepend=np.zeros((2, 1), np.uint8))
    return _joined(_deflated(part), _deflated(steps))


def _decoded_vui(block: bytes, size: tuple[int, int]) -> np.ndarray:
    parts, steps_block = _split(block)
    part = np.frombuffer(zlib.decompress(parts), np.uint8)
    there = np.flatnonzero(part)
    steps = np.frombuffer(zlib.decompress(steps_block), np.uint8).reshape(2, -1)
    vui = np.zeros((3, part.size), np.uint8)
    vui[2] = part
    vui[1::-1, there] = np.cumsum(steps, axis=1, dtype=np.uint8)
    return vui.reshape(3, *size)


def _encoded_canonical(canonical_m: np.ndarray) -> bytes:
    points = canonical_m.reshape(-1, 3)
    there = points.any(1)
    codes = np.round(points[there] / _CANONICAL_STEP_M).astype(np.int16).view(np.uint16)
    return _joined(_deflated(np.packbits(there)), _deflated(_differences(codes.T)))


def _decoded_canonical(block: bytes, size: tuple[int, int]) -> np.ndarray:
    bits, codes_block = _split(block)
    there = np.flatnonzero(np.unpackbits(np.frombuffer(zlib.decompress(bits), np.uint8), count=size[0] * size[1]))
    codes = _summed(codes_block, 3, len(there))
    points = np.zeros((3, size[0] * size[1]), np.float32)
    points[:, there] = codes.view(np.int16) * np.float32(_CANONICAL_STEP_M)
    return points.reshape(3, *size)
