"""Measures a model and the baselines on labelled samples."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hdnet.errors import DataError, ModelError
from hdnet.evaluation.baselines import camera_facing_normals, flat_plane_m, inflated_silhouette
from hdnet.evaluation.breakdown import group_metrics, part_groups, view_groups
from hdnet.evaluation.depth import depth_metrics
from hdnet.evaluation.detail import detail_metrics
from hdnet.evaluation.metrics import CAMERA_FACING, FLAT_PLANE, INFLATED_SILHOUETTE, MODEL
from hdnet.evaluation.normals import normal_metrics
from hdnet.evaluation.pixels import picture_of
from hdnet.evaluation.prediction import Samples, camera_of, predict_sample
from hdnet.evaluation.result import EvaluationResult, Row
from hdnet.evaluation.sources import open_labelled, open_model
from hdnet.geometry import Camera
from hdnet.models import HDNet

# What a digest is taken of, in this order.
_MEASURED_ON = ("image", "vui", "mask", "depth", "normals", "camera")


def evaluate(
    model: HDNet,
    samples: Samples,
    sample_names: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    progress: bool = False,
) -> EvaluationResult:
    """Runs a model on labelled samples and measures it and the baselines.

    The baselines are a flat plane at the median depth, the silhouette blown up
    (:func:`hdnet.evaluation.baselines.inflated_silhouette`), and normals that all face the camera (0, 0, -1).

    Args:
        model: On any device; used in evaluation mode, one sample at a time.
        samples: Items with ``image`` (3, H, W) 0..255, ``vui`` (3, H, W), ``mask`` (1, H, W) bool, ``depth``
            (1, H, W) metres, ``normals`` (3, H, W), if they are known, and ``camera`` (7,).
        sample_names: For error lines and rows; numbered if not given.
        notes: What a reader of the tables has to know about the data.
        progress: Show a progress bar on stderr.

    Raises:
        DataError: If there is no sample, or a sample's mask is empty or its truth is unusable; names the
            sample.
        ModelError: If a prediction is not finite; names the sample.
    """
    names, rows, groups, digest = [], [], [], hashlib.sha256()
    for index in tqdm(range(len(samples)), desc="evaluate", unit="person", disable=not progress, file=sys.stderr):
        sample = samples[index]
        name = f"sample {index}" if sample_names is None else sample_names[index]
        try:
            row, broken_down = _measure(model, sample)
        except (DataError, ModelError) as error:
            raise type(error)(f"{name}: {error}") from error
        names.append(name)
        rows.append(row)
        groups.append(broken_down)
        digest.update(name.encode())
        for key in _MEASURED_ON:
            if key in sample:
                digest.update(np.ascontiguousarray(sample[key].cpu().numpy()).tobytes())
    if not rows:
        raise DataError("nothing to evaluate on: the set of samples is empty")
    return EvaluationResult(tuple(names), tuple(rows), digest.hexdigest(), tuple(groups), tuple(notes))


def evaluate_source(
    source: str | Path, folder: Path, *, device: str = "cpu", progress: bool = False
) -> EvaluationResult:
    """Measures any model on any folder of labelled people.

    Args:
        source: See :func:`hdnet.evaluation.sources.open_model`.
        folder: See :func:`hdnet.evaluation.sources.open_labelled`. Without DensePose the model gets zeros, without
            normals their metrics are absent; the result's notes say so.
        device: PyTorch device.
        progress: Show a progress bar on stderr.

    Raises:
        DataError: The folder holds no labelled people, or one of them is damaged.
        ModelError: There is no such model, it cannot be read, or its prediction is not finite.
    """
    people = open_labelled(folder)
    model, _ = open_model(source)
    return evaluate(model.to(device), people.samples, people.names, people.notes, progress)


def _measure(model: HDNet, sample: Mapping[str, Any]) -> tuple[Row, Row]:
    """A sample's metrics by method, and the model's by group of pixels."""
    mask: np.ndarray = sample["mask"][0].bool().cpu().numpy()
    true_m = picture_of(sample["depth"])[..., 0]
    true_normals = picture_of(sample["normals"]) if "normals" in sample else None
    camera = camera_of(sample["camera"])
    depth_m, normals = predict_sample(model, sample)
    row = {MODEL: _metrics(depth_m, normals, true_m, true_normals, mask, camera)}
    # The prediction's groups need a truth that the metrics above have found to be usable.
    groups = part_groups(sample["vui"][2].cpu().numpy(), mask) if sample["vui"][:, sample["mask"][0]].any() else {}
    if true_normals is not None:
        groups |= view_groups(true_normals, mask, camera)
    distance_m = float(np.median(true_m[mask]))
    inflated_m, inflated_normals = inflated_silhouette(mask, camera, distance_m)
    row[FLAT_PLANE] = _metrics(flat_plane_m(mask, distance_m), None, true_m, true_normals, mask, camera)
    row[INFLATED_SILHOUETTE] = _metrics(inflated_m, inflated_normals, true_m, true_normals, mask, camera)
    if true_normals is not None:
        row[CAMERA_FACING] = normal_metrics(camera_facing_normals(mask), true_normals, mask)
    return row, group_metrics(groups, depth_m, true_m, mask, normals, true_normals)


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
