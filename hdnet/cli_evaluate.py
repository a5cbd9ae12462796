"""``hdnet evaluate``."""

from __future__ import annotations

from typing import Any

from hdnet.commands import Arguments, add_tracking, add_verb, add_workspace, open_run, say, workspace


def add_evaluation_verbs(verbs: Any) -> None:
    """Declares them among the subparsers ``verbs``."""
    verb = add_verb(verbs, "evaluate", "the complete model and two baselines on held-out people", _evaluate)
    add_workspace(verb)
    add_tracking(verb)


def _evaluate(arguments: Arguments) -> None:
    from hdnet import stages

    work, params = workspace(arguments)
    stages.evaluate(work, params, open_run(arguments))
    say((work.report("evaluate") / "table.md").read_text())
