"""Options and output that the verbs of the command line share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hdnet.params import Params, load_params
from hdnet.workspace import Workspace

Arguments = argparse.Namespace


def add_verb(verbs: Any, name: str, text: str, command: Callable[[Arguments], None]) -> argparse.ArgumentParser:
    """A verb among the subparsers ``verbs`` that calls ``command`` with the parsed arguments."""
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    verb.set_defaults(command=command)
    return verb


def add_jobs(verb: argparse.ArgumentParser) -> None:
    """``--jobs`` and ``--backend`` for a verb whose work goes through :func:`hdnet.data.parallel.ordered_map`."""
    verb.add_argument("--jobs", type=int, default=1, help="processes")
    verb.add_argument(
        "--backend",
        choices=("loky", "threading", "dask", "ray"),
        default="loky",
        help="where they work: processes of this machine (loky, the default), threads, or a Dask or Ray cluster",
    )
    command = verb.get_default("command")

    def run_there(arguments: Arguments) -> None:
        from hdnet.data.parallel import using_backend  # not before a verb is chosen

        with using_backend(arguments.backend):
            command(arguments)

    verb.set_defaults(command=run_there)


def add_workspace(verb: argparse.ArgumentParser) -> None:
    """``--root`` and ``--params`` for a verb that works in a workspace; :func:`workspace` reads them."""
    verb.add_argument("--root", type=Path, default=Path(), help="folder that holds data/, models/, reports/")
    verb.add_argument("--params", type=Path, default=Path("params.yaml"))


def workspace(arguments: Arguments) -> tuple[Workspace, Params]:
    """The folders and the values that a verb was given."""
    return Workspace(arguments.root), load_params(arguments.params)


def add_tracking(verb: argparse.ArgumentParser) -> None:
    """``--no-mlflow``; :func:`open_run` reads it."""
    verb.add_argument("--no-mlflow", action="store_true", help="write files only")


def open_run(arguments: Arguments) -> Any:
    """What opens a run in MLflow, or None if the verb shall write files only."""
    if arguments.no_mlflow:
        return None
    from hdnet.tracking import runs  # takes seconds

    return runs.run


def say(text: str) -> None:
    """A line on standard output."""
    sys.stdout.write(text + "\n")
