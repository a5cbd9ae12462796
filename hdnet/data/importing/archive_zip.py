"""Zip archives: listed with all checks, read member by member."""

from __future__ import annotations

import stat
import zipfile
from functools import lru_cache
from pathlib import Path

from hdnet.data.importing.archive_checks import (
    DAMAGE,
    check_compression,
    check_name,
    check_total,
    checked,
    copy_exactly,
    damaged,
)
from hdnet.errors import DataError


def list_zip(path: Path, max_bytes: int) -> dict[str, int]:
    """Sizes by member name; see :func:`hdnet.data.importing.archive.open_source` for what is refused."""
    members: list[tuple[str, int]] = []
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = entry.orig_filename
            if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{path}: {name!r} is a link or device; expected plain files; unpack it yourself")
            if entry.is_dir():
                check_name(path, name)
                continue
            if entry.flag_bits & 1:
                raise DataError(f"{path}: {name!r} is encrypted; unpack it with its password and import the folder")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(
                    f"{path}: {name!r} is compressed by method {entry.compress_type}; expected deflate or none; "
                    "unpack it and import the folder"
                )
            check_compression(path, name, entry.file_size, entry.compress_size)
            members.append((name, entry.file_size))
    check_total(path, sum(size for _, size in members), max_bytes)
    return checked(path, members)


def unpack_zip_member(path: Path, member: str, target: Path) -> None:
    """Unpacks one member to a file.

    Raises:
        DataError: It is damaged, encrypted or of another size than its header says.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        archive, entries = _zip_at(path, path.stat().st_mtime_ns)
        entry = entries[member]
        with archive.open(entry) as source, target.open("wb") as stream:
            copy_exactly(source, stream, entry.file_size, path, member)
    except KeyError as error:
        raise DataError(f"{path}: {member!r} is not in it any more; do not change it while it is read") from error
    except DAMAGE as error:
        raise damaged(path, error, member) from error
    except (RuntimeError, NotImplementedError) as error:  # a local header that asks for a password or other method
        raise DataError(f"{path}: {member!r} cannot be unpacked ({error}); unpack it and import the folder") from error


@lru_cache(maxsize=1)
def _zip_at(path: Path, _mtime_ns: int) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """The open zip and its entries by clean name, kept per process: there may be 100,000 of them."""
    archive = zipfile.ZipFile(path)
    return archive, {check_name(path, e.orig_filename): e for e in archive.infolist() if not e.is_dir()}
