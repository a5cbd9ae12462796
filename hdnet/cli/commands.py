"""Options and output that the verbs of the command line share."""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hdnet.data.parallel import processes, using_backend
from hdnet.errors import ParamsError
from hdnet.params import Params, RuntimeParams, Section, load_params
from hdnet.params.base import meaning
from hdnet.workspace import Workspace

Arguments = argparse.Namespace
Parser = argparse.ArgumentParser
Command = Callable[[Arguments], None]

CHAMPION = "models:/hdnet@champion"
MODEL_HELP = "registry URI, folder, safetensors file, or `shipped`, the model for photographs of the package"


def add_verb(verbs: Any, name: str, text: str, command: Command) -> Parser:
    """A verb among the subparsers ``verbs`` that calls ``command`` with the parsed arguments."""
    verb: Parser = verbs.add_parser(name, help=text, description=text)
    verb.set_defaults(command=command)
    return verb


def add_parameter(verb: Parser, section: type[Section], name: str, flag: str | None = None, **others: Any) -> None:
    """Add the option of a parameter; type, choices, default and help are those of its declaration.

    Args:
        verb: The verb's parser.
        section: Class that declares the parameter.
        name: Name of the parameter, under which the value is found.
        flag: Name of the option; that of the parameter without it.
        others: What differs, as arguments of ``add_argument``.
    """
    field, flag = section.model_fields[name], flag or f"--{name.replace('_', '-')}"
    settings = {"default": field.default, "help": meaning(field).replace("%", "%%"), **_kind(field.annotation)}
    if "type" in settings:
        settings["metavar"] = flag.removeprefix("--").replace("-", "_").upper()
    verb.add_argument(flag, dest=name, **(settings | others))


def _kind(annotation: Any) -> dict[str, Any]:
    """Arguments of ``add_argument`` for the values of a type."""
    origin, kinds = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(kinds[0])
    if origin in (Union, types.UnionType):
        possible = [_kind(kind) for kind in kinds if kind is not type(None)]
        return possible[0] if len(possible) == 1 else {"type": _number_or_word}
    if origin is Literal:
        return {"choices": kinds}
    if origin is tuple:
        return {"nargs": len(kinds), **_kind(kinds[0])}
    return {"action": "store_true"} if annotation is bool else {"type": annotation}


def _number_or_word(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text


def with_jobs(verb: Parser, command: Command, jobs: int = 1) -> Command:
    """Add ``--jobs`` and ``--backend`` and return the command that runs there.

    For a verb whose work goes through :func:`hdnet.data.parallel.ordered_map`.

    Args:
        verb: The verb's parser.
        command: What it does.
        jobs: Processes where none are told; 0 for one a core, of work of minutes.
    """
    told = "one a core" if jobs == 0 else f"{jobs}; 0 for one a core"
    verb.add_argument("--jobs", type=int, default=jobs, metavar="N", help=f"processes (default: {told})")
    add_parameter(verb, RuntimeParams, "parallel_backend", "--backend")

    def run_there(arguments: Arguments) -> None:
        if arguments.jobs < 0:
            raise ParamsError(f"--jobs {arguments.jobs}: expected a number of processes, or 0 for one a core")
        arguments.jobs = processes(arguments.jobs)
        with using_backend(arguments.parallel_backend):
            command(arguments)

    return run_there


def add_workspace(verb: Parser) -> None:
    """``--root`` and ``--params`` for a verb that works in a workspace; :func:`workspace` reads them."""
    verb.add_argument("--root", type=Path, default=Path(), help="folder that holds data/, models/, reports/")
    verb.add_argument("--params", type=Path, default=Path("params.yaml"))


def workspace(arguments: Arguments) -> tuple[Workspace, Params]:
    """Return the folders and the parameters that a verb was given."""
    return Workspace(arguments.root), load_params(arguments.params)


def add_tracking(verb: Parser) -> None:
    """``--no-mlflow``; :func:`open_run` reads it."""
    verb.add_argument("--no-mlflow", action="store_true", help="write files only")


def open_run(arguments: Arguments) -> Any:
    """Return what opens a run in MLflow, or None if the verb shall write files only."""
    if arguments.no_mlflow:
        return None
    from hdnet.tracking import runs  # optional, and takes seconds

    return runs.run


def say(text: str) -> None:
    """Write a line on standard output."""
    sys.stdout.write(text + "\n")
