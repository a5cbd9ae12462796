"""The training stages from packed data to a model file. ``pipelines/`` and the command line call these."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hdnet.data.store.datasets import LabelledDataset, PairDataset, collate
from hdnet.data.store.packed import PackedFrames, PackedLabelled, PseudoNormals
from hdnet.data.store.pairs import PackedPairs
from hdnet.data.store.shards import INDEX_FILE
from hdnet.errors import DataError
from hdnet.files import sha256_of
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.models.weights import load_estimator, load_moments, save_estimator, save_hdnet
from hdnet.params import InputNormals, OptimiserParams, Params
from hdnet.tracking.tracker import METRICS_FILE, FileTracker, OpenRun, Tracker, Trackers, opened
from hdnet.training.checkpoint import CheckpointFolder, fingerprint
from hdnet.training.devices import ending_together, launch
from hdnet.training.engine import Engine, Hooks
from hdnet.training.settings import Validation
from hdnet.training.start import starting_network
from hdnet.training.tasks import DepthTask, DepthWeights, HDNetTask, NormalTask, PairWeights, Stream, Task
from hdnet.training.wiring import configuration_of, hooks_of, pairs_of, runtime_of, schedule_of


def train_normal(
    labelled: Path,
    out: Path,
    report: Path,
    checkpoints: Path,
    params: Params,
    open_run: OpenRun | None = None,
    start: Path | None = None,
    heldout: Path | None = None,
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
        heldout: Packed held-out people, for ``validation``; None goes without.

    Returns:
        The last loss terms, as in ``metrics.json``.
    """
    torch.manual_seed(params.seed)
    packed = PackedLabelled(labelled)
    settings = params.train_normal
    model = starting_network(NormalEstimator, params.model, start)
    task = NormalTask(model, Stream(LabelledDataset(packed), settings.batch_size, collate))
    data = {"labelled": digest(packed), **_start_digest(start)}
    run = _Run(out, report, checkpoints, params, open_run, hooks_of(params, task.name, heldout, typical_camera(packed)))
    return _train(task, settings, run, data, lambda trained: save_estimator(out, model, trained.provenance))


def train_depth(
    labelled: Path,
    labelled_normals: Path,
    out: Path,
    report: Path,
    checkpoints: Path,
    params: Params,
    open_run: OpenRun | None = None,
    start: Path | None = None,
    heldout: Path | None = None,
    normal_model: Path | None = None,
) -> dict[str, float]:
    """Stage `train_depth`: the depth estimator on labelled people.

    Arguments as :func:`train_normal`, and two that are read only if ``input_normals`` says so: ``labelled_normals``,
    predicted normals of those people as stage `predict_normals` wrote them, and ``normal_model``, which predicts those
    of the held-out people.
    """
    torch.manual_seed(params.seed)
    packed = PackedLabelled(labelled)
    settings = params.train_depth
    model = starting_network(DepthEstimator, params.model, start)
    weights = DepthWeights(**settings.weights.model_dump())
    people = _people(packed, settings.input_normals, labelled_normals)
    task = DepthTask(model, Stream(people, settings.batch_size, collate), weights, settings.rule)
    data = {"labelled": digest(packed), **_input_digest(people), **_start_digest(start)}
    normal_model = normal_model if settings.input_normals == "predicted" else None
    hooks = hooks_of(params, task.name, heldout, typical_camera(packed), normal_model)

    def save(trained: _Trained) -> None:
        save_estimator(out, model, trained.provenance, trained.moments if settings.keep_moments else None)

    return _train(task, settings, _Run(out, report, checkpoints, params, open_run, hooks), data, save)


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
    heldout: Path | None = None,
    validation: Validation | None = None,
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
        heldout: Packed held-out people, for ``validation``; None goes without.
        validation: Judges the model instead of section ``validation``.

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
    pair_stream, compare = pairs_of(pairs, settings)
    task = HDNetTask(
        model,
        Stream(people, settings.batch_size, collate),
        pair_stream,
        DepthWeights(weights.depth, weights.scale_invariant, weights.normal),
        PairWeights(weights.unlabelled_normal, weights.warp, weights.warp_2d),
        settings.rule,
        compare,
    )
    data = {
        "labelled": digest(packed),
        "frames": digest(packed_frames),
        "frame_normals": digest(pairs.pseudo_normals),
        "pairs": digest(pairs.matches),
        **_input_digest(people),
        **_start_digest(start),
    }
    camera = typical_camera(packed)
    hooks = hooks_of(
        params, task.name, heldout, camera, normal_model if settings.input_normals == "predicted" else None
    )
    if validation is not None:
        hooks = replace(hooks, validation=validation)

    def save(trained: _Trained) -> None:
        complete = HDNet(load_estimator(normal_model, NormalEstimator), model, camera)
        focal_px = f"{camera.pixel_intrinsics()[0]:.1f}"
        save_hdnet(out, complete, {**trained.provenance, "trained_focal_px": focal_px})

    return _train(task, settings, _Run(out, report, checkpoints, params, open_run, hooks), data, save, moments)


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


@dataclass(frozen=True)
class _Run:
    """What the three stages hand on alike; see :func:`train_normal`."""

    out: Path
    report: Path
    checkpoints: Path
    params: Params
    open_run: OpenRun | None
    hooks: Hooks


def _train(
    task: Task,
    settings: OptimiserParams,
    run: _Run,
    data: dict[str, str],
    save: Callable[[_Trained], None],
    moments: Mapping[str, Tensor] | None = None,
) -> dict[str, float]:
    """Trains, saves the model, then publishes the report and drops the checkpoints.

    Of several processes the first one does all but the training.
    """
    params, runtime = run.params, runtime_of(run.params)
    for name, stream in task.streams.items():
        if len(stream.dataset) == 0:  # type: ignore[arg-type]
            raise DataError(f"{task.name}: there are no {name} samples to learn from; see `hdnet data validate`")
    fabric = launch(runtime, {name: stream.batch_size for name, stream in task.streams.items()})
    configuration = configuration_of(task.name, settings, params, data)
    folder = CheckpointFolder(
        run.checkpoints / task.name / fingerprint(configuration), keep=params.runtime.keep_checkpoints
    )

    def engine(tracker: Tracker) -> Engine:
        schedule = schedule_of(settings, params.seed)
        return Engine(task, schedule, runtime, folder, tracker, moments, run.hooks, run.report)

    if not fabric.is_global_zero:
        metrics = engine(Tracker()).run()
        fabric.barrier()  # the first one is still saving, and the next stage reads that
        return metrics
    tags = {f"data.{name}": digest for name, digest in data.items()}
    run_params = {"seed": params.seed, "model": configuration["model"], "augment": configuration["augment"]}
    run_params[task.name] = configuration["settings"]
    local = FileTracker(folder.folder / "report")
    with ending_together(fabric):
        with opened(run.open_run, task.name, run_params, tags, folder.folder) as remote:
            tracker = Trackers([local, remote])
            for name, stream in task.streams.items():
                tracker.log_dataset(name, data[name], len(stream.dataset))  # type: ignore[arg-type]
            trainer = engine(tracker)
            metrics = trainer.run()
            task.model.to("cpu").eval()
            provenance = {"stage": task.name, "steps": str(settings.steps), **tags}
            save(_Trained(metrics, provenance, trainer.moments))
            # An evaluation carries the same tag: that is how the two are found from each other.
            tracker.set_tags({"model_sha256": sha256_of(run.out)})
        _publish(local.folder, run.report, metrics)
        folder.remove()
        fabric.barrier()
    return metrics


def _publish(source: Path, report: Path, metrics: dict[str, float]) -> None:
    if report.exists():
        shutil.rmtree(report)
    shutil.copytree(source, report)
    (report / METRICS_FILE).write_text(json.dumps(metrics, indent=2) + "\n")


def digest(packed: PackedLabelled | PackedFrames | PseudoNormals | PackedPairs) -> str:
    """Name of the packed content: the hash of its index, which holds the hash of every file."""
    return sha256_of(packed.folder / INDEX_FILE)


def typical_camera(packed: PackedLabelled) -> Camera:
    """The camera that a model of this data assumes: the median of every number over all samples."""
    return Camera(*np.median(packed.cameras, axis=0).tolist())
