"""Imports between the rooms of hdnet against the table in docs/architecture.md: none points up."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def rooms() -> list[str]:
    """Rooms in the table's order, low to high."""
    (section,) = re.findall(
        r"^## Rooms\n(.*?)^## ", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE | re.DOTALL
    )
    cells = re.findall(r"^\| ((?:`[a-z_]+/?`(?:, )?)+) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"[a-z_]+", cell)]


ORDER = rooms()


def room_of(module: str) -> str | None:
    """Room of a module; None for the package itself and for other packages."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or None if package == "hdnet" else package if package in ORDER else None


def imported(file: Path) -> Iterator[str]:
    """Modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{file}: relative import"
            yield from (f"hdnet.{alias.name}" for alias in node.names) if node.module == "hdnet" else [node.module]


def rooms_of_imports(file: Path) -> set[str]:
    return {room for module in imported(file) if (room := room_of(module)) in [*ORDER, "client"]}


def files_of(room: str) -> list[Path]:
    folder = ROOT / room if (ROOT / room).is_dir() else ROOT / "hdnet" / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def test_the_table_names_every_room() -> None:
    there = {path.stem for path in (ROOT / "hdnet").iterdir() if not path.name.startswith("_")}
    assert there - {"client"} | {"pipelines", "serving"} == set(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_no_import_points_up(room: str) -> None:
    for file in files_of(room):
        above = rooms_of_imports(file) - set(ORDER[: ORDER.index(room) + 1])
        assert not above, f"{file.relative_to(ROOT)} imports {', '.join(sorted(above))}"


def test_the_client_needs_nothing_but_errors() -> None:
    for file in files_of("client"):
        assert rooms_of_imports(file) <= {"client", "errors"}, file


def test_every_test_file_has_a_name_of_its_own() -> None:
    """Pytest imports them by that name alone: of two it would refuse the second, but only in a run over both rooms."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name, count in names.items() if count > 1]
