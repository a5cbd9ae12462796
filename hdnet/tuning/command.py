"""Command ``hdnet tune``: search, the best trials again with all steps, report, overlay."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna

from hdnet.errors import TuningError
from hdnet.files import atomic_folder
from hdnet.params.overlay import write_overlay
from hdnet.tracking.tracker import Tracker
from hdnet.tuning.ranking import candidates
from hdnet.tuning.rendering import to_markdown, verdicts, write_plots
from hdnet.tuning.report import FullRow, StudyReport, report_of
from hdnet.tuning.space import Space
from hdnet.tuning.storage import open_storage, storage_errors_explained, without_password
from hdnet.tuning.study import (
    KEY,
    OBJECTIVES,
    PAIR,
    PROVENANCE,
    SETUP,
    StudySettings,
    load_study,
    open_full_study,
    open_study,
    searched,
)
from hdnet.tuning.workers import run_workers

REPORT_FILE, TABLE_FILE = "study.json", "table.md"

logger = logging.getLogger(__name__)


def tune(settings: StudySettings, trials: int, workers: int, top_k: int) -> StudyReport:
    """Create or continue a study, until it has ``trials`` trials and its best ones are trained with all steps.

    Args:
        settings: Settings of the study.
        trials: Finished trials of the study in the end, those of earlier commands included; an ablation has as many as
            there are choices.
        workers: Processes of this machine.
        top_k: Draws to train with all steps; 0 leaves them and the points out.

    Returns:
        The report that :func:`write_report` writes.

    Raises:
        HDNetError: The study cannot be opened or continued, or data or models cannot be read.
        KeyboardInterrupt: The command was stopped; the same command continues.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = open_study(settings)
    space = Space(settings.params)
    if changes := space.changes():
        trials = len(space.points()) + len(changes)
    with _study_run(settings, study) as tracker:
        run_workers(settings, "search", trials, workers)
        if top_k:
            tune_params = settings.params.tune
            with storage_errors_explained(settings.storage):
                best = candidates(study, top_k, tune_params.scalar_mm_per_deg)
            seeds = range(settings.params.seed, settings.params.seed + tune_params.top_seeds)
            pairs = [(trial.number, seed) for trial in best for seed in seeds]
            full = open_full_study(settings, study, pairs)
            known = len({tuple(trial.user_attrs[PAIR]) for trial in full.get_trials(deepcopy=False)})
            run_workers(settings, "full", known, workers)
        return write_report(settings, tracker)


@contextmanager
def _study_run(settings: StudySettings, study: optuna.Study) -> Iterator[Tracker | None]:
    """Open the run above the trials' in MLflow, which all commands on the study share."""
    if not settings.is_tracked:
        yield None
        return
    from hdnet.tracking import runs  # mlflow takes seconds to import, and may be missing

    setup = study.user_attrs[SETUP]
    tags = {f"data.{name}": value for name, value in setup["data"].items()}
    tags |= {"optuna.study": settings.name, "optuna.storage": without_password(settings.storage)}
    params = {key: value for key, value in setup.items() if key != "data"}
    with runs.run("tune", params, tags, key=study.user_attrs[KEY]) as tracker:
        yield tracker


def read_report(settings: StudySettings) -> StudyReport:
    """Read the study's results so far.

    Raises:
        TuningError: There is no such study.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = load_study(settings, settings.name)
    storage = open_storage(settings.storage, settings.params.tune.stale_after_s)
    with storage_errors_explained(settings.storage):
        has_full = settings.full_name in optuna.get_all_study_names(storage)
        full = load_study(settings, settings.full_name) if has_full else None
        setup = search.user_attrs[SETUP]
        provenance = search.user_attrs.get(PROVENANCE, {}) | searched(setup) | {"data": setup["data"]}
        mm_per_deg = settings.params.tune.scalar_mm_per_deg
        return report_of(search, full, without_password(settings.storage), mm_per_deg, provenance)


def write_report(settings: StudySettings, tracker: Tracker | None = None) -> StudyReport:
    """Write the report as JSON, Markdown and pictures, to files and to MLflow."""
    report = read_report(settings)
    settings.folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(settings.folder) as folder:
        (folder / REPORT_FILE).write_text(report.to_json())
        (folder / TABLE_FILE).write_text(to_markdown(report))
        write_plots(report, folder)
    if tracker is not None:
        for path in sorted(settings.folder.iterdir()):
            tracker.log_file(path)
        tracker.log_metrics(_best_metrics(report), len(report.trials))
    return report


def log_report(settings: StudySettings) -> StudyReport:
    """Write the report, also to MLflow's run of the study if trials are tracked."""
    with _study_run(settings, load_study(settings, settings.name)) as tracker:
        return write_report(settings, tracker)


def _best_metrics(report: StudyReport) -> dict[str, float]:
    values = {f"trials/{state}": 0.0 for state in ("complete", "pruned", "failed")}
    for row in report.trials:
        if f"trials/{row.state}" in values:
            values[f"trials/{row.state}"] += 1
    for name in OBJECTIVES:
        found = [row.metrics[name] for row in report.trials if row.state == "complete"]
        values |= {f"best/{name}": min(found)} if found else {}
    chosen = report.chosen
    if isinstance(chosen, FullRow):
        values |= {f"report/{name}": value for name, value in chosen.report.items()}
    return values


def apply(settings: StudySettings, trial: int | None, out: Path) -> tuple[int, list[str]]:
    """Write a trial's values as an overlay of params.yaml, with their provenance.

    Args:
        settings: Settings of the study.
        trial: Number in the search; None for the best one on the people of the search.
        out: File to write.

    Returns:
        The trial's number, and its comparison with params.yaml and the original's weights on the report's people.

    Raises:
        TuningError: The study has no such complete trial.
    """
    report = read_report(settings)
    complete = {row.number: row for row in report.trials if row.state == "complete"}
    chosen = report.chosen
    number = trial if trial is not None else (chosen.trial if isinstance(chosen, FullRow) else None)
    if number is None and chosen is not None and not isinstance(chosen, FullRow):
        number = chosen.number
    if number not in complete:
        known = ", ".join(map(str, sorted(complete))) or "none yet"
        asked = "draw that is complete" if number is None else f"complete trial {number}"
        raise TuningError(f"study {settings.name!r} has no {asked}, complete are only {known}; pass --trial")
    row = complete[number]
    said = verdicts(report, number) or ["Not trained with all steps, and not measured on people it was not chosen by."]
    write_overlay(out, Space(settings.params).overlay(row.values), _provenance(report, number, said))
    return number, said


def _provenance(report: StudyReport, number: int, said: list[str]) -> str:
    facts: dict[str, Any] = {"study": report.study, "trial": number, "storage": report.storage}
    facts |= {key: value for key, value in report.provenance.items() if key != "data"}
    facts |= {f"data.{name}": value for name, value in report.provenance["data"].items()}
    lines = ["Found by `hdnet tune`; apply with `hdnet params apply FILE`.", "", *said, ""]
    return "\n".join([*lines, *(f"{key}: {value}" for key, value in facts.items())])
