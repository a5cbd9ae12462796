"""Pictures for the decoders: valid ones of every accepted kind, ones that ask for too much, and damage to both.

Damage is done to bytes, and to the chunks of a PNG, whose checksums are then corrected.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

HEIGHT, WIDTH = 64, 48  # of the made-up pictures
_SAMPLE = Path(__file__).parents[1] / "serving" / "page" / "sample"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_BOMB_BYTES = 50_000_000

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEADER_BYTES = 64
_LONGEST = 4_000_000  # decompressed bytes

Seeds = dict[str, bytes]
Mutation = Callable[[np.random.Generator, bytes], bytes]


def person() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(image, mask, densepose) of an ellipse: (H, W, 3) uint8, (H, W) uint8 and (H, W, 3) uint8 in V, U, I."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = ((x - WIDTH / 2) / (0.3 * WIDTH)) ** 2 + ((y - HEIGHT / 2) / (0.4 * HEIGHT)) ** 2 < 1
    noise = np.random.default_rng(0).integers(0, 16, (HEIGHT, WIDTH, 3))
    image = (np.stack([x * 4, y * 3, x + y], axis=-1) + noise).astype(np.uint8)
    vui = np.stack([y * 3, x * 4, np.full_like(x, 2)], axis=-1)
    return image, inside.astype(np.uint8) * 255, np.where(inside[..., None], vui, 0).astype(np.uint8)


def image_seeds() -> Seeds:
    """Photographs by name."""
    pixels, mask, _ = person()
    rgb, alpha = Image.fromarray(pixels), Image.fromarray(mask)
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    grey, palette = rgb.convert("L"), rgb.quantize(64)
    second = Image.fromarray(pixels[::-1].copy())
    exif = _exif()
    text = PngImagePlugin.PngInfo()
    text.add_itxt("Description", "a person " * 50, "en", "Description", zip=True)
    return {
        "rgb.png": _file(rgb, "PNG"),
        "rgba.png": _file(rgba, "PNG"),
        "grey.png": _file(grey, "PNG"),
        "grey-alpha.png": _file(rgba.convert("LA"), "PNG"),
        "grey16.png": _file(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"),
        "rgb16.png": png(2, 16, _rows(np.repeat(pixels, 2, axis=2)), WIDTH, HEIGHT),
        "bilevel.png": _file(alpha.convert("1"), "PNG"),
        "palette.png": _file(palette, "PNG"),
        "palette-transparent.png": _file(palette, "PNG", transparency=0),
        "interlaced.png": interlaced_png(pixels),
        "animated.png": _file(rgb, "PNG", save_all=True, append_images=[second]),
        "exif.png": _file(rgb, "PNG", exif=exif),
        "text.png": _file(rgb, "PNG", pnginfo=text),
        "baseline.jpg": _file(rgb, "JPEG", quality=85),
        "progressive.jpg": _file(rgb, "JPEG", progressive=True, optimize=True),
        "grey.jpg": _file(grey, "JPEG"),
        "cmyk.jpg": _file(rgb.convert("CMYK"), "JPEG"),
        "exif.jpg": _file(rgb, "JPEG", exif=exif, comment=b"by nobody"),
        "several.mpo": _file(rgb, "MPO", save_all=True, append_images=[second]),
        "lossy.webp": _file(rgb, "WEBP", quality=70),
        "lossless.webp": _file(rgb, "WEBP", lossless=True),
        "alpha.webp": _file(rgba, "WEBP", quality=70),
        "animated.webp": _file(rgb, "WEBP", save_all=True, append_images=[second], duration=40),
        "exif.webp": _file(rgb, "WEBP", exif=exif),
        "animated.gif": _file(palette, "GIF", save_all=True, append_images=[second.quantize(64)]),
        "rgb.bmp": _file(rgb, "BMP"),
    }


def mask_seeds() -> Seeds:
    """Masks by name."""
    _, mask, _ = person()
    grey = Image.fromarray(mask)
    return {
        "grey.png": _file(grey, "PNG"),
        "bilevel.png": _file(grey.convert("1"), "PNG"),
        "grey16.png": _file(Image.fromarray(mask.astype(np.uint16) * 257), "PNG"),
        "palette.png": _file(grey.convert("RGB").quantize(2), "PNG"),
        "alpha.png": _file(Image.merge("LA", (grey, grey)), "PNG"),
        "interlaced.png": interlaced_png(np.repeat(mask[..., None], 3, axis=2)),
        "grey.jpg": _file(grey, "JPEG", quality=95),
        "lossless.webp": _file(grey.convert("RGB"), "WEBP", lossless=True),
    }


def densepose_seeds() -> Seeds:
    """DensePose maps by name."""
    _, mask, vui = person()
    rgb = Image.fromarray(vui)
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray(mask))
    return {
        "rgb.png": _file(rgb, "PNG"),
        "rgba.png": _file(rgba, "PNG"),
        "interlaced.png": interlaced_png(vui),
        "lossless.webp": _file(rgb, "WEBP", lossless=True),
        "rgb.bmp": _file(rgb, "BMP"),
    }


def sample_seeds() -> Seeds:
    """The page's sample: the parts' names and files."""
    return {name: (_SAMPLE / f"{name}.png").read_bytes() for name in ("image", "mask", "densepose")}


def demanding_seeds() -> Seeds:
    """Headers that promise more pixels than there are, and decompression bombs."""
    row = zlib.compress(bytes(1000))
    packed = zlib.compress(bytes(_BOMB_BYTES), 9)
    pixels = Image.fromarray(person()[0])
    plain = _file(pixels, "PNG")
    jpeg, webp = _file(pixels, "JPEG"), _file(pixels, "WEBP", exif=_exif())
    many = b"".join(chunk(b"tEXt", b"k%d\0v" % number) for number in range(5000))
    return {
        "huge.png": _SIGNATURE + chunk(b"IHDR", _header(2**31 - 1, 2**31 - 1, 8, 2)) + chunk(b"IDAT", row),
        "bomb.png": png(0, 8, bytes(_BOMB_BYTES), 60_000, 60_000),
        "empty-16-megapixels.png": _SIGNATURE + chunk(b"IHDR", _header(4000, 4000, 8, 6)) + chunk(b"IDAT", row),
        "ztxt-bomb.png": _after_header(plain, chunk(b"zTXt", b"k\0\0" + packed)),
        "itxt-bomb.png": _after_header(plain, chunk(b"iTXt", b"k\0\1\0\0\0" + packed)),
        "iccp-bomb.png": _after_header(plain, chunk(b"iCCP", b"k\0\0" + packed)),
        "many-texts.png": _after_header(plain, many),
        "huge.jpg": _resized_jpeg(jpeg, 65_500, 65_500),
        "large.jpg": _resized_jpeg(jpeg, 4000, 4000),
        "huge.webp": webp[:24] + b"\xff\xff\xff\xff\xff\x3f" + webp[30:],  # the canvas of VP8X
        "huge.gif": b"GIF89a" + struct.pack("<2H", 65_535, 65_535) + _file(pixels.quantize(8), "GIF")[10:],
    }


def interlaced_png(pixels: np.ndarray) -> bytes:
    """An Adam7 PNG of (H, W, 3) uint8, which Pillow reads but does not write."""
    passes = (pixels[y::down, x::right] for y, x, down, right in _ADAM7)
    return png(2, 8, b"".join(_rows(part) for part in passes if part.size), pixels.shape[1], pixels.shape[0], 1)


def png(colour: int, depth: int, rows: bytes, width: int, height: int, interlace: int = 0) -> bytes:
    """A PNG of rows with their filter bytes."""
    header = _header(width, height, depth, colour, interlace)
    return _SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG, with the right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _header(width: int, height: int, depth: int, colour: int, interlace: int = 0) -> bytes:
    return struct.pack(">2I5B", width, height, depth, colour, 0, 0, interlace)


def _rows(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def _after_header(data: bytes, chunks: bytes) -> bytes:
    end = len(_SIGNATURE) + 25  # of IHDR
    return data[:end] + chunks + data[end:]


def _resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">2H", height, width) + data[place + 4 :]


def _exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    exif[ExifTags.Base.Make] = "nobody"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 28
    return exif.tobytes()


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """Damage a file, mostly once; one in fifty stays as it is.

    A PNG is mostly damaged behind its checksums: wrong checksums never reach the decoder's depths.
    """
    if rng.random() < 0.02:
        return data
    for _ in range(min(int(rng.geometric(0.6)), 4)):
        mutations = _PNG if data.startswith(b"\x89PNG") and rng.random() < 0.7 else _BYTES
        data = _any_of(mutations, rng, data)
    return data


def _any_of(mutations: Sequence[Mutation], rng: np.random.Generator, data: bytes) -> bytes:
    return mutations[int(rng.integers(len(mutations)))](rng, data)


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
    chunks[number] = (kind, _any_of(_BYTES, rng, content))
    return _joined(data, chunks)


def _damage_pixels(rng: np.random.Generator, data: bytes) -> bytes:
    """Damage compressed data, filter bytes included."""
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
    chunks[number] = (kind, content[:start] + zlib.compress(_any_of(_BYTES, rng, raw), 1))
    return _joined(data, chunks)


def _reorder_chunks(rng: np.random.Generator, data: bytes) -> bytes:
    """Remove, double or move a chunk."""
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
    """A place, every second time in the header, on which most of the decoders' decisions depend."""
    longest = min(len(data), _HEADER_BYTES) if rng.random() < 0.5 else len(data)
    return int(rng.integers(longest)) if longest else 0


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], len(_SIGNATURE)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        found.append((kind, data[place + 8 : place + 8 + length]))
        place += length + 12
    return found


def _joined(data: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    return data[: len(_SIGNATURE)] + b"".join(chunk(kind, content) for kind, content in chunks)
