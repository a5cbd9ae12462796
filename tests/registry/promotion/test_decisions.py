"""Decisions in a real MLflow store; the models' metrics are given."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from test_rule import RULE, result

from hdnet.cli import main
from hdnet.errors import ModelError, PromotionError
from hdnet.registry import promotion
from hdnet.registry.promotion import VersionComparison, decisions
from hdnet.tracking import connection, versions

pytestmark = pytest.mark.usefixtures("mlflow_store")

REPORT = Path("reports/promote")


@pytest.fixture
def depths_mm(monkeypatch):
    """Depth error of versions 1, 2, ...; MLflow holds them, empty."""
    values = {}

    def evaluate_source(source, folder):
        name, version = source.removeprefix("models:/").split("/")
        assert (name, str(folder)) == ("hdnet", "people")
        if version not in values:
            raise ModelError(f"{source}: the files cannot be fetched")
        return result(depth_mm=values[version])

    monkeypatch.setattr(decisions, "evaluate_source", evaluate_source)
    return values


def add(depths_mm, depth_mm):
    """Registers a version as `hdnet register` does, without a model."""
    connection.connect()
    client = mlflow.MlflowClient()
    if not client.search_registered_models("name = 'hdnet'"):
        client.create_registered_model("hdnet")
    version = str(client.create_model_version("hdnet", f"file:///nowhere/{len(depths_mm)}").version)
    client.set_registered_model_alias("hdnet", "challenger", version)
    if depth_mm is not None:
        depths_mm[version] = depth_mm
    return version


def comparison():
    return VersionComparison("hdnet", "challenger", RULE, Path("people"))


def promote(**how):
    return promotion.promote(comparison(), REPORT, **how)


def champion():
    return versions.resolve("models:/hdnet@champion").version


def runs(name="promote"):
    client = mlflow.MlflowClient()
    found = client.search_runs([client.get_experiment_by_name(connection.EXPERIMENT).experiment_id])
    return [run for run in found if run.info.run_name == name]


def test_the_first_version_is_the_champion_and_it_is_said(depths_mm):
    add(depths_mm, 100)
    decision = promote()
    assert (decision.outcome, champion()) == ("promoted", "1")
    assert decision.line == "version 1 of hdnet is the champion: there was no champion to compare with"
    with pytest.raises(ModelError, match="challenger"):
        versions.resolve("models:/hdnet@challenger")


def test_a_better_one_replaces_it_a_worse_one_waits(depths_mm):
    add(depths_mm, 100)
    promote()
    add(depths_mm, 90)
    assert promote().outcome == "promoted"
    add(depths_mm, 95)
    decision = promote()
    assert (decision.outcome, champion()) == ("kept", "2")
    assert decision.reason.startswith("depth_mae_mm 95 against 90, difference +5")
    assert versions.resolve("models:/hdnet@challenger").version == "3"


def test_every_decision_is_a_run_with_table_numbers_and_tags(depths_mm):
    add(depths_mm, 100)
    promote()
    add(depths_mm, 90)
    decision = promote()
    (run,) = [run for run in runs() if run.data.tags["model.version"] == "2"]
    tags = {
        key: run.data.tags[key] for key in ("decision", "champion.before", "champion.after", "forced", "data.heldout")
    }
    assert tags == {
        "decision": "promoted", "champion.before": "1", "champion.after": "2", "forced": "false", "data.heldout": "same"
    }  # fmt: skip
    assert run.data.metrics["difference/depth_mae_mm"] == -10
    assert run.data.metrics["champion/normal_mean_deg"] == 20
    assert run.data.params["promote.metric"] == "depth_mae_mm"
    names = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert names == {"decision.json", "decision.md"}
    assert json.loads((REPORT / "decision.json").read_text()) == json.loads(json.dumps(decision.to_dict()))
    assert "| depth_mae_mm | 90 | 100 | -10 | -10 to -10 (95 %) | better |" in (REPORT / "decision.md").read_text()
    version = mlflow.MlflowClient().get_model_version("hdnet", "2")
    assert version.tags["champion.run"] == run.info.run_id


def test_promoting_the_champion_changes_nothing(depths_mm):
    add(depths_mm, 100)
    promote()
    assert promote(version="1").outcome == "already_champion"
    assert champion() == "1"


def test_force_sets_the_rule_aside_and_keeps_what_it_said(depths_mm):
    add(depths_mm, 100)
    promote()
    add(depths_mm, 120)
    decision = promote(force_reason="the old one fails on hats")
    assert (decision.outcome, decision.is_forced, champion()) == ("promoted", True, "2")
    assert decision.reason.startswith("the old one fails on hats (the rule says: depth_mae_mm 120 against 100")
    assert runs()[0].data.tags["forced"] == "true"


def test_force_works_where_the_champion_cannot_be_measured(depths_mm):
    add(depths_mm, 100)
    promote()
    del depths_mm["1"]
    add(depths_mm, 90)
    with pytest.raises(ModelError, match="cannot be fetched"):
        promote()
    assert champion() == "1"
    assert "the rule could not be asked: models:/hdnet/1" in promote(force_reason="its files are lost").reason
    assert champion() == "2"


@pytest.mark.parametrize("reason", ["", "  "])
def test_force_needs_a_reason(depths_mm, reason):
    add(depths_mm, 100)
    with pytest.raises(PromotionError, match="needs a reason"):
        promote(force_reason=reason)


def test_what_cannot_be_measured_does_not_become_the_first_champion(depths_mm):
    add(depths_mm, None)
    with pytest.raises(ModelError, match="cannot be fetched"):
        promote()
    with pytest.raises(ModelError, match="champion"):
        champion()
    assert runs()[0].info.status == "FAILED"


def test_rollback_walks_back_and_what_was_taken_back_needs_force(depths_mm):
    for depth_mm in (100, 90, 80):
        add(depths_mm, depth_mm)
        promote()
    decision = promotion.roll_back(comparison(), REPORT, "wrong on stairs")
    assert decision.line == "version 2 of hdnet is the champion again: wrong on stairs"
    kept = promote(version="3")
    assert (kept.outcome, champion()) == ("kept", "2")
    assert "wrong on stairs" in kept.reason
    promotion.roll_back(comparison(), REPORT)
    assert champion() == "1"
    with pytest.raises(PromotionError, match="no champion before it"):
        promotion.roll_back(comparison(), REPORT)
    assert promote(version="3", force_reason="stairs are mended").outcome == "promoted"
    promotion.roll_back(comparison(), REPORT)
    assert champion() == "1"
    assert [run.data.tags.get("decision", run.info.status) for run in runs("rollback")] == [
        "rolled_back", "FAILED", "rolled_back", "rolled_back"
    ]  # fmt: skip


def test_another_promotion_meanwhile_means_another_comparison(depths_mm, monkeypatch):
    """Versions 2 and 3 both beat 1; 3 is installed while 2 is measured, and 2 does not beat 3."""
    add(depths_mm, 100)
    promote()
    add(depths_mm, 90)
    add(depths_mm, 80)
    measured = decisions.evaluate_source
    others = [lambda: promotion.promote(replace(comparison(), measured={}), REPORT, "3")]

    def evaluate_slowly(source, folder):
        found = measured(source, folder)
        if source == "models:/hdnet/2" and others:
            others.pop()()
        return found

    monkeypatch.setattr(decisions, "evaluate_source", evaluate_slowly)
    decision = promote(version="2")
    assert (decision.outcome, decision.champion_before, champion()) == ("kept", "3", "3")


def test_many_promotions_at_once_leave_the_best(depths_mm):
    add(depths_mm, 100)
    promote()
    versions = [add(depths_mm, depth_mm) for depth_mm in (90, 70, 80)]
    outcomes = {}

    def run(version):
        outcomes[version] = promotion.promote(comparison(), Path(f"reports/{version}"), version).outcome

    threads = [threading.Thread(target=run, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert champion() == "3"
    assert outcomes["3"] == "promoted"
    stack = mlflow.MlflowClient().get_model_version("hdnet", "3").tags["champion.stack"].split(",")
    assert stack[-1] == "1"
    assert set(stack) == {"1"} | {version for version, outcome in outcomes.items() if outcome == "promoted"} - {"3"}


def run_cli(capsys, *arguments):
    params = Path(__file__).parents[3] / "params.yaml"
    try:
        main([*arguments, "--params", str(params)])
        status = 0
    except SystemExit as stop:
        status = stop.code
    return status, capsys.readouterr().out


def test_commands(depths_mm, capsys):
    status, _ = run_cli(capsys, "promote", "--data", "people")
    assert "hdnet has no challenger" in status
    add(depths_mm, 100)
    add(depths_mm, 110)
    assert run_cli(capsys, "promote", "--force")[0] == (
        "error: --force and --reason TEXT go together: a promotion by force says why"
    )
    forced = run_cli(capsys, "promote", "--version", "1", "--force", "--reason", "to begin with", "--data", "people")
    assert forced[0] == 0
    assert forced[1].startswith("version 1 of hdnet is the champion by force: to begin with")
    forced = run_cli(capsys, "promote", "--force", "--reason", "a try", "--data", "people")
    assert forced[0] == 0
    assert run_cli(capsys, "rollback", "--reason", "it was one") == (
        0,
        "version 1 of hdnet is the champion again: it was one\n",
    )
    status, _ = run_cli(capsys, "promote", "--version", "2", "--data", "people")
    assert status.startswith("error: version 2 of hdnet stays challenger, version 1 champion: it was rolled back")
    status, _ = run_cli(capsys, "promote", "--version", "9", "--data", "people")
    assert status.startswith("error: hdnet has no version 9")
