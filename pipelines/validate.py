"""Stage `validate`: every convention checked on the raw data itself."""

from __future__ import annotations

import logging

from hdnet.data.checks.report import summary, write_report
from hdnet.data.checks.validate import raise_if_errors, validate_raw
from hdnet.data.parallel import processes, using_backend
from hdnet.params import Params
from hdnet.tracking.tracker import OpenRun, opened
from hdnet.workspace import Workspace
from pipelines.stage import main, raw_samples, write_metrics

logger = logging.getLogger(__name__)


def validate(work: Workspace, params: Params, open_run: OpenRun | None = None) -> None:
    """Check ``data/raw``; write findings, report and the worst pictures, then fail on the first error.

    Raises:
        DataError: The data breaks a convention; the findings are written all the same.
    """
    folder = work.report("validate")
    folder.mkdir(parents=True, exist_ok=True)
    with opened(open_run, "validate") as tracker, using_backend(params.runtime.parallel_backend):
        reports = validate_raw(work.raw, processes(params.runtime.jobs, raw_samples(work)), progress=True)
        findings, text, pictures = write_report(folder, reports)
        for report in reports.values():
            for severity, line in summary(report):
                logger.log(logging.ERROR if severity == "error" else logging.WARNING, line)
        for path in (findings, text, pictures):
            tracker.log_file(path)
        raise_if_errors(reports, see=text)
        counts = {f"{name}/samples": float(report.samples) for name, report in reports.items()}
        counts |= {f"{name}/warnings": float(len(report.warnings)) for name, report in reports.items()}
        write_metrics(folder, counts, tracker)


if __name__ == "__main__":
    main(validate)
