"""Overlays: YAML files with only those keys of params.yaml that differ, and the presets that come with the package.

Nothing but parameters stands in an overlay; where it comes from is said in comments. The first comment line of a
preset is its description.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from pydantic import ValidationError

from hdnet.errors import ParamsError
from hdnet.params import Params, parse_section
from hdnet.params.yaml_edit import block_lines, flow_text, set_values

Values = Mapping[str, Any]

# What stands for the old value of a key that the file did not have.
NOT_SET = "(not set)"


@dataclass(frozen=True)
class Change:
    """One key of params.yaml that an overlay changed.

    Attributes:
        path: Names from the top level down.
        old: The value before, as plain YAML types; :data:`NOT_SET` for a key that was not there.
        new: The value now.
    """

    path: tuple[str, ...]
    old: Any
    new: Any

    @property
    def key(self) -> str:
        """The path with dots, as `dvc exp run -S` takes it."""
        return ".".join(self.path)


def presets() -> dict[str, str]:
    """Description by name of the overlays that come with the package."""
    return {
        name: file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ") for name, file in _preset_files().items()
    }


def read_overlay(name_or_file: str | Path) -> dict[str, Any]:
    """Reads a preset by name or an overlay by path; a file that is called like a preset is "./demo".

    Raises:
        ParamsError: If there is no such preset or file, or it is not a YAML mapping, or says a key twice.
    """
    files = _preset_files()
    file = files.get(str(name_or_file), Path(name_or_file))
    if not file.is_file():
        raise ParamsError(f"{name_or_file}: no such preset or file; presets are {', '.join(files)}")
    text = _read(file, str(name_or_file))
    values = _parse(text, str(name_or_file))
    if not isinstance(values, dict):
        raise ParamsError(f"{name_or_file}: holds no parameters; expected a mapping of keys of params.yaml")
    _refuse_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader), str(name_or_file))
    return values


def write_overlay(path: Path, overlay: Values, comment: str) -> None:
    """Writes an overlay, atomically.

    Args:
        path: File to write or replace.
        overlay: Nested mapping of plain values.
        comment: Where the values come from; becomes the comment at the top.

    Raises:
        ParamsError: If the file cannot be written.
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()] + block_lines(overlay)
    _replace_file(path, "\n".join(lines) + "\n")


def apply_overlay(path: Path, overlay: Values, name: str = "overlay") -> list[Change]:
    """Merges an overlay into params.yaml, in place; comments, order and layout stay.

    Mappings are merged key by key, any other value (a list, a null) replaces the old one. The result is checked before
    the file is replaced, in one rename; on any error the file is as it was.

    Args:
        path: params.yaml.
        overlay: Nested mapping of the keys that differ.
        name: How errors call the overlay.

    Returns:
        What changed, in the overlay's order; nothing for keys that already had the value.

    Raises:
        ParamsError: If the file is missing or not YAML, a key is unknown, or a value is of the wrong type or out of
            range; names the key.
    """
    text, changes = merge_overlay(path, overlay, name)
    if changes:
        _replace_file(path, text)
    return changes


def merge_overlay(path: Path, overlay: Values, name: str = "overlay") -> tuple[str, list[Change]]:
    """What :func:`apply_overlay` would write, and what it would change; arguments and errors as there."""
    if not path.is_file():
        raise ParamsError(f"{path}: no such file; run from the repository's root or pass --params")
    text = _read(path, str(path))
    base = _parse(text, str(path))
    where = f"{path} with {name}" if overlay else str(path)
    merged = parse_section(Params, merge_values(base, overlay) if isinstance(base, dict) else base, where)
    changes = list(_changes((), overlay, _plain(base), _plain_params(merged)))
    try:
        text = set_values(text, _nested(changes))
        written = Params.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError):
        written = None
    if written != merged:
        raise ParamsError(
            f"{where}: {', '.join(change.key for change in changes)} cannot be set in this file, which has YAML "
            "anchors or sections in braces; write every key on a line of its own, or set them by hand"
        )
    return text, changes


def change_table(changes: list[Change]) -> str:
    """Lines "key  old -> new", the keys in one column."""
    width = max((len(change.key) for change in changes), default=0)
    return "\n".join(f"{c.key:<{width}}  {_shown(c.old)} -> {_shown(c.new)}" for c in changes)


def _shown(value: Any) -> str:
    return value if value is NOT_SET else flow_text(value)


def _preset_files() -> dict[str, Traversable]:
    files = (resources.files("hdnet.params") / "presets").iterdir()
    return {file.name.removesuffix(".yaml"): file for file in sorted(files, key=str) if file.name.endswith(".yaml")}


def _read(file: Traversable, where: str) -> str:
    try:
        return file.read_bytes().decode()  # read_text would change line ends
    except (OSError, UnicodeError) as error:
        raise ParamsError(f"{where}: cannot be read as text: {error}") from error


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise ParamsError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


def _refuse_repeated_keys(node: yaml.Node | None, where: str, path: tuple[str, ...] = ()) -> None:
    """YAML's reader takes the last of two equal keys and says nothing; a section given twice would be lost."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        if key.value in seen:
            raise ParamsError(f"{where}: {'.'.join((*path, key.value))}: stands there twice; expected each key once")
        seen.add(key.value)
        _refuse_repeated_keys(value, where, (*path, key.value))


def merge_values(base: Values, overlay: Values) -> dict[str, Any]:
    """``base`` with the overlay's values; mappings are merged key by key, any other value replaces the old one."""
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        merged[key] = merge_values(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _plain_params(params: Params) -> dict[str, Any]:
    return params.model_dump(mode="json", by_alias=True)


def _plain(base: dict[str, Any]) -> dict[str, Any]:
    """The old values as the schema reads them, so that 3e-3 and 0.003 are no change.

    The old file may lack a key or hold a wrong value that the overlay mends: then its values as they stand.
    """
    try:
        return _plain_params(parse_section(Params, base, ""))
    except ParamsError:
        return base


def _changes(path: tuple[str, ...], overlay: Values, old: Values, new: Values) -> Iterator[Change]:
    for key, value in overlay.items():
        before, after = old.get(key, NOT_SET), new[key]
        if isinstance(value, Mapping) and isinstance(after, Mapping):
            yield from _changes((*path, key), value, before if isinstance(before, Mapping) else {}, after)
        elif before != after:
            yield Change((*path, key), before, after)


def _nested(changes: list[Change]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for change in changes:
        section = values
        for name in change.path[:-1]:
            section = section.setdefault(name, {})
        section[change.path[-1]] = change.new
    return values


def _replace_file(path: Path, text: str) -> None:
    target = path.resolve()  # a link stays a link
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:8]}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as error:
        raise ParamsError(f"{path}: cannot be written ({error.strerror}); it is as it was") from error
    finally:
        temporary.unlink(missing_ok=True)
