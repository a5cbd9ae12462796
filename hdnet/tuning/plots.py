"""A study's report as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hdnet.tuning.report import StudyReport, TrialRow
from hdnet.tuning.settings import OBJECTIVES

_AXES = {"depth_mae_mm": "depth MAE (mm)", "normal_mean_deg": "normals of the depth, mean (°)"}
_STATES = {"complete": ("o", "tab:blue"), "pruned": ("x", "tab:gray")}
_POINTS = {"params.yaml": ("D", "tab:green"), "original": ("s", "tab:red")}
_DPI = 110


def write_plots(report: StudyReport, folder: Path) -> list[Path]:
    """Pareto front, history, and importance if it is known, as PNG; returns the files."""
    pictures = {"pareto.png": _pareto, "history.png": _history}
    if report.importance:
        pictures["importance.png"] = _importance
    files = []
    for name, draw in pictures.items():
        files.append(folder / name)
        figure = draw(report)
        figure.savefig(files[-1], dpi=_DPI)
    return files


def _figure(columns: int, height: float = 4.5) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes half a second
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2 * columns, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _scatter(axes: Any, rows: list[TrialRow], x: list[float], y: list[float]) -> None:
    """Marks by state and point, each named once."""
    named = set[str]()
    for row, across, up in zip(rows, x, y, strict=True):
        label = row.point or row.state
        marker, colour = _POINTS[row.point] if row.point else _STATES[row.state]
        axes.scatter([across], [up], marker=marker, color=colour, label=None if label in named else label, zorder=3)
        named.add(label)
    axes.legend()


def _pareto(report: StudyReport) -> Any:
    figure, (axes,) = _figure(1)
    rows = [row for row in report.trials if row.state == "complete"]
    x, y = ([row.metrics[name] for row in rows] for name in OBJECTIVES)
    front = sorted((a, b) for row, a, b in zip(rows, x, y, strict=True) if row.is_pareto)
    if front:
        axes.step(*zip(*front, strict=True), where="post", color="tab:orange", label="Pareto front")
    _scatter(axes, rows, x, y)
    for row, across, up in zip(rows, x, y, strict=True):
        if row.is_pareto or row.point:
            axes.annotate(str(row.number), (across, up), textcoords="offset points", xytext=(5, 5), fontsize=8)
    axes.set_xlabel(_AXES[OBJECTIVES[0]])
    axes.set_ylabel(_AXES[OBJECTIVES[1]])
    axes.set_title(f"Study {report.study}: complete trials, on the people of the search")
    return figure


def _history(report: StudyReport) -> Any:
    figure, both = _figure(len(OBJECTIVES))
    rows = [row for row in report.trials if row.state in _STATES and row.metrics]
    for axes, name in zip(both, OBJECTIVES, strict=True):
        numbers, values = [float(row.number) for row in rows], [row.metrics[name] for row in rows]
        finished = [(n, v) for row, n, v in zip(rows, numbers, values, strict=True) if row.state == "complete"]
        if finished:
            x, y = zip(*finished, strict=True)
            axes.step(x, np.minimum.accumulate(y), where="post", color="tab:orange", label="best so far")
        _scatter(axes, rows, numbers, values)
        axes.set_xlabel("trial")
        axes.set_ylabel(_AXES[name])
        if values:  # a draw that went astray must not flatten all others
            axes.set_ylim(top=min(max(values) * 1.02, float(np.median(values)) * 2))
    figure.suptitle(f"Study {report.study}: trials in order; a pruned one at its last measurement")
    return figure


def _importance(report: StudyReport) -> Any:
    figure, both = _figure(len(report.importance))
    keys = sorted(next(iter(report.importance.values())), reverse=True)
    for axes, (name, shares) in zip(both, report.importance.items(), strict=True):
        axes.barh([key.removeprefix("train_hdnet.") for key in keys], [shares[key] for key in keys], color="tab:blue")
        axes.set_xlabel(f"share in the spread of {_AXES[name]}")
    figure.suptitle(f"Study {report.study}: importance of the parameters (fANOVA)")
    return figure
