"""Which runtime is the fastest is measured once, how accurate it is with every model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from serving_fakes import save_tiny_model

from hdnet.models.weights import HDNET_FILE
from hdnet.predict.runtimes import Choice, make_runtime
from serving.model_source import model_source
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
