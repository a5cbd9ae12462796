"""YAML text of parameters: reading, the shipped params.yaml, and edits that keep comments, order and layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib.resources.abc import Traversable
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import PlainScalarString
from ruamel.yaml.tokens import CommentToken

from hdnet.errors import ParamsError
from hdnet.params.base import Section, meaning

_BYTE_ORDER_MARK = "\ufeff"
_HEADER = """\
# Parameters of the pipeline. These values are the demo, `hdnet params list` shows others; every key is checked, and
# `dvc repro` re-runs what depends on a changed one. Types, limits and details: hdnet/params.
"""


def read_text(file: Traversable, where: str) -> str:
    """Return the text of a file as it is, line ends included.

    Raises:
        ParamsError: If it cannot be read, or is not UTF-8.
    """
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeError) as error:
        raise ParamsError(f"{where}: cannot be read as text: {error}") from error


def read_yaml(text: str, where: str) -> Any:
    """Parse YAML into plain types.

    Raises:
        ParamsError: If the text is not YAML or gives a key twice; names the line.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise ParamsError(f"{where}: not valid YAML: {_problem(error)}") from error


def _problem(error: Exception) -> str:
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} in line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
    return " ".join(str(error).split())


def shipped_text(params: Section) -> str:
    """Text of params.yaml: every key with its value and, as a comment, its meaning."""
    return _HEADER + "".join(f"{line}\n" for line in _section_lines(params, ""))


def _section_lines(section: Section, indent: str) -> Iterator[str]:
    values = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        line, comment = f"{indent}{field.alias or name}:", f"# {meaning(field)}"
        if isinstance(value, Section | dict):
            yield from ([] if indent else [""])
            yield f"{line} {comment}"
        if isinstance(value, Section):
            yield from _section_lines(value, indent + "  ")
        elif isinstance(value, dict):
            yield from (f"{indent}  {key}: {flow_text(item)}" for key, item in values[name].items())
        else:
            yield f"{line} {flow_text(values[name])} {comment}"


def set_values(text: str, values: Mapping[str, Any]) -> str:
    """Return the text with other values and the same comments, order and layout.

    Args:
        text: One YAML document, a mapping.
        values: Nested mapping of the values to set. A key that the text lacks is added at the end of its section.

    Raises:
        ruamel.yaml.error.YAMLError: If the text is not a YAML mapping, or a value no plain type.
    """
    if not values:
        return text
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    line_end = "\r\n" if "\r\n" in text else "\n"
    text = text.removeprefix(mark).replace("\r\n", "\n")
    root = _round_trip().load(text)
    if not isinstance(root, CommentedMap):
        raise YAMLError("expected a mapping")
    _set(root, values, text)
    return mark + _dump(root).replace("\n", line_end)


def block_text(values: Mapping[str, Any]) -> str:
    """A nested mapping with a line for every value."""
    return _dump(_styled(values))


def flow_text(value: Any) -> str:
    """A value on one line. Floats keep a point, and small or large ones an exponent: 5.0, 0.05, 3.0e-3."""
    mapping = CommentedMap(value=_styled(value))
    mapping.fa.set_flow_style()
    return _dump(mapping).strip().removeprefix("{value: ").removesuffix("}")


def _set(section: CommentedMap, values: Mapping[str, Any], text: str) -> None:
    for key, value in values.items():
        old = section.get(key)
        if isinstance(value, Mapping) and isinstance(old, CommentedMap) and old:
            _set(old, value, text)
        elif key in section:
            _replace(section, key, _styled(value), text)
        else:
            _append(section, key, _styled(value))


def _replace(section: CommentedMap, key: Any, value: Any, text: str) -> None:
    beside = section.ca.items.get(key, [None] * 3)[2]
    if _is_block(section[key]):
        below = _cut_comments_below(section, key)
        _attach_comments(section, key, (beside.value if beside else "\n") + below)
    elif beside and text[beside.start_mark.index - 2 : beside.start_mark.index].strip():
        beside.start_mark.column = 0  # one space behind the value; a comment further right keeps its column
    section[key] = value
    if isinstance(value, CommentedMap) and value and beside:
        # Only a parameter that is a mapping itself can have been null: its items have a line each.
        for item in value.values():
            if isinstance(item, CommentedMap):
                item.fa.set_flow_style()
        beside.value, _, below = beside.value.partition("\n")
        _attach_comments(*_last_line(section, key), f"\n{below}")


def _append(section: CommentedMap, key: Any, value: Any) -> None:
    below = _cut_comments_below(section, next(reversed(section))) if section else ""
    section[key] = value
    _attach_comments(*_last_line(section, key), f"\n{below}")


# ruamel.yaml has the comments below a value, up to the next key, at the value's last line.


def _is_block(value: Any) -> bool:
    return isinstance(value, CommentedMap | CommentedSeq) and bool(value) and not value.fa.flow_style()


def _last_line(section: Any, key: Any) -> tuple[Any, Any]:
    """Collection and key of the last line of a value."""
    while _is_block(section[key]):
        section = section[key]
        key = next(reversed(section)) if isinstance(section, CommentedMap) else len(section) - 1
    return section, key


def _cut_comments_below(section: Any, key: Any) -> str:
    section, key = _last_line(section, key)
    comment = section.ca.items.get(key, [None] * 3)[2 if isinstance(section, CommentedMap) else 0]
    if comment is None:
        return ""
    beside, _, below = comment.value.partition("\n")
    if beside:
        comment.value = f"{beside}\n"
    else:
        del section.ca.items[key]
    return str(below)


def _attach_comments(section: CommentedMap, key: Any, comments: str) -> None:
    if comments.strip("\n") or comments.count("\n") > 1:  # more than the end of the line
        section.ca.items[key] = [None, None, CommentToken(comments, CommentMark(0)), None]


def _styled(value: Any) -> Any:
    """Mappings in lines, sequences in brackets."""
    if isinstance(value, Mapping):
        return CommentedMap({key: _styled(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        sequence = CommentedSeq(_styled(item) for item in value)
        sequence.fa.set_flow_style()
        return sequence
    # A plain string would get the quotes of the one that it replaces.
    return PlainScalarString(value) if isinstance(value, str) else value


class _Representer(RoundTripRepresenter):
    """Writes null as a word, and floats such that YAML 1.1 reads them as such, too."""

    def represent_null(self, _: None) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")

    def represent_decimal(self, value: float) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:float", _float_text(value))


_Representer.add_representer(type(None), _Representer.represent_null)
_Representer.add_representer(float, _Representer.represent_decimal)


def _float_text(value: float) -> str:
    if value == 0 or 1e-2 <= abs(value) < 1e6:
        return repr(float(value))
    mantissa, exponent = f"{Decimal(repr(float(value))).normalize():e}".split("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 2**20  # no line is broken
    return yaml


def _dump(value: Any) -> str:
    stream = StringIO()
    _round_trip().dump(value, stream)
    return stream.getvalue()
