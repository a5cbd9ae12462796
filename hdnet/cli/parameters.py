"""``hdnet params``: presets and overlays of params.yaml."""

from __future__ import annotations

from pathlib import Path

from hdnet.cli.commands import Arguments, Command, Parser, say
from hdnet.params.overlay import apply_overlay, change_table, merge_overlay, presets, read_overlay

_OVERLAY = "preset, or a YAML file with the keys that differ"


def list_presets(_: Parser) -> Command:
    """``params list``."""
    return _list


def show(verb: Parser) -> Command:
    """``params show``."""
    verb.add_argument("overlay", nargs="?", help=_OVERLAY)
    verb.add_argument("--params", type=Path, default=Path("params.yaml"))
    return _show


def apply(verb: Parser) -> Command:
    """``params apply``."""
    verb.add_argument("overlay", help=_OVERLAY)
    verb.add_argument("--params", type=Path, default=Path("params.yaml"))
    return _apply


def _list(_: Arguments) -> None:
    described = presets()
    width = max(map(len, described))
    for name, description in described.items():
        say(f"{name:<{width}}  {description}")


def _show(arguments: Arguments) -> None:
    overlay = read_overlay(arguments.overlay) if arguments.overlay else {}
    say(merge_overlay(arguments.params, overlay, str(arguments.overlay))[0].rstrip("\n"))


def _apply(arguments: Arguments) -> None:
    changes = apply_overlay(arguments.params, read_overlay(arguments.overlay), arguments.overlay)
    if not changes:
        say(f"{arguments.params}: is already as {arguments.overlay} says")
        return
    keys = "1 key" if len(changes) == 1 else f"{len(changes)} keys"
    say(f"{arguments.params}: {keys} changed by {arguments.overlay}\n{change_table(changes)}")
