"""``hdnet data import-archive`` and ``import-tang``: archives of other people into a raw folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hdnet.cli.commands import Arguments, add_jobs, add_verb, say

# Imports of the rooms stand inside the commands: `hdnet --help` should not wait for torch.


def add_archive_verbs(data: Any) -> None:
    """Adds the verbs to the subparsers of ``hdnet data``."""
    verb = add_verb(
        data, "import-archive", "the authors' training_data.zip, or Tang_data and tiktok_data like it", _import_archive
    )
    _add_source(verb)
    keep = argparse.BooleanOptionalAction
    verb.add_argument("--keep-correspondences", action=keep, default=True, help="take the stored correspondences")
    verb.add_argument("--keep-normals", action=keep, default=True, help="take the stored pred_normals")

    verb = add_verb(
        data, "import-tang", "Tang et al.'s depth: the authors' Tang_data, or the raw release", _import_tang
    )
    _add_source(verb)
    verb.add_argument(
        "--registration", type=Path, help="JSON or YAML of the raw release (default: registration.json in SOURCE)"
    )


def _add_source(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("source", type=Path, help="zip, tar or folder")
    verb.add_argument("--out", type=Path, required=True, help="raw folder; other parts that lie there stay")
    verb.add_argument("--heldout", type=int, metavar="N", help="labelled people to hold out (default: a tenth)")
    verb.add_argument("--seed", type=int, default=0, help="of the choice of held-out people")
    verb.add_argument("--max-gb", type=float, default=200.0, help="largest size of SOURCE, unpacked")
    add_jobs(verb)


def _common(arguments: Arguments) -> dict[str, Any]:
    return {
        "heldout": arguments.heldout,
        "seed": arguments.seed,
        "max_bytes": round(arguments.max_gb * 1e9),
        "jobs": arguments.jobs,
        "progress": True,
    }


def _import_archive(arguments: Arguments) -> None:
    from hdnet.data.importing.authors import import_authors

    report = import_authors(
        arguments.source,
        arguments.out,
        keep_correspondences=arguments.keep_correspondences,
        keep_normals=arguments.keep_normals,
        **_common(arguments),
    )
    say(report.to_table())


def _import_tang(arguments: Arguments) -> None:
    from hdnet.data.importing.tang_raw import import_tang

    report = import_tang(arguments.source, arguments.out, registration=arguments.registration, **_common(arguments))
    say(report.to_table())
