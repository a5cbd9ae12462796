"""Zip and tar archives and folders of untrusted data, read through one interface.

Names, kinds and sizes of all members are checked before a byte is unpacked, and what is unpacked is counted again:
sizes in headers may be wrong. Members of a zip are unpacked one item at a time for as long as it is read; a tar, which
can only be read from its start, is unpacked once into a scratch folder.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from hdnet.data.importing.archive_checks import (
    CHUNK,
    DAMAGE,
    MAX_BYTES,
    check_compression,
    check_name,
    check_space,
    check_total,
    checked,
    copy_exactly,
    damaged,
)
from hdnet.errors import DataError
from hdnet.files import walk_files

__all__ = ["MAX_BYTES", "Reader", "Source", "check_space", "open_source"]

_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open, b"BZh": bz2.open}
_BLOCK = 512
_MAX_HEADER_BYTES = 16 * CHUNK


@dataclass(frozen=True)
class Reader:
    """Reader of the members of a source; small, so that every worker can have one.

    Attributes:
        source: The archive or folder, as the user named it.
        root: The folder that holds the members; None for a zip, whose members are unpacked one item at a time.
    """

    source: Path
    root: Path | None

    @contextlib.contextmanager
    def files(self, members: Mapping[str, str]) -> Iterator[dict[str, Path]]:
        """Yield the paths at which members can be read inside the block.

        Args:
            members: Member names by any key.

        Raises:
            DataError: A member is damaged, encrypted or larger than its header says. Errors that are raised in
                the block name the source instead of the temporary path.
        """
        if self.root is not None:
            with self._named(self.root):
                yield {key: self.root / member for key, member in members.items()}
            return
        with tempfile.TemporaryDirectory(prefix="hdnet-") as folder, self._named(Path(folder)):
            for member in members.values():
                _unpack_zip_member(self.source, member, Path(folder) / member)
            yield {key: Path(folder) / member for key, member in members.items()}

    @contextlib.contextmanager
    def _named(self, folder: Path) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            raise DataError(str(error).replace(f"{folder}{os.sep}", f"{self.source}{os.sep}")) from error


@dataclass(frozen=True)
class Source:
    """Listing of an archive or folder; made by :func:`open_source`.

    Attributes:
        path: The archive or folder.
        kind: How it is read.
        sizes: Bytes by member name (regular files only, "/" between the parts), in order.
    """

    path: Path
    kind: Literal["folder", "zip", "tar"]
    sizes: dict[str, int] = field(repr=False)

    @property
    def total_bytes(self) -> int:
        """Size of everything, unpacked."""
        return sum(self.sizes.values())

    def reader(self, scratch: Path) -> Reader:
        """Return the reader of the members; a tar is unpacked into ``scratch``, unless an earlier run has done so.

        Raises:
            DataError: The archive is damaged.
        """
        if self.kind == "folder":
            return Reader(self.path, self.path)
        if self.kind == "zip":
            return Reader(self.path, None)
        unpacked = scratch / "unpacked"
        if not unpacked.is_dir():
            _unpack_tar(self.path, unpacked, self.sizes)
        return Reader(self.path, unpacked)


def open_source(path: Path, max_bytes: int = MAX_BYTES) -> Source:
    """List a zip, a tar (also .gz, .bz2, .xz) or a folder.

    Args:
        path: The archive or folder.
        max_bytes: Largest size of everything, unpacked.

    Raises:
        DataError: It is missing, unreadable, truncated or of another kind; a name leads out of it, exists twice
            (also by case) or is no plain file; it is encrypted, or unpacks to more than data of its size can.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return Source(path, "folder", _list_folder(path))
        if not path.is_file():
            raise DataError(f"{path}: no such file or folder; expected a zip, a tar or a folder")
        if zipfile.is_zipfile(path):
            return Source(path, "zip", _list_zip(path, max_bytes))
        return Source(path, "tar", _list_tar(path, max_bytes))
    except DAMAGE as error:
        raise damaged(path, error) from error
    except OSError as error:
        if error.errno is None:  # of bz2, for damage
            raise damaged(path, error) from error
        where = error.filename or path
        raise DataError(f"{where}: cannot be read ({error.strerror or error}); check its permissions") from error


def _list_folder(folder: Path) -> dict[str, int]:
    """List the files below a folder; links are followed, since the user made them."""
    members: list[tuple[str, int]] = []
    for file, status in walk_files(folder):
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{file}: is no plain file (a pipe or device); expected files only")
        members.append((file.relative_to(folder).as_posix(), status.st_size))
    return checked(folder, members)


def _list_zip(path: Path, max_bytes: int) -> dict[str, int]:
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


def _unpack_zip_member(path: Path, member: str, target: Path) -> None:
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
    """Return the open zip and its entries by clean name, kept per process: there may be 100,000 of them."""
    archive = zipfile.ZipFile(path)
    return archive, {check_name(path, e.orig_filename): e for e in archive.infolist() if not e.is_dir()}


def _list_tar(path: Path, max_bytes: int) -> dict[str, int]:
    members: list[tuple[str, int]] = []
    total = 0
    with _open_tar(path) as archive:
        for entry in archive:
            if entry.isdir():
                check_name(path, entry.name)
                continue
            if not entry.isreg():
                raise DataError(f"{path}: {entry.name!r} is a link or device; expected plain files; unpack it yourself")
            # Before the next header is read, which would unpack this member.
            total += entry.size
            check_total(path, total, max_bytes)
            members.append((entry.name, entry.size))
        # Past the end mark, where compressed streams keep their checksums.
        if archive.fileobj is not None and archive.fileobj.read(_MAX_HEADER_BYTES).strip(b"\0"):
            raise DataError(f"{path}: holds something behind its end mark; it is damaged or forged; get it again")
    _check_end(path)
    return checked(path, members)


def _unpack_tar(path: Path, target: Path, sizes: Mapping[str, int]) -> None:
    """Unpack the listed files; ``target`` appears when all are there.

    Raises:
        DataError: The archive is damaged or was changed since it was listed.
    """
    partial = target.with_name(f"{target.name}.partial")  # not an atomic_folder: the import reports errors of the disk
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with _open_tar(path) as archive:
            for entry in archive:
                name = check_name(path, entry.name)
                if not entry.isreg() or sizes.get(name) != entry.size:
                    continue
                # A second check: names and kinds were checked when the archive was listed.
                tarfile.data_filter(entry, str(partial))
                source, file = archive.extractfile(entry), partial / name
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("wb") as stream:
                    copy_exactly(source or io.BytesIO(), stream, entry.size, path, name)
    except DAMAGE as error:
        raise damaged(path, error) from error
    missing = next((name for name in sizes if not (partial / name).is_file()), None)
    if missing is not None:
        raise DataError(f"{path}: {missing!r} is not in it any more; do not change it while it is read")
    partial.rename(target)


def _check_end(path: Path) -> None:
    """Refuse a plain tar that was cut between two members, the one damage that tarfile does not detect."""
    with path.open("rb") as file:
        if file.read(8).startswith(tuple(_OPENERS)):
            return
        file.seek(-_BLOCK, os.SEEK_END)
        if any(file.read()):
            raise DataError(f"{path}: it is truncated (its end mark is missing); get it again")


@contextlib.contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    with contextlib.ExitStack() as stack:
        file: Any = stack.enter_context(path.open("rb"))
        head = file.read(8)
        file.seek(0)
        opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
        stream = stack.enter_context(opener(file)) if opener else file
        try:
            archive = stack.enter_context(tarfile.TarFile(fileobj=_LimitedReads(stream, path)))
        except tarfile.ReadError as error:
            raise DataError(f"{path}: is no zip, tar or folder that can be read ({error}); expected one") from error
        yield archive


class _LimitedReads(io.RawIOBase):
    """Stream that refuses huge single reads, which a forged header makes tarfile attempt."""

    def __init__(self, stream: Any, path: Path) -> None:
        self._stream, self._path = stream, path

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise DataError(f"{self._path}: a header claims {size} bytes for itself; it is damaged or forged")
        data: bytes = self._stream.read(size)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        position: int = self._stream.seek(offset, whence)
        return position

    def tell(self) -> int:
        position: int = self._stream.tell()
        return position
