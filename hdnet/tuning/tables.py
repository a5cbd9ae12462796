"""A study's report as Markdown."""

from __future__ import annotations

from typing import Any

from hdnet.evaluation.confidence import verdict_of
from hdnet.tuning.report import FullRow, StudyReport, TrialRow
from hdnet.tuning.settings import OBJECTIVES, scalar

_HEADINGS = {"depth_mae_mm": "depth MAE (mm)", "normal_mean_deg": "normals of the depth, mean (°)"}


def to_markdown(report: StudyReport) -> str:
    """Tables of the trials, of the importance, and of the best ones with all steps."""
    parts = [f"# Study {report.study}", "", *_trials(report), "", *_importance(report), "", *_full(report)]
    return "\n".join(parts).rstrip() + "\n"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _trials(report: StudyReport) -> list[str]:
    counts: dict[str, int] = {}
    for row in report.trials:
        counts[row.state] = counts.get(row.state, 0) + 1
    keys = list(dict.fromkeys(key for row in report.trials for key in row.values))
    header = ["trial", "state", "steps", *(_HEADINGS[name] for name in OBJECTIVES), "scalar (mm)", *map(_short, keys)]
    rows = [_trial(row, keys, report.mm_per_deg) for row in _best_first(report)]
    said = ", ".join(f"{count} {state}" for state, count in counts.items())
    return [
        f"{len(report.trials)} trials: {said}. Metrics on the people that the search looks at; * is the Pareto front; "
        f"scalar is depth MAE + {report.mm_per_deg:g} mm per degree.",
        "",
        *_table(header, rows),
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
    keys = sorted({key for shares in report.importance.values() for key in shares})
    rows = [[_short(key), *(f"{shares.get(key, 0.0):.2f}" for shares in report.importance.values())] for key in keys]
    return [
        "Share of each parameter in the spread of each metric (fANOVA; with few trials a rough guess):",
        "",
        *_table(["parameter", *(_HEADINGS[name] for name in report.importance)], rows),
    ]


def _full(report: StudyReport) -> list[str]:
    if not report.full:
        return ["No trial was trained with all steps (tune.top_k, --top-k)."]
    points = list(dict.fromkeys(name for row in report.full for name in row.differences))
    header = ["trial", "seeds", *(f"{_HEADINGS[name]} ± seeds" for name in OBJECTIVES)]
    header += [f"{_HEADINGS[name]} less {point}'s" for point in points for name in OBJECTIVES]
    level = next((i.level for row in report.full for d in row.differences.values() for i in d.values()), 0.95)
    return [
        "With all steps, means over seeds, on held-out people that the search did not look at; differences with the "
        f"{100 * level:.0f} % interval of the paired bootstrap over people (below 0 is better):",
        "",
        *_table(header, [_full_row(row, points) for row in report.full]),
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
    """How a trial that was trained with all steps compares with each point, in words; the chosen one by default."""
    chosen = report.chosen if number is None else next((row for row in report.full if row.trial == number), None)
    if not isinstance(chosen, FullRow):
        return []
    return [
        f"Trial {chosen.trial} against {point}, on people that the search did not look at: "
        + ", ".join(
            f"{_HEADINGS[name]} {verdict_of(interval, higher_is_better=False)}" for name, interval in found.items()
        )
        + "."
        for point, found in chosen.differences.items()
    ]


def _short(key: str) -> str:
    return key.removeprefix("train_hdnet.").removeprefix("weights.")


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
