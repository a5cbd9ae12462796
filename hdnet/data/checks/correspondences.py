"""Checks of correspondences against their frames, in the original's text form or packed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hdnet.data.checks.findings import Findings
from hdnet.data.layout.correspondences import CORR_MAT_FILE, MAX_ROWS, ORIGINAL_PARTNERS, PARTS, pair_files
from hdnet.data.layout.text import read_integers
from hdnet.data.parallel import ordered_map
from hdnet.data.store.pairs import PackedPairs, is_packed
from hdnet.data.store.shards import INDEX_FILE
from hdnet.errors import DataError

# Pairs in one call of a worker.
_PAIRS_PER_CALL = 256
_COLUMNS = ("r1", "c1", "r2", "c2")
_AGAIN = "match the frames again"

# (file that lists the pairs, the pairs, check of a chunk, items of the chunks)
_PairChecks = tuple[Path, list[tuple[str, str]], Callable[[Any], Findings], Sequence[Any]]


def check_correspondences(
    folder: Path,
    sequences: Mapping[str, Sequence[str]],
    size: tuple[int, int],
    jobs: int = 1,
    progress: bool = False,
) -> Findings:
    """Check a folder of correspondences.

    Frames that are there, of one sequence, no pair twice; parts 1..24, rows and columns 1-based and inside the
    pictures, no match twice; as text also the table's shape, and limits that fit the rows; packed also the SHA-256.

    Args:
        folder: With ``corr_mat.txt`` and ``corrs/``, or packed by :mod:`hdnet.data.store.pairs`.
        sequences: Names of all frames by sequence.
        size: (H, W) of their pictures.
        jobs: Processes.
        progress: Show a progress bar on stderr.

    Returns:
        Findings, of one kind at most one a pair.
    """
    folder, found = Path(folder), Findings()
    packed = found.attempt(folder / INDEX_FILE, lambda _: is_packed(folder))
    if packed is None:
        return found
    read = _read_packed(found, folder, size) if packed else _read_text(found, folder, size, sequences)
    if read is None:
        return found
    table, pairs, check, work = read
    _check_pairs(found, table, pairs, sequences)
    chunks = [work[k : k + _PAIRS_PER_CALL] for k in range(0, len(work), _PAIRS_PER_CALL)]
    for checked in ordered_map(check, chunks, jobs, progress, "check pairs"):
        found.extend(checked)
    if not packed:
        _check_unlisted(found, folder, work)
    return found


def check_rows(found: Findings, file: Path, rows: np.ndarray, size: tuple[int, int], label: str = "") -> None:
    """Parts, indices and duplicates of the matches of one pair.

    Args:
        found: Gets the findings.
        file: File of the rows.
        rows: (N, 5) integers: part, row and column in i, row and column in j.
        size: (H, W) of the pictures.
        label: The pair, in a file of several.
    """
    parts = rows[:, 0]
    if len(rows) and (parts.min() < 1 or parts.max() > PARTS):
        found.error(
            file,
            "match part",
            f"{label}body parts {parts.min()}..{parts.max()}; expected 1..{PARTS}; drop the other rows",
        )
    if len(rows):
        _check_indices(found, file, rows[:, 1:], size, label)
    repeated = len(rows) - len(np.unique(rows[:, :3], axis=0))
    if repeated:
        found.warning(
            file,
            "match twice",
            f"{label}{repeated} matches of a pixel of frame i that has one already; expected one a pixel and "
            "part; keep the nearer one: the others weigh double",
        )
    if len(rows) > MAX_ROWS:
        found.warning(
            file,
            "match count",
            f"{label}{len(rows)} matches; expected at most {MAX_ROWS} if the original shall read them; fine for us",
        )


def _check_indices(found: Findings, file: Path, places: np.ndarray, size: tuple[int, int], label: str) -> None:
    low, high = places.min(axis=0), places.max(axis=0)
    limit = np.array([size[0], size[1], size[0], size[1]])
    if (low < 1).any():
        zero_based = low.min() == 0 and (high < limit).all()
        column = int(np.argmin(low))
        found.error(
            file,
            "match index",
            f"{label}{_COLUMNS[column]} = "
            f"{low[column]}{': the rows and columns are 0-based' if zero_based else ''}; expected "
            f"1..{limit[column]}, 1-based; "
            f"{'add 1 to all rows and columns of all pairs' if zero_based else _AGAIN}",
        )
    elif (high > limit).any():
        column = int(np.argmax(high - limit))
        found.error(
            file,
            "match index",
            f"{label}{_COLUMNS[column]} = {high[column]}; expected 1..{limit[column]}, 1-based, as the "
            f"pictures are {size[1]} x {size[0]}; scale them with the pictures, or match the frames again",
        )


def check_limits(found: Findings, file: Path, limits: np.ndarray, rows: np.ndarray) -> None:
    """The limits of a pair against its rows (N, 5).

    ``limits`` are (24, 3) integers: part, first and last row, 0-based and inclusive, -1, -1 for a part without matches.
    """
    expected = f"{PARTS} rows part,first,last with parts in order"
    if limits.shape != (PARTS, 3) or (limits[:, 0] != np.arange(1, PARTS + 1)).any():
        found.error(
            file, "match limits", f"{limits.shape[0]} rows x {limits.shape[1]} columns; expected {expected}; {_AGAIN}"
        )
        return
    if _misfit(limits, rows) is None:
        left = len(rows) - _covered(limits)
        if left:
            found.warning(
                file,
                "match limits",
                f"{left} rows that no part's limits cover; expected limits around all rows; they are not used; "
                "extend the limits, or remove the rows",
            )
        return
    present = (limits[:, 1:] != -1).any(axis=1)[:, None]
    fix = _AGAIN
    for name, shift in (("1-based", [0, 1, 1]), ("exclusive at the end", [0, 0, 1])):
        other = limits - np.where(present, shift, 0)
        if _misfit(other, rows) is None and _covered(other) == len(rows):
            fix = f"they seem to be {name}: subtract {shift[1]} from the first and {shift[2]} from the last"
            break
    part = _misfit(limits, rows)
    first, last = limits[(part or 1) - 1, 1:]
    found.error(
        file,
        "match limits",
        f"part {part} has rows {first}..{last}, which are not all its own; expected 0-based, inclusive "
        f"rows inside 0..{len(rows) - 1}, or -1,-1; {fix}",
    )


def _misfit(limits: np.ndarray, rows: np.ndarray) -> int | None:
    """The first part whose limits do not fit."""
    for part, first, last in limits.tolist():
        if (first, last) == (-1, -1):
            continue
        if not 0 <= first <= last < len(rows) or (rows[first : last + 1, 0] != part).any():
            return int(part)
    return None


def _covered(limits: np.ndarray) -> int:
    """Rows inside the limits, which hold one part each and so cannot overlap."""
    return int((limits[:, 2] - limits[:, 1] + 1)[limits[:, 1] >= 0].sum())


def _check_pairs(
    found: Findings, file: Path, pairs: Iterable[tuple[str, str]], sequences: Mapping[str, Sequence[str]]
) -> None:
    """Frames of all pairs: of one sequence, not with themselves, no pair twice."""
    sequence_of = {name: sequence for sequence, names in sequences.items() for name in names}
    counts = Counter(pairs)
    for (name_i, name_j), count in counts.items():
        if count > 1:
            found.warning(
                file,
                "pair twice",
                f"pair {name_i}, {name_j} {count} times; expected once; remove the others: they weigh more",
            )
        if name_i == name_j:
            found.error(
                file, "pair of one frame", f"frame {name_i} is its own partner; expected two frames; remove the pair"
            )
        elif name_i not in sequence_of or name_j not in sequence_of:
            unknown = name_j if name_i in sequence_of else name_i
            found.error(
                file,
                "pair",
                f"frame {unknown} has no picture; expected frames that are there; restore it, or remove the pair",
            )
        elif sequence_of[name_i] != sequence_of[name_j]:
            found.error(
                file,
                "pair across sequences",
                f"frames {name_i} of sequence {sequence_of[name_i]} and {name_j} of {sequence_of[name_j]} are a "
                "pair; expected pairs within one video and person; remove the pair, or correct the sequences in "
                "hdnet.json",
            )


def _read_packed(found: Findings, folder: Path, size: tuple[int, int]) -> _PairChecks | None:
    try:
        packed = PackedPairs(folder)
        packed.verify()
        pairs = [(packed.names[i], packed.names[j]) for i, j in packed.pairs.tolist()]
    except DataError as error:
        found.data_error(folder, error)
        return None
    return folder / "pairs.npy", pairs, partial(_check_packed_rows, packed, size), range(len(pairs))


def _check_packed_rows(packed: PackedPairs, size: tuple[int, int], pairs: Sequence[int]) -> Findings:
    found = Findings()
    for k in pairs:
        i, j = packed.pairs[k].tolist()
        rows, label = packed.rows(k), f"frames {packed.names[i]} and {packed.names[j]}: "
        file = packed.folder / packed.file_of(k)
        check_rows(found, file, rows, size, label)
        if (np.diff(rows[:, 0]) < 0).any():
            found.error(file, "match part", f"{label}body parts out of order; expected rows grouped by part; {_AGAIN}")
    return found


def _read_text(
    found: Findings, folder: Path, size: tuple[int, int], sequences: Mapping[str, Sequence[str]]
) -> _PairChecks | None:
    file = folder / CORR_MAT_FILE
    table = found.attempt(file, read_integers)
    if table is None:
        return None
    pairs = _pairs_of_table(found, file, table, sequences)
    there = {name for names in sequences.values() for name in names}
    existing = [pair for pair in dict.fromkeys(pairs) if there.issuperset(pair)]
    return file, pairs, partial(_check_pair_files, folder, size), existing


def _check_unlisted(found: Findings, folder: Path, pairs: Sequence[tuple[str, str]]) -> None:
    listed = {path.name for pair in pairs for path in pair_files(folder, *pair)}
    others = sorted(path.name for path in (folder / "corrs").glob("*.txt") if path.name not in listed)
    if others:
        found.warning(
            folder / "corrs" / others[0],
            "pair without row",
            f"{len(others)} files of pairs that {CORR_MAT_FILE} does not name, this the first; expected files "
            "of its pairs only; they are not used; add the pairs, or remove the files",
        )


def _pairs_of_table(
    found: Findings, file: Path, table: np.ndarray, sequences: Mapping[str, Sequence[str]]
) -> list[tuple[str, str]]:
    """Pairs of ``corr_mat.txt``; repetitions that fill up a row count once."""
    if len(table) == 0 or table.shape[1] < 2:
        found.error(file, "pair table", f"no pair; expected rows frame,partner,partner,...; {_AGAIN}")
        return []
    if table.shape[1] != ORIGINAL_PARTNERS + 1 or len(table) == 1:
        found.warning(
            file,
            "pair table",
            f"{table.shape[0]} rows x {table.shape[1]} columns; expected two rows or more of "
            f"{ORIGINAL_PARTNERS + 1} columns: a frame and {ORIGINAL_PARTNERS} partners; fine for us; the "
            "original draws from these columns, and fails at a single row",
        )
    by_number = {int(name): name for names in sequences.values() for name in names}
    named = [[by_number.get(number, str(number)) for number in row] for row in table.tolist()]
    return [(frame, other) for frame, *others in named for other in dict.fromkeys(others)]


def _check_pair_files(folder: Path, size: tuple[int, int], pairs: Sequence[tuple[str, str]]) -> Findings:
    found = Findings()
    for name_i, name_j in pairs:
        rows_file, limits_file = pair_files(folder, name_i, name_j)
        rows = found.attempt(rows_file, lambda file: read_integers(file, 5))
        limits = found.attempt(limits_file, lambda file: read_integers(file, 3))
        if rows is None:
            continue
        check_rows(found, rows_file, rows, size)
        if limits is not None:
            check_limits(found, limits_file, limits, rows)
    return found
