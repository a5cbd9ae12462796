"""``hdnet tune``: the search for better training parameters."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hdnet.cli.commands import Arguments, Command, Parser, add_tracking, add_workspace, say, workspace
from hdnet.errors import ParamsError, TuningError
from hdnet.extras import install_command

if TYPE_CHECKING:
    from hdnet.tuning.study import StudySettings

# Imports of hdnet.tuning stand in the functions, because Optuna is optional.
_OVERLAY = Path("tuned.yaml")


def tune(verb: Parser) -> Command:
    """``tune``."""
    verb.add_argument(
        "action",
        nargs="?",
        choices=("search", "report", "apply"),
        default="search",
        help="search: start a study or go on with it (default); report: its tables and plots so far; "
        "apply: a trial's values as an overlay for `hdnet params apply`",
    )
    add_workspace(verb)
    add_tracking(verb)
    verb.add_argument("--study", metavar="NAME", help="instead of tune.study")
    verb.add_argument(
        "--storage",
        metavar="URL",
        help="SQL database (default: the environment's OPTUNA_STORAGE, or optuna.db in the workspace)",
    )
    search = verb.add_argument_group("search")
    search.add_argument("--trials", type=int, metavar="N", help="finished trials in the end, instead of tune.trials")
    search.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    search.add_argument("--top-k", type=int, metavar="K", help="best trials to train in full, instead of tune.top_k")
    search.add_argument(
        "--scalar",
        action="store_true",
        help="one objective, depth MAE + tune.scalar_mm_per_deg per degree, instead of two",
    )
    apply = verb.add_argument_group("apply")
    apply.add_argument("--trial", type=int, help="its number (default: the best on the people of the search)")
    apply.add_argument("--out", type=Path, default=_OVERLAY, help=f"file to write (default: {_OVERLAY})")
    return _tune


def _tune(arguments: Arguments) -> None:
    {"search": _search, "report": _report, "apply": _apply}[arguments.action](arguments)


def _settings(arguments: Arguments) -> StudySettings:
    if find_spec("optuna") is None:
        raise TuningError(f"`hdnet tune` needs Optuna, which is not installed; `{install_command('tune')}`")
    from hdnet.tuning.storage import storage_url
    from hdnet.tuning.study import StudySettings

    work, params = workspace(arguments)
    name, url = arguments.study or params.tune.study, storage_url(arguments.storage, work.root)
    return StudySettings(work, params, url, name, arguments.scalar, not arguments.no_mlflow)


def _search(arguments: Arguments) -> None:
    for flag, value, least in (
        ("--trials", arguments.trials, 1),
        ("--workers", arguments.workers, 1),
        ("--top-k", arguments.top_k, 0),
    ):
        if value is not None and value < least:
            raise ParamsError(f"{flag} {value}: expected at least {least}")
    settings = _settings(arguments)
    from hdnet.tuning.command import tune as run_study
    from hdnet.tuning.rendering import to_markdown

    trials = settings.params.tune.trials if arguments.trials is None else arguments.trials
    top_k = settings.params.tune.top_k if arguments.top_k is None else arguments.top_k
    say(to_markdown(run_study(settings, trials, arguments.workers, top_k)))
    say(f"{settings.folder}: table, plots, JSON; `hdnet tune apply` writes the best values as an overlay")


def _report(arguments: Arguments) -> None:
    from hdnet.tuning.command import log_report
    from hdnet.tuning.rendering import to_markdown

    settings = _settings(arguments)
    say(to_markdown(log_report(settings)))
    say(str(settings.folder))


def _apply(arguments: Arguments) -> None:
    from hdnet.tuning.command import apply

    number, said = apply(_settings(arguments), arguments.trial, arguments.out)
    say("\n".join(said))
    say(f"{arguments.out}: trial {number}; `hdnet params apply {arguments.out}`, then `dvc repro`")
