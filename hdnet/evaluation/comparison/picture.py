"""Plot of a comparison: differences with confidence intervals, and the difference on every sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hdnet.evaluation.comparison.result import LETTERS, Comparison, arrow
from hdnet.metrics.table import ERRORS, HEADLINES

_COLOURS = {"better": "#1a7f37", "worse": "#b42318", "not told apart": "#6b7280"}
_MARKERS = "osD^vP*X"
_SCATTERED = 2


def plot_comparison(comparison: Comparison, out_png: Path) -> None:
    """Draws the differences in percent of A's mean with their intervals, and those of the samples.

    Args:
        comparison: To be drawn.
        out_png: Picture to write.
    """
    # Slow to import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scattered = _to_scatter(comparison)
    others = len(comparison.sides) - 1
    height = max(4.2, 1.6 + 0.34 * others * len(comparison.metrics_compared))
    figure = Figure(figsize=(7 + 4.2 * len(scattered), height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + len(scattered), squeeze=False, width_ratios=[6.5, *[4.2] * len(scattered)])[0]
    _draw_differences(axes[0], comparison)
    for metric, place in zip(scattered, axes[1:], strict=True):
        _draw_samples(place, comparison, metric)
    out_png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_png)


def _to_scatter(comparison: Comparison) -> list[str]:
    compared = comparison.metrics_compared
    wanted = [name for name in HEADLINES if name in compared]
    errors = [name for name in compared if name in ERRORS and name not in wanted]
    return [*wanted, *errors, *compared][:_SCATTERED] if len(compared) > 1 else list(compared)


def _draw_differences(axes: Any, comparison: Comparison) -> None:
    rows = [(row, row.difference, row.verdict) for row in comparison.rows if row.difference and row.verdict]
    means = {row.metric: row.value.value for row in comparison.rows if row.side == "A"}
    labels: list[str] = []
    for place, (row, difference, verdict) in enumerate(rows):
        scale = 100 / abs(means[row.metric]) if means[row.metric] else np.nan
        centre, low, high = (scale * value for value in (difference.value, difference.low, difference.high))
        axes.errorbar(
            centre,
            place,
            xerr=[[centre - low], [high - centre]],
            fmt=_MARKERS[(LETTERS.index(row.side) - 1) % len(_MARKERS)],
            color=_COLOURS[verdict],
            capsize=3,
        )
        name = f"{row.metric} {arrow(row.metric)}"
        labels.append(name if len(comparison.sides) == 2 else f"{name} {row.side}")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), labels)
    axes.invert_yaxis()
    sides = "B" if len(comparison.sides) == 2 else "others"
    axes.set(title=f"{sides} minus A, {100 * comparison.level:g} % interval", xlabel="% of A's mean")
    axes.grid(axis="x", alpha=0.25)
    for verdict in dict.fromkeys(verdict for _, _, verdict in rows):
        axes.plot([], [], "o", color=_COLOURS[verdict], label=verdict)
    axes.legend(fontsize="small")


def _draw_samples(axes: Any, comparison: Comparison, metric: str) -> None:
    values = comparison.values(metric)
    for k, letter in zip(range(1, len(values)), LETTERS[1:], strict=False):
        marker = _MARKERS[(k - 1) % len(_MARKERS)]
        axes.scatter(values[0], values[k] - values[0], s=18, alpha=0.6, marker=marker, label=letter)
    axes.axhline(0, color="black", linewidth=0.8)
    sides = "others" if len(values) > 2 else "B"
    axes.set(title=f"{metric}, {values.shape[1]} samples", xlabel="A", ylabel=f"{sides} minus A")
    axes.grid(alpha=0.25)
    if len(values) > 2:
        axes.legend(fontsize="small")
