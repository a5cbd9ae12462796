"""`dvc plots show` draws every table that dvc.yaml names, with its own points, and passes over an empty one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkouts import ROOT, Checkout

# As of a training without validation.
EMPTY = "reports/train_normal/validation.csv"
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())


def tables() -> dict[str, dict[str, Any]]:
    """CSV files that stages declare as plots, and how they are drawn."""
    entries = [entry for stage in PIPELINE["stages"].values() for entry in stage.get("plots", [])]
    return {path: how for entry in entries if isinstance(entry, dict) for path, how in entry.items()}


def second_columns() -> dict[str, tuple[str, str]]:
    """Charts of the whole pipeline: the table and the column of each."""
    charts = {name: how["y"] for entry in PIPELINE["plots"] for name, how in entry.items()}
    return {name: next(iter(y.items())) for name, y in charts.items()}


def drawn(folder: Path) -> dict[str, Any]:
    checkout = Checkout.of_the_code(folder)
    for number, (path, how) in enumerate(tables().items(), start=1):
        table = folder / path
        table.parent.mkdir(parents=True, exist_ok=True)
        columns = ",".join(
            [how["x"], how["y"], *(column for file, column in second_columns().values() if file == path)]
        )
        rows = [f"{step},{number}.{step},{number}.{step}" for step in (1, 2)]
        table.write_text("" if path == EMPTY else "\n".join([columns, *rows]) + "\n")
    answer = json.loads(checkout.succeed("dvc", "plots", "show", "--json", *tables(), *second_columns()))
    assert "errors" not in answer, answer["errors"]
    return {name: content[0]["content"] for name, content in answer["data"].items() if content}


def test_every_table_is_drawn_with_its_points(tmp_path):
    charts = drawn(tmp_path)
    assert charts.keys() == {*tables(), *second_columns()} - {EMPTY}
    for number, (path, how) in enumerate(tables().items(), start=1):
        if path != EMPTY:
            assert values_of(charts[path], how["y"]) == [number + 0.1, number + 0.2]
            assert charts[path]["title"]["text"] == how["title"]
    for name, (path, column) in second_columns().items():
        number = [*tables()].index(path) + 1
        assert values_of(charts[name], column) == [number + 0.1, number + 0.2]
    assert "<DVC_METRIC" not in json.dumps(charts)


def values_of(chart: dict[str, Any], column: str) -> list[float]:
    """What is drawn, by the chart's own fields."""
    assert column in {axis.get("field") for axis in axes(chart)}
    return [float(point[column]) for point in chart["data"]["values"]]


def axes(chart: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The axes x and y of a Vega-Lite chart and its layers."""
    yield from (chart["encoding"][axis] for axis in "xy" if axis in chart.get("encoding", {}))
    for layer in chart.get("layer", []):
        yield from axes(layer)


@pytest.mark.parametrize("path", tables())
def test_the_columns_are_what_the_stages_write(path):
    from hdnet.evaluation import METRICS

    how = tables()[path]
    assert how["x"] in {"step", "sample"}
    assert how["y"] == "loss" if path.endswith("curves.csv") else how["y"] in METRICS


@pytest.mark.parametrize("name", second_columns())
def test_second_columns_are_metrics_of_declared_tables(name):
    from hdnet.evaluation import METRICS

    path, column = second_columns()[name]
    assert re.fullmatch(r"[\w -]+", name), "DVC makes the name a selector of the page's script, and does not quote it"
    assert path in tables()
    assert column in METRICS
