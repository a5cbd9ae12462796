"""One training from its task to the model file: checkpoints, tracking, report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from hdnet.data.store.datasets import LabelledDataset
from hdnet.data.store.packed import People, open_people
from hdnet.errors import DataError, ModelError
from hdnet.files import sha256_of, write_json
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, LiteEstimator, NormalEstimator
from hdnet.models.weights import load_estimator
from hdnet.params import OptimiserParams, Params
from hdnet.tracking.tracker import METRICS_FILE, FileTracker, OpenRun, Tracker, Trackers, opened
from hdnet.training.checkpoint import CheckpointFolder, fingerprint
from hdnet.training.devices import ending_together, launch
from hdnet.training.engine import Engine
from hdnet.training.tasks import Task
from hdnet.training.validation import HeldOutValidator, Validation, metric_of_stage

EstimatorT = TypeVar("EstimatorT", NormalEstimator, DepthEstimator)


@dataclass(frozen=True)
class Outputs:
    """Paths that a training writes.

    Attributes:
        model: Model file.
        report: Folder for ``curves.csv``, ``panels/`` and ``metrics.json``.
        checkpoints: Root of the working checkpoints; an interrupted run is found and continued there.
    """

    model: Path
    report: Path
    checkpoints: Path


def starting_network(kind: type[EstimatorT], params: Params, start: Path | None) -> EstimatorT:
    """Return the network as it is before the first step.

    Args:
        kind: One of the two networks.
        params: Parameters; ``model`` describes the network, ``seed`` draws random weights.
        start: Model file whose weights it begins with, for example imported ones; None for random weights.

    Raises:
        ModelError: If the file does not hold such a network, or one of another shape than params.yaml says.
    """
    torch.manual_seed(params.seed)
    fresh = kind.from_params(params.model)
    if start is None:
        return fresh
    loaded, wanted = load_estimator(start, kind), params.model
    # Neither the normalisation while training nor the output before the first step has to be the file's.
    found = replace(loaded.config, norm=wanted.norm, initial_output=fresh.config.initial_output)
    if found != fresh.config:
        raise ModelError(
            f"{start}: holds a network of width {found.width} with input_scale {found.input_scale!r}, params.yaml says "
            f"{wanted.width} and {wanted.input_scale!r}; set model.width and model.input_scale to the file's"
        )
    fresh.load_state_dict(loaded.state_dict())
    return fresh


def starting_person(params: Params, start: Path | None) -> LiteEstimator:
    """Return the network for photographs as it is before the first step, its first encoder blocks frozen as set.

    Args:
        params: Parameters; ``model`` describes the network, ``seed`` draws random weights.
        start: Model file whose weights it begins with; None for an encoder as ``model.encoder_weights`` says.

    Raises:
        ModelError: If the file does not hold such a network, or the encoder's weights cannot be had.
    """
    torch.manual_seed(params.seed)
    if start is None:
        model = LiteEstimator.from_params(params.model)
    else:
        model = LiteEstimator.from_params(params.model.model_copy(update={"encoder_weights": "random"}))
        loaded = load_estimator(start, LiteEstimator)
        # Whether the scale head tells distances goes with its weights.
        model.config = replace(model.config, metric=loaded.config.metric)
        if loaded.config != model.config:
            raise ModelError(
                f"{start}: holds a network with encoder {loaded.config.encoder!r}, params.yaml says "
                f"{model.config.encoder!r}; set model.encoder to the file's"
            )
        model.load_state_dict(loaded.state_dict())
    model.freeze(params.photo.frozen_blocks)
    return model


def held_out_validation(
    params: Params, stage: str, heldout: Path, camera: Camera, normal_model: Path | None = None
) -> Validation | None:
    """Return section ``validation`` applied to packed held-out people; None if it is switched off.

    Args:
        params: Parameters.
        stage: Decides which metrics there are.
        heldout: Packed held-out people.
        camera: The one that the model will be said to have been trained in.
        normal_model: Gives the depth estimator its normals; None for the true ones.

    Raises:
        DataError: The people cannot be read.
        ModelError: The normal estimator cannot be read.
    """
    settings = params.validation
    if settings.every is None:
        return None
    validator = held_out_validator(params, stage, heldout, camera, normal_model, limit=settings.people)
    return Validation(validator, settings.every, metric_of_stage(settings.metric, stage), settings.use_best)


def held_out_validator(
    params: Params,
    stage: str,
    heldout: Path,
    camera: Camera,
    normal_model: Path | None = None,
    *,
    numbers: Sequence[int] | None = None,
    limit: int | None = None,
) -> HeldOutValidator:
    """Return a validator on packed held-out people: those of the given numbers or all, ``limit`` of them.

    Other arguments and errors as of :func:`held_out_validation`.
    """
    is_person = params.model.network == "lite"
    people = LabelledDataset(open_people(heldout), scenes=is_person)
    return HeldOutValidator(
        people if numbers is None else Subset(people, numbers),
        limit,
        # The network for photographs gives its maps in each picture's own camera.
        camera=None if is_person else camera,
        normal_estimator=None if normal_model is None else load_estimator(normal_model, NormalEstimator),
        has_depth=stage != "train_normal",
    )


def typical_camera(packed: People) -> Camera:
    """Return the camera that a model of this data assumes: the median of every number over all samples."""
    return Camera(*np.median(packed.cameras, axis=0).tolist())


def train(
    task: Task,
    params: Params,
    data: Mapping[str, str],
    outputs: Outputs,
    save: Callable[[dict[str, str], Mapping[str, Tensor] | None], None],
    open_run: OpenRun | None = None,
    validation: Validation | None = None,
    moments: Mapping[str, Tensor] | None = None,
) -> dict[str, float]:
    """Train a task, save the model, then publish the report and drop the checkpoints.

    Of several processes the first one does all but the training.

    Args:
        task: Its name is that of the stage's section of the parameters.
        params: Parameters.
        data: Digests of all that the training reads, by name; together with the parameters they identify the run.
        outputs: Paths to write.
        save: Writes the model file, given its provenance and Adam's last moments.
        open_run: Opens the experiment tracker's run; None for files alone.
        validation: On held-out people; None for none.
        moments: Adam's, to continue with.

    Returns:
        The last loss terms, as in ``metrics.json``.

    Raises:
        DataError: There is nothing to learn from.
        TrainingError: See :meth:`Engine.run`.
    """
    settings: OptimiserParams = getattr(params, task.name)
    for name, stream in task.streams.items():
        if len(stream.dataset) == 0:  # type: ignore[arg-type]
            raise DataError(f"{task.name}: there are no {name} samples to learn from; see `hdnet data validate`")
    fabric = launch(params.runtime, {name: stream.batch_size for name, stream in task.streams.items()})
    configuration = _configuration(task.name, settings, params, data)
    folder = CheckpointFolder(
        outputs.checkpoints / task.name / fingerprint(configuration), keep=params.runtime.keep_checkpoints
    )
    augmentation = task.augmentation(params)

    def engine(tracker: Tracker) -> Engine:
        return Engine(
            task,
            settings,
            params.runtime,
            folder,
            tracker,
            seed=params.seed,
            moments=moments,
            augmentation=augmentation,
            validation=validation,
            report=outputs.report,
        )

    if not fabric.is_global_zero:
        metrics = engine(Tracker()).run()
        fabric.barrier()  # the first one is still saving, and the next stage reads that
        return metrics
    tags = {f"data.{name}": digest for name, digest in data.items()}
    run_params = {"seed": params.seed, task.name: configuration["settings"]}
    run_params |= {name: configuration[name] for name in ("model", "augment", "photo") if name in configuration}
    local = FileTracker(folder.folder / "report")
    with ending_together(fabric):
        with opened(open_run, task.name, run_params, tags, folder.folder) as remote:
            tracker = Trackers([local, remote])
            for name, stream in task.streams.items():
                tracker.log_dataset(name, data[name], len(stream.dataset))  # type: ignore[arg-type]
            trainer = engine(tracker)
            metrics = trainer.run()
            task.model.to("cpu").eval()
            save({"stage": task.name, "steps": str(settings.steps), **tags}, trainer.moments)
            # An evaluation carries the same tag: it is how the two are found from each other.
            tracker.set_tags({"model_sha256": sha256_of(outputs.model)})
        if outputs.report.exists():
            shutil.rmtree(outputs.report)
        shutil.copytree(local.folder, outputs.report)
        write_json(outputs.report / METRICS_FILE, metrics)
        folder.remove()
        fabric.barrier()
    return metrics


def _configuration(stage: str, settings: OptimiserParams, params: Params, data: Mapping[str, str]) -> dict[str, Any]:
    """Return all that decides the numbers of a run."""
    configuration = {"stage": stage, "seed": params.seed, "model": params.model.model_dump(), "data": dict(data)}
    configuration["augment"] = params.augment.model_dump()
    if params.model.network == "lite":
        configuration["photo"] = params.photo.model_dump()
    if params.validation.use_best:
        configuration["validation"] = params.validation.model_dump()
    return {**configuration, "settings": settings.model_dump()}
