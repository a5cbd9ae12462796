"""Searches over the labelled training: of the network for photographs, and of the hourglass."""

import dataclasses

import optuna
import pytest
from tuning_values import lite_values, tuning_values

from hdnet.data.store.packed import open_people
from hdnet.errors import ModelError, ParamsError
from hdnet.evaluation.run import evaluate_source
from hdnet.models import LiteEstimator, PersonModel
from hdnet.models.weights import load_estimator, save_hdnet
from hdnet.params import Params, parse_section
from hdnet.params.overlay import preset_params, read_overlay
from hdnet.training.run import Outputs, typical_camera
from hdnet.tuning import trials
from hdnet.tuning.command import apply, tune
from hdnet.tuning.rendering import to_markdown
from hdnet.tuning.space import PARAMS_POINT, Space
from hdnet.tuning.study import OBJECTIVES, SETUP, StudySettings, load_study, open_study
from hdnet.tuning.trials import PEOPLE, VALUES
from hdnet.workspace import Workspace
from pipelines.train_depth import train_depth
from pipelines.train_normal import train_normal

BLOCKS, RATE, SIZES = "photo.frozen_blocks", "train_depth.learning_rate", "photo.sizes"
ABLATION = {BLOCKS: {"choices": [99, 3, 0]}, SIZES: {"choices": [[64], [64, 96]]}}


def lite_params(**tune) -> Params:
    return parse_section(Params, lite_values(**tune), "tiny")


@pytest.fixture(scope="session")
def lite_work(trained_data, tmp_path_factory) -> Workspace:
    """The spheres' packed data, and the network for photographs after `train_normal`."""
    work = Workspace(tmp_path_factory.mktemp("lite"))
    (work.root / "data").symlink_to(trained_data.root / "data")
    train_normal(work, lite_params())
    return work


@pytest.fixture
def lite_settings(lite_work, tmp_path):
    def of(**tune) -> StudySettings:
        url = f"sqlite:///{tmp_path / 'optuna.db'}"
        return StudySettings(lite_work, lite_params(**tune), url, f"study-{tmp_path.name}", is_tracked=False)

    return of


def test_the_usual_space_is_around_the_preset():
    space = Space(preset_params("photo"))
    assert {key.split(".")[0] for key in space.dimensions} == {"photo", "train_depth"}
    assert space.applied(space.points()[PARAMS_POINT]) == space.params
    assert list(space.points()) == [PARAMS_POINT]  # the original has no such network
    assert not space.is_fresh


def test_the_usual_space_of_each_stage_has_what_it_reads():
    joint = Space(lite_params(stage="train_hdnet")).dimensions
    assert {"train_hdnet.weights.warp", "train_hdnet.learning_rate", "photo.weights.relief"} <= set(joint)
    assert "train_hdnet.weights.depth" not in joint
    labelled = Space(parse_section(Params, tuning_values(stage="train_depth", space=None), "tiny"))
    weights = {f"train_depth.weights.{name}" for name in ("depth", "scale_invariant", "normal")}
    assert set(labelled.dimensions) == weights | {RATE, "augment"}
    theirs = labelled.applied(labelled.points()["original"]).train_depth.weights
    assert theirs.model_dump() == read_overlay("reference")["train_depth"]["weights"]


def test_lists_are_drawn_as_they_stand_in_params_yaml():
    space = Space(lite_params(space={**ABLATION, "train_depth.ema_decay": {"choices": [None, 0.9]}}))
    drawn = [
        space.suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()) for seed in range(8)
    ]
    assert {tuple(values[SIZES]) for values in drawn} == {(64,), (64, 96)}
    assert {values["train_depth.ema_decay"] for values in drawn} == {None, 0.9}
    assert all(space.applied(values).photo.sizes == tuple(values[SIZES]) for values in drawn)


@pytest.mark.parametrize(
    ("key", "stage"),
    [
        ("train_depth.weights.depth", "train_depth"),
        ("train_hdnet.weights.normal", "train_hdnet"),
        ("train_normal.learning_rate", "train_depth"),
        ("model.width", "train_depth"),
        ("model.network", "train_depth"),
        ("model.encoder", "train_hdnet"),
        ("photo.weights", "train_depth"),
        ("photo.jpegs", "train_depth"),
    ],
)
def test_what_this_network_does_not_use_is_refused(key, stage):
    with pytest.raises(ParamsError, match=f"'{key}' cannot be varied in stage {stage} of network 'lite'"):
        Space(lite_params(stage=stage, space={key: {"choices": [1, 2]}}))


def test_keys_of_photo_are_not_the_hourglasses():
    with pytest.raises(ParamsError, match=r"'photo\.jpeg' cannot be varied"):
        Space(parse_section(Params, tuning_values(space={"photo.jpeg": {"low": 0, "high": 1}}), "tiny"))


def test_an_ablation_is_measured_like_the_evaluation(lite_settings, tmp_path):
    settings = lite_settings(space=ABLATION, top_seeds=1, validate_every=4)
    report = tune(settings, 2, 1, 1)
    study = load_study(settings, settings.name)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2
    assert study.trials[0].user_attrs[VALUES] == {BLOCKS: 3, SIZES: [64]}
    assert study.trials[0].params == {BLOCKS: 3, SIZES: "[64]"}
    assert set(study.user_attrs[SETUP]["data"]) == {"labelled", "heldout", "start"}
    table = to_markdown(report)
    assert "| frozen_blocks | sizes |" in table.replace("photo.", "")
    assert "normals, mean (°)" in table
    assert "normals of the depth" not in table

    # The same training by hand, and the evaluation of complete models in place of the validator.
    work, best = settings.work, report.full[-1]
    params = Space(settings.params).applied(best.values)
    by_hand = Outputs(tmp_path / "depth.safetensors", tmp_path / "report", tmp_path / "checkpoints")
    train_depth(work, params, outputs=by_hand)
    complete = tmp_path / "hdnet.safetensors"
    estimator = load_estimator(by_hand.model, LiteEstimator)
    save_hdnet(complete, PersonModel(estimator, typical_camera(open_people(work.labelled))), {})
    result = evaluate_source(complete, work.heldout)
    rows = {name: row["model"] for name, row in zip(result.names, result.rows, strict=True)}
    people = load_study(settings, settings.full_name).trials[-1].user_attrs[PEOPLE]
    assert len(people["names"]) == 2
    for metric in OBJECTIVES:
        assert people[metric] == pytest.approx([rows[name][metric] for name in people["names"]], rel=1e-4)
        assert best.report[metric] == pytest.approx(sum(people[metric]) / 2)
    number, _ = apply(settings, None, tmp_path / "tuned.yaml")
    assert read_overlay(str(tmp_path / "tuned.yaml")) == {
        "photo": {"frozen_blocks": report.trials[number].values[BLOCKS], "sizes": report.trials[number].values[SIZES]}
    }
    assert "network: lite" in (tmp_path / "tuned.yaml").read_text()


def test_an_ablation_tries_each_choice_alone_and_once(lite_settings):
    settings = lite_settings(space=ABLATION, sampler="ablation", steps=1, validate_every=1)
    tune(settings, 1, 1, 0)
    expected = [
        {BLOCKS: 3, SIZES: [64]},
        {BLOCKS: 99, SIZES: [64]},
        {BLOCKS: 0, SIZES: [64]},
        {BLOCKS: 3, SIZES: [64, 96]},
    ]
    for _ in range(2):  # the same command again adds nothing
        trials_of = load_study(settings, settings.name).trials
        assert [trial.user_attrs[VALUES] for trial in trials_of] == expected
        assert {trial.state.name for trial in trials_of} == {"COMPLETE"}
        tune(settings, 9, 1, 0)


def test_an_ablation_needs_choices(lite_settings):
    settings = lite_settings(space={"photo.jpeg": {"low": 0.0, "high": 1.0}}, sampler="ablation")
    with pytest.raises(ParamsError, match=r"sampler ablation needs \{choices: \[\.\.\.\]\} of photo\.jpeg"):
        open_study(settings)


def test_encoders_are_compared_from_their_first_weights(lite_settings, monkeypatch):
    settings = lite_settings(space={"model.encoder": {"choices": ["lite0", "lite2"]}}, steps=1)
    honest, trained = trials.train_depth, []

    def train(work, params, *rest, **options):
        trained.append((params.model.encoder, options["is_fresh"]))
        return honest(work, params, *rest, **options)

    monkeypatch.setattr(trials, "train_depth", train)
    study = open_study(settings)
    study.enqueue_trial({"model.encoder": "lite2"})
    tune(settings, 2, 1, 0)
    assert trained == [("lite0", True), ("lite2", True)]
    assert set(load_study(settings, settings.name).user_attrs[SETUP]["data"]) == {"labelled", "heldout"}


def test_a_start_that_is_missing_is_named(lite_settings, tmp_path):
    settings = lite_settings()
    work = Workspace(tmp_path / "empty")
    work.root.mkdir()
    (work.root / "data").symlink_to(settings.work.root / "data")
    with pytest.raises(ModelError, match=r"normal\.safetensors: no such file; run stage train_normal first"):
        open_study(dataclasses.replace(settings, work=work))


def test_the_labelled_training_of_the_hourglass_is_searched_alike(settings):
    params = parse_section(Params, tuning_values(stage="train_depth", space=None), "tiny")
    settings = dataclasses.replace(settings, params=params)
    report = tune(settings, 2, 1, 0)
    assert [(row.point, row.state) for row in report.trials] == [("params.yaml", "complete"), ("original", "complete")]
    assert "normals of the depth, mean (°)" in to_markdown(report)
    data = load_study(settings, settings.name).user_attrs[SETUP]["data"]
    assert set(data) == {"labelled", "heldout", "normal_model"}
    assert report.trials[0].metrics != report.trials[1].metrics
