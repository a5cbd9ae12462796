"""Stage `predict_normals`: our own normal estimator's normals of all training pictures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from hdnet.data.store.batches import prepare
from hdnet.data.store.datasets import collate, stored_item
from hdnet.data.store.packed import PackedFrames, People, open_people, pack_together
from hdnet.data.store.records import NormalRecords
from hdnet.files import sha256_of
from hdnet.models import LiteEstimator, NormalEstimator
from hdnet.models.estimates import estimated_normals
from hdnet.models.weights import load_estimator, read_header
from hdnet.params import Params
from hdnet.tracking.tracker import OpenRun, opened
from hdnet.workspace import Workspace
from pipelines.stage import main


def predict_normals(work: Workspace, params: Params, open_run: OpenRun | None = None) -> None:  # noqa: ARG001
    """Read packed pictures and the normal estimator; write unit normals inside the mask to ``data/pseudo_normals``.

    For unlabelled frames they are input and target of the joint stage at once, as in the original (docs/parity.md, 44);
    for labelled people they can replace the true ones as input of hourglasses, the only ones for which they are made.
    """
    kind: type[NormalEstimator | LiteEstimator]
    kind = LiteEstimator if read_header(work.normal_model)["kind"] == LiteEstimator.role else NormalEstimator
    model, model_sha256 = load_estimator(work.normal_model, kind), sha256_of(work.normal_model)
    pictures: dict[str, PackedFrames | People] = {
        work.labelled_normals.name: open_people(work.labelled),
        work.frame_normals.name: PackedFrames(work.frames),
    }
    sources, tags = {}, {}
    for name, packed in pictures.items():
        tags[f"data.{name}"] = packed.digest
        # Only hourglasses take normals as input; those of a large set of people would take hours.
        names = [] if isinstance(model, LiteEstimator) and isinstance(packed, People) else packed.names
        made_from = f"{model_sha256} {packed.digest}"
        sources[name] = NormalRecords(names, packed.size, partial(_predictions, packed, model), made_from)
    with opened(open_run, "predict_normals", tags=tags):
        pack_together(sources, work.pseudo_normals, progress=True, jobs=1)


@torch.inference_mode()
def _predictions(
    packed: PackedFrames | People, model: NormalEstimator | LiteEstimator, indices: range
) -> Iterator[np.ndarray]:
    for index in indices:
        pictures = prepare(collate([stored_item(packed, index, scenes=isinstance(model, LiteEstimator))]))
        yield estimated_normals(model, pictures)[0].permute(1, 2, 0).numpy()


if __name__ == "__main__":
    main(predict_normals)
