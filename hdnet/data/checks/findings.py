"""Findings of the checks, the report of a folder, and the check of a picture's size."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hdnet.errors import DataError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Finding:
    """A violated convention in a file.

    Attributes:
        file: The file.
        found: Its content.
        expected: The content that the convention asks for.
        fix: Remedy.
        kind: Checked property, in a few words; findings of one kind are shown together.
    """

    file: str
    found: str
    expected: str
    fix: str
    kind: str = ""

    @classmethod
    def of(cls, file: Path, kind: str, text: str) -> Finding:
        """A finding from its text "FOUND; expected EXPECTED; FIX", in which EXPECTED has no semicolon."""
        found, _, rest = text.partition("; expected ")
        expected, _, fix = rest.partition("; ")
        return cls(str(file), found, expected, fix, kind)

    def __str__(self) -> str:
        return f"{self.file}: {self.found}; expected {self.expected}" + (f"; {self.fix}" if self.fix else "")

    @property
    def frame(self) -> str:
        """The frame of the file, by its name; no frame for ``hdnet.json``."""
        return Path(self.file).stem.partition("_")[0]


@dataclass
class Findings:
    """Errors (training would fail or learn from wrong data) and warnings (to be looked at)."""

    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def error(self, file: Path, kind: str, text: str) -> None:
        """Add an error; see :meth:`Finding.of`."""
        self.errors.append(Finding.of(file, kind, text))

    def warning(self, file: Path, kind: str, text: str) -> None:
        """Add a warning; see :meth:`Finding.of`."""
        self.warnings.append(Finding.of(file, kind, text))

    def data_error(self, file: Path, error: DataError) -> None:
        """Add the error of a reader, whose text is already complete."""
        found, _, rest = str(error).removeprefix(f"{file}: ").partition("; expected ")
        if not rest:
            found, _, rest = found.partition(", expected ")
        expected, _, fix = rest.partition("; ")
        if "is missing" in found:
            fix, kind = fix or "add it, or remove the other files of that frame", "missing file"
        else:
            fix, kind = fix or "write it again as expected, or remove the frame", "unreadable file"
        self.errors.append(Finding(str(file), found, expected or "a readable file", fix, kind))

    def attempt(self, file: Path, read: Callable[[Path], Value]) -> Value | None:
        """The result of ``read``, or None after its error was added."""
        try:
            return read(file)
        except DataError as error:
            self.data_error(file, error)
            return None

    def extend(self, other: Findings) -> None:
        """Add all of another's; repeated texts share memory, which matters where a whole folder is wrong."""
        self.errors.extend(map(_interned, other.errors))
        self.warnings.extend(map(_interned, other.warnings))


def _interned(finding: Finding) -> Finding:
    texts = (finding.found, finding.expected, finding.fix, finding.kind)
    return Finding(finding.file, *map(sys.intern, texts))


@dataclass(frozen=True)
class Report:
    """Result of a folder's validation.

    Attributes:
        folder: The folder.
        samples: Number of checked frames.
        errors: See :class:`Findings`.
        warnings: See there.
        statistics: Figures over all frames by name: mean, min, max, and the worst frame; or one number of the folder.
        digests: Digest of each frame's picture, to find it in another folder.
    """

    folder: str
    samples: int
    errors: list[Finding]
    warnings: list[Finding]
    statistics: dict[str, dict[str, float | str] | float] = field(default_factory=dict)
    digests: dict[str, bytes] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, without the digests."""
        return {
            "folder": self.folder,
            "samples": self.samples,
            "errors": [asdict(finding) for finding in self.errors],
            "warnings": [asdict(finding) for finding in self.warnings],
            "statistics": self.statistics,
        }


def sized(found: Findings, file: Path, picture: np.ndarray | None, mask: np.ndarray) -> np.ndarray | None:
    """A picture or map of the mask's size; None after an error was added, or where there is no picture."""
    if picture is None or picture.shape[:2] == mask.shape:
        return picture
    height, width = picture.shape[:2]
    found.error(
        file,
        "size",
        f"{width} x {height} values (width x height); expected {mask.shape[1]} x {mask.shape[0]} as in "
        "the sample's mask; crop and resize all files of a sample alike",
    )
    return None
