"""A zip, a tar or a folder of somebody else's data, opened the same way and trusted in nothing.

Names, kinds and sizes of all members are checked before a byte is unpacked, and what is unpacked is counted again:
sizes in headers may lie. Members of a zip are unpacked one item at a time for as long as it is read; a tar, which can
only be read from its start, is unpacked once into a scratch folder.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hdnet.data.importing.archive_checks import DAMAGE, MAX_BYTES, check_space, checked, damaged
from hdnet.data.importing.archive_tar import list_tar, unpack_tar
from hdnet.data.importing.archive_zip import list_zip, unpack_zip_member
from hdnet.data.importing.walk import walk_files
from hdnet.errors import DataError

__all__ = ["MAX_BYTES", "Reader", "Source", "check_space", "open_source"]


@dataclass(frozen=True)
class Reader:
    """Reads members of a source; small, so that every worker can have one.

    Attributes:
        source: The archive or folder, as the user named it.
        root: The folder that holds the members; None for a zip, whose members are unpacked one item at a time.
    """

    source: Path
    root: Path | None

    @contextlib.contextmanager
    def files(self, members: Mapping[str, str]) -> Iterator[dict[str, Path]]:
        """Paths at which members can be read inside the block.

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
                unpack_zip_member(self.source, member, Path(folder) / member)
            yield {key: Path(folder) / member for key, member in members.items()}

    @contextlib.contextmanager
    def _named(self, folder: Path) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            raise DataError(str(error).replace(f"{folder}{os.sep}", f"{self.source}{os.sep}")) from error


@dataclass(frozen=True)
class Source:
    """What an archive or folder holds; made by :func:`open_source`.

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
        """The reader of the members; a tar is unpacked into ``scratch``, unless an earlier run has done so.

        Raises:
            DataError: The archive is damaged.
        """
        if self.kind == "folder":
            return Reader(self.path, self.path)
        if self.kind == "zip":
            return Reader(self.path, None)
        unpacked = scratch / "unpacked"
        if not unpacked.is_dir():
            unpack_tar(self.path, unpacked, self.sizes)
        return Reader(self.path, unpacked)


def open_source(path: Path, max_bytes: int = MAX_BYTES) -> Source:
    """Lists a zip, a tar (also .gz, .bz2, .xz) or a folder.

    Args:
        path: The archive or folder.
        max_bytes: Largest size of everything, unpacked.

    Raises:
        DataError: It is missing, unreadable, truncated or of another kind; a name leads out of it, exists twice
            (also by case) or is no plain file; it is encrypted, or unpacks to more than it can honestly hold.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return Source(path, "folder", _list_folder(path))
        if not path.is_file():
            raise DataError(f"{path}: no such file or folder; expected a zip, a tar or a folder")
        if zipfile.is_zipfile(path):
            return Source(path, "zip", list_zip(path, max_bytes))
        return Source(path, "tar", list_tar(path, max_bytes))
    except DAMAGE as error:
        raise damaged(path, error) from error
    except OSError as error:
        if error.errno is None:  # bz2's way to say it
            raise damaged(path, error) from error
        where = error.filename or path
        raise DataError(f"{where}: cannot be read ({error.strerror or error}); check its permissions") from error


def _list_folder(folder: Path) -> dict[str, int]:
    """Files below a folder; links are followed, since it is the user who made them."""
    members: list[tuple[str, int]] = []
    for file, status in walk_files(folder):
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{file}: is no plain file (a pipe or device); expected files only")
        members.append((file.relative_to(folder).as_posix(), status.st_size))
    return checked(folder, members)
