"""compose.yaml as Docker Compose reads it: variables filled in. Tests start its services without containers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
# $$, ${NAME}, ${NAME:-default}, ${NAME:?message}
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")


def read_compose(variables: Mapping[str, str], path: Path = ROOT / "compose.yaml") -> dict[str, Any]:
    """The file with its variables filled in.

    Raises:
        ValueError: If one that must be set is not.
    """
    return _filled(yaml.safe_load(path.read_text()), variables)


def variables_of(path: Path = ROOT / "compose.yaml") -> set[str]:
    """Names of all variables that the file asks for."""
    return {match["name"] for match in _VARIABLE.finditer(path.read_text()) if match["name"]}


def read_env(path: Path = ROOT / ".env.example") -> dict[str, str]:
    """A file of NAME=VALUE lines."""
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    return _VARIABLE.sub(lambda match: _replacement(match, variables), value) if isinstance(value, str) else value


def _replacement(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name = match["name"]
    if name is None:
        return "$"
    found = variables.get(name, "")
    if found or match["kind"] is None:
        return found
    if match["kind"] == "?":
        raise ValueError(f"{name}: {match['rest']}")
    return match["rest"]
