"""Record of one labelled picture of a synthetic person: picture, labels and facts in at most 200 kB.

A record is a row of bytes in a :class:`hdnet.data.store.people.PackedPeople`: the lengths of its blocks, then the
blocks in the order of :data:`_BLOCKS`, each read only when one of its fields is asked for.

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
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from hdnet.data.layout.folders import MAX_DEPTH_SPAN
from hdnet.data.layout.samples import LabelledSample
from hdnet.data.store.records import NORMAL_SCALE
from hdnet.errors import DataError
from hdnet.geometry import MEDIAN_DEPTH_M

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


class PersonRecord:
    """Fields of one record, decoded when they are asked for.

    Args:
        record: Its bytes.
        size: (H, W) of the picture.
    """

    def __init__(self, record: np.ndarray, size: tuple[int, int]) -> None:
        self._size, self._bytes = size, record.tobytes()
        lengths = np.frombuffer(self._bytes, "<u4", len(_BLOCKS))
        ends = 4 * len(_BLOCKS) + np.cumsum(lengths)
        self._places = {name: (int(end - n), int(end)) for name, n, end in zip(_BLOCKS, lengths, ends, strict=True)}

    def _block(self, name: str) -> bytes:
        begin, end = self._places[name]
        return self._bytes[begin:end]

    @cached_property
    def _person(self) -> np.ndarray:
        bits = np.frombuffer(zlib.decompress(self._block("mask")), np.uint8)
        return np.unpackbits(bits, count=self._size[0] * self._size[1]).view(bool)

    @cached_property
    def _inside(self) -> np.ndarray:
        return np.flatnonzero(self._person)

    @cached_property
    def _picture(self) -> np.ndarray:
        with Image.open(io.BytesIO(self._block("scene"))) as picture:
            return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))

    @cached_property
    def _true_depth(self) -> tuple[np.ndarray, float]:
        """True z (N,) float32 within the mask, and its median."""
        block = self._block("depth")
        least, distance_m = np.frombuffer(block, "<f4", 2)
        (codes,) = _summed(block[8:], 1, len(self._inside))
        depth = least * np.exp(np.float32(_DEPTH_STEP) * codes.astype(np.float32))
        return depth.astype(np.float32), float(distance_m)

    def _on_mask(self, values: np.ndarray, dtype: Any) -> np.ndarray:
        """Put values (C, N) of the mask's pixels into planes (C, H, W)."""
        planes = np.zeros((len(values), self._person.size), dtype)
        planes[:, self._inside] = values
        return planes.reshape(-1, *self._size)

    def field(self, name: str) -> np.ndarray:
        """Return one field, such as "depth_m"; see :mod:`hdnet.data.store.records` for their types."""
        return np.asarray(getattr(self, f"_{name}")())

    def _scene(self) -> np.ndarray:
        return self._picture

    def _white_image(self) -> np.ndarray:
        return np.where(self._person.reshape(self._size), self._picture, np.uint8(255))

    def _mask(self) -> np.ndarray:
        return self._person.reshape(1, *self._size)

    def _depth_m(self) -> np.ndarray:
        depth, distance_m = self._true_depth
        return self._on_mask(depth[None] + np.float32(MEDIAN_DEPTH_M - distance_m), np.float32)

    def _shift_m(self) -> np.ndarray:
        distance_m = self._true_depth[1]
        return np.array([MEDIAN_DEPTH_M - distance_m if distance_m else 0], np.float32)

    def _normals(self) -> np.ndarray:
        codes = _summed(self._block("normals"), 2, len(self._inside))
        return self._on_mask(_from_octahedral(codes), np.int16)

    def _vui(self) -> np.ndarray:
        return _decoded_vui(self._block("vui"), self._size)

    def _coverage(self) -> np.ndarray:
        return np.frombuffer(zlib.decompress(self._block("coverage")), np.uint8).reshape(1, *self._size).copy()

    def _canonical_m(self) -> np.ndarray:
        return _decoded_canonical(self._block("canonical"), self._size)


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
    depth_m = scaled_m * np.float32(distance_m / MEDIAN_DEPTH_M)
    least = float(depth_m.min()) if depth_m.size else 1.0
    if depth_m.size and not 0 < depth_m.max() <= MAX_DEPTH_SPAN * least:
        raise DataError(
            f"depth from {least:.2f} to {depth_m.max():.2f} m; expected positive, the farthest at most "
            f"{MAX_DEPTH_SPAN:g} times the nearest"
        )
    codes = np.round(np.log(depth_m / np.float32(least)) / _DEPTH_STEP)
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
