"""Sources of models: the measured runtime, and what serves without a registry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from serving_fakes import save_tiny_model

from hdnet.models.weights import HDNET_FILE
from hdnet.predict.runtimes import Choice, make_runtime
from serving.metrics import Metrics
from serving.model_source import NoRegistryError, model_source
from serving.model_store import ModelStore
from serving.settings import Settings


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was measured; `torch-bf16` wins where it is not in ``refusals``."""
    calls: list[Any] = []

    def choose(model: Any, threads: int | None, candidates: Any, device: str) -> Choice:
        calls.append(candidates)
        refused = {"torch-bf16": "too far off"} if len(calls) in (3, 4) else {}
        name = "torch" if refused else "torch-bf16"
        return Choice(name, {name: 0.1}, {}, refused, make_runtime(name, model, threads, device))

    monkeypatch.setattr("hdnet.predict.inference.choose_runtime", choose)
    return calls


def test_an_exchange_measures_the_one_that_was_the_fastest(tmp_path: Path, measured: list[Any]) -> None:
    save_tiny_model(tmp_path / HDNET_FILE)
    source = model_source(Settings(model_uri=str(tmp_path), runtime="auto", threads=1))
    names = [source.load()[0].runtime.name for _ in range(4)]
    # The third model cannot take it: all are measured again.
    assert measured == [None, ("torch-bf16",), ("torch-bf16",), None, ("torch",)]
    assert names == ["torch-bf16", "torch-bf16", "torch", "torch-bf16"]


def test_a_runtime_by_name_is_not_measured(tmp_path: Path, measured: list[Any]) -> None:
    save_tiny_model(tmp_path / HDNET_FILE)
    source = model_source(Settings(model_uri=str(tmp_path), runtime="torch", threads=1))
    assert [source.load()[0].runtime.name for _ in range(2)] == ["torch", "torch"]
    assert measured == []


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without a registry; none is named either."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_in(folder: Path, **values: Any) -> Settings:
    return Settings(runtime="torch", threads=1, cache_dir=folder / "cache", **values)


def test_where_there_is_no_registry_none_is_made(nowhere: Path) -> None:
    source = model_source(settings_in(nowhere))
    with pytest.raises(NoRegistryError, match="MLFLOW_TRACKING_URI is not set"):
        source.resolve()
    assert list(nowhere.iterdir()) == []


def test_a_new_user_is_served_by_the_shipped_model(nowhere: Path) -> None:
    store = ModelStore(model_source(settings_in(nowhere)), 30.0, Metrics())
    store.refresh()
    served = store.require()
    assert (served.name, served.origin, served.identity) == ("shipped", "shipped", None)
    assert served.predictor.finds_people
    assert store.shipped() is served.predictor
    store.close()


def test_a_start_without_a_registry_does_not_wait_for_mlflow(nowhere: Path) -> None:
    code = (
        "import sys; from serving.model_source import *; "
        "source = model_source(Settings(model_uri='models:/hdnet@champion')); "
        "print(source.load_last_good(), 'mlflow' in sys.modules)"
    )
    here = {**os.environ, "HDNET_CACHE_DIR": str(nowhere / "cache"), "PYTHONPATH": str(Path(__file__).parents[2])}
    said = subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["None", "False"]


def test_the_shipped_model_needs_no_measurement_to_begin(nowhere: Path, measured: list[Any]) -> None:
    source = model_source(Settings(runtime="auto", threads=1, cache_dir=nowhere / "cache"))
    assert source.measures
    assert source.load_shipped().runtime.name == "torch"
    assert measured == []
    assert source.load_shipped(measured=True).runtime.name == "torch-bf16"
    assert not model_source(settings_in(nowhere)).measures


def test_the_shipped_model_by_name(nowhere: Path) -> None:
    store = ModelStore(model_source(settings_in(nowhere, model_uri="shipped")), 30.0, Metrics())
    store.refresh()
    assert (store.require().name, store.require().origin) == ("shipped", "shipped")
    store.close()


@pytest.mark.parametrize(
    ("uri", "values", "has_fallback"),
    [
        ("models:/hdnet@champion", {}, True),
        ("models:/hdnet@champion", {"shipped_fallback": False}, False),
        ("models:/hdnet/3", {}, False),
        ("models/hdnet.safetensors", {}, False),
    ],
)
def test_who_names_a_version_or_a_file_gets_no_other(
    tmp_path: Path, uri: str, values: dict[str, bool], has_fallback: bool
) -> None:
    assert model_source(settings_in(tmp_path, model_uri=uri, **values)).has_fallback == has_fallback
