"""Folders and files that appear complete or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from hdnet.errors import DataError


@contextmanager
def atomic_folder(out: Path, marker: str | None = None) -> Iterator[Path]:
    """A temporary folder beside ``out`` that replaces it when the block ends well, and vanishes otherwise.

    Args:
        out: The folder to make or replace.
        marker: A file or folder in ``out`` by which an earlier result is known; without it, a folder that holds
            anything is not replaced. None replaces whatever is there.

    Raises:
        DataError: The disk or the folder refuses to be written, or ``out`` holds other things.
    """
    out = Path(out).absolute()
    with _replacing(out, marker) as temporary:
        # What a killed run left behind; a fixed name, so that it can never pile up.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            _publish(temporary, out)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def resumable_folder(out: Path, marker: str | None = None) -> Iterator[tuple[Path, Path]]:
    """Like :func:`atomic_folder`, but what a failed or killed run had finished is found again by the next.

    Args:
        out: The folder to make or replace.
        marker: As for :func:`atomic_folder`.

    Yields:
        The temporary folder beside ``out``, perhaps with files of an earlier run in it; and a folder for notes on what
        is finished there. Without a note at the end of a failure there is nothing to keep, and both vanish.

    Raises:
        DataError: As :func:`atomic_folder`, or another process is writing the same folder.
    """
    out = Path(out).absolute()
    with _replacing(out, marker) as temporary:
        notes = temporary / ".finished"
        notes.mkdir(parents=True, exist_ok=True)
        with _locked(temporary, out):
            try:
                yield temporary, notes
                shutil.rmtree(notes)
                _publish(temporary, out)
            finally:
                if notes.is_dir() and not any(file.is_file() for file in notes.rglob("*")):
                    shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _replacing(out: Path, marker: str | None) -> Iterator[Path]:
    """Path of the temporary folder, once ``out`` may be replaced; errors of the disk become a user's."""
    temporary, old = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.old")
    try:
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


@contextmanager
def _locked(folder: Path, out: Path) -> Iterator[None]:
    """The lock goes with its process, however that ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise DataError(f"{out}: another process is writing this folder; wait for it or stop it") from error
    try:
        yield
    finally:
        os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Write JSON by way of a temporary file and a rename."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
    try:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
