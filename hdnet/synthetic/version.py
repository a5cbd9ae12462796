"""Version key of a synthetic data set: its specification, the generator's source and the packages it uses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from hdnet.files import sha256_of
from hdnet.synthetic.rendering import environment_files, photograph_files
from hdnet.synthetic.shot import SyntheticSpec

# Packages whose results go into the bytes.
_PACKAGES = ("anny", "embreex", "numpy", "pillow", "roma", "scikit-image", "scipy", "torch", "warp-lang")


def fingerprint(spec: SyntheticSpec) -> str:
    """Return the hexadecimal key of a spec, of the files that it names and of :func:`generator_version`.

    Equal keys give equal bytes on one machine, wherever the files lie.

    Raises:
        DataError: A folder of the spec is missing, empty or unreadable.
    """
    values = spec.model_dump(mode="json")
    if spec.environments is not None:
        values["environments"] = [_version("OpenImageIO"), *_contents(environment_files(spec.environments))]
    if spec.photographs is not None:
        values["photographs"] = _contents(photograph_files(spec.photographs))
    text = json.dumps([values, generator_version()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _contents(files: list[Path]) -> list[tuple[str, str]]:
    return [(file.name, sha256_of(file)) for file in files]


@lru_cache
def generator_version() -> str:
    """Return the hexadecimal key of :func:`source_files` and of the versions of the packages that they use."""
    digest = hashlib.sha256()
    for file in source_files():
        digest.update(file.name.encode() + file.read_bytes())
    for package in _PACKAGES:
        digest.update(f"{package} {_version(package)}".encode())
    return digest.hexdigest()


def source_files() -> list[Traversable]:
    """List the modules that decide the bytes: the generator's and those of the folder layout and the records."""
    package = files("hdnet")
    records = [package / "data" / "store" / name for name in ("people.py", "person_record.py")]
    return sorted([*_modules(package / "synthetic"), *_modules(package / "data" / "layout"), *records], key=str)


def _modules(folder: Traversable) -> Iterator[Traversable]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _modules(entry)
        elif entry.name.endswith(".py"):
            yield entry


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
