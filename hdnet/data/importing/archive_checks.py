"""Checks of untrusted archives: names, kinds and sizes of their members."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from hdnet.errors import DataError

MAX_BYTES = 200 * 10**9
# Errors of the libraries for damaged archives.
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile)
CHUNK = 2**20

# Data of this kind shrinks 5- to 50-fold (the authors' archive as tar.xz 12-fold). A small member may shrink by any
# factor, a table of zeros by thousands: only what would fill a disk is a bomb.
_MAX_RATIO = 300
_BOMB_BYTES = 256 * 2**20
_MACHINE_FILES = {"__macosx", ".ds_store", "thumbs.db", "desktop.ini"}


def check_space(out: Path, needed: int) -> None:
    """Refuse an import that the disk cannot hold.

    Raises:
        DataError: Fewer than ``needed`` bytes are free where ``out`` will lie.
    """
    existing = next(folder for folder in [out.absolute(), *out.absolute().parents] if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise DataError(f"{out}: needs about {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free; make space")


def checked(path: Path, members: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return sizes by clean name, in order, without files of operating systems.

    Raises:
        DataError: A name leads elsewhere, or two would be one file on some disk.
    """
    sizes: dict[str, int] = {}
    spellings: dict[str, str] = {}
    for name, size in members:
        clean = check_name(path, name)
        if _MACHINE_FILES & {part.casefold() for part in clean.split("/")}:
            continue
        other = spellings.setdefault(clean.casefold(), clean)
        if clean in sizes or other != clean:
            raise DataError(f"{path}: holds {clean!r} twice (as {other!r}); expected every name once")
        sizes[clean] = size
    return dict(sorted(sizes.items()))


def check_name(path: Path, name: str) -> str:
    """Return the name with "/" between its parts and without "." parts.

    Raises:
        DataError: It is absolute, has "..", a drive letter or control characters, or is empty.
    """
    clean = name.replace("\\", "/")
    parts = [part for part in clean.split("/") if part not in ("", ".")]
    if clean.startswith("/") or re.match(r"[A-Za-z]:", clean) or ".." in parts:
        raise DataError(f"{path}: the name {name!r} leads out of it; it is forged or broken; get it again")
    if any(ord(letter) < 32 for letter in clean) or not (parts or name.startswith(".")):
        raise DataError(f"{path}: {name!r} is no file name; expected printable names")
    return "/".join(parts)


def check_total(path: Path, total: int, max_bytes: int) -> None:
    """Refuse archives whose members are together too large, or too large for the archive's size."""
    if total > max_bytes:
        raise DataError(
            f"{path}: unpacks to {total / 1e9:.1f} GB, more than the limit of {max_bytes / 1e9:.1f} GB; "
            "raise the limit if you trust it"
        )
    check_compression(path, path.name, total, path.stat().st_size)


def check_compression(path: Path, name: str, size: int, packed: int) -> None:
    """Refuse decompression bombs."""
    if size > _BOMB_BYTES and size > _MAX_RATIO * max(1, packed):
        raise DataError(
            f"{path}: {name!r} unpacks from {packed / 1e6:.2f} MB to {size / 1e6:.0f} MB, which no data of this kind "
            "does; refused as a decompression bomb; unpack it yourself if you trust it"
        )


def copy_exactly(source: IO[bytes], target: IO[bytes], size: int, path: Path, member: str) -> None:
    """Copy a stream that must have exactly ``size`` bytes.

    Raises:
        DataError: It gives more or fewer.
    """
    copied = 0
    while chunk := source.read(CHUNK):
        copied += len(chunk)
        if copied > size:
            raise DataError(f"{path}: {member!r} is larger than the {size} bytes that its header says; it is damaged")
        target.write(chunk)
    if copied != size:
        raise DataError(f"{path}: {member!r} has {copied} bytes, its header says {size}; it is truncated")


def damaged(path: Path, error: BaseException, member: str | None = None) -> DataError:
    """Return the error for an archive, or a member of it, that a library could not read."""
    what = f"{member!r} in it" if member else "it"
    return DataError(f"{path}: {what} is damaged or truncated ({error or type(error).__name__}); get it again")
