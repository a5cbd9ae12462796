"""Stage `train_hdnet`: joint training on labelled people and unlabelled pairs; the complete model."""

from __future__ import annotations

from hdnet.data.store.datasets import LabelledDataset, PairDataset, collate
from hdnet.data.store.packed import PackedFrames, PseudoNormals, open_people
from hdnet.files import sha256_of
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.models.weights import load_estimator, load_moments, save_hdnet
from hdnet.params import Params
from hdnet.tracking.tracker import OpenRun
from hdnet.training.pair_weights import mean_weight
from hdnet.training.person_stages import train_person
from hdnet.training.run import Outputs, held_out_validation, starting_network, train, typical_camera
from hdnet.training.tasks import HDNetTask, Stream
from hdnet.training.validation import Validation
from hdnet.workspace import Workspace
from pipelines.stage import main


def train_hdnet(
    work: Workspace,
    params: Params,
    open_run: OpenRun | None = None,
    *,
    outputs: Outputs | None = None,
    validation: Validation | None = None,
) -> dict[str, float]:
    """Read people, frames, their normals, pairs and both estimators; write ``models/hdnet.safetensors``.

    Everything as of :func:`pipelines.train_normal.train_normal`; ``validation`` replaces section ``validation``.
    """
    if params.model.network == "lite":
        return train_person("train_hdnet", work, params, open_run, outputs, validation)
    settings, people, frames = params.train_hdnet, open_people(work.labelled), PackedFrames(work.frames)
    outputs = outputs or Outputs(work.hdnet_model, work.report("train_hdnet"), work.checkpoints)
    start = work.depth_model if settings.warm_start else work.pretrained(settings.start_from)
    model, camera = starting_network(DepthEstimator, params, start), typical_camera(people)
    normals = PseudoNormals(work.labelled_normals) if settings.input_normals == "predicted" else None
    pairs = PairDataset(frames, PseudoNormals(work.frame_normals), work.correspondences)
    data = {"labelled": people.digest, "frames": frames.digest, "frame_normals": pairs.pseudo_normals.digest}
    data |= {"pairs": pairs.matches.digest} | ({"input_normals": normals.digest} if normals else {})
    data |= {"start": sha256_of(start)} if start else {}
    if validation is None:
        normal_model = work.normal_model if normals else None
        validation = held_out_validation(params, "train_hdnet", work.heldout, camera, normal_model)
    moments = load_moments(work.depth_model) if settings.warm_moments else None
    labelled = Stream(LabelledDataset(people, normals), settings.batch_size, collate)
    pair_stream = Stream(pairs, settings.pairs_per_step, collate)
    task = HDNetTask(model, labelled, pair_stream, settings, mean_weight(pairs.matches, settings))

    def save(provenance: dict[str, str], _: object) -> None:
        complete = HDNet(load_estimator(work.normal_model, NormalEstimator), model, camera)
        save_hdnet(outputs.model, complete, provenance | {"trained_focal_px": f"{camera.pixel_intrinsics()[0]:.1f}"})

    return train(task, params, data, outputs, save, open_run, validation, moments)


if __name__ == "__main__":
    main(train_hdnet)
