"""Runs in a local database: content, resumption, parents."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import mlflow
import numpy as np
import pytest
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from sqlalchemy.exc import OperationalError

from hdnet.errors import TrackingError
from hdnet.tracking import connection, runs
from hdnet.tracking import outbox as outboxes
from hdnet.tracking.outbox import PENDING_FOLDER, Outbox

pytestmark = pytest.mark.usefixtures("mlflow_store")


def history(run_id, key="loss"):
    return [(metric.step, metric.value) for metric in mlflow.MlflowClient().get_metric_history(run_id, key)]


@contextmanager
def interrupted(error, *arguments):
    """A run whose block ends with an error."""
    with pytest.raises(error), runs.run(*arguments) as tracker:  # noqa: PT012 - the block is the caller's
        yield tracker
        raise error


def picture_steps(run_id):
    """Steps of the key's slider, as the page reads them from the names."""
    paths = [item.path for item in mlflow.MlflowClient().list_artifacts(run_id, "images")]
    return sorted(
        (path.split("/")[1].split("+")[0], int(path.split("+")[2])) for path in paths if "compressed" not in path
    )


def test_a_run_carries_params_metrics_pictures_files_datasets_and_tags(tmp_path):
    report = tmp_path / "report.md"
    report.write_text("fine")
    with runs.run("train_hdnet", {"seed": 1, "weights": {"warp": 5.0}}, {"data.labelled": "f00"}) as tracker:
        tracker.log_metrics({"loss": 2.0}, 10)
        tracker.log_metrics({"loss": 1.0}, 20)
        tracker.log_image("labelled", np.zeros((4, 12, 3), np.uint8), 10)
        tracker.log_image("labelled", np.zeros((4, 12, 3), np.uint8), 20)
        tracker.log_file(report)
        report.write_text("overwritten later")
        tracker.log_dataset("labelled", "ab" * 32, 280, "data/packed/labelled")
        tracker.set_tags({"precision": "bf16", "devices": "cpu x 1"})
    run = mlflow.get_run(tracker.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "train_hdnet")
    assert run.data.params == {"seed": "1", "weights.warp": "5.0"}
    assert {"data.labelled": "f00", "precision": "bf16", "stage": "train_hdnet"}.items() <= run.data.tags.items()
    assert history(tracker.run_id) == [(10, 2.0), (20, 1.0)]
    assert picture_steps(tracker.run_id) == [("labelled", 10), ("labelled", 20)]
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/report.md") == "fine"
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("labelled", ("ab" * 32)[:36])
    assert json.loads(used.dataset.profile) == {"num_rows": 280, "sha256": "ab" * 32}
    assert not list(PENDING_FOLDER.iterdir())


def test_a_run_is_described_by_a_link_that_compares_it_with_the_last_finished_one_of_its_stage():
    def start(stage: str) -> str:
        with runs.run(stage, {}, {}):
            return runs.open_run_id()

    first, _, second = start("train_depth"), start("evaluate"), start("train_depth")
    with interrupted(RuntimeError, "train_depth", {}, {}):
        pass
    third = start("train_depth")
    notes = [mlflow.get_run(run_id).data.tags.get(MLFLOW_RUN_NOTE, "") for run_id in (first, second, third)]
    assert notes[0] == ""
    for note, compared in zip(notes[1:], ([first, second], [second, third]), strict=True):
        address = re.fullmatch(r"\[Compare with the last finished train_depth, of .*\]\(#/compare-runs\?(.*)\)", note)
        assert json.loads(parse_qs(address[1])["runs"][0]) == compared


def test_checkpoints_are_logged_models_with_step_and_numbers(tmp_path):
    weights = tmp_path / "train_normal_step_000000020.safetensors"
    with runs.run("train_normal", {}, {}) as tracker:
        tracker.log_metrics({"loss": 2.0}, 10)
        tracker.log_metrics({"loss": 1.0}, 20)
        tracker.log_metrics({"validation/normal_deg": 0.5}, 20)
        weights.write_bytes(b"weights")
        tracker.log_checkpoint(weights, 20)
        weights.unlink()
    run = mlflow.get_run(tracker.run_id)
    (output,) = run.outputs.model_outputs
    model = mlflow.MlflowClient().get_logged_model(output.model_id)
    assert (output.step, model.params, model.status) == (20, {"step": "20"}, "READY")
    assert {metric.key: (metric.step, metric.value) for metric in model.metrics} == {
        "loss": (20, 1.0),
        "validation/normal_deg": (20, 0.5),
    }
    assert history(tracker.run_id) == [(10, 2.0), (20, 1.0)]
    assert history(tracker.run_id, "validation/normal_deg") == [(20, 0.5)]
    folder = mlflow.artifacts.download_artifacts(model.model_uri)
    assert os.listdir(folder) == [weights.name]  # noqa: PTH208


def test_reporting_takes_no_time_whatever_the_server_does(monkeypatch):
    monkeypatch.setattr("hdnet.tracking.remote_run.RemoteRun.log_metrics", lambda *_: time.sleep(0.3))
    with runs.run("s", {}, {}) as tracker:
        begin = time.perf_counter()
        for step in range(1000):
            tracker.log_metrics({"loss": 1.0, "normal_rad": 0.5}, step)
        taken = time.perf_counter() - begin
    assert taken < 0.25


def test_many_numbers_go_in_few_calls(monkeypatch):
    calls = []
    log_batch = mlflow.MlflowClient.log_batch

    def counted(self, run_id, metrics=(), **rest):
        calls.append(len(metrics))
        return log_batch(self, run_id, metrics=metrics, **rest)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", counted)
    with runs.run("s", {}, {}) as tracker:
        for step in range(1500):
            tracker.log_metrics({"loss": float(step)}, step)
    assert sum(calls) == 1500
    assert len([count for count in calls if count]) < 20
    assert history(tracker.run_id) == [(step, float(step)) for step in range(1500)]


def test_an_interrupted_run_goes_on_without_doubled_or_missing_steps(tmp_path):
    work = tmp_path / "work"
    picture, weights = np.zeros((4, 4, 3), np.uint8), tmp_path / "w.safetensors"
    weights.write_bytes(b"weights")
    with interrupted(KeyboardInterrupt, "s", {"a": 1}, {}, work) as first:
        first.resume(0)
        for step in (1, 2, 3, 4):
            first.log_metrics({"loss": 1 / step}, step)
        first.log_image("labelled", picture, 3)
        first.log_checkpoint(weights, 3)
    assert mlflow.get_run(first.run_id).info.status == "KILLED"
    with runs.run("s", {"a": 1}, {}, work) as second:  # the checkpoint was of step 2
        second.resume(2)
        for step in (3, 4, 5):
            second.log_metrics({"loss": 1 / step}, step)
        second.log_image("labelled", picture, 3)
        second.log_checkpoint(weights, 3)
    assert second.run_id == first.run_id
    run = mlflow.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["resumed_from_step"] == "2"
    assert [step for step, _ in history(first.run_id)] == [1, 2, 3, 4, 5]
    assert picture_steps(first.run_id) == [("labelled", 3)]
    assert len(run.outputs.model_outputs) == 1


def test_a_journal_that_was_deleted_is_learnt_from_the_server(tmp_path):
    work = tmp_path / "work"
    with interrupted(ZeroDivisionError, "s", {}, {}, work) as first:
        first.log_metrics({"loss": 1.0}, 1)
        first.log_metrics({"loss": 2.0}, 2)
    assert mlflow.get_run(first.run_id).info.status == "FAILED"
    shutil.rmtree(PENDING_FOLDER)
    with runs.run("s", {}, {}, work) as second:
        second.resume(1)
        second.log_metrics({"loss": 2.0}, 2)
        second.log_metrics({"loss": 3.0}, 3)
    assert second.run_id == first.run_id
    assert [step for step, _ in history(first.run_id)] == [1, 2, 3]


def test_a_run_deleted_in_the_meantime_starts_anew_with_all_its_numbers(tmp_path, caplog):
    with interrupted(ZeroDivisionError, "s", {}, {}, tmp_path / "work") as first:
        first.log_metrics({"loss": 1.0}, 1)
    mlflow.delete_run(first.run_id)
    deleted = first.run_id
    with runs.run("s", {}, {}, tmp_path / "work") as second:
        second.resume(1)
        second.log_metrics({"loss": 2.0}, 2)
    assert second.run_id != deleted
    assert "is gone" in caplog.text
    assert [step for step, _ in history(second.run_id)] == [1, 2]


def test_a_killed_training_loses_nothing_that_it_reported(tmp_path):
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from hdnet.tracking import runs\n"
        "with runs.run('s', {}, {}, Path('work')) as tracker:\n"
        "    for step in range(50):\n"
        "        tracker.log_metrics({'loss': 1.0}, step)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = PENDING_FOLDER.iterdir()
    with (left / "journal.jsonl").open("a") as file:
        file.write('{"kind": "metr')
    with runs.run("s", {}, {}, tmp_path / "work") as tracker:
        tracker.resume(48)
        tracker.log_metrics({"loss": 1.0}, 49)
        tracker.log_metrics({"loss": 1.0}, 50)
    assert [step for step, _ in history(tracker.run_id)] == list(range(51))


@pytest.mark.parametrize("work_dir", [None, "work"])
def test_a_killed_run_that_nothing_continues_ends_as_killed_with_the_next(tmp_path, work_dir):
    script = (
        "import os, signal\n"
        "from pathlib import PosixPath\n"
        "from hdnet.tracking import runs\n"
        f"with runs.run('acquire', {{}}, {{}}, {work_dir and Path(work_dir)!r}) as tracker:\n"
        "    print(tracker.run_id, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    killed = done.stdout.strip()
    connection.connect()
    assert mlflow.get_run(killed).info.status == "RUNNING"
    with runs.run("acquire", {}, {}) as tracker:
        pass
    found = mlflow.get_run(killed).info
    # A training goes on when its folder is used again.
    assert found.status == ("KILLED" if work_dir is None else "RUNNING")
    assert mlflow.get_run(tracker.run_id).info.status == "FINISHED"
    if work_dir is None:
        assert found.end_time <= mlflow.get_run(tracker.run_id).info.start_time
        assert not list(PENDING_FOLDER.iterdir())


def test_system_metrics_are_recorded_for_trainings_and_their_steps_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    key = "system/cpu_utilization_percentage"
    with interrupted(KeyboardInterrupt, "s", {}, {}, tmp_path / "work") as tracker:
        time.sleep(0.3)
    steps = [step for step, _ in history(tracker.run_id, key)]
    assert len(steps) >= 2
    with runs.run("s", {}, {}, tmp_path / "work") as tracker:
        tracker.resume(3)
    steps = [step for step, _ in history(tracker.run_id, key)]
    assert steps == list(range(len(steps)))
    assert history(tracker.run_id, "system/system_memory_usage_megabytes")
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    with runs.run("s", {}, {}, tmp_path / "other") as tracker:
        pass
    assert not mlflow.get_run(tracker.run_id).data.metrics


def test_the_stages_of_one_dvc_command_have_one_parent(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "s")
    monkeypatch.setattr("hdnet.tracking.runs.pipeline_id", lambda: "one")
    with runs.run("acquire", {}, {}) as a:
        pass
    with interrupted(KeyboardInterrupt, "train_normal", {}, {}, tmp_path / "work") as b:
        pass
    parents = {mlflow.get_run(run_id).data.tags["mlflow.parentRunId"] for run_id in (a.run_id, b.run_id)}
    (parent,) = parents
    assert mlflow.get_run(parent).info.run_name == "pipeline"
    assert mlflow.get_run(parent).info.status == "KILLED"
    # A second command that goes on with the interrupted training goes on under the same parent.
    monkeypatch.setattr("hdnet.tracking.runs.pipeline_id", lambda: "two")
    with runs.run("train_normal", {}, {}, tmp_path / "work"):
        assert mlflow.get_run(parent).info.status == "RUNNING"
    with runs.run("train_depth", {}, {}) as c:
        pass
    assert mlflow.get_run(c.run_id).data.tags["mlflow.parentRunId"] == parent
    assert mlflow.get_run(parent).info.status == "FINISHED"
    # A third one is another pipeline; a stage outside of any has no parent.
    monkeypatch.setattr("hdnet.tracking.runs.pipeline_id", lambda: "three")
    with runs.run("acquire", {}, {}) as d:
        pass
    assert mlflow.get_run(d.run_id).data.tags["mlflow.parentRunId"] != parent
    monkeypatch.setattr("hdnet.tracking.runs.pipeline_id", lambda: None)
    with runs.run("acquire", {}, {}) as e:
        pass
    assert "mlflow.parentRunId" not in mlflow.get_run(e.run_id).data.tags


def test_other_processes_of_a_distributed_training_are_silent(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with runs.run("s", {}, {}) as tracker:
        tracker.log_metrics({"loss": 1.0}, 1)
    assert not PENDING_FOLDER.exists()


def test_a_value_that_mlflow_refuses_costs_only_itself(caplog):
    with runs.run("s", {}, {}) as tracker:
        tracker.log_metrics({"loss": 1.0}, 1)
        tracker.log_metrics({"lo$$": 1.0}, 2)
        tracker.log_metrics({"loss": 3.0}, 3)
    assert history(tracker.run_id) == [(1, 1.0), (3, 3.0)]
    assert "MLflow refuses metrics" in caplog.text
    assert "1 that it refused" in caplog.text
    assert mlflow.get_run(tracker.run_id).info.status == "FINISHED"


def test_a_full_disk_costs_events_and_one_warning(monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    with runs.run("s", {}, {}) as tracker:
        monkeypatch.setattr(np, "save", full)
        for step in range(3):
            tracker.log_image("labelled", np.zeros((4, 4, 3), np.uint8), step)
        tracker.log_metrics({"loss": 1.0}, 1)
    assert history(tracker.run_id) == [(1, 1.0)]
    assert caplog.text.count("No space left") == 1
    assert "3 events that could not be written" in caplog.text


def test_a_database_that_cannot_be_made_is_one_error_and_leaves_nothing(monkeypatch):
    with runs.run("before", {}, {}) as tracker:
        pass

    def full(**_):
        raise OperationalError("CREATE TABLE", {}, Exception("database or disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(mlflow, "MlflowClient", full)
        with pytest.raises(TrackingError, match=r"^MLflow at sqlite.*disk is full"), runs.run("s", {}, {}):
            pass
    assert not list(PENDING_FOLDER.glob("*"))
    assert mlflow.get_run(tracker.run_id).info.status == "FINISHED"


def test_weights_that_wait_do_not_fill_the_disk(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(outboxes, "MAX_WAITING_BYTES", 250)
    box = Outbox(tmp_path / "box")
    for step in range(4):
        weights = tmp_path / f"{step}.safetensors"
        weights.write_bytes(bytes(100))
        box.log_checkpoint(weights, step)
    assert sorted(path.name for path in (tmp_path / "box/files").glob("*/*")) == ["2.safetensors", "3.safetensors"]
    box.close()
    assert "0.safetensors: dropped" in caplog.text


def test_a_second_process_in_the_same_training_is_told(tmp_path, monkeypatch):
    from hdnet.errors import TrackingError

    box = Outbox(tmp_path / "box")
    with pytest.raises(TrackingError, match="another process"):
        Outbox(tmp_path / "box", lock_wait_s=0.1)
    box.close()
    Outbox(tmp_path / "box", lock_wait_s=0.1).close()
