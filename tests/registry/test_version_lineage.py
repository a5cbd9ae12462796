"""Lineage of versions, in both directions."""

import hashlib
from pathlib import Path

import mlflow
import pytest
import yaml

from hdnet import registry
from hdnet.errors import ModelError
from hdnet.tracking import connection, runs
from hdnet.tracking.provenance import LockedPipeline, locked_pipeline

pytestmark = pytest.mark.usefixtures("mlflow_store")

COMMIT = "3ba996084436240b266937f966fbd5addf011c2c"
DATA = "a73ab49e4e088314daca81826fff83b0.dir"


@pytest.fixture
def versions():
    connection.connect()
    client = mlflow.MlflowClient()
    client.create_registered_model("hdnet")
    for number, commit in ((1, COMMIT), (2, "f" * 40), (3, COMMIT)):
        tags = {"git_commit": commit, "dvc.data/raw": DATA, "run.train_hdnet": f"{number}" * 32}
        client.create_model_version("hdnet", "file:///nowhere", tags=tags)
    client.set_registered_model_alias("hdnet", "champion", "2")
    return client


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("2", ["2"]),
        ("champion", ["2"]),
        (COMMIT, ["3", "1"]),
        (COMMIT[:7].upper(), ["3", "1"]),
        (DATA[:12], ["3", "2", "1"]),
        ("1" * 32, ["1"]),
    ],
)
def test_found_by_number_alias_commit_data_and_run(versions, what, found):
    assert [version.version for version in registry.lineage("hdnet", what)] == found


def test_the_match_is_named_and_everything_is_listed(versions):
    (version,) = registry.lineage("hdnet", "f" * 10)
    text = version.to_markdown()
    assert text.startswith("hdnet version 2 (champion)\n  found by git_commit\n")
    for line in (f"git_commit  {'f' * 40}", f"dvc.data/raw  {DATA}", f"run.train_hdnet  {'2' * 32}"):
        assert line in text


@pytest.mark.parametrize("what", ["9", "3ba996", "0" * 12, "challenger"])
def test_what_nothing_was_made_from_is_an_error(versions, what):
    with pytest.raises(ModelError, match=f"{what}: is no version or alias of hdnet"):
        registry.lineage("hdnet", what)


def run_of(stage, params, tags):
    with runs.run(stage, params, tags) as tracker:
        tracker.log_metrics({"loss": 1.0}, 0)
    return tracker.run_id


def test_runs_of_all_stages_also_of_those_from_the_cache():
    pack = run_of("pack", {}, {"dvc.data/raw": "new"})
    run_of("pack", {}, {"dvc.data/raw": "another"})
    normal = run_of("train_normal", {"train_normal": {"steps": 5}}, {"dvc.data/packed": "packed"})
    run_of("train_normal", {"train_normal": {"steps": 6}}, {"dvc.data/packed": "packed"})
    joint = run_of("train_hdnet", {}, {"model_sha256": "abc"})
    run_of("train_hdnet", {}, {"model_sha256": "abd"})
    locked = LockedPipeline(
        {"data/raw": "new", "data/packed": "packed"},
        {"pack": {}, "train_normal": {"train_normal": {"steps": 5}}, "train_hdnet": {}},
    )
    with runs.run("register", {}, {}):
        run_id = runs.open_run_id()
        with_lock = registry.stage_runs(run_id, "abc", locked)
        without = registry.stage_runs(run_id, "abc", None)
    assert with_lock == {
        "run.register": run_id, "run.train_hdnet": joint, "run.pack": pack, "run.train_normal": normal
    }  # fmt: skip
    assert without == {"run.register": run_id, "run.train_hdnet": joint}


@pytest.fixture
def lock():
    """A pipeline raw -> packed -> model, and a stage that has nothing to do with it."""
    Path("model").write_bytes(b"weights")
    md5 = hashlib.md5(b"weights").hexdigest()
    stages = {
        "acquire": {"outs": [{"path": "data/raw", "md5": "r"}], "params": {"params.yaml": {"seed": 1}}},
        "pack": {"deps": [{"path": "data/raw/people", "md5": "x"}], "outs": [{"path": "data/packed", "md5": "p"}]},
        "train": {"deps": [{"path": "data/packed", "md5": "p"}], "outs": [{"path": "model", "md5": md5}]},
        "other": {"deps": [{"path": "data/raw", "md5": "r"}], "outs": [{"path": "data/rawer", "md5": "o"}]},
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    return md5


def test_the_lock_tells_what_led_to_a_file_and_nothing_else(lock):
    locked = locked_pipeline(Path(), Path("model"))
    assert locked.outputs == {"data/raw": "r", "data/packed": "p", "model": lock}
    assert locked.params == {"acquire": {"seed": 1}, "pack": {}, "train": {}}


def test_a_lock_of_another_file_tells_nothing(lock):
    Path("model").write_bytes(b"others")
    assert locked_pipeline(Path(), Path("model")) is None
    assert locked_pipeline(Path(), Path("dvc.lock")) is None
    Path("dvc.lock").unlink()
    assert locked_pipeline(Path(), Path("model")) is None
