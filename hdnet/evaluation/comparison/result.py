"""Differences of evaluations on the same samples, with confidence intervals."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from string import ascii_uppercase
from typing import Any

import numpy as np

from hdnet.errors import DataError, InputError
from hdnet.evaluation.baselines import MODEL
from hdnet.evaluation.confidence import Interval, Verdict, bootstrap_mean, paired_difference, verdict_of
from hdnet.evaluation.result import EvaluationResult
from hdnet.metrics.table import ALL_METRICS, HIGHER_IS_BETTER
from hdnet.tables import markdown_table

# Names of the sides in tables.
LETTERS = ascii_uppercase
_NAMES_SHOWN = 3


@dataclass(frozen=True)
class Side:
    """One of the compared evaluations.

    Attributes:
        source: As given.
        title: Resolved source, for tables.
        result: Its metrics, sample by sample.
        tags: Its identity in MLflow: ``run_id``, ``model_version``, ...
    """

    source: str
    title: str
    result: EvaluationResult
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One metric of one side.

    Attributes:
        metric: Its name, with the unit.
        side: Letter of the side; the others are compared with "A".
        samples: Number of samples that have the metric.
        value: Mean over them.
        difference: This side minus A on the same samples; None for A itself.
        verdict: On the difference; None for A itself.
    """

    metric: str
    side: str
    samples: int
    value: Interval
    difference: Interval | None
    verdict: Verdict | None


@dataclass(frozen=True)
class Comparison:
    """All sides and metrics.

    Attributes:
        sides: The evaluations; the others are compared with the first.
        rows: By metric, within it by side.
        level: Of the intervals.
    """

    sides: tuple[Side, ...]
    rows: tuple[Row, ...]
    level: float

    @property
    def metrics_compared(self) -> tuple[str, ...]:
        """Names of the metrics, in order."""
        return tuple(dict.fromkeys(row.metric for row in self.rows))

    def values(self, metric: str) -> np.ndarray:
        """(sides, samples) of the samples that have a metric on every side, in the order of A's names."""
        return _common_values(self.sides, metric)

    def metrics(self) -> dict[str, float]:
        """Flat, for a tracker: ``a/depth_mae_mm``, ``b_minus_a/depth_mae_mm``, its ``/low`` and ``/high``."""
        flat: dict[str, float] = {}
        for row in self.rows:
            letter = row.side.lower()
            flat[f"{letter}/{row.metric}"] = row.value.value
            if row.difference is not None:
                key = f"{letter}_minus_a/{row.metric}"
                ends = {f"{key}/low": row.difference.low, f"{key}/high": row.difference.high}
                flat |= {key: row.difference.value, **ends}
        return flat

    def tags(self) -> dict[str, str]:
        """Names both sides: ``compare.a``, ``compare.a.run_id``, ...; ``compare.samples``."""
        named = {"compare.samples": str(len(self.sides[0].result.names))}
        for letter, side in zip(LETTERS.lower(), self.sides, strict=False):
            named[f"compare.{letter}"] = side.title
            named |= {f"compare.{letter}.{key}": value for key, value in side.tags.items()}
        return named

    def to_markdown(self) -> str:
        """The sides by letter, then one line for every metric and side."""
        percent = f"{100 * self.level:g} %"
        lines = [f"- **{letter}**: {side.title}" for letter, side in zip(LETTERS, self.sides, strict=False)]
        rows = []
        for row in self.rows:
            name = f"`{row.metric}` {arrow(row.metric)}" if row.side == "A" else ""
            difference = "" if row.difference is None else _interval_text(row.difference, signed=True)
            rows.append([name, row.side, _interval_text(row.value), difference, _verdict_text(row.verdict)])
        headings = ["metric", "", f"mean [{percent}]", f"minus A [{percent}]", "against A"]
        lines += ["", *markdown_table(headings, rows, "llrrl")]
        samples = len(self.sides[0].result.names)
        lines += [
            "",
            f"Means over the same {samples} samples; intervals by bootstrap over them, of differences with the samples "
            f"paired. Every interval stands alone: of equal models {100 * (1 - self.level):.3g} % of the differences "
            "would still be told apart.",
        ]
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """One line for every metric and side."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = ["mean", "low", "high", "difference", "difference_low", "difference_high"]
        writer.writerow(["metric", "side", "source", "samples", *columns, "verdict"])
        for row in self.rows:
            source = self.sides[LETTERS.index(row.side)].source
            numbers = [*_numbers(row.value), *_numbers(row.difference)]
            writer.writerow([row.metric, row.side, source, row.samples, *numbers, row.verdict or ""])
        return text.getvalue()

    def to_json(self) -> str:
        """Sides, rows and the values of every sample."""
        sides = {
            letter: {"source": side.source, "title": side.title, "data_sha256": side.result.data_sha256, **side.tags}
            for letter, side in zip(LETTERS, self.sides, strict=False)
        }
        document: dict[str, Any] = {"level": self.level, "sides": sides, "rows": [asdict(row) for row in self.rows]}
        return json.dumps(document, indent=2, allow_nan=False) + "\n"


def compare_sides(sides: Sequence[Side], metrics: Sequence[str] | None = None, level: float = 0.95) -> Comparison:
    """Compares evaluations on the same samples with the first of them.

    Args:
        sides: Two or more.
        metrics: Of :data:`hdnet.evaluation.ALL_METRICS`; all that every side has without them.
        level: Of the intervals. A difference counts if its interval does not hold 0.

    Raises:
        DataError: The sides were measured on different samples, or one lacks a metric that was asked for.
        InputError: Fewer than two sides or more than letters; an unknown metric; a level that is not between 0 and 1.
    """
    if not 2 <= len(sides) <= len(LETTERS):
        raise InputError(f"a comparison takes 2 to {len(LETTERS)} models, found {len(sides)}")
    if not 0 < level < 1:
        raise InputError(f"level is {level}; expected a share between 0 and 1, such as 0.95")
    for letter, side in zip(LETTERS[1:], sides[1:], strict=False):
        _check_same_samples(sides[0], letter, side)
    rows = [row for metric in _chosen(sides, metrics) for row in _rows(sides, metric, level)]
    return Comparison(tuple(sides), tuple(rows), level)


def _rows(sides: Sequence[Side], metric: str, level: float) -> list[Row]:
    values = _common_values(sides, metric)
    rows = []
    for k, letter in zip(range(len(sides)), LETTERS, strict=False):
        difference = paired_difference(values[k], values[0], level) if k else None
        verdict = None if difference is None else verdict_of(difference, higher_is_better=metric in HIGHER_IS_BETTER)
        rows.append(Row(metric, letter, values.shape[1], bootstrap_mean(values[k], level), difference, verdict))
    return rows


def _chosen(sides: Sequence[Side], metrics: Sequence[str] | None) -> list[str]:
    unknown = sorted(set(metrics or ()) - set(ALL_METRICS))
    if unknown:
        raise InputError(f"no metric is called {unknown[0]!r}; expected one of {', '.join(ALL_METRICS)}")
    shared = [name for name in ALL_METRICS if all(_has(side, name) for side in sides)]
    for name in metrics or ():
        if name not in shared:
            lacking = next(letter for letter, side in zip(LETTERS, sides, strict=False) if not _has(side, name))
            raise DataError(f"{lacking} has no {name}: what it was measured on has no truth for it")
    if not shared:
        raise DataError("the evaluations have no metric in common")
    return list(dict.fromkeys(metrics)) if metrics else shared


def _has(side: Side, metric: str) -> bool:
    return any(metric in row[MODEL] for row in side.result.rows)


def _common_values(sides: Sequence[Side], metric: str) -> np.ndarray:
    rows = [dict(zip(side.result.names, side.result.rows, strict=True)) for side in sides]
    names = [name for name in sides[0].result.names if all(metric in by_name[name][MODEL] for by_name in rows)]
    return np.array([[by_name[name][MODEL][metric] for name in names] for by_name in rows], dtype=np.float64)


def _check_same_samples(first: Side, letter: str, other: Side) -> None:
    ours, theirs = first.result.names, other.result.names
    what = f"{letter} ({other.source}) and A ({first.source}) were measured on different data"
    mend = "evaluate both on one folder: give their models and --data"
    only_a, only_other = (_listed(sorted(set(a) - set(b))) for a, b in ((ours, theirs), (theirs, ours)))
    if only_a or only_other:
        found = [f"only A has {only_a}"] * bool(only_a) + [f"only {letter} has {only_other}"] * bool(only_other)
        raise DataError(f"{what}: {len(theirs)} and {len(ours)} samples, {', '.join(found)}; {mend}")
    if first.result.data_sha256 != other.result.data_sha256:
        hashes = f"SHA-256 {other.result.data_sha256[:12]}... and {first.result.data_sha256[:12]}..."
        raise DataError(f"{what}: samples of the same {len(ours)} names, but of {hashes}; {mend}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def arrow(metric: str) -> str:
    """The direction in which a metric improves."""
    return "↑" if metric in HIGHER_IS_BETTER else "↓"


def _verdict_text(verdict: Verdict | None) -> str:
    return f"**{verdict}**" if verdict in ("better", "worse") else verdict or ""


def _interval_text(interval: Interval, signed: bool = False) -> str:
    # Three significant digits of the largest, at least one decimal.
    largest = max(abs(interval.low), abs(interval.high))
    if largest == 0:
        return "0"
    decimals = int(np.clip(2 - np.floor(np.log10(largest)), 1, 6))
    sign = "+" if signed else ""
    low, high = (f"{value:{sign}.{decimals}f}" for value in (interval.low, interval.high))
    return f"{interval.value:{sign}.{decimals}f} [{low}, {high}]"


def _numbers(interval: Interval | None) -> list[float | str]:
    return ["", "", ""] if interval is None else [interval.value, interval.low, interval.high]
