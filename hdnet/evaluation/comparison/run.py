"""Compares what the user names, writes it down and reports it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdnet.evaluation.comparison.picture import plot_comparison
from hdnet.evaluation.comparison.result import Comparison, compare_sides
from hdnet.evaluation.comparison.sources import resolve_side
from hdnet.tracking.tracker import OpenRun, opened


def compare(
    sources: Sequence[str],
    data: Path,
    out: Path,
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    device: str = "cpu",
    open_run: OpenRun | None = None,
    progress: bool = False,
) -> Comparison:
    """Compares two or more sources with the first of them.

    Args:
        sources: See :func:`hdnet.evaluation.comparison.sources.resolve_side`.
        data: Labelled people for sources that are models.
        out: Folder that gets ``comparison.md``, ``.csv``, ``.json`` and ``.png``.
        metrics: See :func:`hdnet.evaluation.comparison.result.compare_sides`.
        level: See there.
        device: PyTorch device for models.
        open_run: Opens the run "compare" in MLflow; None for files only.
        progress: Show a progress bar on stderr.

    Raises:
        HDNetError: What :func:`resolve_side` and :func:`compare_sides` raise.
    """
    sides = [resolve_side(source, data, device, progress) for source in sources]
    comparison = compare_sides(sides, metrics, level)
    files = _write(comparison, out)
    run_params: dict[str, Any] = {"compare": {"level": level, "sources": " ".join(sources)}}
    with opened(open_run, "compare", run_params, comparison.tags(), None) as tracker:
        if tracker is not None:
            result = sides[0].result
            tracker.log_dataset("heldout", result.data_sha256, len(result.names), None, "evaluation")
            tracker.log_metrics(comparison.metrics(), 0)
            for file in files:
                tracker.log_file(file)
    return comparison


def _write(comparison: Comparison, out: Path) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    texts = {"md": comparison.to_markdown(), "csv": comparison.to_csv(), "json": comparison.to_json()}
    files = [out / f"comparison.{kind}" for kind in texts]
    for file, text in zip(files, texts.values(), strict=True):
        file.write_text(text, encoding="utf-8")
    files.append(out / "comparison.png")
    plot_comparison(comparison, files[-1])
    return files
