"""Setting values in a YAML text without touching anything else: comments, order, quotes and layout stay as they are.

The parser tells where every value stands, and only those characters are replaced. A round trip through a writer would
also keep comments, but writes ``null`` as nothing, breaks ``[1.0, 2.0]`` into lines and respaces what it passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import yaml

_INDENT = 2


class _Edit(NamedTuple):
    """Characters start..end make way for ``text``; where both stand at one place, insertions come after."""

    start: int
    is_insertion: bool
    end: int
    text: str


def set_values(text: str, values: Mapping[str, Any]) -> str:
    """The same text with other values.

    Args:
        text: One YAML document, a mapping.
        values: Nested mapping of the values to set. A key that the text lacks is added at the end of its section.

    Returns:
        The new text. Anchors, and keys missing from a ``{flow: mapping}``, are more than this can edit: compare what
        it parses to with what it should.

    Raises:
        yaml.YAMLError: If the text is no YAML mapping, or a value no plain type.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise yaml.YAMLError("expected a mapping")
    pieces, done = [], 0
    for edit in sorted(_edits(text, root, values), key=lambda edit: (edit.start, edit.is_insertion)):
        pieces += [text[done : edit.start], edit.text]
        done = edit.end
    return "".join(pieces) + text[done:]


def block_lines(values: Mapping[str, Any], indent: int = 0) -> list[str]:
    """A nested mapping as indented lines, one a value."""
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{' ' * indent}{flow_text(key)}:", *block_lines(value, indent + _INDENT)]
        else:
            lines.append(f"{' ' * indent}{flow_text(key)}: {flow_text(value)}")
    return lines


def flow_text(value: Any) -> str:
    """A value on one line. Floats keep a point, and small or large ones an exponent: 5.0, 0.05, 3.0e-3."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow_text(key)}: {flow_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow_text(item) for item in value) + "]"
    if isinstance(value, float):
        return _float_text(value)
    # Written as an item of a list, so that commas and brackets are quoted wherever the value will stand.
    return yaml.safe_dump([value], default_flow_style=True, width=float("inf"), allow_unicode=True).strip()[1:-1]


def _float_text(value: float) -> str:
    if value == 0 or 1e-2 <= abs(value) < 1e6:
        return repr(float(value))
    mantissa, exponent = f"{Decimal(repr(float(value))).normalize():e}".split("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"


def _edits(text: str, section: yaml.MappingNode, values: Mapping[str, Any]) -> Iterator[_Edit]:
    entries = {key.value: (key, value) for key, value in section.value}
    for name, new in values.items():
        if name not in entries:
            yield _insertion(text, section, {name: new})
            continue
        key, old = entries[name]
        if isinstance(new, Mapping) and isinstance(old, yaml.MappingNode) and old.value:
            yield from _edits(text, old, new)
        else:
            yield _replacement(text, key, old, flow_text(new))


def _insertion(text: str, section: yaml.MappingNode, values: Mapping[str, Any]) -> _Edit:
    line_end = text.find("\n", _end(section) - 1)
    place = len(text.rstrip("\n")) if line_end < 0 else line_end
    indent = section.value[0][0].start_mark.column
    return _Edit(place, True, place, "".join(f"\n{line}" for line in block_lines(values, indent)))


def _replacement(text: str, key: yaml.Node, old: yaml.Node, new: str) -> _Edit:
    start, end = old.start_mark.index, _end(old)
    if old.start_mark.line > key.end_mark.line:  # lines of a block below the key make way for a value beside it
        start = text.index(":", key.end_mark.index) + 1
        rest_of_line = text[start : text.index("\n", start)]
        return _Edit(start, False, end, f" {new}{rest_of_line}")
    if start == end:  # `key:` with nothing behind
        return _Edit(start, False, end, f" {new}")
    gap = re.match(r" {2,}(?=#)", text[end:])
    if gap is None:
        return _Edit(start, False, end, new)
    # A comment that was set off to a column stays there as long as the value leaves room.
    column = end + len(gap[0]) - start
    return _Edit(start, False, end + len(gap[0]), new.ljust(column - 2) + "  ")


def _end(node: yaml.Node) -> int:
    """Where a value's own text ends; the parser counts the comments below a block as part of it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    index: int = node.end_mark.index
    return index
