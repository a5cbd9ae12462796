"""Evaluations from start to end: measured, written into a folder, logged."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hdnet.errors import DataError, ModelError
from hdnet.evaluation.baselines import (
    CAMERA_FACING,
    FLAT_PLANE,
    INFLATED_SILHOUETTE,
    MODEL,
    camera_facing_normals,
    flat_plane_m,
    inflated_silhouette,
)
from hdnet.evaluation.breakdown import group_metrics, part_groups, view_groups
from hdnet.evaluation.result import EvaluationResult, Row
from hdnet.evaluation.sequences import evaluate_sequence_folders
from hdnet.evaluation.sequences_result import SequenceResult
from hdnet.evaluation.sheets import evaluation_sheet
from hdnet.evaluation.sources import LabelledPeople, open_labelled
from hdnet.evaluation.writing import write_evaluation, write_sequences
from hdnet.files import sha256_of, write_json
from hdnet.geometry import Camera
from hdnet.metrics.confidence import Reliability, measure_confidence
from hdnet.metrics.depth import depth_metrics, distance_metrics, relief_metrics
from hdnet.metrics.normals import detail_metrics, normal_metrics
from hdnet.metrics.person import body_metrics, mask_metrics
from hdnet.metrics.samples import Samples, camera_of, picture_of, predict_person, predict_sample, sized_by, truth_of
from hdnet.models import HDNet, PersonModel
from hdnet.predict.inference import load_source
from hdnet.tracking.tracker import METRICS_FILE, OpenRun, Tracker, opened

# Content of the digest, in this order.
_MEASURED_ON = ("image", "vui", "mask", "depth", "normals", "camera")


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
    """Evaluates any model on any labelled people, in a tracker's run "evaluate" of its own.

    Args:
        source: See :func:`hdnet.predict.inference.load_source`.
        data: See :func:`hdnet.evaluation.sources.open_labelled`.
        out: Folder for the files, see :func:`report_evaluation`.
        open_run: Opens the run in MLflow; None for files only.
        device: PyTorch device.
        progress: Show a progress bar on stderr.
        sequences: Frames of sequences to measure on as well; None for none.
        pairs: See :func:`hdnet.evaluation.sequences.evaluate_sequence_folders`.

    Raises:
        HDNetError: Model or data cannot be read or used, or the folder cannot be written.
    """
    model, identity = load_source(source)
    people = open_labelled(data, scenes=isinstance(model, PersonModel))
    tags = {"evaluate.source": source, "evaluate.data": str(data)}
    if identity is not None:
        tags |= {"model_name": identity.name, "model_version": identity.version}
    elif Path(source).is_file():
        tags["model_sha256"] = sha256_of(Path(source))
    if sequences is not None:
        tags["evaluate.sequences"] = str(sequences)
    with opened(open_run, "evaluate", tags=tags) as tracker:
        model = model.to(device)
        on_sequences = None
        if sequences is not None:
            on_sequences = evaluate_sequence_folders(model, sequences, pairs, note=str(sequences), progress=progress)
        return report_evaluation(model, people, out, tracker, on_sequences, progress)


def report_evaluation(
    model: HDNet | PersonModel,
    people: LabelledPeople,
    out: Path,
    tracker: Tracker,
    sequences: SequenceResult | None = None,
    progress: bool = False,
) -> EvaluationResult:
    """Evaluates, writes the files of :func:`hdnet.evaluation.writing.write_evaluation` and ``metrics.json``, logs both.

    Args:
        model: On any device.
        people: To measure on.
        out: Folder for the files.
        tracker: Gets numbers and files.
        sequences: Result on sequences, written and logged as well.
        progress: Show a progress bar on stderr.
    """
    result = evaluate(model, people.samples, people.names, people.notes, progress)
    files = write_evaluation(out, result, evaluation_sheet(model, people.samples, result), people.facts)
    metrics = result.metrics()
    if sequences is not None:
        files += write_sequences(out, sequences)
        metrics |= sequences.metrics()
    # One dictionary for the file and for the tracker, so that the two cannot disagree.
    write_json(out / METRICS_FILE, metrics)
    tracker.log_dataset("heldout", result.data_sha256, len(result.names), None, "evaluation")
    if sequences is not None:
        tracker.log_dataset("dances", sequences.data_sha256, len(sequences.pairs), None, "evaluation")
    tracker.log_metrics(metrics, 0)
    for file in (*files, out / METRICS_FILE):
        tracker.log_file(file)
    return result


def evaluate_source(
    source: str | Path, folder: Path, *, device: str = "cpu", progress: bool = False
) -> EvaluationResult:
    """Evaluates any model on any folder of labelled people.

    Args:
        source: See :func:`hdnet.predict.inference.load_source`.
        folder: See :func:`hdnet.evaluation.sources.open_labelled`. Without DensePose the model gets zeros, without
            normals their metrics are absent; the result's notes say so.
        device: PyTorch device.
        progress: Show a progress bar on stderr.

    Raises:
        DataError: The folder holds no labelled people, or one of them is damaged.
        ModelError: There is no such model, it cannot be read, or its prediction is not finite.
    """
    model, _ = load_source(source)
    people = open_labelled(folder, scenes=isinstance(model, PersonModel))
    return evaluate(model.to(device), people.samples, people.names, people.notes, progress)


def evaluate(
    model: HDNet | PersonModel,
    samples: Samples,
    sample_names: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    progress: bool = False,
) -> EvaluationResult:
    """Measures a model and the baselines of :mod:`hdnet.evaluation.baselines` on labelled samples.

    Args:
        model: On any device; used in evaluation mode, one sample at a time.
        samples: Items with ``image`` (3, H, W) 0..255, ``vui`` (3, H, W), ``mask`` (1, H, W) bool, ``depth``
            (1, H, W) metres, ``normals`` (3, H, W), if they are known, and ``camera`` (7,); for a model for photographs
            also ``scene`` (3, H, W) 0..255.
        sample_names: For error lines and rows; numbered if not given.
        notes: Remarks on the data for readers of the tables.
        progress: Show a progress bar on stderr.

    Raises:
        DataError: If there is no sample, or a sample's mask is empty or its truth is unusable; names the
            sample.
        ModelError: If a prediction is not finite; names the sample.
    """
    names, rows, groups, digest = [], [], [], hashlib.sha256()
    confidence: Reliability | None = None
    for index in tqdm(range(len(samples)), desc="evaluate", unit="person", disable=not progress, file=sys.stderr):
        sample = samples[index]
        name = f"sample {index}" if sample_names is None else sample_names[index]
        try:
            row, broken_down, reliable = _measure(model, sample)
        except (DataError, ModelError) as error:
            raise type(error)(f"{name}: {error}") from error
        names.append(name)
        rows.append(row)
        groups.append(broken_down)
        if reliable is not None:
            confidence = reliable if confidence is None else confidence + reliable
        digest.update(name.encode())
        for key in _MEASURED_ON:
            if key in sample:
                digest.update(np.ascontiguousarray(sample[key].cpu().numpy()).tobytes())
    if not rows:
        raise DataError("nothing to evaluate on: the set of samples is empty")
    return EvaluationResult(tuple(names), tuple(rows), digest.hexdigest(), tuple(groups), tuple(notes), confidence)


def _measure(model: HDNet | PersonModel, sample: Mapping[str, Any]) -> tuple[Row, Row, Reliability | None]:
    """A sample's metrics by method, the model's by group of pixels, and the reliability of its confidence."""
    mask, true_m, true_normals = truth_of(sample)
    camera, reliable = camera_of(sample["camera"]), None
    if isinstance(model, PersonModel):
        found = predict_person(model, sample)
        depth_m, normals = found.depth_m, found.normals
        row = {MODEL: _metrics(depth_m, normals, true_m, true_normals, mask, camera)}
        row[MODEL] |= relief_metrics(depth_m, true_m, mask, camera) | mask_metrics(found.mask, mask)
        if (sized := sized_by(model.estimator, sample)) is not None and bool(sized):
            row[MODEL] |= distance_metrics(depth_m, true_m, mask)
        row[MODEL] |= body_metrics(found.iuv, picture_of(sample["vui"])[..., ::-1], mask)
        if true_normals is not None:
            reliable, errors = measure_confidence(normals, found.expected_deg, true_normals, mask)
            row[MODEL] |= errors
    else:
        depth_m, normals = predict_sample(model, sample)
        row = {MODEL: _metrics(depth_m, normals, true_m, true_normals, mask, camera)}
    # After the metrics, which check the truth.
    groups = part_groups(sample["vui"][2].cpu().numpy(), mask) if sample["vui"][:, sample["mask"][0]].any() else {}
    if true_normals is not None:
        groups |= view_groups(true_normals, mask, camera)
    distance_m = float(np.median(true_m[mask]))
    inflated_m, inflated_normals = inflated_silhouette(mask, camera, distance_m)
    row[FLAT_PLANE] = _metrics(flat_plane_m(mask, distance_m), None, true_m, true_normals, mask, camera)
    row[INFLATED_SILHOUETTE] = _metrics(inflated_m, inflated_normals, true_m, true_normals, mask, camera)
    if true_normals is not None:
        row[CAMERA_FACING] = normal_metrics(camera_facing_normals(mask), true_normals, mask)
    return row, group_metrics(groups, depth_m, true_m, mask, normals, true_normals), reliable


def _metrics(
    depth_m: np.ndarray,
    normals: np.ndarray | None,
    true_m: np.ndarray,
    true_normals: np.ndarray | None,
    mask: np.ndarray,
    camera: Camera,
) -> dict[str, float]:
    """All metrics for which there is a prediction and a truth."""
    values = depth_metrics(depth_m, true_m, mask)
    if true_normals is None:
        return values
    if normals is not None:
        values |= normal_metrics(normals, true_normals, mask)
    return values | detail_metrics(depth_m, true_m, true_normals, mask, camera)
