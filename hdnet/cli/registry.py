"""``hdnet register``, ``promote``, ``rollback``, ``lineage``, ``deliver``: the registry, and what ends in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hdnet.cli.commands import Arguments, add_verb, add_workspace, say, workspace
from hdnet.errors import PromotionError, TrackingError


def add_registry_verbs(verbs: Any) -> None:
    """Declares them among the subparsers ``verbs``."""
    verb = add_verb(verbs, "register", "the evaluated model as a version of the MLflow registry", _register)
    add_workspace(verb)
    _add_promotion_verbs(verbs)
    verb = add_verb(
        verbs, "lineage", "what a version was made from, or which versions were made from something", _lineage
    )
    verb.add_argument("what", help="version, alias, model file, or the beginning of a commit, hash or run id")
    add_workspace(verb)
    add_verb(verbs, "deliver", "to MLflow what waits because it could not be reached", _deliver)


def _add_promotion_verbs(verbs: Any) -> None:
    verb = add_verb(verbs, "promote", "the challenger becomes the champion, if it is better", _promote)
    verb.add_argument("--version", metavar="N", help="that version instead of the challenger")
    verb.add_argument("--data", type=Path, help="held-out people: packed or Tang_data (default: the workspace's)")
    verb.add_argument("--force", action="store_true", help="whatever the rule says; needs --reason")
    verb.add_argument("--reason", metavar="TEXT", help="why the rule is set aside; kept with the decision")
    add_workspace(verb)
    verb = add_verb(verbs, "rollback", "the champion before serves again", _rollback)
    verb.add_argument("--reason", metavar="TEXT", help="kept with the decision")
    add_workspace(verb)


def _promote(arguments: Arguments) -> None:
    from hdnet.registry import promotion

    if arguments.force != (arguments.reason is not None):
        raise PromotionError("--force and --reason TEXT go together: a promotion by force says why")
    work, params = workspace(arguments)
    comparison = promotion.comparison_of(params, arguments.data or work.heldout)
    decision = promotion.promote(comparison, work.report("promote"), arguments.version, arguments.reason)
    say(decision.to_markdown().rstrip())
    if decision.outcome == "kept":
        raise PromotionError(decision.line)


def _rollback(arguments: Arguments) -> None:
    from hdnet.registry import promotion

    work, params = workspace(arguments)
    comparison = promotion.comparison_of(params, work.heldout)
    say(promotion.roll_back(comparison, work.report("promote"), arguments.reason).line)


def _lineage(arguments: Arguments) -> None:
    from hdnet import registry
    from hdnet.files import sha256_of

    _, params = workspace(arguments)
    path = Path(arguments.what)
    what = sha256_of(path) if path.is_file() else arguments.what
    for version in registry.lineage(params.register_.name, what):
        say(version.to_markdown())


def _register(arguments: Arguments) -> None:
    from pipelines.register import register

    work, params = workspace(arguments)
    register(work, params)
    say((work.report("register") / "version.json").read_text())


def _deliver(_: Arguments) -> None:
    from hdnet.tracking import runs

    deliveries = runs.deliver_pending()
    for delivery in deliveries:
        if not delivery.problem:
            say(f"{delivery.name}: delivered to run {delivery.run_id}")
    problems = [f"{delivery.name}: {delivery.problem}" for delivery in deliveries if delivery.problem]
    if problems:
        raise TrackingError("; ".join(problems))
    if not deliveries:
        say("nothing waits for MLflow here")
