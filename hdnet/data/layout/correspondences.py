"""Correspondence files of the reference: ``corr_mat.txt`` and two tables a pair of frames in ``corrs/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hdnet.data.layout.text import read_integers, write_integers
from hdnet.errors import DataError

CORR_MAT_FILE = "corr_mat.txt"
# Partners of a frame in the original's table.
ORIGINAL_PARTNERS = 4
PARTS = 24
# The original allocates this many rows for a pair and cannot read a file with more (docs/parity.md, 27 and 41).
MAX_ROWS = 25_000


@dataclass(frozen=True, eq=False)
class Correspondences:
    """Matches between a frame i and a frame j, grouped by body part.

    Attributes:
        rows: (N, 5) int64: part 1..24, row and column in i, row and column in j; rows and columns 1-based.
        limits: (24, 3) int64: part, first and last row of ``rows`` (0-based, inclusive), -1, -1 where absent.
    """

    rows: np.ndarray
    limits: np.ndarray

    @classmethod
    def from_rows(cls, rows: np.ndarray) -> Correspondences:
        """Group (N, 5) rows by part (order within a part is kept) and derive the limits."""
        rows = np.asarray(rows, dtype=np.int64).reshape(-1, 5)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        parts = np.arange(1, PARTS + 1)
        first, end = np.searchsorted(rows[:, 0], parts), np.searchsorted(rows[:, 0], parts, side="right")
        present = end > first
        limits = np.stack([parts, np.where(present, first, -1), np.where(present, end - 1, -1)], axis=1)
        return cls(rows, limits)

    @property
    def parts(self) -> int:
        """Number of body parts with matches."""
        return int((self.limits[:, 1] >= 0).sum())


def pair_files(folder: Path, name_i: str, name_j: str) -> tuple[Path, Path]:
    """Return (rows, limits), the two files of a pair."""
    stem = f"{name_i}_{name_j}_i"
    return folder / "corrs" / f"{stem}_r1_c1_r2_c2.txt", folder / "corrs" / f"{stem}_limit.txt"


def write_correspondences(folder: Path, name_i: str, name_j: str, correspondences: Correspondences) -> None:
    """Write the matches of a pair.

    Args:
        folder: The ``correspondences`` folder.
        name_i: Frame name as in the picture names.
        name_j: The same of the other frame.
        correspondences: What to write.

    Raises:
        DataError: More matches than the original can read (25,000).
    """
    rows_file, limits_file = pair_files(folder, name_i, name_j)
    if len(correspondences.rows) > MAX_ROWS:
        raise DataError(
            f"{rows_file}: {len(correspondences.rows)} matches to be written; the reference's format holds "
            f"at most {MAX_ROWS}; match smaller pictures"
        )
    rows_file.parent.mkdir(parents=True, exist_ok=True)
    write_integers(rows_file, correspondences.rows)
    write_integers(limits_file, correspondences.limits)


def read_correspondences(
    folder: Path, name_i: str, name_j: str, size: tuple[int, int] | None = None
) -> Correspondences:
    """Read the matches of a pair.

    Rows that no part's limits cover do not count in the original; they are dropped here.

    Args:
        folder: The ``correspondences`` folder.
        name_i: Frame name as in the picture names.
        name_j: The same of the other frame.
        size: (H, W) of the pictures; rows and columns beyond are refused.

    Returns:
        Matches grouped by part; one row stays one row, an empty file is no match (docs/parity.md, 41).

    Raises:
        DataError: A file is missing or damaged, an index is below 1 or beyond the picture, a part is not
            1..24, or the limits do not fit the rows (docs/parity.md, 33).
    """
    rows_file, limits_file = pair_files(folder, name_i, name_j)
    rows = read_integers(rows_file, 5)
    limits = read_integers(limits_file, 3)
    _check_rows(rows_file, rows, size)
    return Correspondences.from_rows(rows[_covered(limits_file, limits, rows)])


def _check_rows(file: Path, rows: np.ndarray, size: tuple[int, int] | None) -> None:
    wrong_part = np.flatnonzero((rows[:, 0] < 1) | (rows[:, 0] > PARTS))
    if wrong_part.size:
        line = int(wrong_part[0])
        raise DataError(f"{file}: row {line + 1} has part {rows[line, 0]}; expected 1..{PARTS}")
    height, width = size if size is not None else (np.iinfo(np.int64).max,) * 2
    upper = np.array([height, width, height, width])
    outside = np.argwhere((rows[:, 1:] < 1) | (rows[:, 1:] > upper))
    if outside.size:
        line, column = (int(k) for k in outside[0])
        expected = "1-based rows and columns" if size is None else f"1..{upper[column]}, 1-based"
        raise DataError(
            f"{file}: row {line + 1} has {('r1', 'c1', 'r2', 'c2')[column]} = {rows[line, column + 1]}; "
            f"expected {expected}"
        )


def _covered(file: Path, limits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return (N,) bool, rows inside the limits, which are checked."""
    if limits.shape[0] != PARTS or (limits[:, 0] != np.arange(1, PARTS + 1)).any():
        raise DataError(f"{file}: found {limits.shape[0]} rows; expected {PARTS} rows part,first,last, parts in order")
    covered = np.zeros(len(rows), dtype=bool)
    for part, first, last in limits.tolist():
        if (first, last) == (-1, -1):
            continue
        if not 0 <= first <= last < len(rows):
            raise DataError(
                f"{file}: part {part} has rows {first}..{last}; expected 0-based rows inside "
                f"0..{len(rows) - 1}, or -1,-1 for a part without matches"
            )
        if (rows[first : last + 1, 0] != part).any():
            raise DataError(f"{file}: rows {first}..{last} are not all of part {part}; expected 0-based inclusive rows")
        covered[first : last + 1] = True
    return covered


def write_corr_mat(folder: Path, partners: Mapping[str, Sequence[str]], width: int | None = None) -> None:
    """Write ``corr_mat.txt``: one row a frame, its number and those of its partners.

    The original needs a rectangle of at least two rows: shorter rows are filled by repeating their partners in turn, a
    row that is alone is written twice (docs/parity.md, 41).

    Args:
        folder: The ``correspondences`` folder.
        partners: Partner names by frame name; frames without partners are left out.
        width: Partners of a row, :data:`ORIGINAL_PARTNERS` in the original; the most of any frame without it.

    Raises:
        DataError: No frame has a partner, or one has more than ``width``.
    """
    file = folder / CORR_MAT_FILE
    most = max((len(names) for names in partners.values()), default=0)
    if not most:
        raise DataError(f"{file}: no pair to be written; expected at least one frame with a partner")
    width = most if width is None else width
    if most > width:
        raise DataError(f"{file}: a frame has {most} partners; the table holds {width}, as in the original")
    table = [
        [int(name)] + [int(names[k % len(names)]) for k in range(width)] for name, names in partners.items() if names
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_integers(file, np.array(table * 2 if len(table) == 1 else table))


def read_corr_mat(folder: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Read ``corr_mat.txt``.

    Args:
        folder: The ``correspondences`` folder.
        names: Names of the pictures, whose leading zeros the table lacks.

    Returns:
        Partner names by frame name in the file's order, without the repetitions that fill up a row.

    Raises:
        DataError: The file is missing, damaged or empty, or names a frame that is not there.
    """
    file = folder / CORR_MAT_FILE
    by_number = {int(name): name for name in names}
    table = read_integers(file)
    if table.size == 0 or table.shape[1] < 2:
        raise DataError(f"{file}: found no pair; expected rows frame,partner,partner,...")
    unknown = np.argwhere(~np.isin(table, list(by_number)))
    if unknown.size:
        row, column = (int(k) for k in unknown[0])
        raise DataError(f"{file}: row {row + 1} names frame {table[row, column]}, which has no picture")
    partners: dict[str, list[str]] = {}
    for number, *others in table.tolist():
        known = partners.setdefault(by_number[number], [])
        known.extend(name for name in dict.fromkeys(by_number[other] for other in others) if name not in known)
    return partners


def stored_names(folder: Path) -> list[str]:
    """Return the names of the frames in ``corrs/`` with their leading zeros, in numeric order.

    For a folder without pictures; otherwise :func:`read_corr_mat` takes the names of the pictures.

    Raises:
        DataError: A file is not named ``I_J_i_...`` after two frame numbers, or two names are the same number.
    """
    by_number: dict[int, str] = {}
    for file in sorted((folder / "corrs").glob("*_i_limit.txt")):
        for name in file.name.removesuffix("_i_limit.txt").split("_"):
            if not (name.isascii() and name.isdigit()):
                raise DataError(f"{file}: is not named after two frames; expected 0000000_0000001_i_limit.txt")
            if by_number.setdefault(int(name), name) != name:
                raise DataError(f"{file}: frame {name} is also written {by_number[int(name)]}; expected one spelling")
    return [by_number[number] for number in sorted(by_number)]
