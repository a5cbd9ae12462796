"""Cache on disk of the registry's model files: one download a version, and usable while the registry is unreachable.

    FOLDER/REGISTRY/NAME/VERSION-RUN/      hdnet.safetensors, entry.json
    FOLDER/REGISTRY/last_good/URI.json     the version that served a URI last

REGISTRY, RUN and URI are digests; the run's distinguishes versions of equal number in a registry that was created
anew. Several processes may share a folder; entries appear in it complete.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from hdnet.errors import DataError, ModelError
from hdnet.files import folder_of_process, read_json_object, sha256_of, write_json
from hdnet.models.identity import ModelIdentity

DEFAULT_FOLDER = "~/.cache/hdnet/models"
FOLDER_VARIABLE = "HDNET_CACHE_DIR"
KEPT_VERSIONS = 3

_ENTRY, _REGISTRY = "entry.json", "registry"
_DIGEST_LENGTH = 12

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedModel:
    """Version on disk.

    Attributes:
        folder: Folder of the model file.
        identity: Identity of the version.
    """

    folder: Path
    identity: ModelIdentity


def is_cached(folder: Path | None) -> bool:
    """Return whether the cache, as :class:`ModelCache` finds it, holds anything; needs no MLflow."""
    return next(_wanted(folder).glob("*/last_good/*.json"), None) is not None


def _wanted(folder: Path | None) -> Path:
    return folder or Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER).expanduser()


def _folder(folder: Path | None) -> Path:
    """Return the folder told, else that in the home, else, where a home cannot be written, one of this process."""
    wanted = _wanted(folder)
    if folder or os.environ.get(FOLDER_VARIABLE):
        return wanted
    there = next(above for above in (wanted, *wanted.parents) if above.exists())
    return wanted if there.is_dir() and os.access(there, os.W_OK) else _of_this_process(wanted)


@cache
def _of_this_process(home: Path) -> Path:
    logger.warning(
        "%s cannot be written: this process keeps models for itself; set %s to a writable folder", home, FOLDER_VARIABLE
    )
    return folder_of_process("hdnet-models-")


class ModelCache:
    """Folder of model files of one registry.

    Args:
        folder: Folder of the cache; None takes ``HDNET_CACHE_DIR``, or ``~/.cache/hdnet/models``.
        registry: Address of the registry.
        file: Name of the model file.
    """

    def __init__(self, folder: Path | None, registry: str, file: str) -> None:
        self.folder = _folder(folder)
        self._root = self.folder / _digest(registry)
        self._registry, self._file = registry, file

    def get(self, identity: ModelIdentity, fetch: Callable[[Path], None]) -> Path:
        """Return the folder of a version; fetch it if it is missing or damaged.

        Args:
            identity: Identity of the version.
            fetch: Writes the model file into the given folder.

        Raises:
            ModelError: The cache cannot be written; or any error of ``fetch``.
        """
        folder = self._folder_of(identity)
        try:
            if not self._is_whole(folder):
                self._fill(folder, identity, fetch)
                self._prune(folder)
            with suppress(PermissionError):  # a cache that another user fills is usable, too
                os.utime(folder)
        except OSError as error:
            raise self._unwritable(error) from error
        return folder

    def remember(self, uri: str, identity: ModelIdentity) -> None:
        """Record that a version serves ``uri`` successfully.

        Raises:
            ModelError: The cache cannot be written.
        """
        pointer = self._pointer(uri)
        try:
            pointer.parent.mkdir(parents=True, exist_ok=True)
            write_json(pointer, {"uri": uri, "identity": identity.to_dict(), _REGISTRY: self._registry})
        except OSError as error:
            raise self._unwritable(error) from error

    def last_good(self, uri: str) -> CachedModel | None:
        """Return the last version that :meth:`remember` recorded, if its file is intact."""
        identity = _remembered(self._pointer(uri))
        if identity is None or not self._is_whole(self._folder_of(identity)):
            return None
        return CachedModel(self._folder_of(identity), identity)

    def served_elsewhere(self, uri: str) -> str | None:
        """Return the address of the other registry that ``uri`` was last served from; None if there is none."""
        others = set(self.folder.glob(f"*/last_good/{self._pointer(uri).name}")) - {self._pointer(uri)}
        for pointer in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True):
            with suppress(DataError):  # damaged, or of a version that noted no address
                if registry := read_json_object(pointer).get(_REGISTRY):
                    return str(registry)
        return None

    def _folder_of(self, identity: ModelIdentity) -> Path:
        return self._root / quote(identity.name, safe="") / f"{quote(identity.version)}-{_digest(identity.run_id)}"

    def _pointer(self, uri: str) -> Path:
        return self._root / "last_good" / f"{_digest(uri)}.json"

    def _is_whole(self, folder: Path) -> bool:
        if not (folder / _ENTRY).is_file():
            return False
        try:
            whole = bool(read_json_object(folder / _ENTRY).get("sha256") == sha256_of(folder / self._file))
        except DataError as error:
            logger.warning("%s; it is not used", error)
            return False
        if not whole:
            logger.warning("%s: SHA-256 is not that of the file as it was fetched; it is not used", folder / self._file)
        return whole

    def _fill(self, folder: Path, identity: ModelIdentity, fetch: Callable[[Path], None]) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as temporary:
            staging = Path(temporary) / folder.name
            staging.mkdir()
            fetch(staging)
            write_json(staging / _ENTRY, {"identity": identity.to_dict(), "sha256": sha256_of(staging / self._file)})
            if self._is_whole(folder):  # another process was faster
                return
            if folder.exists():
                folder.rename(Path(temporary) / "damaged")
            try:
                staging.rename(folder)
            except OSError:
                if not self._is_whole(folder):  # another process was faster
                    raise

    def _prune(self, newest: Path) -> None:
        """Delete all but the versions that were used last, and those that served last."""
        identities = map(_remembered, (self._root / "last_good").glob("*.json"))
        served = {self._folder_of(identity) for identity in identities if identity}
        entries = [file.parent for file in newest.parent.glob(f"*/{_ENTRY}")]
        entries.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in entries[KEPT_VERSIONS:]:
            if entry not in served:
                shutil.rmtree(entry, ignore_errors=True)

    def _unwritable(self, error: OSError) -> ModelError:
        reason = error.strerror or error
        return ModelError(
            f"{self.folder}: cannot keep models ({reason}); name a folder to write to in {FOLDER_VARIABLE}"
        )


def _remembered(pointer: Path) -> ModelIdentity | None:
    if not pointer.is_file():
        return None
    try:
        return ModelIdentity(**read_json_object(pointer)["identity"])
    except (DataError, KeyError, TypeError) as error:
        logger.warning("%s: not the note of a model (%s); it is not used", pointer, error)
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
