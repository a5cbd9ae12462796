"""Files of the repository that a module imports, directly or through others, function-level imports included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("hdnet", "pipelines", "serving")


def import_closure(root: Path, module: str) -> set[str]:
    """Paths relative to ``root`` of the module itself and of all that its import can reach.

    Packages are followed into their ``__init__``. Imports for type checkers alone do not count: they never run.
    """
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file_of(root, name)
        if path is None or str(path.relative_to(root)) in reached:
            continue
        reached.add(str(path.relative_to(root)))
        parents = name.split(".")[:-1]
        waiting += [".".join(parents[: length + 1]) for length in range(len(parents))]
        waiting += _imports_of(path.read_text(encoding="utf-8"))
    return reached


@cache
def _imports_of(text: str) -> tuple[str, ...]:
    """Names of modules in a file's text; stages share most files, and parsing takes nearly all the time."""
    return tuple(_imports(ast.parse(text)))


def _file_of(root: Path, module: str) -> Path | None:
    if module.split(".")[0] not in PACKAGES:
        return None
    place = root.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not followed"
            assert node.module
            # Each name may be a module of the package or something defined in it.
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield from _imports(node)
