"""What a check of ``validate.py`` has to say: findings, and the check that all parts of a frame share: its size."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from hdnet.errors import DataError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Finding:
    """Something in a file that breaks a convention.

    Attributes:
        file: The file.
        found: What is there.
        expected: What should be there.
        fix: What to do.
        kind: What was looked at, in a few words; findings of one kind are shown together.
    """

    file: str
    found: str
    expected: str
    fix: str
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.found}; expected {self.expected}" + (f"; {self.fix}" if self.fix else "")

    @property
    def frame(self) -> str:
        """The frame that the file belongs to, as the file's name tells; no frame for ``hdnet.json``."""
        return Path(self.file).stem.partition("_")[0]


@dataclass
class Findings:
    """Errors (training would fail or learn something wrong) and warnings (worth a look)."""

    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def error(self, file: Path, found: str, expected: str, fix: str = "", kind: str = "") -> None:
        """Add an error."""
        self.errors.append(Finding(str(file), found, expected, fix, kind))

    def warning(self, file: Path, found: str, expected: str, fix: str = "", kind: str = "") -> None:
        """Add a warning."""
        self.warnings.append(Finding(str(file), found, expected, fix, kind))

    def data_error(self, file: Path, error: DataError) -> None:
        """Add what a reader refused; its text is already complete."""
        found, _, rest = str(error).removeprefix(f"{file}: ").partition("; expected ")
        if not rest:
            found, _, rest = found.partition(", expected ")
        expected, _, fix = rest.partition("; ")
        if "is missing" in found:
            fix, kind = fix or "add it, or remove the other files of that frame", "missing file"
        else:
            fix, kind = fix or "write it again as expected, or remove the frame", "unreadable file"
        self.error(file, found, expected or "a readable file", fix, kind)

    def attempt(self, file: Path, read: Callable[[Path], Value]) -> Value | None:
        """What ``read`` gives, or None after its error was added."""
        try:
            return read(file)
        except DataError as error:
            self.data_error(file, error)
            return None

    def extend(self, other: Findings) -> None:
        """Add all of another's; texts that repeat are kept once, which matters where a whole folder is wrong."""
        self.errors.extend(map(_interned, other.errors))
        self.warnings.extend(map(_interned, other.warnings))


def _interned(finding: Finding) -> Finding:
    texts = (finding.found, finding.expected, finding.fix, finding.kind)
    return Finding(finding.file, *map(sys.intern, texts))


def check_size(found: Findings, file: Path, size: tuple[int, ...], mask: np.ndarray) -> bool:
    """Whether a picture or table has the size of the mask."""
    if size == mask.shape:
        return True
    found.error(
        file,
        f"{size[1]} x {size[0]} values (width x height)",
        f"{mask.shape[1]} x {mask.shape[0]} as in the sample's mask",
        "crop and resize all files of a sample alike",
        "size",
    )
    return False
