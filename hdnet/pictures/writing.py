"""Writer of PNG files, fast rather than small."""

from __future__ import annotations

import struct
import zlib
from types import ModuleType

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2  # colour types
_UP = 2  # filter: difference from the row above
_LEVEL = 1


def _compressor() -> ModuleType:
    try:
        from isal import isal_zlib  # an optional package, five times as fast
    except ImportError:
        return zlib
    return isal_zlib


deflate = _compressor()


def encode_png(pixels: np.ndarray) -> bytes:
    """A PNG of (H, W) grey or (H, W, 3) RGB, uint8 or uint16, compressed fast rather than well.

    Pillow tries five filters on every row, which takes longer than the compression. Maps of depth and normals, and
    masks, are smooth and empty around the person: the difference from the row above is as small as the best of five.

    Raises:
        ValueError: If the pixels are of another type or shape.
    """
    kind = (pixels.dtype.name, pixels.ndim, pixels.shape[2:])
    if kind not in (("uint8", 2, ()), ("uint16", 2, ()), ("uint8", 3, (3,)), ("uint16", 3, (3,))) or not pixels.size:
        raise ValueError(f"pixels are {pixels.dtype} of shape {pixels.shape}, expected grey or RGB, uint8 or uint16")
    height, width = pixels.shape[:2]
    stored = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    rows = np.empty((height, 1 + stored.shape[1]), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = stored[0]
    np.subtract(stored[1:], stored[:-1], out=rows[1:, 1:])
    colours = _GREY if pixels.ndim == 2 else _RGB
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, colours, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", deflate.compress(rows, _LEVEL)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its length before and its checksum behind it."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
