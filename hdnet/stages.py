"""The pipeline's stages as functions of a workspace and params.yaml; ``pipelines/`` and the command line call them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from hdnet.data.acquire import acquire as acquire_data
from hdnet.data.acquire import contact_sheets
from hdnet.data.checks.report import summary, write_report
from hdnet.data.checks.validate import raise_if_errors, validate_raw
from hdnet.data.correspondence.frames import correspond as correspond_frames
from hdnet.data.layout.folders import TikTokFolder
from hdnet.data.parallel import using_backend
from hdnet.data.store.packed import PackedFrames, PackedLabelled, pack_together
from hdnet.data.store.records import FrameRecords, LabelledRecords, Source
from hdnet.evaluation.run import report_evaluation
from hdnet.evaluation.sequences import evaluate_sequence_folders
from hdnet.evaluation.sources import open_labelled
from hdnet.files import read_json_object, sha256_of, write_json
from hdnet.models.weights import load_hdnet
from hdnet.params import Params
from hdnet.pseudo_normals import predict_normals as predict_pseudo_normals
from hdnet.registry import card as model_card
from hdnet.registry.models import EVALUATED_FILE, card_facts, evaluated_metrics, lineage_tags
from hdnet.tracking.provenance import git_tags, locked_pipeline
from hdnet.tracking.tracker import METRICS_FILE, OpenRun, Tracker, opened
from hdnet.training import stages as training
from hdnet.workspace import Workspace

logger = logging.getLogger(__name__)

# Says which version stage `register` has made.
VERSION_FILE = "version.json"
_DANCES_NOTE = "the dances that the model has learned from"
# Below this many samples a pool of processes, each of which imports torch, costs more than it saves.
_WORTH_A_POOL = 1000


def jobs(params: Params, samples: int = _WORTH_A_POOL) -> int:
    """Processes to use for so many samples: as set, or one a core; 1 where a pool would not pay."""
    if samples < _WORTH_A_POOL:
        return 1
    return params.runtime.jobs or os.cpu_count() or 1


def acquire(work: Workspace, params: Params, open_run: OpenRun | None) -> None:
    """Synthetic data, or the user's, into ``data/raw``, with sheets of pictures for the plots."""
    data = params.data
    with (
        opened(open_run, "acquire", {"seed": params.seed, "data": data.model_dump(mode="json")}, {}, None) as tracker,
        using_backend(params.runtime.parallel_backend),
    ):
        imported = acquire_data(work.raw, work.root / data.folder, data, params.seed, jobs(params))
        folder = _report(work, "acquire")
        report, files = folder / "import.json", []
        for name, sheet in contact_sheets(work.raw).items():
            files.append(folder / name)
            sheet.save(files[-1])
        report.unlink(missing_ok=True)
        if imported is not None:
            logger.info("%s", imported.to_table())
            write_json(report, imported.to_dict())
            files.append(report)
        if tracker is not None:
            for file in files:
                tracker.log_file(file)


def _report(work: Workspace, stage: str) -> Path:
    folder = work.report(stage)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_metrics(work: Workspace, stage: str, metrics: dict[str, float], tracker: Tracker | None) -> None:
    """The same numbers to the stage's metrics file and to the tracker, so that the two cannot disagree."""
    write_json(_report(work, stage) / METRICS_FILE, metrics)
    if tracker is not None:
        tracker.log_metrics(metrics, 0)


def validate(work: Workspace, params: Params, open_run: OpenRun | None) -> None:
    """Checks all raw data against the conventions; writes the findings before it fails on the first error."""
    processes = _jobs_for_raw(work, params)
    with opened(open_run, "validate", {}, {}, None) as tracker, using_backend(params.runtime.parallel_backend):
        reports = validate_raw(work.raw, processes, progress=True)
        findings, text, pictures = write_report(_report(work, "validate"), reports)
        for report in reports.values():
            for severity, line in summary(report):
                logger.log(logging.ERROR if severity == "error" else logging.WARNING, line)
        if tracker is not None:
            for path in (findings, text, pictures):
                tracker.log_file(path)
        raise_if_errors(reports, see=text)
        counts = {f"{name}/samples": float(report.samples) for name, report in reports.items()}
        counts |= {f"{name}/warnings": float(len(report.warnings)) for name, report in reports.items()}
        _write_metrics(work, "validate", counts, tracker)


def pack(work: Workspace, params: Params, open_run: OpenRun | None) -> None:
    """Text and pictures, parsed once, into memory-mapped arrays."""
    sources: dict[str, Source] = {
        work.labelled.name: LabelledRecords(work.raw_labelled),
        work.heldout.name: LabelledRecords(work.raw_heldout),
        work.frames.name: FrameRecords(work.raw_frames),
    }
    processes = _jobs_for_raw(work, params)
    with opened(open_run, "pack", {}, {}, None), using_backend(params.runtime.parallel_backend):
        pack_together(sources, work.packed, progress=True, jobs=processes)


def _jobs_for_raw(work: Workspace, params: Params) -> int:
    return jobs(params, sum(1 for _ in work.raw.glob("**/color_WO_bg/*.png")))


def train_normal(work: Workspace, params: Params, open_run: OpenRun | None) -> None:
    """The normal estimator on labelled people."""
    report = work.report("train_normal")
    start = work.pretrained(params.train_normal.start_from)
    heldout = _heldout(work, params)
    training.train_normal(work.labelled, work.normal_model, report, work.checkpoints, params, open_run, start, heldout)


def predict_normals(work: Workspace, params: Params, open_run: OpenRun | None) -> None:  # noqa: ARG001 - called alike
    """Our own estimator's normals of the labelled people and the unlabelled frames."""
    labelled, frames = PackedLabelled(work.labelled), PackedFrames(work.frames)
    tags = {"data.labelled": training.digest(labelled), "data.frames": training.digest(frames)}
    with opened(open_run, "predict_normals", {}, tags, None):
        pictures: dict[str, PackedFrames | PackedLabelled] = {
            work.labelled_normals.name: labelled,
            work.frame_normals.name: frames,
        }
        predict_pseudo_normals(pictures, work.normal_model, work.pseudo_normals)


def correspond(work: Workspace, params: Params, open_run: OpenRun | None) -> None:
    """Matches between unlabelled frames, packed."""
    rule, frames = params.correspond, TikTokFolder(work.raw_frames)
    with (
        opened(open_run, "correspond", {"correspond": rule.model_dump()}, {}, None) as tracker,
        using_backend(params.runtime.parallel_backend),
    ):
        processes = jobs(params, len(frames.names()))
        counts = correspond_frames(frames, work.correspondences, rule, processes, progress=True)
        _write_metrics(work, "correspond", {name: float(count) for name, count in counts.items()}, tracker)


def train_depth(work: Workspace, params: Params, open_run: OpenRun | None) -> None:
    """The depth estimator on labelled people."""
    report = work.report("train_depth")
    labelled = (work.labelled, work.labelled_normals)
    start = work.pretrained(params.train_depth.start_from)
    heldout = _heldout(work, params), work.normal_model
    training.train_depth(*labelled, work.depth_model, report, work.checkpoints, params, open_run, start, *heldout)


def train_hdnet(work: Workspace, params: Params, open_run: OpenRun | None) -> None:
    """The joint training; writes the complete model."""
    training.train_hdnet(
        work.labelled,
        work.labelled_normals,
        work.frames,
        work.frame_normals,
        work.correspondences,
        work.normal_model,
        work.depth_model,
        work.hdnet_model,
        work.report("train_hdnet"),
        work.checkpoints,
        params,
        open_run,
        work.pretrained(params.train_hdnet.start_from),
        _heldout(work, params),
    )


def _heldout(work: Workspace, params: Params) -> Path | None:
    return None if params.validation.every is None else work.heldout


def evaluate(work: Workspace, params: Params, open_run: OpenRun | None) -> None:
    """The complete model and the baselines on held-out people and on the dances: JSON, CSV, tables, contact sheet."""
    heldout, folder = PackedLabelled(work.heldout), work.report("evaluate")
    model_sha256 = sha256_of(work.hdnet_model)
    tags = {"data.heldout": training.digest(heldout), "model_sha256": model_sha256}
    with opened(open_run, "evaluate", {"evaluate": params.evaluate.model_dump()}, tags, None) as tracker:
        model, most = load_hdnet(work.hdnet_model), params.evaluate.sequence_pairs
        dances = evaluate_sequence_folders(model, work.frames, work.correspondences, most, _DANCES_NOTE, progress=True)
        report_evaluation(model, open_labelled(work.heldout), folder, tracker, dances, progress=True)
        write_json(folder / EVALUATED_FILE, {"model_sha256": model_sha256})
        if tracker is not None:
            tracker.log_file(folder / EVALUATED_FILE)


def register(work: Workspace, params: Params) -> None:
    """The evaluated model becomes a version of the registry, with its lineage and card, and gets the alias."""
    from hdnet import registry  # takes seconds, and only this and the next stage cannot do without MLflow
    from hdnet.tracking import runs

    metrics, target = evaluated_metrics(work), params.register_
    tags = lineage_tags(work, params, metrics)
    values = params.model_dump(mode="json", by_alias=True, exclude={"runtime", "tune"})
    with runs.run("register", values, tags):
        locked = locked_pipeline(work.root, work.hdnet_model)
        tags |= registry.stage_runs(runs.open_run_id(), tags["model_sha256"], locked)
        facts = card_facts(work, params, metrics, tags | git_tags())
        card = registry.Card(model_card.write_card(_report(work, "register"), facts), model_card.summary(facts))
        identity = registry.register(work.hdnet_model, target.name, target.alias, metrics, tags, card)
    write_json(work.report("register") / VERSION_FILE, identity.to_dict())


def promote(work: Workspace, params: Params) -> None:
    """The version that stage `register` made becomes the champion if the rule says so; either is a result."""
    from hdnet.registry import promotion

    version = str(read_json_object(work.report("register") / VERSION_FILE)["version"])
    decision = promotion.promote(promotion.comparison_of(params, work.heldout), work.report("promote"), version)
    logger.info("%s", decision.line)
