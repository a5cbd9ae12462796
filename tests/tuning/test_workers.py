"""Workers as processes, and what becomes of a study when they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import optuna
import psutil
import pytest
import yaml
from optuna.trial import TrialState
from tuning_values import tuning_values

from hdnet.errors import TuningError
from hdnet.params import load_params
from hdnet.tuning.ranking import MEASURED
from hdnet.tuning.storage import ORIGIN, RETRIES
from hdnet.tuning.study import FAILED, StudySettings, is_done, load_study

_PATIENCE_S = 240.0


class Command:
    """``hdnet tune`` as a program in a workspace of its own parameters."""

    def __init__(self, settings: StudySettings, folder, trials: int, workers: int) -> None:
        self.settings = settings
        self._study: optuna.Study | None = None
        self.log = folder / "tune.log"
        words = ["tune", "--root", settings.work.root, "--params", folder / "params.yaml", "--no-mlflow"]
        words += ["--storage", settings.storage, "--study", settings.name, "--top-k", 0]
        words += ["--trials", trials, "--workers", workers]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from hdnet.cli import main; main()", *map(str, words)],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def trials(self):
        if self._study is None:
            with suppress(TuningError):  # not made yet
                self._study = load_study(self.settings, self.settings.name)
        return self._study.get_trials(deepcopy=False) if self._study else []

    def wait_for_running(self, count: int) -> None:
        """Until so many trials are in their midst."""
        self._wait(
            lambda: sum(t.state == TrialState.RUNNING and MEASURED in t.user_attrs for t in self.trials()) >= count
        )

    def _wait(self, is_there) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not is_there():
            assert time.monotonic() < deadline, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)

    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if any("spawn_main" in word for word in child.cmdline())]

    def end(self) -> int:
        return self.process.wait(_PATIENCE_S)

    def kill_all(self) -> None:
        workers = self.workers()
        self.process.kill()
        for worker in workers:
            worker.kill()
        psutil.wait_procs(workers, _PATIENCE_S)
        self.end()


@pytest.fixture
def long_settings(settings, tmp_path):
    """Trials of some seconds, so that they can be killed in their midst."""
    values = tuning_values(steps=160, validate_every=20, prune_after=99, stale_after_s=8)
    values["runtime"]["checkpoint_every"] = 10
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    return StudySettings(
        settings.work, load_params(tmp_path / "params.yaml"), settings.storage, settings.name, is_tracked=False
    )


def check_complete(command: Command, trials: int) -> list:
    """Every started set of values has its result once; no trial runs or waits."""
    found = command.trials()
    done = [trial for trial in found if is_done(trial)]
    assert trials <= len(done) <= trials + 1  # two workers may begin the last one at once
    assert all(trial.state == TrialState.COMPLETE for trial in done)
    assert not [trial for trial in found if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    assert all(trial.state == TrialState.FAIL for trial in found if trial not in done)
    return done


def kill_one_worker(settings: StudySettings, folder) -> None:
    command = Command(settings, folder, trials=4, workers=2)
    command.wait_for_running(2)
    command.workers()[0].send_signal(signal.SIGKILL)
    assert command.end() == 0, command.log.read_text()
    done = check_complete(command, 4)
    (again,) = (trial for trial in done if trial.user_attrs.get(RETRIES))
    dead = command.trials()[again.user_attrs[ORIGIN]]
    assert dead.state == TrialState.FAIL
    assert dead.params == again.params
    assert next(iter(dead.user_attrs[MEASURED])) in again.user_attrs[MEASURED]
    assert "ended with -9" in command.log.read_text()


@pytest.mark.slow
def test_the_trial_of_a_killed_worker_is_done_by_the_other(long_settings, tmp_path):
    kill_one_worker(long_settings, tmp_path)


@pytest.mark.slow
def test_two_workers_on_postgresql_and_one_is_killed(long_settings, tmp_path, postgres):
    url = postgres.url("tuning")
    settings = StudySettings(long_settings.work, long_settings.params, url, long_settings.name, is_tracked=False)
    kill_one_worker(settings, tmp_path)


@pytest.mark.slow
def test_when_all_are_killed_the_next_command_goes_on(long_settings, tmp_path):
    command = Command(long_settings, tmp_path, trials=3, workers=2)
    command.wait_for_running(2)
    command.kill_all()
    again = Command(long_settings, tmp_path, trials=3, workers=1)
    assert again.end() == 0, again.log.read_text()
    assert "continuing from step" in again.log.read_text()
    done = check_complete(again, 3)
    assert sorted(trial.user_attrs[ORIGIN] for trial in done if ORIGIN in trial.user_attrs) == [0, 1]


@pytest.mark.slow
def test_workers_whose_command_is_killed_stop(long_settings, tmp_path):
    command = Command(long_settings, tmp_path, trials=3, workers=2)
    command.wait_for_running(2)
    workers = command.workers()
    command.process.kill()
    command.end()
    assert not psutil.wait_procs(workers, 60)[1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_it_and_the_next_command_goes_on(long_settings, tmp_path, workers):
    command = Command(long_settings, tmp_path, trials=2, workers=workers)
    command.wait_for_running(workers)
    command.process.send_signal(signal.SIGINT)
    assert command.end() == 130, command.log.read_text()
    assert "Traceback" not in command.log.read_text()
    again = Command(long_settings, tmp_path, trials=2, workers=1)
    assert again.end() == 0, again.log.read_text()
    done = check_complete(again, 2)
    assert [trial.user_attrs.get(RETRIES, 0) for trial in done] == [0, 0]
    assert "continuing from step" in again.log.read_text()


@pytest.mark.slow
def test_a_worker_that_was_slow_and_not_dead_lets_go_of_its_trial(long_settings, tmp_path):
    command = Command(long_settings, tmp_path, trials=4, workers=2)
    command.wait_for_running(2)
    slow = command.workers()[0]
    slow.suspend()
    command._wait(lambda: any(trial.user_attrs.get(RETRIES) for trial in command.trials()))
    slow.resume()
    assert command.end() == 0, command.log.read_text()
    log = command.log.read_text()
    assert "Traceback" not in log
    assert "already training" not in log
    assert "was given to another worker" in log
    assert "ended with" not in log
    done = check_complete(command, 4)
    (again,) = (trial for trial in done if trial.user_attrs.get(RETRIES))
    assert FAILED not in command.trials()[again.user_attrs[ORIGIN]].user_attrs
