"""Stage `acquire`: raw data in the real layout, synthetic or the user's."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from hdnet.data.importing.report import ImportReport
from hdnet.data.importing.taken_parts import PARTS_TAKEN, copy_parts, import_parts
from hdnet.data.layout.folders import TANG
from hdnet.data.parallel import processes, using_backend
from hdnet.errors import DataError
from hdnet.files import atomic_folder, write_json
from hdnet.params import DataParams, Params
from hdnet.synthetic.raw import save_contact_sheets, synthesize_parts
from hdnet.tracking.tracker import OpenRun, opened
from hdnet.workspace import Workspace
from pipelines.stage import main

logger = logging.getLogger(__name__)


def acquire(work: Workspace, params: Params, open_run: OpenRun | None = None) -> None:
    """Bring labelled, held-out and unlabelled pictures together in ``data/raw``; write contact sheets for the plots.

    Raises:
        DataError: The source lacks what is to be taken, or cannot be read.
    """
    data, folder = params.data, work.report("acquire")
    values = {"seed": params.seed, "data": data.model_dump(mode="json")}
    with opened(open_run, "acquire", values) as tracker, using_backend(params.runtime.parallel_backend):
        imported = gather(work.raw, work.root / data.folder, data, params.seed, processes(params.runtime.jobs))
        files, report = save_contact_sheets(work.raw, folder), folder / "import.json"
        report.unlink(missing_ok=True)
        if imported:
            logger.info("%s", imported.to_table())
            write_json(report, imported.to_dict())
            files.append(report)
        for file in files:
            tracker.log_file(file)


def gather(out: Path, source: Path, data: DataParams, seed: int, jobs: int) -> ImportReport | None:
    """Take parts of the data from ``source`` as ``data`` says, make the others; ``out`` appears only when complete."""
    parts = PARTS_TAKEN[data.take] if data.source != "synthetic" else ()
    if parts and out.resolve() in (source.resolve(), *source.resolve().parents):
        raise DataError(f"data.folder {source} lies in {out}, which is written anew; move your data elsewhere")
    with atomic_folder(out, marker=TANG) as temporary:
        report = None
        if data.source == "folder":
            copy_parts(source, temporary, parts)
        elif data.source == "archive":
            report = import_parts(source, temporary, parts, out.with_name(f".{out.name}.imported"), seed, jobs)
        synthesize_parts(temporary, out.with_name(f".{out.name}.made"), data, parts, seed, jobs)
    return report and replace(report, out=str(out))


if __name__ == "__main__":
    main(acquire)
