"""Stage `correspond`: matches between unlabelled frames along their body maps."""

from __future__ import annotations

from hdnet.data.correspondence.frames import correspond as correspond_frames
from hdnet.data.layout.folders import TikTokFolder
from hdnet.data.parallel import processes, using_backend
from hdnet.params import Params
from hdnet.tracking.tracker import OpenRun, opened
from hdnet.workspace import Workspace
from pipelines.stage import main, write_metrics


def correspond(work: Workspace, params: Params, open_run: OpenRun | None = None) -> None:
    """Read the raw unlabelled frames; write their matches, packed, to ``data/correspondences``, and how many there are.

    Raises:
        DataError: A frame cannot be read, or there is no pair that counts.
    """
    rule, frames = params.correspond, TikTokFolder(work.raw_frames)
    with (
        opened(open_run, "correspond", {"correspond": rule.model_dump(mode="json")}) as tracker,
        using_backend(params.runtime.parallel_backend),
    ):
        jobs = processes(params.runtime.jobs, len(frames.names()))
        counts = correspond_frames(frames, work.correspondences, rule, jobs, progress=True, root=work.root)
        metrics = {name: float(count) for name, count in counts.items()}
        write_metrics(work.report("correspond"), metrics, tracker)


if __name__ == "__main__":
    main(correspond)
