"""Parts of a raw folder: replaced one by one by imports, and the held-out people among them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hdnet.data.importing.report import REPORT_FILE
from hdnet.data.layout.folders import TANG, TIKTOK, TangFolder
from hdnet.errors import DataError
from hdnet.files import read_json_object, write_json
from hdnet.geometry import Camera

# Held-out people, kept from training for evaluation, lie in heldout/Tang_data.
HELDOUT = "heldout"
PARTS = (TANG, TIKTOK, HELDOUT)

_DEFAULT_SHARE = 0.1


def check_out(out: Path, parts: Sequence[str]) -> None:
    """Refuse a folder that holds other things, or a part that no import wrote.

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
    """Return the reports of the imports that ``out`` consists of, the last one first."""
    if not (out / REPORT_FILE).exists():
        return []
    content = read_json_object(out / REPORT_FILE)
    records = [{key: content[key] for key in content if key != "earlier"}, *content.get("earlier", [])]
    if not all(isinstance(record, dict) and {"kind", "parts"} <= record.keys() for record in records):
        raise DataError(f"{out / REPORT_FILE}: is not the report of an import; choose another folder")
    return records


def commit(complete: Path, out: Path, parts: Sequence[str]) -> None:
    """Move the complete folder to ``out``, in one step where nothing is there; can be repeated after a kill.

    Held-out people of an earlier import of this kind are removed with its ``Tang_data``: they may be trained on now.
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
    # The report first: a run that is killed below is continued with its own parts known.
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
    """Complete what a run that was killed in :func:`commit` left."""
    for part in PARTS:
        target, old = out / part, out / f".{part}.old"
        if old.exists():
            if target.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(target)


def choose_heldout(people: Sequence[str], count: int | None, seed: int) -> list[str]:
    """Return the people to hold out: the first ones of a seeded permutation.

    Args:
        people: All people, in a fixed order.
        count: Their number; None takes a tenth, at least one.
        seed: Of the permutation.

    Raises:
        DataError: No person would be left to train on.
    """
    wanted = max(1, round(_DEFAULT_SHARE * len(people))) if count is None else count
    if not 0 <= wanted < len(people):
        raise DataError(
            f"--heldout {wanted} of {len(people)} labelled people: expected 0 to {len(people) - 1}, so that somebody "
            "is left to train on; --heldout 0 holds out nobody"
        )
    order = np.random.default_rng(seed).permutation(len(people))
    return sorted(people[k] for k in order[:wanted])


def split_labelled(
    raw: Path, cameras: Mapping[str, Camera], people: Mapping[str, Sequence[str]], count: int | None, seed: int
) -> dict[str, Any]:
    """Move the samples of held-out people from ``Tang_data`` to ``heldout/Tang_data`` and writes both ``hdnet.json``.

    Can be repeated after an interruption.

    Args:
        raw: The raw folder, all samples in ``Tang_data``.
        cameras: Camera of every sample, by name.
        people: Names of the samples of every person.
        count: People to hold out; see :func:`choose_heldout`.
        seed: Seed of the choice.

    Returns:
        Lines for the report.

    Raises:
        DataError: No person would be left to train on.
    """
    if not cameras:
        return {"labelled samples": "none taken"}
    chosen = choose_heldout(list(people), count, seed)
    held = {name for person in chosen for name in people[person]}
    for kind in (raw / TANG).iterdir():
        for file in kind.iterdir() if kind.is_dir() and held else ():
            if file.stem.split("_")[0] in held:
                target = raw / HELDOUT / TANG / kind.name / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                file.rename(target)
    TangFolder(raw / TANG).write_meta({name: camera for name, camera in cameras.items() if name not in held})
    if held:
        TangFolder(raw / HELDOUT / TANG).write_meta({name: cameras[name] for name in sorted(held)})
    return {"labelled samples": f"{len(cameras) - len(held)} to train on", "held-out people": chosen or "none"}
