"""Copies of the user's files that share disk space where that is safe."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

from tqdm import tqdm

from hdnet.files import walk_files

# Linux: both files share the disk's blocks until one of them is written to (Btrfs, XFS, bcachefs, ZFS, ...).
_FICLONE = 0x40049409


def copy_folder(source: Path, target: Path, progress: bool = False) -> int:
    """Copy the files below a folder, without hidden ones; links are followed.

    Copies share the disk's blocks with the originals where the file system can (reflinks). Hard links would save as
    much everywhere, but make both names one file: DVC, which turns outputs into read-only links to its cache, would
    turn the user's own files into those too, and an edit of theirs would change the cache.

    Args:
        source: The folder.
        target: The copy; must not exist.
        progress: Show a progress bar on stderr.

    Returns:
        Number of files copied.

    Raises:
        OSError: A file or folder cannot be read or written.
    """
    files, sharing = [file for file, _ in walk_files(source, hidden=False)], True
    for file in tqdm(files, desc=f"copy {source.name}", disable=not progress):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        sharing = sharing and _share(file, copy)
        if not sharing:
            shutil.copyfile(file, copy)
    return len(files)


def _share(source: Path, target: Path) -> bool:
    """Return whether ``target`` is now a copy that shares the blocks of ``source``."""
    with source.open("rb") as read, target.open("wb") as written:
        try:
            fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
        except OSError:  # other file systems, or two of them
            return False
    return True
