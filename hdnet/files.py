"""Files and folders that appear complete or not at all, locks, digests and JSON."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from hdnet.errors import DataError


@contextmanager
def atomic_write(path: Path, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary file beside ``path`` that replaces it when the block ends well, and vanishes otherwise.

    A link stays a link, and the permissions of a file that is replaced are kept. What a killed process leaves is named
    ``.NAME.XXXXXXXX.partial``.

    Args:
        path: The file to make or replace.
        durable: Whether the content is on the disk (fsync) before the file appears.

    Raises:
        OSError: The disk or the folder refuses to be written.
    """
    target = Path(path).resolve()
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:8]}.partial")
    try:
        yield temporary
        if target.exists():
            shutil.copymode(target, temporary)
        if durable:
            _sync(temporary)
        temporary.replace(target)
        if durable:
            _sync(target.parent)
    finally:
        if target.parent.is_dir():
            temporary.unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Delete what processes that were killed in :func:`atomic_write` left below a folder."""
    for file in folder.rglob(".*.partial"):
        if file.is_file():
            file.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(file: Path, taken: Callable[[str], Exception], wait_s: float = 0) -> Iterator[None]:
    """Hold an exclusive lock between processes; the system releases it with its process, however that ends.

    Args:
        file: The lock file; made for it and removed after it.
        taken: The error to raise if another process holds the lock, given the number of that process.
        wait_s: How long to wait for it.

    Raises:
        Exception: That of ``taken``.
        OSError: The file cannot be written.
    """
    lock = FileLock(file)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        holder = file.read_text(encoding="utf-8").strip() if file.exists() else ""
        raise taken(holder or "unknown") from None
    try:
        file.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        # Removed while it is held: a process that waits for it notices and takes a new file.
        file.unlink(missing_ok=True)
        lock.release()


@contextmanager
def atomic_folder(out: Path, marker: str | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside ``out`` that replaces it when the block ends well, and vanishes otherwise.

    Args:
        out: The folder to make or replace.
        marker: A file or folder in ``out`` by which an earlier result is known; without it, a folder that holds
            anything is not replaced. None replaces whatever is there.

    Raises:
        DataError: The disk or the folder refuses to be written, ``out`` holds other things, or another process is
            writing it.
    """
    out = Path(out).absolute()
    with _replacing(out, marker) as temporary:
        # What a killed run left behind; the name is fixed, so that it cannot pile up.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            _publish(temporary, out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def resumable_folder(out: Path, marker: str | None = None) -> Iterator[tuple[Path, Path]]:
    """Like :func:`atomic_folder`, but the next run continues from what a failed or killed one had finished.

    Args:
        out: The folder to make or replace.
        marker: As for :func:`atomic_folder`.

    Yields:
        The temporary folder beside ``out``, perhaps with files of an earlier run in it; and a folder for notes on what
        is finished there. Without a note at the end of a failure there is nothing to keep, and both vanish.

    Raises:
        DataError: As :func:`atomic_folder`.
    """
    out = Path(out).absolute()
    with _replacing(out, marker) as temporary:
        notes = temporary / ".finished"
        notes.mkdir(parents=True, exist_ok=True)
        remove_partial(temporary)
        try:
            yield temporary, notes
            shutil.rmtree(notes)
            _publish(temporary, out)
        finally:
            if notes.is_dir() and not any(file.is_file() for file in notes.rglob("*")):
                shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _replacing(out: Path, marker: str | None) -> Iterator[Path]:
    """Lock ``out`` and yield the path of its temporary folder; errors of the disk become a DataError."""
    temporary, old = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.old")
    taken = DataError(f"{out}: another process is writing this folder; wait for it or stop it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with locked(out.with_name(f".{out.name}.lock"), lambda _: taken):
            if old.exists() and not out.exists():
                old.rename(out)  # killed between the two renames of _publish
            if marker and out.is_dir() and any(out.iterdir()) and not (out / marker).exists():
                raise DataError(f"{out}: holds other things, which would be deleted; choose a new or an empty folder")
            shutil.rmtree(old, ignore_errors=True)
            yield temporary
    except OSError as error:
        waits = f"; what is finished waits in {temporary} for the next run" if temporary.exists() else ""
        raise DataError(f"{out}: cannot be written ({error}); nothing was changed there{waits}") from error


def _publish(temporary: Path, out: Path) -> None:
    if out.exists():
        old = out.with_name(f".{out.name}.old")
        out.rename(old)
        temporary.rename(out)
        shutil.rmtree(old)
    else:
        temporary.rename(out)


def folder_of_process(prefix: str) -> Path:
    """Make a folder among the temporary files that goes when this process ends."""
    folder = tempfile.mkdtemp(prefix=prefix)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that must hold an object.

    Raises:
        DataError: The file is missing, unreadable, not JSON, or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: file is missing; expected a JSON object") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: found a JSON {type(content).__name__}; expected an object")
    return content


class Finished:
    """Resume record of a folder: results of its finished pieces, each with the fingerprint of what it was made from.

    Args:
        folder: Folder of the notes, one a piece, as from :func:`resumable_folder`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, piece: str, made_from: str) -> dict[str, Any] | None:
        """Return the result of a piece that was made from the same; None if it is not finished."""
        try:
            note = read_json_object(self._note(piece))
        except DataError:  # none, or a power cut left it empty: the piece is made again
            return None
        return note.get("result") if note.get("made_from") == made_from else None

    def put(self, piece: str, made_from: str, result: dict[str, Any]) -> None:
        """Record a finished piece; the result is JSON-able."""
        write_json(self._note(piece), {"made_from": made_from, "result": result})

    def drop(self, piece: str) -> None:
        """Forget a piece."""
        self._note(piece).unlink(missing_ok=True)

    def _note(self, piece: str) -> Path:
        return self._folder / f"{piece}.json"


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes.

    Raises:
        DataError: The file is missing or unreadable.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def fingerprint(values: Any) -> str:
    """SHA-256 of JSON-able values, in hexadecimal; the order of keys does not count."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def complete_lines(path: Path) -> list[str]:
    """Return the lines of a file that is written line by line; a half line at its end, left by a kill, is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        os.truncate(path, end)
    return content[:end].decode().splitlines()


def walk_files(folder: Path, hidden: bool = True) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield all files below a folder in a fixed order, links followed; a link that leads back up is skipped.

    Args:
        folder: The folder.
        hidden: Whether to include files and folders whose names begin with a dot.

    Raises:
        OSError: A folder cannot be listed, or a link leads nowhere.
    """

    def fail(error: OSError) -> None:
        raise error

    seen: set[tuple[int, int]] = set()
    for parent, names, files in os.walk(folder, onerror=fail, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in seen:
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        names[:] = sorted(name for name in names if hidden or not name.startswith("."))
        for file in (Path(parent, name) for name in sorted(files) if hidden or not name.startswith(".")):
            yield file, file.stat()
