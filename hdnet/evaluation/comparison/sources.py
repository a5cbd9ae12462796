"""From what a user names to an evaluation: a report, a run of MLflow, or a model that is evaluated now."""

from __future__ import annotations

import re
from pathlib import Path

from hdnet.errors import DataError, InputError
from hdnet.evaluation import EvaluationResult, evaluate_source
from hdnet.evaluation.comparison.result import Side
from hdnet.files import sha256_of
from hdnet.models.weights import HDNET_FILE
from hdnet.predict.inference import MODEL_URI

SAMPLES_FILE = "samples.json"
_RUN = re.compile(r"(?:runs:/)?([0-9a-f]{32})/?")
_KEPT_TAGS: tuple[str, ...] = ("model_sha256", "git_commit")
# Where a report may lie below the folder that is named.
_REPORT_PLACES = (".", "evaluate", "reports/evaluate")


def resolve_side(source: str, data: Path, device: str = "cpu", progress: bool = False) -> Side:
    """Finds or makes the evaluation that a source means.

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
    """What a model source means today, as text and as tags."""
    if source.startswith(MODEL_URI):
        from hdnet.tracking.versions import resolve

        identity = resolve(source)
        named = {"model_name": identity.name, "model_version": identity.version, "run_id": identity.run_id}
        return f"{source} (version {identity.version})", named
    path = Path(source) / HDNET_FILE if Path(source).is_dir() else Path(source)
    return source, {"model_sha256": sha256_of(path)} if path.is_file() else {}


def _of_run(source: str, run_id: str) -> Side:
    try:
        from hdnet.tracking.evaluations import evaluation_of_run
    except ImportError as error:
        raise InputError(f"{source}: needs MLflow, `pip install hdnet[tracking]` ({error})") from error
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
