"""``hdnet compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hdnet.cli.commands import Arguments, add_tracking, add_verb, open_run, say
from hdnet.workspace import Workspace


def add_comparison_verbs(verbs: Any) -> None:
    """Declares them among the subparsers ``verbs``."""
    verb = add_verb(verbs, "compare", "models or runs on the same people: differences and their confidence", _compare)
    verb.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a model (file, folder or registry URI), a run of MLflow (its id or runs:/ID), or a report folder; the "
        "first is what the others are compared with",
    )
    verb.add_argument("--data", type=Path, help="labelled people for models (default: the workspace's held-out ones)")
    verb.add_argument("--metric", action="append", help="only this metric; may be repeated")
    verb.add_argument("--level", type=float, default=0.95, help="of the confidence intervals (default: 0.95)")
    verb.add_argument("--out", type=Path, help="folder for the table and picture (default: reports/compare)")
    verb.add_argument("--device", default="cpu", help="for models: cpu (default) or cuda")
    verb.add_argument("--root", type=Path, default=Path(), help="folder that holds data/, models/, reports/")
    add_tracking(verb)


def _compare(arguments: Arguments) -> None:
    from hdnet.evaluation.comparison import compare

    work = Workspace(arguments.root)
    out = arguments.out or work.report("compare")
    comparison = compare(
        arguments.sources,
        arguments.data or work.heldout,
        out,
        arguments.metric,
        arguments.level,
        arguments.device,
        open_run(arguments),
        progress=True,
    )
    say(comparison.to_markdown())
    say(str(out / "comparison.png"))
