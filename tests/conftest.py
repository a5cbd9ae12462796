"""Environment for all tests: deterministic, few threads, nothing written outside the test's own folder."""

import os

# Two processes of tests with two threads each wait for each other on two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import logging
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

# A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["servers"]


@pytest.fixture(scope="session", autouse=True)
def model_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Models of the tests' registries are not kept in the home folder of whoever runs them."""
    folder = tmp_path_factory.mktemp("cache")
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
def migrated_mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database with its schema: made once (seconds), copied by every test that needs one."""
    import mlflow

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    previous = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    mlflow.search_experiments()
    mlflow.set_tracking_uri(previous)
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
