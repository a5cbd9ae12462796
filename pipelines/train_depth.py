"""Stage `train_depth`: the depth estimator on labelled people."""

from __future__ import annotations

from hdnet.data.store.datasets import LabelledDataset, collate
from hdnet.data.store.packed import PseudoNormals, open_people
from hdnet.files import sha256_of
from hdnet.models import DepthEstimator
from hdnet.models.weights import save_estimator
from hdnet.params import Params
from hdnet.tracking.tracker import OpenRun
from hdnet.training.person_stages import train_person
from hdnet.training.run import Outputs, held_out_validation, starting_network, train, typical_camera
from hdnet.training.tasks import DepthTask, Stream
from hdnet.training.validation import Validation
from hdnet.workspace import Workspace
from pipelines.stage import main


def train_depth(
    work: Workspace,
    params: Params,
    open_run: OpenRun | None = None,
    *,
    outputs: Outputs | None = None,
    validation: Validation | None = None,
    is_fresh: bool = False,
) -> dict[str, float]:
    """Read packed people and, if ``input_normals`` says so, predicted normals; write ``models/depth.safetensors``.

    Everything as of :func:`pipelines.train_normal.train_normal`; ``validation`` replaces section ``validation``, and
    ``is_fresh`` starts from the network's first weights, whatever stood before.
    """
    if params.model.network == "lite":
        return train_person("train_depth", work, params, open_run, outputs, validation, is_fresh=is_fresh)
    settings, people = params.train_depth, open_people(work.labelled)
    outputs = outputs or Outputs(work.depth_model, work.report("train_depth"), work.checkpoints)
    start = None if is_fresh else work.pretrained(settings.start_from)
    model = starting_network(DepthEstimator, params, start)
    normals = PseudoNormals(work.labelled_normals) if settings.input_normals == "predicted" else None
    normal_model = work.normal_model if normals else None
    data = {"labelled": people.digest} | ({"input_normals": normals.digest} if normals else {})
    data |= {"start": sha256_of(start)} if start else {}
    if validation is None:
        validation = held_out_validation(params, "train_depth", work.heldout, typical_camera(people), normal_model)
    return train(
        DepthTask(model, Stream(LabelledDataset(people, normals), settings.batch_size, collate), settings),
        params,
        data=data,
        outputs=outputs,
        save=lambda provenance, moments: save_estimator(
            outputs.model, model, provenance, moments if settings.keep_moments else None
        ),
        open_run=open_run,
        validation=validation,
    )


if __name__ == "__main__":
    main(train_depth)
