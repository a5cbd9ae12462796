"""``hdnet data``: make, import, check, pack and match data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from hdnet.cli.archives import add_archive_verbs
from hdnet.cli.commands import Arguments, add_jobs, add_verb, say
from hdnet.cli.frames import add_frame_verbs
from hdnet.cli.synthesize import add_synthesize_verb

# Imports of the rooms stand inside the commands: `hdnet --help` should not wait for torch.


def add_data_verbs(data: Any) -> None:
    """Adds the verbs to the subparsers of ``hdnet data``."""
    add_archive_verbs(data)
    add_frame_verbs(data)
    add_synthesize_verb(data)

    verb = add_verb(data, "validate", "check a Tang_data or tiktok_data folder, or the folder above them", _validate)
    verb.add_argument("folder", type=Path)
    verb.add_argument("--json", type=Path, help="also write all findings here")
    verb.add_argument("--report", type=Path, help="folder for findings.json, report.md and worst.png")
    add_jobs(verb)

    verb = add_verb(data, "pack", "parse a Tang_data or tiktok_data folder into memory-mapped arrays", _pack)
    verb.add_argument("folder", type=Path)
    verb.add_argument("--out", type=Path, required=True)
    add_jobs(verb)

    verb = add_verb(data, "verify", "compare a packed folder with its checksums", _verify)
    verb.add_argument("folder", type=Path)
    verb.add_argument("--jobs", type=int, help="threads (default: one a core)")

    verb = add_verb(data, "correspond", "match the frames of a tiktok_data folder along DensePose", _correspond)
    verb.add_argument("folder", type=Path)
    verb.add_argument("--out", type=Path, required=True)
    _add_pair_rule(verb)
    verb.add_argument("--given", action="store_true", help="pack FOLDER/correspondences as it is; nothing is matched")
    verb.add_argument("--text", action="store_true", help="write the original's text files, too")
    add_jobs(verb)


def _add_pair_rule(verb: argparse.ArgumentParser) -> None:
    """Fields of :class:`hdnet.params.CorrespondParams`, of which each option is one."""
    verb.add_argument("--partners", type=int, default=4, help="frames nearest in time to match each with")
    verb.add_argument("--max-gap", dest="max_gap_frames", type=int, help="largest difference of frame numbers")
    verb.add_argument("--max-distance", type=float, default=7.0, help="in (U, V), 0..255 scale")
    verb.add_argument("--min-matches", type=int, default=50, help="a body part counts from here")
    verb.add_argument("--mutual", action="store_true", help="keep only matches that are nearest in both directions")
    verb.add_argument(
        "--max-residual", dest="max_residual_px", type=float, help="drop matches so far off their part's motion, pixels"
    )
    verb.add_argument("--min-parts", type=int, default=5, help="a pair counts from here")
    verb.add_argument("--min-overlap", type=float, default=0.0, help="matched share of the body, 0..1")
    verb.add_argument("--max-turn", dest="max_turn_deg", type=float, help="leave out pairs that turned more, degrees")


def _is_tang(folder: Path) -> bool:
    return (folder / "depth").is_dir()


def _validate(arguments: Arguments) -> None:
    from hdnet.data.checks.report import summary, write_report
    from hdnet.data.checks.validate import raise_if_errors, validate_any
    from hdnet.files import write_json

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
    from hdnet.data.store.packed import pack_tang, pack_tiktok

    pack = pack_tang if _is_tang(arguments.folder) else pack_tiktok
    pack(arguments.folder, arguments.out, progress=True, jobs=arguments.jobs)


def _verify(arguments: Arguments) -> None:
    from hdnet.data.store.packed import open_packed
    from hdnet.data.store.pairs import PackedPairs, is_packed

    if is_packed(arguments.folder):
        pairs = PackedPairs(arguments.folder)
        pairs.verify()
        say(f"{arguments.folder}: {len(pairs)} pairs of frames, all as they were packed")
        return
    packed = open_packed(arguments.folder)
    packed.verify(arguments.jobs)
    say(f"{arguments.folder}: {len(packed)} records of kind {packed.kind}, all as they were packed")


def _correspond(arguments: Arguments) -> None:
    from hdnet.data.correspondence.frames import correspond
    from hdnet.data.layout.folders import TikTokFolder
    from hdnet.params import CorrespondParams, parse_section

    values = CorrespondParams().model_dump() | {
        name: value for name, value in vars(arguments).items() if name in CorrespondParams.model_fields
    }
    values |= {"source": "given" if arguments.given else "match", "text_files": arguments.text}
    rule = parse_section(CorrespondParams, values, "correspond")
    report = correspond(TikTokFolder(arguments.folder), arguments.out, rule, arguments.jobs, progress=True)
    say(json.dumps(report))
