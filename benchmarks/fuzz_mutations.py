"""Damage to files of pictures: of their bytes, and of the chunks of a PNG with checksums that are right again."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
from fuzz_seeds import chunk

_SIGNATURE_BYTES = 8
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEADER_BYTES = 64
_LONGEST = 4_000_000  # what is decompressed to be damaged

Mutation = Callable[[np.random.Generator, bytes], bytes]


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """Damages a file, mostly once; one in fifty is left as it is.

    A PNG is mostly damaged behind its checksums: what they give away never reaches the decoder's depths.
    """
    if rng.random() < 0.02:
        return data
    for _ in range(min(int(rng.geometric(0.6)), 4)):
        mutations = _PNG if data.startswith(b"\x89PNG") and rng.random() < 0.7 else _BYTES
        data = mutations[int(rng.integers(len(mutations)))](rng, data)
    return data


def _flip_bits(rng: np.random.Generator, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 17)) if data else 0):
        changed[_place(rng, data)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _write_number(rng: np.random.Generator, data: bytes) -> bytes:
    number, order = _NUMBERS[int(rng.integers(len(_NUMBERS)))], rng.choice(["<", ">"])
    size = int(rng.choice([1, 2, 4]))
    written = struct.pack(f"{order}I", number)
    place = _place(rng, data)
    return data[:place] + (written[:size] if order == "<" else written[-size:]) + data[place + size :]


def _truncate(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def _remove(rng: np.random.Generator, data: bytes) -> bytes:
    place = _place(rng, data)
    return data[:place] + data[place + int(rng.integers(1, 65)) :]


def _repeat(rng: np.random.Generator, data: bytes) -> bytes:
    place = _place(rng, data)
    end = place + int(rng.integers(1, 65))
    return data[:end] + data[place:end] * int(rng.integers(1, 9)) + data[end:]


def _insert(rng: np.random.Generator, data: bytes) -> bytes:
    place = _place(rng, data)
    return data[:place] + rng.bytes(int(rng.integers(1, 65))) + data[place:]


def _overwrite(rng: np.random.Generator, data: bytes) -> bytes:
    place = _place(rng, data)
    noise = rng.bytes(int(rng.integers(1, 65)))
    return data[:place] + noise + data[place + len(noise) :]


def _damage_chunk(rng: np.random.Generator, data: bytes) -> bytes:
    chunks = _chunks(data)
    if not chunks:
        return data
    number = int(rng.integers(len(chunks)))
    kind, content = chunks[number]
    chunks[number] = (kind, _BYTES[int(rng.integers(len(_BYTES)))](rng, content))
    return _joined(data, chunks)


def _damage_pixels(rng: np.random.Generator, data: bytes) -> bytes:
    """Damages what is compressed, filter bytes included."""
    chunks = _chunks(data)
    numbers = [number for number, (kind, _) in enumerate(chunks) if kind in (b"IDAT", b"fdAT", b"iCCP", b"zTXt")]
    if not numbers:
        return data
    number = numbers[int(rng.integers(len(numbers)))]
    kind, content = chunks[number]
    start = 0 if kind == b"IDAT" else content.find(b"\0") + 2
    try:
        raw = zlib.decompressobj().decompress(content[start:], _LONGEST)
    except zlib.error:
        return data
    chunks[number] = (kind, content[:start] + zlib.compress(_BYTES[int(rng.integers(len(_BYTES)))](rng, raw), 1))
    return _joined(data, chunks)


def _reorder_chunks(rng: np.random.Generator, data: bytes) -> bytes:
    """Removes, doubles or moves a chunk."""
    chunks = _chunks(data)
    if not chunks:
        return data
    taken = chunks[int(rng.integers(len(chunks)))]
    if rng.random() < 0.7:
        chunks.remove(taken)
    if rng.random() < 0.7:
        chunks.insert(int(rng.integers(len(chunks) + 1)), taken)
    return _joined(data, chunks)


_BYTES: tuple[Mutation, ...] = (_flip_bits, _write_number, _truncate, _remove, _repeat, _insert, _overwrite)
_PNG: tuple[Mutation, ...] = (_damage_chunk, _damage_pixels, _reorder_chunks)


def _place(rng: np.random.Generator, data: bytes) -> int:
    """Every second time in the header, where most of the decoders' decisions are taken."""
    longest = min(len(data), _HEADER_BYTES) if rng.random() < 0.5 else len(data)
    return int(rng.integers(longest)) if longest else 0


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], _SIGNATURE_BYTES
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        found.append((kind, data[place + 8 : place + 8 + length]))
        place += length + 12
    return found


def _joined(data: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    return data[:_SIGNATURE_BYTES] + b"".join(chunk(kind, content) for kind, content in chunks)
