"""Stage `register`: the evaluated model as a version of the MLflow registry, with lineage and card."""

from __future__ import annotations

from hdnet import registry
from hdnet.files import write_json
from hdnet.params import Params
from hdnet.registry import card as model_card
from hdnet.registry.models import card_facts, evaluated_metrics, lineage_tags
from hdnet.tracking import runs
from hdnet.tracking.address import REGISTRY_KEY, tracking_uri, without_password
from hdnet.tracking.provenance import git_tags, locked_pipeline
from hdnet.workspace import Workspace
from pipelines.stage import main


def register(work: Workspace, params: Params) -> None:
    """Read the model and the reports about it; write the version and its card; move the alias to it.

    An empty registry gets the shipped model first, if ``register.baseline`` says so.

    Raises:
        ModelError: It is not the model that was evaluated, or its export differs from it.
        TrackingError: MLflow cannot be reached.
    """
    metrics, target, folder = evaluated_metrics(work), params.register_, work.report("register")
    tags = lineage_tags(work, params, metrics)
    values = params.model_dump(mode="json", by_alias=True, exclude={"runtime", "tune"})
    if target.baseline == "shipped":
        registry.register_shipped(registry.Champions(target.name, params.promote.alias, target.alias))
    with runs.run("register", values, tags):
        locked = locked_pipeline(work.root, work.hdnet_model)
        tags |= registry.stage_runs(runs.open_run_id(), tags["model_sha256"], locked)
        facts = card_facts(work, params, metrics, tags | git_tags())
        folder.mkdir(parents=True, exist_ok=True)
        card = registry.Card(model_card.write_card(folder, facts), model_card.summary(facts))
        identity = registry.register(work.hdnet_model, target.name, target.alias, metrics, tags, card)
    write_json(work.registered_version, identity.to_dict() | {REGISTRY_KEY: without_password(tracking_uri())})


if __name__ == "__main__":
    main(register, tracked=False)
