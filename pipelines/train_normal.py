"""Stage `train_normal`: the normal estimator on labelled people."""

from __future__ import annotations

from hdnet.data.store.datasets import LabelledDataset, collate
from hdnet.data.store.packed import open_people
from hdnet.files import sha256_of
from hdnet.models import NormalEstimator
from hdnet.models.weights import save_estimator
from hdnet.params import Params
from hdnet.tracking.tracker import OpenRun
from hdnet.training.person_stages import train_person
from hdnet.training.run import Outputs, held_out_validation, starting_network, train, typical_camera
from hdnet.training.tasks import NormalTask, Stream
from hdnet.workspace import Workspace
from pipelines.stage import main


def train_normal(
    work: Workspace, params: Params, open_run: OpenRun | None = None, *, outputs: Outputs | None = None
) -> dict[str, float]:
    """Read packed labelled people; write ``models/normal.safetensors`` and the stage's report.

    Args:
        work: Workspace.
        params: Parameters.
        open_run: Opens the experiment tracker's run; None for files alone.
        outputs: Other places to write to; None for the workspace's.

    Returns:
        The last loss terms.

    Raises:
        HDNetError: Data or the model to start from cannot be read or used, or the training fails.
    """
    if params.model.network == "lite":
        return train_person("train_normal", work, params, open_run, outputs)
    settings, people = params.train_normal, open_people(work.labelled)
    outputs = outputs or Outputs(work.normal_model, work.report("train_normal"), work.checkpoints)
    start = work.pretrained(settings.start_from)
    model = starting_network(NormalEstimator, params, start)
    return train(
        NormalTask(model, Stream(LabelledDataset(people), settings.batch_size, collate)),
        params,
        data={"labelled": people.digest} | ({"start": sha256_of(start)} if start else {}),
        outputs=outputs,
        save=lambda provenance, _: save_estimator(outputs.model, model, provenance),
        open_run=open_run,
        validation=held_out_validation(params, "train_normal", work.heldout, typical_camera(people)),
    )


if __name__ == "__main__":
    main(train_normal)
