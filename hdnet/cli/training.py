"""``hdnet train`` and ``predict-normals``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hdnet.cli.commands import (
    Arguments,
    Command,
    Parser,
    add_parameter,
    add_tracking,
    add_workspace,
    open_run,
    workspace,
)
from hdnet.params import Params, RuntimeParams, with_runtime
from hdnet.workspace import Workspace
from pipelines import predict_normals as pseudo_normals
from pipelines import train_depth as depth
from pipelines import train_hdnet as joint
from pipelines import train_normal as normal

# Options for what differs from machine to machine; without them params.yaml says it.
_RUNTIME = ("device", "devices", "nodes", "precision")


def train_normal(verb: Parser) -> Command:
    """``train normal``."""
    return _stage(verb, normal.train_normal)


def train_depth(verb: Parser) -> Command:
    """``train depth``."""
    return _stage(verb, depth.train_depth)


def train_hdnet(verb: Parser) -> Command:
    """``train hdnet``."""
    return _stage(verb, joint.train_hdnet)


def predict_normals(verb: Parser) -> Command:
    """``predict-normals``."""
    add_workspace(verb)
    add_tracking(verb)
    return lambda arguments: pseudo_normals.predict_normals(*workspace(arguments), open_run(arguments))


def _stage(verb: Parser, train: Callable[[Workspace, Params, Any], object]) -> Command:
    add_workspace(verb)
    add_tracking(verb)
    for name in _RUNTIME:
        metavar = {"metavar": "N"} if name in ("devices", "nodes") else {}
        add_parameter(verb, RuntimeParams, name, default=None, help=f"instead of runtime.{name}", **metavar)

    def run(arguments: Arguments) -> None:
        work, params = workspace(arguments)
        given = {name: getattr(arguments, name) for name in _RUNTIME if getattr(arguments, name) is not None}
        train(work, with_runtime(params, given), open_run(arguments))

    return run
