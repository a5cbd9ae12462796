"""Commands that install the optional packages of an extra.

The project is not on PyPI, where its name belongs to another package: a clone installs its own extra, an installed
wheel names the packages themselves.
"""

from __future__ import annotations

import shlex
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

_NAME = "hdnet"
_CLONE = Path(__file__).parents[1]


def install_command(extra: str) -> str:
    """Return the command that installs an extra: one that works in the clone, or with the wheel, that is running."""
    if (_CLONE / "pyproject.toml").is_file():
        constraints = _CLONE / "constraints.txt"
        pins = f"-c {shlex.quote(str(constraints))} " if constraints.is_file() else ""
        return f"pip install {pins}-e {shlex.quote(f'{_CLONE}[{extra}]')}"
    try:
        packages = sorted(_packages(extra))
    except PackageNotFoundError:
        packages = []
    if not packages:  # a copied folder has no metadata
        return f"see extra {extra!r} in pyproject.toml"
    return f"pip install {' '.join(map(shlex.quote, packages))}"


def _packages(extra: str) -> set[str]:
    """Return the requirements that an extra adds, those of extras that it includes among them."""
    found: set[str] = set()
    for line in requires(_NAME) or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}) or not marker.evaluate({"extra": extra}):
            continue
        if requirement.name == _NAME:
            found |= {package for inner in requirement.extras for package in _packages(inner)}
        else:
            requirement.marker = None
            found.add(str(requirement))
    return found
