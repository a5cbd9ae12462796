"""Environment for all tests: deterministic, few threads, nothing written outside the test's own folder."""

import os

# Two processes of tests with two threads each wait for each other on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
# Threads that wait sleep, also in the programs that tests start: spinning ones take the time of those that compute.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import logging
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

# A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["servers"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes test: the files that may take longest first, so that none of them is the last one."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    limits_s: dict[Path, float] = {}
    for item in items:
        limit = item.get_closest_marker("timeout")
        limit_s = limit.args[0] if limit else float(config.getini("timeout")) * bool(item.get_closest_marker("slow"))
        limits_s[item.path] = max(limit_s, limits_s.get(item.path, 0.0))
    items.sort(key=lambda item: -limits_s[item.path])


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """With `--dist loadfile`: all files of synthetic people in one process, which has to make their bodies once."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = "tests/synthetic/"
            return folder if nodeid.startswith(folder) else super()._split_scope(nodeid)

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of the tests, the same one in all processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    (folder / "shared").mkdir(exist_ok=True)
    return folder / "shared"


@pytest.fixture(scope="session", autouse=True)
def model_cache_folder(shared_folder: Path) -> Iterator[Path]:
    """Models of the tests' registries are not kept in the home folder of whoever runs them."""
    folder = shared_folder / "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HDNET_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def same_chance_every_time() -> None:
    """A test that draws numbers draws the same ones alone, after others, and beside others."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that runs in the test's process sets up logging, to a stream that ends with the test."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if handler not in before:
            root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="session")
def migrated_mlflow_database(shared_folder: Path) -> Path:
    """An empty MLflow database with its schema: made once (seconds), copied by every test that needs one."""
    import mlflow

    path = shared_folder / "empty.db"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            made = path.with_suffix(".made")
            previous = mlflow.get_tracking_uri()
            mlflow.set_tracking_uri(f"sqlite:///{made}")
            mlflow.search_experiments()
            mlflow.set_tracking_uri(previous)
            made.rename(path)
    return path


@pytest.fixture
def mlflow_store(migrated_mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh MLflow store in the test's folder, which becomes the working directory."""
    import mlflow

    database = tmp_path / "mlflow.db"
    shutil.copy(migrated_mlflow_database, database)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    previous = mlflow.get_tracking_uri()
    yield database
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(previous)
