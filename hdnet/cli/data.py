"""``hdnet data``: make, check, pack and match data; imports are in ``importing.py``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hdnet.cli.commands import Arguments, Command, Parser, add_parameter, say, with_jobs
from hdnet.data.checks.report import summary, write_report
from hdnet.data.checks.validate import raise_if_errors, validate_any
from hdnet.data.correspondence.frames import correspond as correspond_frames
from hdnet.data.layout.folders import TikTokFolder
from hdnet.data.store.packed import open_packed, pack_tang, pack_tiktok
from hdnet.data.store.pairs import PackedPairs, is_packed
from hdnet.files import write_json
from hdnet.params import CorrespondParams, DataParams, SyntheticParams, parse_section
from hdnet.params.overlay import preset_params, read_overlay

_MATCH_FLAGS = {"max_gap_frames": "--max-gap", "max_residual_px": "--max-residual", "max_turn_deg": "--max-turn"}


def synthesize(verb: Parser) -> Command:
    """``data synthesize``."""
    verb.add_argument("--out", type=Path, required=True, help="gets Tang_data and tiktok_data")
    verb.add_argument("--size", choices=("demo", "standard", "large"), help="how much, as the presets of that name")
    differs: dict[str, dict[str, Any]] = {
        "frames_per_sequence": {"flag": "--frames"},
        "focal_px": {"metavar": ("LOW", "HIGH")},
    }
    differs |= {name: {"metavar": "SHARE"} for name in ("truncated", "occluded", "company", "things", "alike", "empty")}
    for name in SyntheticParams.model_fields:
        add_parameter(verb, SyntheticParams, name, **{"default": None, **differs.get(name, {})})
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument(
        "--contact-sheet", type=Path, metavar="FILE", help="PNG of the first people; film strips beside it"
    )
    return with_jobs(verb, _synthesize, jobs=0)


def validate(verb: Parser) -> Command:
    """``data validate``."""
    verb.add_argument("folder", type=Path)
    verb.add_argument("--json", type=Path, help="also write all findings here")
    verb.add_argument("--report", type=Path, help="folder for findings.json, report.md and worst.png")
    return with_jobs(verb, _validate)


def pack(verb: Parser) -> Command:
    """``data pack``."""
    verb.add_argument("folder", type=Path)
    verb.add_argument("--out", type=Path, required=True)
    return with_jobs(verb, _pack)


def verify(verb: Parser) -> Command:
    """``data verify``."""
    verb.add_argument("folder", type=Path)
    verb.add_argument("--jobs", type=int, help="threads (default: one a core)")
    return _verify


def correspond(verb: Parser) -> Command:
    """``data correspond``."""
    verb.add_argument("folder", type=Path)
    verb.add_argument("--out", type=Path, required=True)
    for name in (name for name in CorrespondParams.model_fields if name not in ("source", "text_files")):
        add_parameter(verb, CorrespondParams, name, _MATCH_FLAGS.get(name))
    verb.add_argument(
        "--given",
        dest="source",
        action="store_const",
        const="given",
        default="match",
        help="pack FOLDER/correspondences as it is; nothing is matched",
    )
    add_parameter(verb, CorrespondParams, "text_files", "--text")
    return with_jobs(verb, _correspond)


def _synthesize(arguments: Arguments) -> None:
    from hdnet.synthetic import SyntheticSpec, synthesize  # its packages are optional
    from hdnet.synthetic.raw import contact_sheets, progress_bar

    size = read_overlay(arguments.size)["data"] if arguments.size else {}
    values = DataParams().model_dump() | size
    values = {name: value for name, value in values.items() if name in SyntheticSpec.model_fields}
    # Whatever the size, people are cut and hidden as often as in `standard`; short trainings see fewer such.
    values |= preset_params("standard").data.model_dump(include={"truncated", "occluded"})
    if not arguments.size and (arguments.people is not None or arguments.sequences is not None):
        values |= {"people": 0, "sequences": 0}
    given = {name: getattr(arguments, name) for name in SyntheticSpec.model_fields}
    values |= {name: value for name, value in given.items() if value is not None}
    spec = parse_section(SyntheticSpec, values, "synthesize")
    with progress_bar("synthesize") as progress:
        counts = synthesize(arguments.out, spec, arguments.jobs, progress)
    if arguments.contact_sheet:
        _save_sheets(contact_sheets(arguments.out), arguments.contact_sheet)
    say(json.dumps(asdict(counts)))


def _save_sheets(sheets: dict[str, Any], file: Path) -> None:
    """The people's sheet as ``file``, the others beside it: ``NAME-sequences.png``, ``NAME-pictures.png``, ..."""
    file.parent.mkdir(parents=True, exist_ok=True)
    for name, sheet in sheets.items():
        sheet.save(file if name == "contact_sheet.png" else file.with_name(f"{file.stem}-{name}"), format="PNG")


def _is_tang(folder: Path) -> bool:
    return (folder / "depth").is_dir()


def _validate(arguments: Arguments) -> None:
    reports = validate_any(arguments.folder, jobs=arguments.jobs, progress=True)
    if arguments.json:
        write_json(arguments.json, {name: report.to_dict() for name, report in reports.items()})
    text = write_report(arguments.report, reports)[1] if arguments.report else None
    for report in reports.values():
        for severity, line in summary(report):
            say(f"{severity}: {line}")
        errors = f"{len(report.errors)} errors" if report.errors else "no errors"
        say(f"{report.folder}: {report.samples} samples, {errors}, {len(report.warnings)} warnings")
    raise_if_errors(reports, see=text)


def _pack(arguments: Arguments) -> None:
    pack_folder = pack_tang if _is_tang(arguments.folder) else pack_tiktok
    pack_folder(arguments.folder, arguments.out, progress=True, jobs=arguments.jobs)


def _verify(arguments: Arguments) -> None:
    if is_packed(arguments.folder):
        pairs = PackedPairs(arguments.folder)
        pairs.verify()
        say(f"{arguments.folder}: {len(pairs)} pairs of frames, all as they were packed")
        return
    packed = open_packed(arguments.folder)
    packed.verify(arguments.jobs)
    say(f"{arguments.folder}: {len(packed)} records of kind {packed.kind}, all as they were packed")


def _correspond(arguments: Arguments) -> None:
    values = {name: getattr(arguments, name) for name in CorrespondParams.model_fields}
    rule = parse_section(CorrespondParams, values, "correspond")
    frames = TikTokFolder(arguments.folder)
    say(json.dumps(correspond_frames(frames, arguments.out, rule, arguments.jobs, progress=True)))
