"""An evaluation from start to end: measured, written into a folder, told to MLflow."""

from __future__ import annotations

from pathlib import Path

from hdnet.evaluation import EvaluationResult, evaluate
from hdnet.evaluation.sequences import evaluate_sequence_folders
from hdnet.evaluation.sequences_result import SequenceResult
from hdnet.evaluation.sheets import evaluation_sheet
from hdnet.evaluation.sources import LabelledPeople, open_labelled, open_model
from hdnet.evaluation.writing import write_evaluation, write_sequences
from hdnet.files import sha256_of, write_json
from hdnet.models import HDNet
from hdnet.tracking.tracker import METRICS_FILE, OpenRun, Tracker, opened


def evaluate_to_folder(
    source: str,
    data: Path,
    out: Path,
    open_run: OpenRun | None = None,
    device: str = "cpu",
    progress: bool = False,
    sequences: Path | None = None,
    pairs: Path | None = None,
) -> EvaluationResult:
    """Any model on any labelled people, in a run "evaluate" of its own.

    Args:
        source: See :func:`hdnet.evaluation.sources.open_model`.
        data: See :func:`hdnet.evaluation.sources.open_labelled`.
        out: Folder for the files, see :func:`report_evaluation`.
        open_run: Opens the run in MLflow; None for files only.
        device: PyTorch device.
        progress: Show a progress bar on stderr.
        sequences: Frames of dances to measure on as well; None for none.
        pairs: See :func:`hdnet.evaluation.sequences.evaluate_sequence_folders`.

    Raises:
        HDNetError: Model or data cannot be read or used, or the folder cannot be written.
    """
    people = open_labelled(data)
    model, identity = open_model(source)
    tags = {"evaluate.source": source, "evaluate.data": str(data)}
    if identity is not None:
        tags |= {"model_name": identity.name, "model_version": identity.version}
    elif Path(source).is_file():
        tags["model_sha256"] = sha256_of(Path(source))
    if sequences is not None:
        tags["evaluate.sequences"] = str(sequences)
    with opened(open_run, "evaluate", {}, tags, None) as tracker:
        model = model.to(device)
        danced = None
        if sequences is not None:
            danced = evaluate_sequence_folders(model, sequences, pairs, note=str(sequences), progress=progress)
        return report_evaluation(model, people, out, tracker, danced, progress)


def report_evaluation(
    model: HDNet,
    people: LabelledPeople,
    out: Path,
    tracker: Tracker | None,
    sequences: SequenceResult | None = None,
    progress: bool = False,
) -> EvaluationResult:
    """Measures, writes the files of :func:`hdnet.evaluation.writing.write_evaluation` and ``metrics.json``, logs both.

    Args:
        model: On any device.
        people: To measure on.
        out: Folder for the files.
        tracker: Takes numbers and files; None for files only.
        sequences: What was measured on dances, to be written and logged with it.
        progress: Show a progress bar on stderr.
    """
    result = evaluate(model, people.samples, people.names, people.notes, progress)
    files = write_evaluation(out, result, evaluation_sheet(model, people.samples, result))
    metrics = result.metrics()
    if sequences is not None:
        files += write_sequences(out, sequences)
        metrics |= sequences.metrics()
    # The same numbers to the file and to the tracker, so that the two cannot disagree.
    write_json(out / METRICS_FILE, metrics)
    if tracker is not None:
        tracker.log_dataset("heldout", result.data_sha256, len(result.names), None, "evaluation")
        if sequences is not None:
            tracker.log_dataset("dances", sequences.data_sha256, len(sequences.pairs), None, "evaluation")
        tracker.log_metrics(metrics, 0)
        for file in (*files, out / METRICS_FILE):
            tracker.log_file(file)
    return result
