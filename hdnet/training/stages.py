"""The training stages from packed data to a model file. ``pipelines/`` and the command line call these."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hdnet.data.datasets import LabelledDataset, PairDataset, collate
from hdnet.data.files import sha256_of
from hdnet.data.packed import PackedFrames, PackedLabelled, PseudoNormals
from hdnet.data.pairs import PackedPairs
from hdnet.data.shards import INDEX_FILE
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.models.weights import load_estimator, load_moments, save_estimator, save_hdnet
from hdnet.params import InputNormals, OptimiserParams, Params
from hdnet.training.checkpoint import CheckpointFolder, fingerprint
from hdnet.training.engine import Engine, Runtime, Schedule
from hdnet.training.start import starting_network
from hdnet.training.tasks import DepthTask, DepthWeights, HDNetTask, NormalTask, PairWeights, Stream, Task
from hdnet.training.tracking import FileTracker, Tracker, Trackers

# Opens a run in an experiment tracker: (stage, parameters, tags, folder that remembers the run) -> tracker.
OpenRun = Callable[[str, dict[str, Any], dict[str, str], Path | None], AbstractContextManager[Tracker]]

METRICS_FILE = "metrics.json"


def train_normal(
    labelled: Path,
    out: Path,
    report: Path,
    checkpoints: Path,
    params: Params,
    open_run: OpenRun | None = None,
    start: Path | None = None,
) -> dict[str, float]:
    """Stage `train_normal`: writes the normal estimator to ``out`` and curves, pictures and metrics to ``report``.

    Args:
        labelled: Packed labelled people.
        out: Model file to write.
        report: Folder for ``curves.csv``, ``panels/`` and ``metrics.json``.
        checkpoints: Root of the working checkpoints; an interrupted run is found and continued there.
        params: The whole params.yaml.
        open_run: Opens the experiment tracker's run; None for files alone.
        start: Model file to begin with (``start_from`` as a path); None for random weights.

    Returns:
        The last loss terms, as in ``metrics.json``.
    """
    torch.manual_seed(params.seed)
    packed = PackedLabelled(labelled)
    settings = params.train_normal
    model = starting_network(NormalEstimator, params.model, start)
    task = NormalTask(model, Stream(LabelledDataset(packed), settings.batch_size, collate))
    data = {"labelled": digest(packed), **_start_digest(start)}
    with _training(task, settings, report, checkpoints, params, data, open_run) as trained:
        save_estimator(out, model, trained.provenance)
    return trained.metrics


def train_depth(
    labelled: Path,
    labelled_normals: Path,
    out: Path,
    report: Path,
    checkpoints: Path,
    params: Params,
    open_run: OpenRun | None = None,
    start: Path | None = None,
) -> dict[str, float]:
    """Stage `train_depth`: the depth estimator on labelled people.

    Arguments as :func:`train_normal`, and ``labelled_normals``: predicted normals of those people as stage
    `predict_normals` wrote them, read only if ``input_normals`` says so.
    """
    torch.manual_seed(params.seed)
    packed = PackedLabelled(labelled)
    settings = params.train_depth
    model = starting_network(DepthEstimator, params.model, start)
    weights = DepthWeights(**settings.weights.model_dump())
    people = _people(packed, settings.input_normals, labelled_normals)
    task = DepthTask(model, Stream(people, settings.batch_size, collate), weights, settings.rule)
    data = {"labelled": digest(packed), **_input_digest(people), **_start_digest(start)}
    with _training(task, settings, report, checkpoints, params, data, open_run) as trained:
        save_estimator(out, model, trained.provenance, trained.moments if settings.keep_moments else None)
    return trained.metrics


def train_hdnet(
    labelled: Path,
    labelled_normals: Path,
    frames: Path,
    frame_normals: Path,
    correspondences: Path,
    normal_model: Path,
    depth_model: Path,
    out: Path,
    report: Path,
    checkpoints: Path,
    params: Params,
    open_run: OpenRun | None = None,
    start: Path | None = None,
) -> dict[str, float]:
    """Stage `train_hdnet`: the joint, semi-supervised training; writes the complete model.

    Args:
        labelled: Packed labelled people.
        labelled_normals: Their predicted normals, read only if ``input_normals`` says so.
        frames: Packed unlabelled frames.
        frame_normals: Their predicted normals.
        correspondences: Folder of pairs as stage `correspond` wrote it, or in the reference's text form.
        normal_model: Normal estimator; becomes part of the result as it is.
        depth_model: Pre-trained depth estimator to start from (if ``warm_start``), and whose Adam moments to continue
            with (if ``warm_moments``, quirk 48).
        out: Model file to write.
        report: Folder for curves, pictures and metrics.
        checkpoints: Root of the working checkpoints.
        params: The whole params.yaml.
        open_run: Opens the experiment tracker's run; None for files alone.
        start: Model file to start from without ``warm_start``; None for random weights.

    Returns:
        The last loss terms.
    """
    torch.manual_seed(params.seed)
    packed, packed_frames = PackedLabelled(labelled), PackedFrames(frames)
    settings = params.train_hdnet
    start = depth_model if settings.warm_start else start
    model = starting_network(DepthEstimator, params.model, start)
    moments = load_moments(depth_model) if settings.warm_moments else None
    pairs = PairDataset(packed_frames, PseudoNormals(frame_normals), correspondences)
    people = _people(packed, settings.input_normals, labelled_normals)
    weights = settings.weights
    task = HDNetTask(
        model,
        Stream(people, settings.batch_size, collate),
        Stream(pairs, settings.pairs_per_step, collate),
        DepthWeights(weights.depth, weights.scale_invariant, weights.normal),
        PairWeights(weights.unlabelled_normal, weights.warp),
        settings.rule,
    )
    data = {
        "labelled": digest(packed),
        "frames": digest(packed_frames),
        "frame_normals": digest(pairs.pseudo_normals),
        "pairs": digest(pairs.matches),
        **_input_digest(people),
        **_start_digest(start),
    }
    with _training(task, settings, report, checkpoints, params, data, open_run, moments) as trained:
        camera = typical_camera(packed)
        complete = HDNet(load_estimator(normal_model, NormalEstimator), model, camera)
        focal_px = f"{camera.pixel_intrinsics()[0]:.1f}"
        save_hdnet(out, complete, {**trained.provenance, "trained_focal_px": focal_px})
    return trained.metrics


def _people(packed: PackedLabelled, input_normals: InputNormals, predicted: Path) -> LabelledDataset:
    return LabelledDataset(packed, PseudoNormals(predicted) if input_normals == "predicted" else None)


def _input_digest(people: LabelledDataset) -> dict[str, str]:
    return {} if people.input_normals is None else {"input_normals": digest(people.input_normals)}


def _start_digest(start: Path | None) -> dict[str, str]:
    return {} if start is None else {"start": sha256_of(start)}


@dataclass(frozen=True)
class _Trained:
    """Last loss terms, what goes into the model file's header, and Adam's moments."""

    metrics: dict[str, float]
    provenance: dict[str, str]
    moments: Mapping[str, Tensor] | None


@contextmanager
def _training(
    task: Task,
    settings: OptimiserParams,
    report: Path,
    checkpoints: Path,
    params: Params,
    data: dict[str, str],
    open_run: OpenRun | None,
    moments: Mapping[str, Tensor] | None = None,
) -> Iterator[_Trained]:
    """Trains, yields what the model file needs, then publishes the report and drops the checkpoints."""
    configuration = {"stage": task.name, "seed": params.seed, "model": params.model.model_dump(), "data": data}
    configuration["settings"] = settings.model_dump()
    folder = CheckpointFolder(
        checkpoints / task.name / fingerprint(configuration), keep=params.runtime.keep_checkpoints
    )
    local = FileTracker(folder.folder / "report")
    tags = {f"data.{name}": digest for name, digest in data.items()}
    run_params = {"seed": params.seed, "model": params.model.model_dump(), task.name: settings.model_dump()}
    with opened(open_run, task.name, run_params, tags, folder.folder) as remote:
        engine = Engine(
            task,
            _schedule(settings, params.seed),
            _runtime(params),
            folder,
            Trackers([local] if remote is None else [local, remote]),
            moments,
        )
        metrics = engine.run()
        task.model.to("cpu").eval()
        provenance = {"stage": task.name, "steps": str(settings.steps), **tags}
        yield _Trained(metrics, provenance, engine.moments)
    _publish(local.folder, report, metrics)
    folder.remove()


@contextmanager
def opened(
    open_run: OpenRun | None, stage: str, run_params: dict[str, Any], tags: dict[str, str], folder: Path | None
) -> Iterator[Tracker | None]:
    """The experiment tracker's run, or None where there is no tracker."""
    if open_run is None:
        yield None
        return
    with open_run(stage, run_params, tags, folder) as tracker:
        yield tracker


def _publish(source: Path, report: Path, metrics: dict[str, float]) -> None:
    if report.exists():
        shutil.rmtree(report)
    shutil.copytree(source, report)
    (report / METRICS_FILE).write_text(json.dumps(metrics, indent=2) + "\n")


def _schedule(settings: OptimiserParams, seed: int) -> Schedule:
    return Schedule(
        settings.steps,
        settings.learning_rate,
        settings.adam_eps,
        settings.tf_epsilon,
        settings.schedule,
        settings.grad_clip,
        seed,
    )


def _runtime(params: Params) -> Runtime:
    runtime = params.runtime
    return Runtime(
        runtime.device,
        runtime.precision,
        runtime.log_every,
        runtime.panel_every,
        runtime.checkpoint_every,
        runtime.weights_every,
        None if runtime.loader_workers == "auto" else runtime.loader_workers,
    )


def digest(packed: PackedLabelled | PackedFrames | PseudoNormals | PackedPairs) -> str:
    """Name of the packed content: the hash of its index, which holds the hash of every file."""
    return sha256_of(packed.folder / INDEX_FILE)


def typical_camera(packed: PackedLabelled) -> Camera:
    """The camera that a model of this data assumes: the median of every number over all samples."""
    return Camera(*np.median(packed.cameras, axis=0).tolist())
