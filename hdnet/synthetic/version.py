"""What a synthetic picture depends on besides its number, as one string."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable

from hdnet.synthetic.generate import SyntheticSpec

# Packages whose results go into the bytes.
_PACKAGES = ("anny", "embreex", "numpy", "pillow", "roma", "scikit-image", "scipy", "torch", "warp-lang")


def fingerprint(spec: SyntheticSpec) -> str:
    """Hexadecimal key of the spec and of :func:`generator_version`; equal keys give equal bytes on one machine."""
    text = json.dumps([asdict(spec), generator_version()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@lru_cache
def generator_version() -> str:
    """Hexadecimal key of the generator's source files, the layout's, and the packages that they use."""
    data, digest = files("hdnet") / "data", hashlib.sha256()
    layout = (file for file in data.iterdir() if file.name.startswith("layout"))
    for file in sorted([*_modules(data / "synthetic"), *layout], key=str):
        digest.update(file.name.encode() + file.read_bytes())
    for package in _PACKAGES:
        digest.update(f"{package} {_version(package)}".encode())
    return digest.hexdigest()


def _modules(package: Traversable) -> Iterator[Traversable]:
    for entry in package.iterdir():
        if entry.is_dir():
            yield from _modules(entry)
        elif entry.name.endswith(".py"):
            yield entry


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
