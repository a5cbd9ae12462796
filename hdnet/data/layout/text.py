"""Number tables as text: depth maps, normal maps and correspondences in the reference's formats.

Reading and writing these files is on the critical path of every pipeline run (four 256 x 256 tables a
labelled sample), so the writer builds all bytes with integer arithmetic on whole arrays and the reader uses
NumPy's C parser.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hdnet.errors import DataError

MAP_DECIMALS = 5
# Above this a value times 10^5 no longer fits the exact integers of a float64.
_LARGEST = 2.0**52 / 10**MAP_DECIMALS

_ZERO, _MINUS, _POINT, _NEWLINE = b"0-.\n"


def write_map(path: Path, values: np.ndarray, separator: str) -> None:
    """Write a depth map or one component of a normal map, with the values of "%.5f"; zeros as "0".

    Args:
        path: The text file.
        values: (H, W) finite numbers.
        separator: "," (Tang folders) or " " (TikTok ``pred_normals``).

    Raises:
        DataError: A value is not finite, or too large for five exact decimals.
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        row, column = (int(k) for k in np.argwhere(~np.isfinite(values))[0])
        raise DataError(
            f"{path}: value at row {row + 1}, column {column + 1} to be written is {values[row, column]}; "
            "expected finite numbers"
        )
    if values.size and np.abs(values).max() > _LARGEST:
        raise DataError(f"{path}: a value to be written is {np.abs(values).max():g}; expected at most {_LARGEST:g}")
    path.write_bytes(_format(np.rint(values * 10**MAP_DECIMALS).astype(np.int64), MAP_DECIMALS, separator))


def write_integers(path: Path, values: np.ndarray, separator: str = ",") -> None:
    """Write an (N, C) integer table, one row a line; an empty table is an empty file."""
    path.write_bytes(_format(np.asarray(values, dtype=np.int64), 0, separator))


def _format(scaled: np.ndarray, decimals: int, separator: str) -> bytes:
    """Return the text of ``scaled / 10**decimals``, from a fixed-width byte matrix of all tokens."""
    if scaled.size == 0:
        return b""
    flat = scaled.ravel()
    magnitude = np.abs(flat)
    whole_digits = max(1, len(str(int(magnitude.max()))) - decimals)
    width = 1 + whole_digits + (1 + decimals if decimals else 0) + 1
    cells = np.empty((flat.size, width), dtype=np.uint8)
    used = np.zeros((flat.size, width), dtype=bool)
    # Most pixels are background: only the others need digits.
    (filled,) = np.nonzero(flat)
    rest = magnitude[filled].astype(np.int32 if magnitude.max() < 2**31 else np.int64)
    digits = np.empty((filled.size, width), dtype=np.uint8)
    shown = np.ones((filled.size, width), dtype=bool)
    digits[:, 0] = _MINUS
    shown[:, 0] = flat[filled] < 0
    column = width - 2
    for place in range(decimals + whole_digits):
        if decimals and place == decimals:
            digits[:, column] = _POINT
            column -= 1
        if place > decimals:
            shown[:, column] = rest > 0
        quotient = rest // 10
        digits[:, column] = rest - 10 * quotient + _ZERO
        rest = quotient
        column -= 1
    cells[filled], used[filled] = digits, shown
    empty = flat == 0
    cells[empty, width - 2], used[empty, width - 2] = _ZERO, True
    cells[:, -1], used[:, -1] = ord(separator), True
    cells.reshape(*scaled.shape, width)[:, -1, -1] = _NEWLINE
    return cells[used].tobytes()


def read_map(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Read a depth map or one component of a normal map; commas and blanks are both accepted.

    Args:
        path: The text file.
        shape: The (H, W) that it must have, if known.

    Returns:
        (H, W) float32, all finite.

    Raises:
        DataError: The file is missing, holds something that is not a finite number, or has another shape.
    """
    values = _parse(path, np.dtype(np.float32))
    if shape is not None and values.shape != shape:
        raise DataError(
            f"{path}: found {values.shape[0]} rows x {values.shape[1]} columns of numbers, "
            f"expected {shape[0]} x {shape[1]} as in the sample's mask"
        )
    finite = np.isfinite(values)
    if not finite.all():
        row, column = (int(k) for k in np.argwhere(~finite)[0])
        raise DataError(
            f"{path}: row {row + 1}, column {column + 1} is {values[row, column]}; expected finite numbers, "
            "0 where there is no value"
        )
    return values


def read_integers(path: Path, columns: int | None = None) -> np.ndarray:
    """Read an integer table; commas and blanks are both accepted, an empty file is an empty table.

    A file with one row stays one row (the original turns it into five, docs/parity.md, 41).

    Args:
        path: The text file.
        columns: The number of columns that it must have, if known.

    Returns:
        (N, C) int64.

    Raises:
        DataError: The file is missing, holds something that is not a whole number, or has another shape.
    """
    values = _parse(path, np.dtype(np.float64), empty_columns=columns or 0)
    if columns is not None and values.shape[1] != columns:
        raise DataError(f"{path}: found {values.shape[1]} columns, expected {columns}")
    whole = values == np.rint(values)  # False for NaN
    if not whole.all() or not np.isfinite(values).all():
        row, column = (int(k) for k in np.argwhere(~(whole & np.isfinite(values)))[0])
        raise DataError(
            f"{path}: row {row + 1}, column {column + 1} is {values[row, column]:g}; expected a whole number"
        )
    return values.astype(np.int64)


def _parse(path: Path, dtype: np.dtype, empty_columns: int | None = None) -> np.ndarray:
    text = read_text(path)
    if not text.strip():
        if empty_columns is not None:
            return np.zeros((0, empty_columns), dtype=dtype)
        raise DataError(f"{path}: the file is empty; expected a table of numbers")
    try:
        return np.loadtxt(
            text.splitlines(), dtype=dtype, delimiter="," if "," in text else None, comments=None, ndmin=2
        )
    except ValueError as error:
        reason = str(error).split(";")[0].rstrip(".")
        raise DataError(
            f"{path}: {reason} (rows and columns counted from 0); expected rows of numbers of equal length, "
            "separated by commas or by blanks"
        ) from error


def read_text(path: Path) -> str:
    """Return the text of an ASCII file.

    Raises:
        DataError: The file is missing, unreadable, or no text.
    """
    try:
        return path.read_bytes().decode("ascii")
    except FileNotFoundError as error:
        raise DataError(f"{path}: file is missing; expected a text file with numbers") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a text file with numbers") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text (byte {error.start}); expected numbers as text") from error
