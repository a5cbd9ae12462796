"""``hdnet register``, ``deliver``: what ends in MLflow."""

from __future__ import annotations

from typing import Any

from hdnet.commands import Arguments, add_verb, add_workspace, say, workspace


def add_registry_verbs(verbs: Any) -> None:
    """Declares them among the subparsers ``verbs``."""
    verb = add_verb(verbs, "register", "the evaluated model as a version of the MLflow registry", _register)
    add_workspace(verb)
    add_verb(verbs, "deliver", "to MLflow what waits because it could not be reached", _deliver)


def _register(arguments: Arguments) -> None:
    from hdnet import stages

    work, params = workspace(arguments)
    stages.register(work, params)
    say((work.report("register") / "version.json").read_text())


def _deliver(_: Arguments) -> None:
    from hdnet import registry
    from hdnet.errors import TrackingError

    deliveries = registry.deliver_pending()
    for delivery in deliveries:
        if not delivery.problem:
            say(f"{delivery.name}: delivered to run {delivery.run_id}")
    problems = [f"{delivery.name}: {delivery.problem}" for delivery in deliveries if delivery.problem]
    if problems:
        raise TrackingError("; ".join(problems))
    if not deliveries:
        say("nothing waits for MLflow here")
