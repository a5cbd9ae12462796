"""The files below a folder, links followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def walk_files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All files below a folder in a fixed order; a link that leads back up is passed over.

    Raises:
        OSError: A folder cannot be listed, or a link leads nowhere.
    """
    seen: set[tuple[int, int]] = set()
    for parent, names, files in os.walk(folder, onerror=_raise, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in seen:
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        names.sort()
        for file in (Path(parent, name) for name in sorted(files)):
            yield file, file.stat()


def _raise(error: OSError) -> None:
    raise error
