"""The training stages of the network for photographs, which differ in data and start alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hdnet.data.store.batches import is_sized
from hdnet.data.store.datasets import LabelledDataset, PairDataset, collate, stored_item
from hdnet.data.store.packed import PackedFrames, People, PseudoNormals, open_people
from hdnet.data.store.records import spread
from hdnet.files import sha256_of
from hdnet.models import PersonModel
from hdnet.models.weights import save_estimator, save_hdnet
from hdnet.params import Params
from hdnet.tracking.tracker import OpenRun
from hdnet.training.pair_weights import mean_weight
from hdnet.training.person_tasks import PersonTask, Stage
from hdnet.training.run import Outputs, held_out_validation, starting_person, train, typical_camera
from hdnet.training.tasks import Stream
from hdnet.training.validation import Validation
from hdnet.workspace import Workspace

# People that are asked for their size, and the share of those that the scale head needs.
_ASKED, _LEAST_SIZED = 32, 0.2


def train_person(
    stage: Stage,
    work: Workspace,
    params: Params,
    open_run: OpenRun | None,
    outputs: Outputs | None,
    validation: Validation | None = None,
    *,
    is_fresh: bool = False,
) -> dict[str, float]:
    """Train a stage of the network for photographs; arguments, result and errors as of the stage's own function."""
    settings, people = getattr(params, stage), open_people(work.labelled)
    outputs = outputs or Outputs(_model_file(stage, work), work.report(stage), work.checkpoints)
    start = None if is_fresh else start_of(stage, work, params)
    model, camera = starting_person(params, start), typical_camera(people)
    if stage != "train_normal" and has_sizes(people):
        model.config = replace(model.config, metric=True)
    labelled = Stream(LabelledDataset(people, scenes=True), settings.batch_size, collate)
    data = {"labelled": people.digest} | ({"start": sha256_of(start)} if start else {})
    task = PersonTask(stage, model, labelled, params.photo, settings.steps)
    if stage == "train_hdnet":
        frames = PackedFrames(work.frames)
        pairs = PairDataset(frames, PseudoNormals(work.frame_normals), work.correspondences, scenes=True)
        data |= {"frames": frames.digest, "frame_normals": pairs.pseudo_normals.digest, "pairs": pairs.matches.digest}
        joint = params.train_hdnet
        stream = Stream(pairs, joint.pairs_per_step, collate)
        weight = mean_weight(pairs.matches, joint)
        task = PersonTask(stage, model, labelled, params.photo, settings.steps, stream, joint, weight)
    if validation is None:
        validation = held_out_validation(params, stage, work.heldout, camera)

    def save(provenance: dict[str, str], _: object) -> None:
        if stage != "train_hdnet":
            return save_estimator(outputs.model, model, provenance)
        about = provenance | {"trained_focal_px": f"{camera.pixel_intrinsics()[0]:.1f}"}
        return save_hdnet(outputs.model, PersonModel(model, camera), about)

    return train(task, params, data, outputs, save, open_run, validation)


def has_sizes(people: People) -> bool:
    """Return whether a fifth and more of some people, evenly spread, have a known size, which the scale head learns."""
    places = spread(len(people), _ASKED)
    sized = [is_sized(stored_item(people, k, scenes=True)) for k in places]
    return sum(bool(one) for one in sized if one is not None) >= _LEAST_SIZED * len(places)


def _model_file(stage: Stage, work: Workspace) -> Path:
    return {"train_normal": work.normal_model, "train_depth": work.depth_model, "train_hdnet": work.hdnet_model}[stage]


def start_of(stage: Stage, work: Workspace, params: Params) -> Path | None:
    """Return the model file of the stage before, or the one that the stage's ``start_from`` names."""
    settings = getattr(params, stage)
    given = work.pretrained(settings.start_from)
    if stage == "train_hdnet":
        return work.depth_model if params.train_hdnet.warm_start else given
    return given if given or stage == "train_normal" else work.normal_model
