"""Imports that appear complete or not at all, and are resumed after an interruption.

Everything is written into a hidden folder beside OUT, with a ledger of the items that are complete::

    .OUT.KIND.importing/settings.json     fingerprint of what is imported, and how; other settings start over
    .OUT.KIND.importing/ledger.jsonl      one line an item, written after the item's files
    .OUT.KIND.importing/files/            what is to appear in OUT
    .OUT.KIND.importing/scratch/          what an importer unpacks
    .OUT.KIND.importing/complete/         the same, once it is complete and being moved to OUT
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from hdnet import __version__
from hdnet.data.importing.parts import check_out, commit, recover
from hdnet.data.importing.report import REPORT_FILE, ImportReport, Outcome
from hdnet.data.parallel import ordered_map
from hdnet.errors import DataError
from hdnet.files import Finished, complete_lines, fingerprint, locked, walk_files, write_json

_log = logging.getLogger(__name__)

_COMPLETE = "complete"

Item = TypeVar("Item")


class StagedImport:
    """Running import; made by :func:`staged_import`.

    Attributes:
        folder: Folder of what is to appear in OUT.
        scratch: Folder of what an importer unpacks; kept with the rest when interrupted, never part of OUT.
        finished: Outcomes by source of the items that are complete (taken), those of an interrupted run included.
        reported: Whether :meth:`report` was called.
        keep: Whether :attr:`scratch` holds work worth keeping although no item is complete.
    """

    def __init__(self, root: Path, out: Path, kind: str) -> None:
        self.folder, self.scratch = root / "files", root / "scratch"
        self.finished: dict[str, Outcome] = {}
        self.keep = False
        self._outcomes: dict[str, Outcome] = {}
        self._out, self._kind, self._ledger = out, kind, root / "ledger.jsonl"
        self._stream: IO[str] | None = None
        self.reported = False
        self._read_ledger()

    def record(self, outcome: Outcome) -> None:
        """Record an outcome; called after the last file of the item is written."""
        if self._stream is None:
            self._stream = self._ledger.open("a", encoding="utf-8")
        self._stream.write(json.dumps(outcome.to_dict()) + "\n")
        self._stream.flush()
        self._outcomes[outcome.source] = outcome
        if outcome.taken:
            self.finished[outcome.source] = outcome

    def work(
        self, function: Callable[[Item], Outcome], items: Mapping[str, Item], jobs: int, progress: bool, label: str
    ) -> None:
        """Call ``function`` for every item that is not finished and record the outcomes.

        Args:
            function: Writes the files of one item into :attr:`folder` and returns its outcome; a
                :class:`DataError` that it raises before it writes is the item's refusal. A module-level
                function (or partial of one) where ``jobs`` is above 1.
            items: Items by source.
            jobs: Processes.
            progress: Show a progress bar on stderr.
            label: Its text.
        """
        todo = [(source, item) for source, item in items.items() if source not in self.finished]
        for outcome in ordered_map(partial(_attempt, function), todo, jobs, progress, label):
            self.record(outcome)

    def report(self, source: Path | str, extra: dict[str, Any] | None = None) -> ImportReport:
        """Write the report of all outcomes; an importer's last step.

        Raises:
            DataError: Nothing was taken.
        """
        report = ImportReport(self._kind, str(source), str(self._out), list(self._outcomes.values()), extra or {})
        if not report.taken:
            first = report.refused[0].reason if report.refused else "it holds nothing of the expected form"
            raise DataError(f"{source}: none of {len(report.outcomes)} items could be imported; the first: {first}")
        write_json(self.folder / REPORT_FILE, report.to_dict())
        self.reported = True
        return report

    def _read_ledger(self) -> None:
        """Keep what an interrupted run finished; what it refused is tried again."""
        lines = complete_lines(self._ledger)
        outcomes = [outcome for outcome in (Outcome.from_dict(json.loads(line)) for line in lines) if outcome.taken]
        self.finished = {outcome.source: outcome for outcome in outcomes}
        self._outcomes = dict(self.finished)
        self._ledger.write_text("".join(json.dumps(o.to_dict()) + "\n" for o in outcomes), encoding="utf-8")

    def close(self) -> None:
        """Close the ledger."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


@contextmanager
def staged_import(out: Path, kind: str, settings: Mapping[str, Any], parts: Sequence[str]) -> Iterator[StagedImport]:
    """Yield an import into ``out`` that is moved there when the block ends well.

    When the block fails or the process is killed, ``out`` stays as it is and the finished items are kept: the same
    import started again continues, one with other settings starts over. Parts that ``out`` holds beside those
    that are imported stay, so that labelled and unlabelled data of different origin can be brought together.

    Args:
        out: A raw folder: absent, empty, or with nothing in it but ``Tang_data``, ``tiktok_data``, ``heldout``.
        kind: Which importer, a few words; part of the report and of the temporary folder's name.
        settings: What is imported (see :func:`source_identity`) and by which options; JSON-able.
        parts: The names in ``out`` that this import writes; those there already must be an earlier import's.

    Raises:
        DataError: ``out`` holds other things or a part that no import wrote, another process imports into it, or
            the disk or a folder refuses to be written.
    """
    out = Path(out).absolute()
    slug = "".join(c if c.isalnum() else "-" for c in kind.replace("'", "")).strip("-").lower()
    root = out.with_name(f".{out.name}.{slug}.importing")
    taken = DataError(f"{out}: another process is importing into it; wait for it or stop it")
    staged: StagedImport | None = None
    try:
        check_out(out, parts)
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / "lock", lambda _: taken):
            recover(out)
            if (root / _COMPLETE).exists():  # killed while it was moved
                commit(root / _COMPLETE, out, parts)
            _start(root, {"version": __version__, "settings": settings})
            staged = StagedImport(root, out, kind)
            if staged.finished:
                _log.info("%s: %d items of an interrupted run are kept", out, len(staged.finished))
            yield staged
            staged.close()
            if not staged.reported:
                raise RuntimeError("an importer ended without StagedImport.report()")
            staged.folder.rename(root / _COMPLETE)
            commit(root / _COMPLETE, out, parts)
            shutil.rmtree(root, ignore_errors=True)
    except OSError as error:
        kept = len(staged.finished) if staged else 0
        again = f" and {kept} finished items are kept for the next run" if kept else ""
        raise DataError(f"{out}: the import stopped ({error}); nothing was changed there{again}") from error
    finally:
        if staged is not None:
            staged.close()
            if not staged.finished and not staged.keep and not (root / _COMPLETE).exists():
                shutil.rmtree(root, ignore_errors=True)


def source_identity(source: Path) -> dict[str, Any]:
    """Return what identifies the state of a source: path, size and time of a file, or of all files of a folder.

    Raises:
        DataError: The source is missing or a folder in it cannot be listed.
    """
    source = Path(source).absolute()
    try:
        if source.is_file():
            status = source.stat()
            return {"path": str(source), "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
        if not source.is_dir():
            raise DataError(f"{source}: no such file or folder; expected what is to be imported")
        digest, count = hashlib.sha256(), 0
        for file, status in walk_files(source):
            line = f"{file.relative_to(source)}\0{status.st_size}\0{status.st_mtime_ns}\n"
            digest.update(line.encode(errors="surrogateescape"))
            count += 1
    except OSError as error:
        raise DataError(
            f"{error.filename or source}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    return {"path": str(source), "files": count, "sha256": digest.hexdigest()}


def _attempt(function: Callable[[Item], Outcome], entry: tuple[str, Item]) -> Outcome:
    source, item = entry
    try:
        return function(item)
    except DataError as error:
        return Outcome(source, None, str(error))


def _start(root: Path, identity: Mapping[str, Any]) -> None:
    """Keep what an interrupted run of the same settings left, and delete what others left."""
    record, made_from = Finished(root), fingerprint(identity)
    if record.get("settings", made_from) is not None and (root / "files").is_dir():
        return
    record.drop("settings")
    (root / "ledger.jsonl").unlink(missing_ok=True)
    for folder in (root / "files", root / "scratch"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    record.put("settings", made_from, {})
