"""Outages of the tracking server at the start, in the middle and at the end: training goes on, nothing is lost."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import mlflow
import numpy as np
import pytest
from servers import free_port

from hdnet import registry
from hdnet.errors import TrackingError
from hdnet.tracking import runs
from hdnet.tracking.outbox import PENDING_FOLDER
from hdnet.tracking.uploader import Patience

# MLflow's own server application, in a process that closes and opens its port when told: a start takes milliseconds.
SERVER_SCRIPT = """
import sys, threading
from mlflow.server import app
from werkzeug.serving import make_server
server = None
for line in sys.stdin:
    if line == "start\\n":
        server = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)
        serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        serving.start()
    elif server is not None:
        server.shutdown()
        serving.join()  # it closes the port itself, a moment after the shutdown
        server = None
    print("ok", flush=True)
"""


class Server:
    """The tracking server, away at first."""

    def __init__(self, process, port):
        self.process, self.port = process, port
        self.uri = f"http://127.0.0.1:{port}"

    def start(self):
        self._say("start")

    def stop(self):
        self._say("stop")

    def _say(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ok\n"


@pytest.fixture(scope="module")
def server_process(migrated_mlflow_database, tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    shutil.copy(migrated_mlflow_database, folder / "server.db")
    environment = {
        **os.environ,
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'server.db'}",
        "_MLFLOW_SERVER_REGISTRY_STORE": f"sqlite:///{folder / 'server.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    }
    command = [sys.executable, "-c", SERVER_SCRIPT, str(port)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        yield Server(process, port)
        process.kill()


@pytest.fixture
def server(server_process, tmp_path, monkeypatch):
    """A server that is away, where MLFLOW_TRACKING_URI says; an experiment of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server_process.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("hdnet.tracking.remote_run.EXPERIMENT", tmp_path.name)
    monkeypatch.setattr(runs, "PATIENCE", Patience(first_contact_s=20.0, at_end_s=20.0))
    monkeypatch.setattr("hdnet.tracking.uploader._RETRY_S", (0.05, 0.1))
    monkeypatch.setattr("hdnet.tracking.uploader._RETRY_AT_END_S", 0.05)
    monkeypatch.setattr("hdnet.tracking.uploader._INTERVAL_S", 0.02)
    previous = mlflow.get_tracking_uri()
    yield server_process
    server_process.stop()
    mlflow.set_tracking_uri(previous)


@pytest.fixture
def impatient(server, monkeypatch):
    """For stages that end while the server is away."""
    monkeypatch.setattr(runs, "PATIENCE", Patience(first_contact_s=20.0, at_end_s=0.4, after_interrupt_s=0.4))


def report(tracker, tmp_path, steps):
    """As an engine does: numbers at every step, a picture and weights that it deletes at the last."""
    weights = tmp_path / f"w_{steps[-1]}.safetensors"
    for step in steps:
        tracker.log_metrics({"loss": 1 / step}, step)
    tracker.log_image("labelled", np.zeros((4, 4, 3), np.uint8), steps[-1])
    weights.write_bytes(b"weights")
    tracker.log_checkpoint(weights, steps[-1])
    weights.unlink()


def check_complete(run_id, steps, checkpoints):
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    assert [metric.step for metric in client.get_metric_history(run_id, "loss")] == list(steps)
    assert sorted(output.step for output in run.outputs.model_outputs) == checkpoints
    names = [item.path for item in client.list_artifacts(run_id, "images") if "compressed" not in item.path]
    assert sorted(int(name.split("+")[2]) for name in names) == checkpoints
    return run


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_away_at_the_start_back_in_the_middle(server, tmp_path, caplog):
    with runs.run("train_normal", {"steps": 4}, {}) as tracker:
        assert tracker.run_id is None
        report(tracker, tmp_path, [1, 2])
        server.start()
        wait_for(lambda: tracker.run_id is not None)
        report(tracker, tmp_path, [3, 4])
    assert "does not take events ([Errno 111] Connection refused); the stage goes on" in caplog.text
    assert "answers again" in caplog.text
    run = check_complete(tracker.run_id, [1, 2, 3, 4], [2, 4])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"steps": "4"}
    assert not list(PENDING_FOLDER.iterdir())


def test_away_in_the_middle_and_back_before_the_end(server, tmp_path, caplog):
    server.start()
    with runs.run("train_normal", {}, {}) as tracker:
        report(tracker, tmp_path, [1, 2])
        wait_for(lambda: tracker.is_delivered)
        server.stop()
        report(tracker, tmp_path, [3, 4])
        wait_for(lambda: "the stage goes on" in caplog.text)
        server.start()
    check_complete(tracker.run_id, [1, 2, 3, 4], [2, 4])


def test_away_at_the_end_delivered_by_the_next_stage(server, impatient, tmp_path, monkeypatch, caplog):
    server.start()
    with runs.run("train_normal", {}, {}) as tracker:
        report(tracker, tmp_path, [1, 2])
        server.stop()
        report(tracker, tmp_path, [3, 4])
    assert "`hdnet deliver`" in caplog.text
    server.start()
    monkeypatch.setattr(runs, "PATIENCE", Patience())
    with runs.run("predict_normals", {}, {}):
        pass
    run = check_complete(tracker.run_id, [1, 2, 3, 4], [2, 4])
    assert run.info.status == "FINISHED"
    assert not list(PENDING_FOLDER.iterdir())


def test_never_there_delivered_by_the_command(server, impatient, tmp_path, caplog):
    with runs.run("train_normal", {}, {}) as tracker:
        report(tracker, tmp_path, [1, 2])
    assert "2 rows of numbers, 1 pictures, 1 checkpoints" in caplog.text
    (left,) = runs.deliver_pending()
    assert "still wait" in left.problem
    server.start()
    (done,) = runs.deliver_pending()
    assert not done.problem
    check_complete(done.run_id, [1, 2], [2])
    assert runs.deliver_pending() == []


def test_events_go_only_to_the_server_they_belong_to(server, impatient, tmp_path, monkeypatch):
    with runs.run("train_normal", {}, {}) as tracker:
        report(tracker, tmp_path, [1])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    (left,) = runs.deliver_pending()
    assert f"belongs to {server.uri}" in left.problem


def test_a_password_in_the_uri_is_neither_printed_nor_stored(server, impatient, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri.replace("//", "//me:s3cret@"))
    with runs.run("train_normal", {}, {}) as tracker:
        report(tracker, tmp_path, [1])
    assert "s3cret" not in caplog.text
    for path in tracker.folder.glob("*.json*"):
        assert "s3cret" not in path.read_text()


def test_an_answer_that_got_lost_doubles_nothing(server, tmp_path, monkeypatch):
    """Every call arrives, but its answer does not the first time."""
    server.start()
    failed = set()

    def losing(name):
        original = getattr(mlflow.MlflowClient, name)

        def call(self, *arguments, **named):
            answer = original(self, *arguments, **named)
            if name not in failed:
                failed.add(name)
                raise ConnectionError("connection reset")
            return answer

        monkeypatch.setattr(mlflow.MlflowClient, name, call)

    names = ["create_run", "log_batch", "log_image", "create_logged_model", "log_model_artifact", "log_outputs"]
    for name in names:
        losing(name)
    with runs.run("train_normal", {"a": 1}, {}) as tracker:
        report(tracker, tmp_path, [1, 2, 3])
    assert failed == set(names)
    check_complete(tracker.run_id, [1, 2, 3], [3])
    experiment = mlflow.get_experiment_by_name(tmp_path.name).experiment_id
    assert len(mlflow.MlflowClient().search_runs([experiment])) == 1
    assert len(mlflow.MlflowClient().search_logged_models([experiment])) == 1


def test_a_store_that_takes_no_files_does_not_hold_up_the_numbers(server, impatient, tmp_path, monkeypatch, caplog):
    server.start()

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied: '/mlruns'")

    monkeypatch.setattr(mlflow.MlflowClient, "log_image", denied)
    with runs.run("train_normal", {}, {}) as tracker:
        report(tracker, tmp_path, [1, 2])
    client = mlflow.MlflowClient()
    assert [metric.step for metric in client.get_metric_history(tracker.run_id, "loss")] == [1, 2]
    assert client.get_run(tracker.run_id).info.status == "FINISHED"
    assert "1 pictures, 1 checkpoints" in caplog.text
    assert "Permission denied" in caplog.text


@pytest.mark.timeout(60)
def test_a_server_that_takes_connections_and_never_answers(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")
    monkeypatch.setattr(runs, "PATIENCE", Patience(first_contact_s=0.3, at_end_s=0.3))
    with (
        socket.create_server(("127.0.0.1", server.port)),
        runs.run("train_normal", {}, {}) as tracker,
    ):
        report(tracker, tmp_path, [1])
    assert tracker.run_id is None


def test_the_registry_itself_needs_the_server(server, impatient, tmp_path):
    with pytest.raises(TrackingError, match="does not answer; start it"), runs.run("register", {}, {}):
        registry.register(tmp_path / "hdnet.safetensors", "hdnet", "champion", {}, {})


def test_resumed_while_away_goes_on_in_the_same_run(server, impatient, tmp_path, monkeypatch):
    @contextmanager
    def stopped():
        with pytest.raises(KeyboardInterrupt), runs.run("s", {}, {}, tmp_path / "work") as tracker:  # noqa: PT012
            yield tracker
            raise KeyboardInterrupt

    server.start()
    with stopped() as first:
        report(first, tmp_path, [1, 2])
    server.stop()
    with stopped() as second:
        second.resume(1)
        report(second, tmp_path, [2, 3])
    server.start()
    monkeypatch.setattr(runs, "PATIENCE", Patience())
    with runs.run("s", {}, {}, tmp_path / "work") as third:
        third.resume(3)
        report(third, tmp_path, [4])
    assert first.run_id == second.run_id == third.run_id
    check_complete(first.run_id, [1, 2, 3, 4], [2, 3, 4])


@pytest.mark.slow
def test_a_real_server_process_that_is_killed_and_started_again(migrated_mlflow_database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(migrated_mlflow_database, tmp_path / "server.db")
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", "sqlite:///server.db", "--artifacts-destination", "artifacts"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

    @contextmanager
    def serving():
        process = subprocess.Popen(
            command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_for(answers, 120)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def answers():
        try:
            return urllib.request.urlopen(f"{uri}/health", timeout=2).status == 200
        except OSError:
            return False

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with serving():
        context = runs.run("train_normal", {}, {})
        tracker = context.__enter__()
        report(tracker, tmp_path, [1, 2])
        wait_for(lambda: tracker.is_delivered, 60)
    report(tracker, tmp_path, [3, 4])
    with serving():
        context.__exit__(None, None, None)
        check_complete(tracker.run_id, [1, 2, 3, 4], [2, 4])
