"""The parts that a raw folder consists of, and how an import puts its own in place beside those of others."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdnet.data.importing.report import REPORT_FILE
from hdnet.errors import DataError
from hdnet.files import read_json_object, write_json

# Held-out people lie in heldout/Tang_data.
TANG, TIKTOK, HELDOUT = PARTS = ("Tang_data", "tiktok_data", "heldout")


def check_out(out: Path, parts: Sequence[str]) -> None:
    """Refuses a folder in which an import would not be alone, or would replace what no import wrote.

    Raises:
        DataError: ``out`` is a file, holds other things, or one of ``parts`` of unknown origin.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"{out}: is a file; expected a folder, or a name that is free")
    present = {path.name for path in out.iterdir()}
    others = sorted(name for name in present - {*PARTS, REPORT_FILE} if not name.startswith("."))
    if others:
        raise DataError(
            f"{out}: holds other things ({others[0]}); expected a new or empty folder, or one with nothing but "
            f"{', '.join(PARTS)}"
        )
    imported = {part for record in _records(out) for part in record["parts"]}
    foreign = sorted((present & set(parts)) - imported)
    if foreign:
        raise DataError(
            f"{out / foreign[0]}: exists already and no import wrote it; it would be lost; choose another folder "
            "or move it away"
        )


def _records(out: Path) -> list[dict[str, Any]]:
    """Reports of the imports that ``out`` consists of, the last one first."""
    if not (out / REPORT_FILE).exists():
        return []
    content = read_json_object(out / REPORT_FILE)
    records = [{key: content[key] for key in content if key != "earlier"}, *content.get("earlier", [])]
    if not all(isinstance(record, dict) and {"kind", "parts"} <= record.keys() for record in records):
        raise DataError(f"{out / REPORT_FILE}: is not the report of an import; choose another folder")
    return records


def commit(complete: Path, out: Path, parts: Sequence[str]) -> None:
    """Moves the complete folder to ``out``, in one step where nothing is there; can be called again when killed.

    The held-out people of an earlier import of this kind go with its ``Tang_data``: they may be trained on now.
    """
    report = read_json_object(complete / REPORT_FILE)
    records = _records(out)
    made = report.setdefault("parts", sorted(part for part in parts if (complete / part).exists()))
    earlier = {part for record in records if record["kind"] == report["kind"] for part in record["parts"]}
    removed = report.setdefault("removed", [HELDOUT] if TANG in made and HELDOUT in earlier - set(made) else [])
    write_json(complete / REPORT_FILE, report)
    if not out.exists():
        complete.rename(out)
        return
    gone = {*made, *removed}
    others = [record | {"parts": [part for part in record["parts"] if part not in gone]} for record in records]
    # The report first: a run killed below finds its own parts known, and goes on.
    write_json(out / REPORT_FILE, report | {"earlier": [record for record in others if record["parts"]]})
    for part in (*made, *removed):
        target, old = out / part, out / f".{part}.old"
        if target.exists() and ((complete / part).exists() or part in removed):
            target.rename(old)
        if (complete / part).exists():
            (complete / part).rename(target)
        shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(complete)


def recover(out: Path) -> None:
    """Ends what a run killed amid :func:`commit` left."""
    for part in PARTS:
        target, old = out / part, out / f".{part}.old"
        if old.exists():
            if target.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(target)
