"""Comparison of models, runs or reports: evaluations found or made, compared, written, logged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdnet.errors import DataError, InputError
from hdnet.evaluation.comparison.picture import plot_comparison
from hdnet.evaluation.comparison.result import Comparison, Side, compare_sides
from hdnet.evaluation.result import EvaluationResult
from hdnet.evaluation.run import evaluate_source
from hdnet.extras import install_command
from hdnet.files import sha256_of
from hdnet.models.identity import REGISTRY_SCHEMES
from hdnet.models.weights import HDNET_FILE
from hdnet.tracking.tracker import SAMPLES_FILE, OpenRun, opened

_RUN = re.compile(r"(?:runs:/)?([0-9a-f]{32})/?")
_KEPT_TAGS = ("model_sha256", "git_commit")
# Places of a report below the given folder.
_REPORT_PLACES = (".", "evaluate", "reports/evaluate")


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
        sources: See :func:`resolve_side`.
        data: Labelled people for sources that are models.
        out: Folder that gets ``comparison.md``, ``.csv``, ``.json`` and ``.png``.
        metrics: See :func:`compare_sides`.
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
    with opened(open_run, "compare", run_params, comparison.tags()) as tracker:
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


def resolve_side(source: str, data: Path, device: str = "cpu", progress: bool = False) -> Side:
    """Finds or makes the evaluation of a source.

    Args:
        source: The JSON of an evaluation, or a folder that holds it (``reports/evaluate`` or a workspace); a run of
            MLflow, as its id or ``runs:/ID``; or a model as :func:`hdnet.evaluation.evaluate_source` takes it, which is
            evaluated on ``data`` now.
        data: Labelled people, packed or in the Tang layout, for models.
        device: PyTorch device for models.
        progress: Show a progress bar on stderr.

    Raises:
        InputError: The source is none of these.
        DataError: A report or the data cannot be read.
        ModelError: The model cannot be read.
        TrackingError: The run is not there or has no evaluation.
    """
    run = _RUN.fullmatch(source)
    if run:
        return _of_run(source, run[1])
    report = _report_at(Path(source))
    if report is not None:
        return Side(source, str(report), _read(report.read_text(encoding="utf-8"), str(report)))
    path = Path(source)
    if ":/" not in source and not (path.is_file() or (path / HDNET_FILE).is_file()):
        raise InputError(
            f"{source}: neither a report ({SAMPLES_FILE}), nor a model, nor the id of a run; expected one of these, "
            "for example reports/evaluate, models/hdnet.safetensors, models:/hdnet@champion or runs:/ID"
        )
    result = evaluate_source(source, data, device=device, progress=progress)
    title, tags = _of_model(source)
    return Side(source, f"{title} on {data}", result, tags)


def _of_model(source: str) -> tuple[str, dict[str, str]]:
    """Title and tags of a model source, with the version that an alias stands for now."""
    if source.startswith(REGISTRY_SCHEMES):
        from hdnet.tracking.versions import resolve  # MLflow is optional

        identity = resolve(source)
        named = {"model_name": identity.name, "model_version": identity.version, "run_id": identity.run_id}
        return f"{source} (version {identity.version})", named
    path = Path(source) / HDNET_FILE if Path(source).is_dir() else Path(source)
    return source, {"model_sha256": sha256_of(path)} if path.is_file() else {}


def _of_run(source: str, run_id: str) -> Side:
    try:  # MLflow is optional
        from hdnet.tracking.evaluations import evaluation_of_run
    except ImportError as error:
        raise InputError(f"{source}: needs MLflow, `{install_command('tracking')}` ({error})") from error
    found = evaluation_of_run(run_id)
    title = f"run {found.run_id} ({found.run_name})"
    if found.run_id != run_id:
        title += f", the evaluation of the pipeline of run {run_id}"
    kept = {key: found.tags[key] for key in _KEPT_TAGS if key in found.tags}
    return Side(source, title, _read(found.text, title), {"run_id": found.run_id, **kept})


def _report_at(path: Path) -> Path | None:
    if path.suffix == ".json":
        return path if path.is_file() else None
    if (path / HDNET_FILE).is_file():
        return None
    places = (path / place / SAMPLES_FILE for place in _REPORT_PLACES)
    return next((file for file in places if file.is_file()), None)


def _read(text: str, where: str) -> EvaluationResult:
    try:
        return EvaluationResult.from_json(text)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
