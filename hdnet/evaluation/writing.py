"""Files of an evaluation: JSON, CSV for plots, Markdown tables, a contact sheet."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from hdnet.errors import InputError
from hdnet.evaluation.baselines import MODEL
from hdnet.evaluation.breakdown import fact_groups
from hdnet.evaluation.result import EvaluationResult
from hdnet.evaluation.sequences_result import SequenceResult
from hdnet.metrics.table import ALL_METRICS, BY_NAME, HEADLINES, metric_text
from hdnet.tables import markdown_table
from hdnet.tracking.tracker import SAMPLES_FILE, SHEET_FILE, TABLE_FILE
from hdnet.visualize import plot_reliability

ERRORS_FILE = "errors.csv"
CONFIDENCE_FOLDER, RELIABILITY_FILE = "confidence", "reliability.csv"
SEQUENCES_FILE, SEQUENCES_TABLE_FILE = "sequences.json", "sequences.md"

_GROUP_TITLES = {"part_none": "no part (hair, loose cloth)"}


def write_evaluation(
    folder: Path, result: EvaluationResult, sheet: np.ndarray, facts: np.ndarray | None = None
) -> list[Path]:
    """Writes ``table.md``, ``samples.json``, ``errors.csv``, ``contact_sheet.png`` and the folder ``confidence``.

    The folder holds ``reliability.csv`` and ``reliability.png`` of a model that gives a confidence.

    Args:
        folder: Created if missing.
        result: To be written.
        sheet: (H, W, 3) uint8 of :func:`hdnet.evaluation.sheets.evaluation_sheet`.
        facts: (N,) structured, what is known of each picture; None for nothing.

    Returns:
        The files.

    Raises:
        InputError: The folder cannot be written.
    """
    report = report_markdown(result, facts)
    texts = {TABLE_FILE: report, SAMPLES_FILE: result.to_json(), ERRORS_FILE: errors_csv(result)}
    files = _write(folder, texts, sheet)
    confidence, found = folder / CONFIDENCE_FOLDER, result.reliability
    if confidence.exists():
        shutil.rmtree(confidence)
    if found is None:
        confidence.mkdir()
        return files
    files += _write(confidence, {RELIABILITY_FILE: found.to_csv()})
    picture = (confidence / RELIABILITY_FILE).with_suffix(".png")
    plot_reliability(found.expected_deg, found.angle_deg, found.share, picture)
    return [*files, picture]


def write_sequences(folder: Path, result: SequenceResult) -> list[Path]:
    """Writes ``sequences.json`` and ``sequences.md``.

    Args:
        folder: Created if missing.
        result: To be written.

    Returns:
        The files.

    Raises:
        InputError: The folder cannot be written.
    """
    return _write(folder, {SEQUENCES_FILE: result.to_json(), SEQUENCES_TABLE_FILE: result.to_markdown()})


def _write(folder: Path, texts: Mapping[str, str], sheet: np.ndarray | None = None) -> list[Path]:
    files = [folder / name for name in texts]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in zip(files, texts.values(), strict=True):
            file.write_text(text, encoding="utf-8")
        if sheet is not None:
            files.append(folder / SHEET_FILE)
            Image.fromarray(sheet).save(files[-1])
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return files


def errors_csv(result: EvaluationResult) -> str:
    """One line a sample: its name and the model's metrics, for histograms; a metric that it lacks is empty."""
    text = io.StringIO()
    columns = [metric for metric in ALL_METRICS if metric in result.metrics_of()]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sample", *columns])
    for name, row in zip(result.names, result.rows, strict=True):
        values = row[MODEL]
        writer.writerow([name, *(f"{values[metric]:.6g}" if metric in values else "" for metric in columns)])
    return text.getvalue()


def report_markdown(result: EvaluationResult, facts: np.ndarray | None = None) -> str:
    """The table of all methods, the model's intervals, the breakdown, groups of pictures, and an explanation."""
    pieces = [result.to_markdown(), _confidence(result)]
    if result.breakdown:
        pieces.append(_breakdown(result))
    if facts is not None:
        pieces.append(_groups(result, facts))
    pieces.append(_explanation(result))
    return "\n".join(pieces)


def _groups(result: EvaluationResult, facts: np.ndarray) -> str:
    """The model's mean errors by group of pictures, see :func:`hdnet.evaluation.breakdown.fact_groups`."""
    metrics = [metric for metric in HEADLINES if metric in result.metrics_of()]
    rows = []
    for fact, groups in fact_groups(facts).items():
        for group, where in groups.items():
            means = [metric_text(metric, float(result.values(metric)[where].mean())) for metric in metrics]
            rows.append([fact.replace("_", " "), group, where.sum(), *means])
    headings = ["fact", "group", "pictures", *(BY_NAME[metric].heading for metric in metrics)]
    return "\n".join(markdown_table(headings, rows, "llr")) + "\n"


def _confidence(result: EvaluationResult) -> str:
    rows = []
    for metric, interval in result.summary_with_confidence()[MODEL].items():
        values = result.known_values(metric)
        ends = [values.min(), values.max()]
        best, worst = ends[::-1] if BY_NAME[metric].higher_is_better else ends
        mean, low, high, median, best, worst = (
            metric_text(metric, value)
            for value in (interval.value, interval.low, interval.high, np.median(values), best, worst)
        )
        rows.append([BY_NAME[metric].heading, mean, f"{low} to {high}", median, best, worst])
    headings = [f"HDNet, {_people(len(result.names))}", "mean", "95 % interval", "median", "best", "worst"]
    return "\n".join(markdown_table(headings, rows, "lr")) + "\n"


def _breakdown(result: EvaluationResult) -> str:
    rows = []
    for group, row in result.breakdown.items():
        normal = f"{row['normal_mean_deg']:.1f}" if "normal_mean_deg" in row else ""
        numbers = f"{row['share_pct']:.1f}", f"{row['depth_mae_mm']:.1f}", normal, f"{row['samples']:.0f}"
        rows.append([_group_title(group), *numbers])
    headings = ["where", "share of the person (%)", "depth MAE (mm)", "normals mean (°)", "people"]
    return "\n".join(markdown_table(headings, rows, "lr")) + "\n"


def _group_title(group: str) -> str:
    kind, _, name = group.partition("_")
    if kind == "view":
        low, high = map(int, name.split("_"))
        return f"seen under {low} to {high}°"
    return _GROUP_TITLES.get(group, name.replace("_", " "))


def _explanation(result: EvaluationResult) -> str:
    lines = [
        "Depth MAE: after the shift to the true median; Tang: after the best further shift within 10 cm; RMSE, AbsRel: "
        "after the best scale and shift. Depth's normals: those of the depth map itself against the true ones, at all "
        "pixels and where the true normal turns most. `less error`: than the flat plane (depth) and the camera-facing "
        "normal. Intervals: bootstrap over people.",
        *result.notes,
        f"Measured on {_people(len(result.names))}, SHA-256 `{result.data_sha256[:16]}`.",
    ]
    return "\n\n".join(lines) + "\n"


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
