"""Overlays: the keys of params.yaml that differ, as YAML files, and the presets that come with the package.

A preset is an overlay over the demo, which params.yaml ships; the demo itself is one over the sections' defaults. Its
first comment line is its description.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from hdnet.errors import ParamsError
from hdnet.files import atomic_write
from hdnet.params import Params, parse_section
from hdnet.params.text import block_text, flow_text, read_text, read_yaml, set_values

Values = Mapping[str, Any]

# Old value of a key that the file did not have.
NOT_SET = "(not set)"

DEMO = "demo"
# Keys that belong to a machine or a registry, which the demo leaves as they are.
_NOT_IN_DEMO: Any = {
    "register_": True,
    "promote": True,
    "runtime": {"device", "devices", "nodes", "jobs", "parallel_backend", "loader_workers"},
}


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
    """Return the description of every preset by its name."""
    files = _preset_files().items()
    texts = {name: file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ") for name, file in files}
    return dict(sorted(texts.items()))


def preset_params(name: str) -> Params:
    """Return all parameters with a preset applied to the demo."""
    values = {} if name == DEMO else read_overlay(name)
    return parse_section(Params, merge_values(_plain_params(demo_params()), values), name)


def demo_params() -> Params:
    """Return the values that params.yaml ships."""
    return parse_section(Params, merge_values(_plain_params(Params()), _read(_preset_files()[DEMO], DEMO)), DEMO)


def read_overlay(name_or_file: str | Path) -> dict[str, Any]:
    """Read a preset by name or an overlay by path; a file that is called like a preset is "./demo".

    Raises:
        ParamsError: If there is no such preset or file, or it is not a YAML mapping, or gives a key twice.
    """
    if str(name_or_file) == DEMO:
        return demo_params().model_dump(mode="json", by_alias=True, exclude=_NOT_IN_DEMO)
    files = _preset_files()
    file = files.get(str(name_or_file), Path(name_or_file))
    if not file.is_file():
        raise ParamsError(f"{name_or_file}: no such preset or file; presets are {', '.join(presets())}")
    return _read(file, str(name_or_file))


def _read(file: Traversable, name: str) -> dict[str, Any]:
    values = read_yaml(read_text(file, name), name)
    if not isinstance(values, dict):
        raise ParamsError(f"{name}: holds no parameters; expected a mapping of keys of params.yaml")
    return values


def write_overlay(path: Path, overlay: Values, comment: str) -> None:
    """Write an overlay, atomically.

    Args:
        path: File to write or replace.
        overlay: Nested mapping of plain values.
        comment: Where the values come from; becomes the comment at the top.

    Raises:
        ParamsError: If the file cannot be written.
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    _replace_file(path, "\n".join([*lines, block_text(overlay)]))


def apply_overlay(path: Path, overlay: Values, name: str = "overlay") -> list[Change]:
    """Merge an overlay into params.yaml, in place; comments, order and layout stay.

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
    """Return the text that :func:`apply_overlay` would write, and the changes; arguments and errors as there."""
    if not path.is_file():
        raise ParamsError(f"{path}: no such file; run from the repository's root or pass --params")
    text = read_text(path, str(path))
    base = read_yaml(text, str(path))
    where = f"{path} with {name}" if overlay else str(path)
    merged = parse_section(Params, merge_values(base, overlay) if isinstance(base, dict) else base, where)
    changes = list(_changes((), overlay, _plain(base), _plain_params(merged)))
    try:
        text = set_values(text, _nested(changes))
        written = parse_section(Params, read_yaml(text, where), where)
    except (YAMLError, ParamsError):
        written = None
    if written != merged:
        raise ParamsError(
            f"{where}: {', '.join(change.key for change in changes)} cannot be set in this file without changing "
            "other keys; remove its YAML anchors and aliases, or set them by hand"
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
    try:
        with atomic_write(path, durable=True) as temporary:
            temporary.write_bytes(text.encode())
    except OSError as error:
        raise ParamsError(f"{path}: cannot be written ({error.strerror}); it is as it was") from error
