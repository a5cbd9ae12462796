"""Tar archives, plain or compressed: listed with all checks, unpacked as a whole."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hdnet.data.importing.archive_checks import (
    CHUNK,
    DAMAGE,
    check_name,
    check_total,
    checked,
    copy_exactly,
    damaged,
)
from hdnet.errors import DataError

_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\x00": lzma.open, b"BZh": bz2.open}
_BLOCK = 512
_MAX_HEADER_BYTES = 16 * CHUNK


def list_tar(path: Path, max_bytes: int) -> dict[str, int]:
    """Sizes by member name; see :func:`hdnet.data.importing.archive.open_source` for what is refused."""
    members: list[tuple[str, int]] = []
    total = 0
    with _open_tar(path) as archive:
        for entry in archive:
            if entry.isdir():
                check_name(path, entry.name)
                continue
            if not entry.isreg():
                raise DataError(f"{path}: {entry.name!r} is a link or device; expected plain files; unpack it yourself")
            # Before the next header is looked for, which would unpack this member.
            total += entry.size
            check_total(path, total, max_bytes)
            members.append((entry.name, entry.size))
        # Past the end mark, where compressed streams keep their checksums.
        if archive.fileobj is not None and archive.fileobj.read(_MAX_HEADER_BYTES).strip(b"\0"):
            raise DataError(f"{path}: holds something behind its end mark; it is damaged or forged; get it again")
    _check_end(path)
    return checked(path, members)


def unpack_tar(path: Path, target: Path, sizes: Mapping[str, int]) -> None:
    """Unpacks the listed files; ``target`` appears when all are there.

    Raises:
        DataError: The archive is damaged or was changed since it was listed.
    """
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with _open_tar(path) as archive:
            for entry in archive:
                name = check_name(path, entry.name)
                if not entry.isreg() or sizes.get(name) != entry.size:
                    continue
                # The second net: names and kinds were checked when the archive was listed.
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
    """Refuses a plain tar that was cut between two members, which is the one damage that tarfile does not see."""
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
    """A stream that refuses to be read in one huge piece, as a forged header would have tarfile do."""

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
