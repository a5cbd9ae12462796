import logging
from pathlib import Path

from hdnet.tuning.storage import open_storage


def test_a_new_storage_leaves_logging_alone(tmp_path: Path) -> None:
    root, logger = logging.getLogger(), logging.getLogger("hdnet.tuning.test_storage")
    handlers, level = root.handlers[:], root.level
    open_storage(f"sqlite:///{tmp_path / 'optuna.db'}", stale_after_s=60)
    assert not logger.disabled
    assert (root.handlers, root.level) == (handlers, level)
