"""Stage `pack`: text and pictures parsed once into memory-mapped arrays."""

from __future__ import annotations

from pathlib import Path

from hdnet.data.parallel import processes, using_backend
from hdnet.data.store.packed import pack_together
from hdnet.data.store.records import FrameRecords, LabelledRecords, Source
from hdnet.data.store.shards import INDEX_FILE
from hdnet.params import Params
from hdnet.tracking.tracker import OpenRun, opened
from hdnet.workspace import Workspace
from pipelines.stage import main, raw_samples


def pack(work: Workspace, params: Params, open_run: OpenRun | None = None) -> None:
    """Read ``data/raw``; write ``data/packed`` with labelled people, held-out people and unlabelled frames.

    Raises:
        DataError: A file cannot be parsed; names it.
    """
    people = {work.labelled.name: work.raw_labelled, work.heldout.name: work.raw_heldout}
    sources: dict[str, Source | Path] = {
        # Synthetic people may be packed already.
        name: folder if (folder / INDEX_FILE).is_file() else LabelledRecords(folder)
        for name, folder in people.items()
    }
    sources[work.frames.name] = FrameRecords(work.raw_frames)
    with opened(open_run, "pack"), using_backend(params.runtime.parallel_backend):
        pack_together(sources, work.packed, progress=True, jobs=processes(params.runtime.jobs, raw_samples(work)))


if __name__ == "__main__":
    main(pack)
