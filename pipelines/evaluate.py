"""Stage `evaluate`: the complete model and its baselines on held-out people and on the dances."""

from __future__ import annotations

from hdnet.data.store.packed import open_people
from hdnet.evaluation.run import report_evaluation
from hdnet.evaluation.sequences import evaluate_sequence_folders
from hdnet.evaluation.sources import open_labelled
from hdnet.files import sha256_of, write_json
from hdnet.models import PersonModel
from hdnet.models.weights import load_hdnet
from hdnet.params import Params
from hdnet.tracking.tracker import OpenRun, opened
from hdnet.workspace import Workspace
from pipelines.stage import main

_DANCES_NOTE = "the dances that the model has learned from"


def evaluate(work: Workspace, params: Params, open_run: OpenRun | None = None) -> None:
    """Read the model, held-out people, frames and pairs; write metrics, tables, samples and a contact sheet.

    ``model.json`` names the model that was measured, so that stage `register` takes no other.

    Raises:
        HDNetError: Model or data cannot be read or used.
    """
    heldout, folder = open_people(work.heldout), work.report("evaluate")
    model_sha256 = sha256_of(work.hdnet_model)
    tags = {"data.heldout": heldout.digest, "model_sha256": model_sha256}
    with opened(open_run, "evaluate", {"evaluate": params.evaluate.model_dump()}, tags) as tracker:
        model, most = load_hdnet(work.hdnet_model), params.evaluate.sequence_pairs
        people = open_labelled(work.heldout, scenes=isinstance(model, PersonModel))
        dances = evaluate_sequence_folders(model, work.frames, work.correspondences, most, _DANCES_NOTE, progress=True)
        report_evaluation(model, people, folder, tracker, dances, progress=True)
        write_json(work.evaluated_model, {"model_sha256": model_sha256})
        tracker.log_file(work.evaluated_model)


if __name__ == "__main__":
    main(evaluate)
