"""Aliases and their history in a real store, with concurrent processes and with processes that die."""

import os
import subprocess
import sys
import time

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from promoting import check_that_two_at_once_lose_no_champion

from hdnet import registry
from hdnet.errors import ModelError, PromotionError, TrackingError
from hdnet.registry.lock import LockPatience, registry_lock
from hdnet.tracking import connection

pytestmark = pytest.mark.usefixtures("mlflow_store")


@pytest.fixture
def client():
    connection.connect()
    client = mlflow.MlflowClient()
    client.create_registered_model("hdnet")
    for version in range(1, 7):
        client.create_model_version("hdnet", f"file:///nowhere/{version}")
    return client


@pytest.fixture
def champions(client):
    return registry.Champions("hdnet", "champion", "challenger")


def tags(client, version):
    return client.get_model_version("hdnet", version).tags


def test_install_moves_the_alias_and_remembers(client, champions):
    client.set_registered_model_alias("hdnet", "challenger", "2")
    assert champions.install("1", None, "run1", "the first")
    assert champions.challenger() == "2"
    assert champions.install("2", "1", "run2", "better")
    assert champions.champion() == "2"
    with pytest.raises(PromotionError, match="has no challenger"):
        champions.challenger()
    found = tags(client, "2")
    assert (found["champion.stack"], found["champion.run"], found["champion.reason"]) == ("1", "run2", "better")
    assert "champion.until" in tags(client, "1")
    assert "champion.until" not in found


def test_install_against_another_champion_changes_nothing(client, champions):
    champions.install("1", None, "run", "")
    assert not champions.install("2", None, "run", "")
    assert not champions.install("2", "3", "run", "")
    assert champions.champion() == "1"
    assert tags(client, "2") == {}


def test_rollback_skips_versions_that_were_deleted(client, champions):
    for version, before in (("1", None), ("2", "1"), ("3", "2")):
        champions.install(version, before, "run", "")
    client.delete_model_version("hdnet", "2")
    assert champions.roll_back("run", "bad") == ("3", "1")
    assert "bad" in champions.rolled_back("3")
    assert champions.rolled_back("1") is None


def test_a_champion_that_comes_again_is_not_its_own_predecessor(client, champions):
    for version, before in (("1", None), ("2", "1"), ("1", "2")):
        assert champions.install(version, before, "run", "")
    assert tags(client, "1")["champion.stack"] == "2"
    assert champions.roll_back("run", "") == ("1", "2")
    with pytest.raises(PromotionError, match="no champion before it"):
        champions.roll_back("run", "")


def test_what_is_not_there_is_named(client, champions):
    assert champions.champion() is None
    with pytest.raises(PromotionError, match="nothing to roll back"):
        champions.roll_back("run", "")
    with pytest.raises(ModelError, match="hdnet has no version 9"):
        champions.existing("9")
    assert registry.Champions("other", "champion", "challenger").champion() is None


def test_nothing_stays_behind_where_a_promotion_fails(client, champions, monkeypatch):
    def away(*_):
        raise ConnectionError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", away)
        with pytest.raises(ConnectionError):
            champions.install("1", None, "run", "")
    assert champions.champion() is None
    assert champions.install("2", None, "run", "")
    assert [model.name for model in client.search_registered_models()] == ["hdnet"]


def test_two_processes_at_once_lose_no_champion(client):
    check_that_two_at_once_lose_no_champion(client, "promoted", "file:///nowhere")


def test_one_holder_at_a_time_and_the_other_is_named(client):
    with (
        registry_lock(client, "hdnet"),
        pytest.raises(TrackingError, match=f"held by process {os.getpid()} on"),
        registry_lock(client, "hdnet", LockPatience(stale_s=60, in_all_s=0.3)),
    ):
        pass


def test_a_lock_that_is_let_go_while_it_is_asked_for_is_asked_for_again(client, monkeypatch):
    """MLflow's server looks for the model that is in the way, to name it, and its holder has deleted it meanwhile."""
    create, answers = client.create_registered_model, [MlflowException("not found", RESOURCE_DOES_NOT_EXIST)]

    def late(*arguments, **more):
        if answers:
            raise answers.pop()
        return create(*arguments, **more)

    monkeypatch.setattr(client, "create_registered_model", late)
    with registry_lock(client, "hdnet"):
        assert client.get_registered_model("hdnet.lock").tags["lock.held_by"].startswith(f"process {os.getpid()} on")


def test_the_answer_to_a_lock_that_was_given_may_get_lost(client, monkeypatch):
    """The client then asks again by itself, and hears that the lock is there: its own."""
    create = client.create_registered_model

    def twice(*arguments, **more):
        create(*arguments, **more)
        return create(*arguments, **more)

    monkeypatch.setattr(client, "create_registered_model", twice)
    with registry_lock(client, "hdnet", LockPatience(stale_s=60, in_all_s=0.3)):
        assert client.get_registered_model("hdnet.lock")
    assert [model.name for model in client.search_registered_models()] == ["hdnet"]


def test_a_lock_that_was_taken_over_is_not_let_go_by_the_one_before(client):
    with registry_lock(client, "hdnet"):
        client.delete_registered_model("hdnet.lock")
        client.create_registered_model("hdnet.lock", tags={"lock.token": "another's"})
    assert client.get_registered_model("hdnet.lock").tags["lock.token"] == "another's"


HOLDS = """
import time, mlflow
from hdnet import registry
from hdnet.tracking import connection
from hdnet.registry.lock import registry_lock
connection.connect()
with registry_lock(mlflow.MlflowClient(), "hdnet"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_lock_of_a_process_that_was_killed_is_taken_over(client):
    with subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"held\n"
        child.kill()
    begin = time.monotonic()
    with registry_lock(client, "hdnet", LockPatience(stale_s=0.3, in_all_s=30)):
        assert time.monotonic() - begin >= 0.3
    assert [model.name for model in client.search_registered_models()] == ["hdnet"]
