"""``hdnet register``, ``promote``, ``rollback``, ``lineage``, ``deliver``: the registry, and what ends in MLflow."""

from __future__ import annotations

from pathlib import Path

from hdnet import registry
from hdnet.cli.commands import Arguments, Command, Parser, add_workspace, say, workspace
from hdnet.errors import PromotionError, TrackingError
from hdnet.files import sha256_of
from hdnet.registry import promotion
from hdnet.tracking import runs
from pipelines.register import register as register_model


def register(verb: Parser) -> Command:
    """``register``."""
    add_workspace(verb)
    return _register


def promote(verb: Parser) -> Command:
    """``promote``."""
    verb.add_argument("--version", metavar="N", help="that version instead of the challenger")
    verb.add_argument("--data", type=Path, help="held-out people: packed or Tang_data (default: the workspace's)")
    verb.add_argument("--force", action="store_true", help="whatever the rule says; needs --reason")
    verb.add_argument("--reason", metavar="TEXT", help="why the rule is set aside; kept with the decision")
    add_workspace(verb)
    return _promote


def rollback(verb: Parser) -> Command:
    """``rollback``."""
    verb.add_argument("--reason", metavar="TEXT", help="kept with the decision")
    add_workspace(verb)
    return _rollback


def lineage(verb: Parser) -> Command:
    """``lineage``."""
    verb.add_argument("what", help="version, alias, model file, or the beginning of a commit, hash or run id")
    add_workspace(verb)
    return _lineage


def deliver(_: Parser) -> Command:
    """``deliver``."""
    return _deliver


def _promote(arguments: Arguments) -> None:
    if arguments.force != (arguments.reason is not None):
        raise PromotionError("--force and --reason TEXT go together: a promotion by force says why")
    work, params = workspace(arguments)
    comparison = promotion.comparison_of(params, arguments.data or work.heldout)
    decision = promotion.promote(comparison, work.report("promote"), arguments.version, arguments.reason)
    say(decision.to_markdown().rstrip())
    if decision.outcome == "kept":
        raise PromotionError(decision.line)


def _rollback(arguments: Arguments) -> None:
    work, params = workspace(arguments)
    comparison = promotion.comparison_of(params, work.heldout)
    say(promotion.roll_back(comparison, work.report("promote"), arguments.reason).line)


def _lineage(arguments: Arguments) -> None:
    _, params = workspace(arguments)
    path = Path(arguments.what)
    what = sha256_of(path) if path.is_file() else arguments.what
    for version in registry.lineage(params.register_.name, what):
        say(version.to_markdown())


def _register(arguments: Arguments) -> None:
    work, params = workspace(arguments)
    register_model(work, params)
    say((work.report("register") / "version.json").read_text())


def _deliver(_: Arguments) -> None:
    deliveries = runs.deliver_pending()
    for delivery in deliveries:
        if not delivery.problem:
            say(f"{delivery.name}: delivered to run {delivery.run_id}")
    problems = [f"{delivery.name}: {delivery.problem}" for delivery in deliveries if delivery.problem]
    if problems:
        raise TrackingError("; ".join(problems))
    if not deliveries:
        say("nothing waits for MLflow here")
