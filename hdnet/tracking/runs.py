"""Pipeline stages as runs of MLflow."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdnet.errors import TrackingError
from hdnet.files import write_json
from hdnet.tracking.connection import connect, reason_of, without_password
from hdnet.tracking.outbox import PENDING_FOLDER, Outbox
from hdnet.tracking.provenance import dvc_tags, git_tags, pipeline_id
from hdnet.tracking.system_metrics import system_metrics
from hdnet.tracking.tracker import StoppedEarlyError, Tracker
from hdnet.tracking.uploader import Patience, Uploader

from mlflow.tracking.context.registry import resolve_tags  # isort: skip - after connection

logger = logging.getLogger(__name__)

PATIENCE = Patience()
_RUN_FILE = "mlflow_run.json"
_EARLIER_RUNS_S = 10.0
_open: ContextVar[tuple[Outbox, str] | None] = ContextVar("open_run", default=None)


@contextmanager
def run(
    stage: str,
    params: dict[str, Any],
    tags: dict[str, str],
    work_dir: Path | None = None,
    *,
    key: str | None = None,
    parent: str | None = None,
) -> Iterator[Tracker]:
    """Open a run of one pipeline stage; below ``dvc repro`` it is a child of the whole pipeline's run.

    While the tracking server is unreachable the block goes on, and what it reports waits on disk.

    Args:
        stage: Name of the stage and of the run.
        params: Nested parameters; keys are joined by dots.
        tags: Lineage and other facts; the git commit and DVC's hashes are added.
        work_dir: Work folder of a training. It remembers the run, so a call with the same folder continues it, and
            system metrics are recorded.
        key: Key of a run that several commands share: if a run with this key exists, it is continued.
        parent: Key of the run above this one, instead of the pipeline's.

    Raises:
        TrackingError: MLflow refuses the run, or a local database cannot be opened.
    """
    if int(os.environ.get("RANK", "0")) > 0:  # one process of several reports for all
        yield Tracker()
        return
    uri = connect()
    outbox = _outbox(stage, work_dir)
    outbox.state["uri"] = without_password(uri)
    outbox.save_state()
    all_tags = {**resolve_tags(), "stage": stage, **git_tags(), **dvc_tags(), **tags}
    above = {"pipeline": None if parent or key else pipeline_id(), "parent": parent, "key": key}
    outbox.append("open", stage=stage, params=flatten(params), tags=all_tags, **above)
    try:
        uploader = Uploader(outbox, uri)
        is_open = uploader.start(PATIENCE)
        if uploader.refusal is not None:
            raise TrackingError(
                f"MLflow at {without_password(uri)}: {reason_of(uploader.refusal)}"
            ) from uploader.refusal
    except TrackingError:
        outbox.remove() if outbox.run_id is None else outbox.close()
        raise
    _remember(outbox, work_dir)
    earlier = _deliver_earlier_runs(outbox) if is_open else None
    status, token = "FINISHED", _open.set((outbox, uri))
    try:
        with nullcontext() if work_dir is None else system_metrics(outbox):
            yield outbox
    except BaseException as error:
        has_failed = isinstance(error, Exception) and not isinstance(error, StoppedEarlyError)
        status = "FAILED" if has_failed else "KILLED"
        raise
    finally:
        _open.reset(token)
        outbox.append("close", status=status)
        _finish(uploader, PATIENCE.after_interrupt_s if status == "KILLED" else PATIENCE.at_end_s)
        if not uploader.is_alive:
            _remember(outbox, work_dir)
            outbox.settle()
        if earlier is not None:
            earlier.join(_EARLIER_RUNS_S)


def _finish(uploader: Uploader, quiet_s: float) -> None:
    outbox = uploader.outbox
    if not uploader.finish(quiet_s, PATIENCE.in_all_s):
        logger.warning(
            "MLflow at %s lacks %s of this run (%s); they wait in %s until the next stage that reaches the server, or "
            "`hdnet deliver`",
            without_password(uploader.uri),
            outbox.describe_waiting(),
            uploader.reason,
            outbox.folder,
        )
    if outbox.lost or outbox.state["refused"]:
        logger.warning(
            "MLflow misses for good: %d events that could not be written to disk, %d that it refused",
            outbox.lost,
            outbox.state["refused"],
        )


def _outbox(stage: str, work_dir: Path | None) -> Outbox:
    """Return the outbox of the run that this training began in, or a new one."""
    known: dict[str, Any] = {}
    if work_dir is not None and (work_dir / _RUN_FILE).is_file():
        try:
            known = json.loads((work_dir / _RUN_FILE).read_text())
        except ValueError:
            logger.warning("%s: is damaged; starting a new MLflow run", work_dir / _RUN_FILE)
    if not known:
        outbox = Outbox.new(stage)
    else:
        folder = PENDING_FOLDER / known["outbox"]
        has_journal = (folder / "journal.jsonl").is_file()
        outbox = Outbox(folder)
        if not has_journal and known["run_id"]:
            outbox.state.update(run_id=known["run_id"], history_unknown=True)
    if work_dir is not None:
        outbox.state["work_dir"] = str(work_dir.absolute())
    return outbox


def _remember(outbox: Outbox, work_dir: Path | None) -> None:
    if work_dir is not None:
        work_dir.mkdir(parents=True, exist_ok=True)
        write_json(work_dir / _RUN_FILE, {"outbox": outbox.folder.name, "run_id": outbox.run_id})


def _deliver_earlier_runs(outbox: Outbox) -> threading.Thread:
    def deliver() -> None:
        for delivery in deliver_pending(skip=outbox.folder):
            if not delivery.problem:
                logger.warning("delivered to MLflow what %s had left", delivery.name)

    thread = threading.Thread(target=deliver, name="mlflow-earlier-runs", daemon=True)
    thread.start()
    return thread


@dataclass(frozen=True)
class Delivery:
    """Result of delivering one outbox: ``problem`` is empty if everything was delivered."""

    name: str
    run_id: str | None
    problem: str = ""


def deliver_pending(folder: Path = PENDING_FOLDER, skip: Path | None = None) -> list[Delivery]:
    """Deliver what earlier runs left, without waiting for a server.

    Args:
        folder: Folder of the outboxes.
        skip: Outbox that is in use.

    Returns:
        One entry for each outbox that had something to deliver.
    """
    uri, results = connect(), []
    for path in sorted(folder.absolute().glob("*")) if folder.is_dir() else []:
        if path == skip or not (path / "journal.jsonl").is_file():
            continue
        try:
            outbox = Outbox(path, lock_wait_s=0.0)
        except TrackingError:  # in use by another process
            continue
        outbox.end_killed_run()
        if not outbox.is_delivered:
            problem = _deliver(outbox, uri)
            results.append(Delivery(path.name, outbox.run_id, problem))
        outbox.settle()
    return results


def _deliver(outbox: Outbox, uri: str) -> str:
    """Deliver one outbox; return what hindered it, or an empty string."""
    belongs_to = outbox.state.get("uri")
    if belongs_to not in {None, without_password(uri)}:
        return f"belongs to {belongs_to}; set MLFLOW_TRACKING_URI to that"
    try:
        uploader = Uploader(outbox, uri)
    except TrackingError as error:
        return str(error)
    if uploader.upload_now():
        return ""
    return f"{outbox.describe_waiting()} still wait ({uploader.refusal or uploader.reason})"


def open_run_id() -> str:
    """Return the id of the run that is open here, for calls that need the server.

    Raises:
        TrackingError: No run is open, or MLflow is unreachable.
    """
    current = _open.get()
    if current is None:
        raise TrackingError("no MLflow run is open here; open one with `hdnet.tracking.runs.run`")
    outbox, uri = current
    if outbox.run_id is None:
        raise TrackingError(
            f"MLflow at {without_password(uri)} does not answer; start it or correct MLFLOW_TRACKING_URI"
        )
    return outbox.run_id


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one level with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
