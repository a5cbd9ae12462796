import dataclasses
import json
import threading
import time

import optuna
import pytest
import yaml
from optuna.trial import TrialState
from tuning_values import tuning_values

from hdnet.errors import TrainingError, TuningError
from hdnet.files import locked
from hdnet.params import Params, parse_section
from hdnet.params.overlay import read_overlay
from hdnet.tuning import trials, workers
from hdnet.tuning.command import apply, read_report, tune
from hdnet.tuning.ranking import MEASURED
from hdnet.tuning.space import Space
from hdnet.tuning.storage import ORIGIN, retry
from hdnet.tuning.study import FAILED, POINT, load_study, open_study
from hdnet.tuning.trials import PEOPLE, VALUES


def with_params(settings, **tune):
    return dataclasses.replace(settings, params=parse_section(Params, tuning_values(**tune), "tiny"))


def search(settings, count, workers_count=1, top_k=0):
    report = tune(settings, count, workers_count, top_k)
    return report, load_study(settings, settings.name)


def test_a_stopped_search_goes_on_with_the_draws_it_would_have_made(settings, tmp_path):
    whole, study = search(settings, 5)
    other = dataclasses.replace(settings, name=settings.name + "-again")
    search(other, 3)
    resumed, again = search(other, 5)
    assert [trial.params for trial in again.trials] == [trial.params for trial in study.trials]
    assert [trial.values for trial in again.trials] == [trial.values for trial in study.trials]
    assert [row.point for row in whole.trials[:3]] == ["params.yaml", "original", None]
    assert len({json.dumps(trial.params) for trial in study.trials}) == 5
    assert search(other, 5)[0].trials == resumed.trials


def test_a_hopeless_trial_ends_and_leaves_nothing(settings, monkeypatch):
    monkeypatch.setattr(trials, "is_hopeless", lambda _, step, *__: step == 2)
    report, study = search(settings, 4)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]
    assert list(study.trials[2].user_attrs[MEASURED]) == ["1", "2"]
    assert report.trials[2].state == "pruned"
    assert not list((settings.work.checkpoints / "tune" / settings.name).iterdir())


def test_values_that_cannot_be_trained_with_fail_one_trial_only(settings, monkeypatch):
    honest = trials.train_hdnet

    def fails_once(*arguments, **options):
        if arguments[-2].train_hdnet.weights.depth not in (20.0, 2.0) and not seen:
            seen.append(1)
            raise TrainingError("loss is not finite")
        return honest(*arguments, **options)

    seen = []
    monkeypatch.setattr(trials, "train_hdnet", fails_once)
    report, study = search(settings, 4)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert study.trials[2].user_attrs[FAILED] == "loss is not finite"
    assert report.trials[2].state == "failed"


def test_an_interrupted_trial_goes_on_at_its_checkpoint(settings, monkeypatch):
    honest, steps = trials.store_measurement, []

    def interrupted(trial, metrics, step):
        honest(trial, metrics, step)
        steps.append(step)
        if steps == [1, 2, 3]:
            raise KeyboardInterrupt

    monkeypatch.setattr(trials, "store_measurement", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(settings, 2, 1, 0)
    search(settings, 2)
    _, study = search(settings, 2)
    done = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    again = next(trial for trial in done if ORIGIN in trial.user_attrs)
    assert again.user_attrs[ORIGIN] == 0
    assert again.user_attrs[POINT] == "params.yaml"
    assert again.user_attrs[VALUES] == Space(settings.params).points()["params.yaml"]
    assert len(done) == 2
    assert steps.count(1) == 2  # of two trials: the interrupted one did not begin anew


def test_another_setup_is_refused_and_named(settings):
    open_study(settings)
    for other, said in (
        (with_params(settings, steps=5), "tune.steps"),
        (with_params(settings, select_people=2), "tune.select_people"),
        (dataclasses.replace(settings, is_scalar=True), "objectives"),
    ):
        with pytest.raises(TuningError, match=f"set up with other {said}"):
            open_study(other)
    open_study(with_params(settings, trials=9, top_k=1))


def test_one_number_as_the_only_objective(settings):
    settings = dataclasses.replace(settings, is_scalar=True)
    report, study = search(settings, 3)
    for trial, row in zip(study.trials, report.trials, strict=True):
        metrics = row.metrics
        assert trial.values == [pytest.approx(metrics["depth_mae_mm"] + 5.0 * metrics["normal_mean_deg"])]


def test_the_best_are_trained_with_all_steps_and_judged_by_other_people(settings, tmp_path):
    report, _ = search(settings, 4, top_k=1)
    assert [row.point for row in report.full] == ["params.yaml", "original", None]
    assert all(len(row.seeds) == 2 for row in report.full)
    full = load_study(settings, settings.full_name)
    assert all(list(trial.user_attrs[MEASURED]) == ["6"] for trial in full.trials)
    people = full.trials[0].user_attrs[PEOPLE]
    assert len(people["names"]) == 2
    chosen = report.full[2]
    assert report.chosen == chosen
    mine, theirs = (
        sum(sum(t.user_attrs[PEOPLE]["depth_mae_mm"]) for t in full.trials if t.user_attrs["pair"][0] == number) / 4
        for number in (chosen.trial, 0)
    )
    difference = chosen.differences["params.yaml"]["depth_mae_mm"]
    assert difference.value == pytest.approx(mine - theirs)
    assert difference.low <= difference.value <= difference.high
    assert json.loads((settings.folder / "study.json").read_text())["full"][2]["trial"] == chosen.trial
    assert {path.name for path in settings.folder.iterdir()} == {"study.json", "table.md", "pareto.png", "history.png"}


def test_the_overlay_says_what_was_measured_and_where_it_comes_from(settings, tmp_path):
    search(settings, 3)
    number, said = apply(settings, None, tmp_path / "tuned.yaml")
    values = read_report(settings).trials[number].values
    assert number == 2
    assert "Not trained with all steps" in said[0]
    overlay = read_overlay(str(tmp_path / "tuned.yaml"))
    assert overlay == yaml.safe_load((tmp_path / "tuned.yaml").read_text())
    assert overlay["train_hdnet"]["weights"]["warp"] == values["train_hdnet.weights.warp"]
    assert set(overlay) == {"train_hdnet", "augment"}
    comment = (tmp_path / "tuned.yaml").read_text()
    for fact in (f"study: {settings.name}", "trial: 2", "storage: sqlite", "data.heldout: "):
        assert fact in comment
    with pytest.raises(TuningError, match="no complete trial 7, complete are only 0, 1, 2"):
        apply(settings, 7, tmp_path / "tuned.yaml")


@pytest.mark.parametrize(
    ("url", "said"), [("optuna.log", "expected the URL of an SQL database"), ("sqlite:////no/such/a.db", "unable to")]
)
def test_a_storage_that_cannot_be_opened_is_one_line(settings, url, said):
    with pytest.raises(TuningError, match=said):
        open_study(dataclasses.replace(settings, storage=url))


def test_mlflows_database_is_refused_and_left_alone(settings, mlflow_store):
    before = mlflow_store.read_bytes()
    with pytest.raises(TuningError, match="is MLflow's database"):
        open_study(dataclasses.replace(settings, storage=f"sqlite:///{mlflow_store}"))
    assert mlflow_store.read_bytes() == before


def test_a_password_is_never_told(settings):
    url = "postgresql+psycopg://user:topsecret@127.0.0.1:1/optuna"
    with pytest.raises(TuningError) as caught:
        open_study(dataclasses.replace(settings, storage=url))
    assert "topsecret" not in str(caught.value)


def test_trials_are_runs_below_the_study_with_their_state(settings, monkeypatch, mlflow_store):
    import mlflow

    monkeypatch.setattr(trials, "is_hopeless", lambda _, step, *__: step == 2)
    settings = dataclasses.replace(settings, is_tracked=True)
    tune(settings, 3, 1, 0)
    tune(settings, 4, 1, 0)
    client = mlflow.MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("hdnet").experiment_id])
    (parent,) = (run for run in runs if run.data.tags["stage"] == "tune")
    children = sorted((run for run in runs if run is not parent), key=lambda run: run.info.start_time)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert [run.data.tags["trial_state"] for run in children] == ["complete", "complete", "pruned", "pruned"]
    assert [run.info.status for run in children] == ["FINISHED", "FINISHED", "KILLED", "KILLED"]
    assert parent.info.status == "FINISHED"
    study = load_study(settings, settings.name)
    assert children[0].data.metrics["validation/depth_mae_mm"] == pytest.approx(study.trials[0].values[0])
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} >= {"study.json", "table.md", "pareto.png"}


def test_draws_of_workers_differ(settings):
    first, second = (workers._sampler(settings, 3, number) for number in (0, 1))
    draws = [optuna.create_study(sampler=sampler).ask().suggest_float("x", 0, 1) for sampler in (first, second)]
    assert draws[0] != draws[1]


def test_a_trial_that_another_worker_took_is_let_go_quietly(settings, monkeypatch, caplog):
    honest, taken = trials.store_measurement, []

    def store(trial, metrics, step):
        if step == 2 and not taken:  # as the other worker does when heartbeats are missing
            taken.append(trial.number)
            trial.study._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
            retry(trial.study, trial.study.trials[trial.number], was_killed=True)
        honest(trial, metrics, step)

    monkeypatch.setattr(trials, "store_measurement", store)
    report, study = search(settings, 3)
    assert [row.state for row in report.trials] == ["interrupted", "complete", "complete", "complete"]
    (again,) = (trial for trial in study.trials if ORIGIN in trial.user_attrs)
    assert again.user_attrs[ORIGIN] == taken[0]
    assert again.user_attrs[VALUES] == study.trials[taken[0]].user_attrs[VALUES]
    assert "given to another worker" in caplog.text
    assert not list((settings.work.checkpoints / "tune" / settings.name).iterdir())


def test_a_retry_waits_for_the_worker_that_still_trains_the_trial(settings):
    folder, free_after_s = settings.work_folder(settings.name, 0), 1.5
    folder.parent.mkdir(parents=True, exist_ok=True)
    held = threading.Event()

    def hold():
        with locked(folder.with_name(f"{folder.name}.lock"), RuntimeError):
            held.set()
            time.sleep(free_after_s)

    begin = time.monotonic()
    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    report, _ = search(settings, 1)
    holder.join()
    assert time.monotonic() - begin >= free_after_s
    assert report.trials[0].state == "complete"
