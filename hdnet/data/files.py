"""Folders and files that appear complete or not at all."""

from __future__ import annotations

import hashlib
import json
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
    temporary, old = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.old")
    try:
        if old.exists() and not out.exists():
            old.rename(out)  # killed between the two renames below
        if marker and out.is_dir() and any(out.iterdir()) and not (out / marker).exists():
            raise DataError(f"{out}: holds other things, which would be deleted; choose a new or an empty folder")
        # What a killed run left behind; fixed names, so that it can never pile up.
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        if out.exists():
            out.rename(old)
            temporary.rename(out)
            shutil.rmtree(old)
        else:
            temporary.rename(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error}); nothing was changed there") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
