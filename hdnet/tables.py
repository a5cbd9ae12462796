"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_RULES = {"l": "---", "r": "---:"}


def markdown_table(headings: Sequence[str], rows: Iterable[Iterable[object]], align: str = "") -> list[str]:
    """Return the lines of a table.

    Args:
        headings: Of the columns.
        rows: Cells of each line.
        align: "l" or "r" for each column, left or right; the last letter counts for all that follow. All left without.
    """
    align = (align or "l").ljust(len(headings), (align or "l")[-1])
    return [_line(headings), f"|{'|'.join(_RULES[side] for side in align)}|", *map(_line, rows)]


def _line(cells: Iterable[object]) -> str:
    return "|" + "".join(f" {cell} |" if str(cell) else " |" for cell in cells)
