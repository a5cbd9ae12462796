import logging
import time
from pathlib import Path

import optuna
from optuna.storages import RDBStorage

from hdnet.tuning.storage import open_storage


def test_a_new_storage_leaves_logging_alone(tmp_path: Path) -> None:
    root, logger = logging.getLogger(), logging.getLogger("hdnet.tuning.test_storage")
    handlers, level = root.handlers[:], root.level
    open_storage(f"sqlite:///{tmp_path / 'optuna.db'}", stale_after_s=60)
    assert not logger.disabled
    assert (root.handlers, root.level) == (handlers, level)


def test_a_heartbeat_that_fails_is_followed_by_the_next(tmp_path, monkeypatch, caplog):
    honest, calls = RDBStorage.record_heartbeat, []

    def record(self, trial_id):
        calls.append(trial_id)
        if len(calls) == 1:
            raise optuna.exceptions.StorageInternalError("database is locked")
        honest(self, trial_id)

    monkeypatch.setattr(RDBStorage, "record_heartbeat", record)
    storage = open_storage(f"sqlite:///{tmp_path / 'optuna.db'}", stale_after_s=4)
    study = optuna.create_study(storage=storage)
    study.optimize(lambda _: time.sleep(2.5) or 1.0, n_trials=1)
    assert len(calls) >= 2
    assert "no heartbeat could be recorded: database is locked" in caplog.text
