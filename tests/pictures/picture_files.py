"""Pictures as files in forms that Pillow does not write, and the DensePose map of a made-up person."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

# Part: rows and columns of a person of 200 x 160 pixels who stands with arms aside.
_PARTS = {
    23: (np.s_[10:38], np.s_[70:80]),
    24: (np.s_[10:38], np.s_[80:91]),
    2: (np.s_[38:104], np.s_[58:103]),
    16: (np.s_[40:56], np.s_[38:58]),
    20: (np.s_[42:55], np.s_[18:38]),
    3: (np.s_[43:54], np.s_[8:18]),
    15: (np.s_[40:56], np.s_[103:123]),
    19: (np.s_[42:55], np.s_[123:143]),
    4: (np.s_[43:54], np.s_[143:153]),
    9: (np.s_[104:145], np.s_[59:79]),
    10: (np.s_[104:145], np.s_[82:102]),
    13: (np.s_[145:182], np.s_[61:78]),
    14: (np.s_[145:182], np.s_[83:100]),
    6: (np.s_[182:192], np.s_[56:78]),
    5: (np.s_[182:192], np.s_[83:105]),
}


def person_iuv(scale: int = 1) -> np.ndarray:
    """(200, 160, 3) uint8 I, U, V, enlarged by whole pixels; U and V run over each part."""
    iuv = np.zeros((200, 160, 3), np.uint8)
    for part, place in _PARTS.items():
        height, width = iuv[place].shape[:2]
        y, x = np.mgrid[:height, :width]
        iuv[place] = np.stack([np.full_like(x, part), 20 + 230 * x / width, 10 + 240 * y / height], axis=-1)
    return iuv.repeat(scale, axis=0).repeat(scale, axis=1)


def person_mask(iuv: np.ndarray) -> np.ndarray:
    """The (H, W) bool mask of a map."""
    return iuv[..., 0] > 0


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    """A PNG of (H, W) or (H, W, 2 to 4) numbers of 0..65535, without a filter."""
    height, width = pixels.shape[:2]
    colours = {2: 0, 3: {2: 4, 3: 2, 4: 6}.get(pixels.shape[-1], 0)}[pixels.ndim]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colours, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def icc_profile(primaries_d50: np.ndarray, gamma: float) -> bytes:
    """An ICC profile of a display.

    Args:
        primaries_d50: (3, 3), columns are XYZ of red, green and blue, which sum to the white of D50.
        gamma: Exponent of the transfer curve.
    """

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"text\0\0\0\0none\0\0\0\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78) + b"\0"
    tags = {b"desc": description, b"cprt": text, b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1.0, 0.8249)}
    for name, column in zip((b"r", b"g", b"b"), primaries_d50.T, strict=True):
        tags[name + b"XYZ"], tags[name + b"TRC"] = b"XYZ \0\0\0\0" + fixed(*column), curve
    start, table, data = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    header = (
        struct.pack(">I", start + len(data)) + b"lcms" + struct.pack(">I", 0x02100000) + b"mntrRGB XYZ " + bytes(12)
    )
    header += b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + table + data
