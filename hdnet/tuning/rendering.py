"""Report of a study as Markdown and as plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hdnet.evaluation.confidence import verdict_of
from hdnet.tables import markdown_table
from hdnet.tuning.report import FullRow, StudyReport, TrialRow
from hdnet.tuning.study import OBJECTIVES, scalar

_STATES = {"complete": ("o", "tab:blue"), "pruned": ("x", "tab:gray")}
_POINTS = {"params.yaml": ("D", "tab:green"), "original": ("s", "tab:red")}
_DPI = 110


def to_markdown(report: StudyReport) -> str:
    """Return tables of the trials, of the importance, and of the best trials with all steps."""
    parts = [f"# Study {report.study}", "", *_trials(report), "", *_importance(report), "", *_full(report)]
    return "\n".join(parts).rstrip() + "\n"


def _headings(report: StudyReport) -> dict[str, str]:
    """Return the objectives' names: `lite` has normals of its own, those of a depth estimator follow from its depth."""
    normals = "normals" if report.provenance["network"] == "lite" else "normals of the depth"
    return {"depth_mae_mm": "depth MAE (mm)", "normal_mean_deg": f"{normals}, mean (°)"}


def _trials(report: StudyReport) -> list[str]:
    headings, counts = _headings(report), dict[str, int]()
    for row in report.trials:
        counts[row.state] = counts.get(row.state, 0) + 1
    keys = list(dict.fromkeys(key for row in report.trials for key in row.values))
    header = ["trial", "state", "steps", *(headings[name] for name in OBJECTIVES), "scalar (mm)", *map(_short, keys)]
    rows = [_trial(row, keys, report.mm_per_deg) for row in _best_first(report)]
    said = ", ".join(f"{count} {state}" for state, count in counts.items())
    return [
        f"{len(report.trials)} trials: {said}. Metrics on the people that the search looks at; * is the Pareto front; "
        f"scalar is depth MAE + {report.mm_per_deg:g} mm per degree.",
        "",
        *markdown_table(header, rows),
    ]


def _best_first(report: StudyReport) -> list[TrialRow]:
    def key(row: TrialRow) -> tuple[bool, float]:
        return row.state != "complete", scalar(row.metrics, report.mm_per_deg) if row.metrics else float("inf")

    return sorted(report.trials, key=key)


def _trial(row: TrialRow, keys: list[str], mm_per_deg: float) -> list[str]:
    name = f"{row.number}{' (' + row.point + ')' if row.point else ''}{' *' if row.is_pareto else ''}"
    metrics = [f"{row.metrics[metric]:.1f}" if row.metrics else "" for metric in OBJECTIVES]
    worth = f"{scalar(row.metrics, mm_per_deg):.1f}" if row.metrics else ""
    return [name, row.state, str(row.steps), *metrics, worth, *(_shown(row.values.get(key, "")) for key in keys)]


def _importance(report: StudyReport) -> list[str]:
    if not report.importance:
        return ["Importance: too few complete trials."]
    headings = _headings(report)
    keys = sorted({key for shares in report.importance.values() for key in shares})
    rows = [[_short(key), *(f"{shares.get(key, 0.0):.2f}" for shares in report.importance.values())] for key in keys]
    return [
        "Share of each parameter in the spread of each metric (fANOVA; with few trials a rough guess):",
        "",
        *markdown_table(["parameter", *(headings[name] for name in report.importance)], rows),
    ]


def _full(report: StudyReport) -> list[str]:
    if not report.full:
        return ["No trial was trained with all steps (tune.top_k, --top-k)."]
    headings = _headings(report)
    points = list(dict.fromkeys(name for row in report.full for name in row.differences))
    header = ["trial", "seeds", *(f"{headings[name]} ± seeds" for name in OBJECTIVES)]
    header += [f"{headings[name]} less {point}'s" for point in points for name in OBJECTIVES]
    level = next((i.level for row in report.full for d in row.differences.values() for i in d.values()), 0.95)
    return [
        "With all steps, means over seeds, on held-out people that the search did not look at; differences with the "
        f"{100 * level:.0f} % interval of the paired bootstrap over people (below 0 is better):",
        "",
        *markdown_table(header, [_full_row(row, points) for row in report.full]),
        "",
        *verdicts(report),
    ]


def _full_row(row: FullRow, points: list[str]) -> list[str]:
    cells = [f"{row.trial}{' (' + row.point + ')' if row.point else ''}", str(len(row.seeds))]
    for name in OBJECTIVES:
        spread = "" if len(row.seeds) < 2 else f" ± {row.seed_sd[name]:.2f}"
        cells.append(f"{row.report[name]:.2f}{spread}")
    for point in points:
        for name in OBJECTIVES:
            found = row.differences.get(point, {}).get(name)
            cells.append("" if found is None else f"{found.value:+.2f} ({found.low:+.2f} .. {found.high:+.2f})")
    return cells


def verdicts(report: StudyReport, number: int | None = None) -> list[str]:
    """Describe how a trial with all steps (by default the chosen one) compares with each point."""
    chosen = report.chosen if number is None else next((row for row in report.full if row.trial == number), None)
    if not isinstance(chosen, FullRow):
        return []
    headings = _headings(report)
    return [
        f"Trial {chosen.trial} against {point}, on people that the search did not look at: "
        + ", ".join(
            f"{headings[name]} {verdict_of(interval, higher_is_better=False)}" for name, interval in found.items()
        )
        + "."
        for point, found in chosen.differences.items()
    ]


def _short(key: str) -> str:
    return key.removeprefix("train_hdnet.").removeprefix("train_depth.").removeprefix("weights.")


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write_plots(report: StudyReport, folder: Path) -> list[Path]:
    """Write Pareto front, history, and importance if it is known, as PNG; return the files."""
    pictures = {"pareto.png": _pareto_plot, "history.png": _history_plot}
    if report.importance:
        pictures["importance.png"] = _importance_plot
    files = []
    for name, draw in pictures.items():
        files.append(folder / name)
        figure = draw(report)
        figure.savefig(files[-1], dpi=_DPI)
    return files


def _figure(columns: int, height: float = 4.5) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes half a second to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2 * columns, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _scatter(axes: Any, rows: list[TrialRow], x: list[float], y: list[float]) -> None:
    """Draw markers by state and point, each with one entry in the legend."""
    named = set[str]()
    for row, across, up in zip(rows, x, y, strict=True):
        label = row.point or row.state
        marker, colour = _POINTS[row.point] if row.point else _STATES[row.state]
        axes.scatter([across], [up], marker=marker, color=colour, label=None if label in named else label, zorder=3)
        named.add(label)
    axes.legend()


def _pareto_plot(report: StudyReport) -> Any:
    headings = _headings(report)
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
    axes.set_xlabel(headings[OBJECTIVES[0]])
    axes.set_ylabel(headings[OBJECTIVES[1]])
    axes.set_title(f"Study {report.study}: complete trials, on the people of the search")
    return figure


def _history_plot(report: StudyReport) -> Any:
    headings = _headings(report)
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
        axes.set_ylabel(headings[name])
        if values:  # one diverged trial must not flatten all others
            axes.set_ylim(top=min(max(values) * 1.02, float(np.median(values)) * 2))
    figure.suptitle(f"Study {report.study}: trials in order; a pruned one at its last measurement")
    return figure


def _importance_plot(report: StudyReport) -> Any:
    headings = _headings(report)
    figure, both = _figure(len(report.importance))
    keys = sorted(next(iter(report.importance.values())), reverse=True)
    for axes, (name, shares) in zip(both, report.importance.items(), strict=True):
        axes.barh([_short(key) for key in keys], [shares[key] for key in keys], color="tab:blue")
        axes.set_xlabel(f"share in the spread of {headings[name]}")
    figure.suptitle(f"Study {report.study}: importance of the parameters (fANOVA)")
    return figure
