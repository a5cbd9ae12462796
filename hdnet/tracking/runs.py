"""A pipeline stage as a run of MLflow."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from hdnet.errors import TrackingError
from hdnet.files import write_json
from hdnet.tracking.connection import connect, first_line, without_password
from hdnet.tracking.lineage import dvc_tags, git_tags, pipeline_id
from hdnet.tracking.outbox import PENDING_FOLDER, Outbox
from hdnet.tracking.pending import COMMAND, deliver_pending, describe, settle
from hdnet.tracking.sender import Patience, Sender
from hdnet.tracking.system_metrics import system_metrics
from hdnet.tracking.tracker import StoppedEarlyError, Tracker

from mlflow.tracking.context.registry import resolve_tags  # isort: skip - after connection

logger = logging.getLogger(__name__)

_RUN_FILE = "mlflow_run.json"
_EARLIER_RUNS_S = 10.0
PATIENCE = Patience()
_open: ContextVar[tuple[Outbox, str] | None] = ContextVar("open_run", default=None)


class MLflowTracker(Tracker):
    """A training run in MLflow (the tracker interface of :mod:`hdnet.tracking.tracker`); nothing here waits."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox

    @property
    def run_id(self) -> str | None:
        """None until the server has answered for the first time."""
        run_id: str | None = self.outbox.state["run_id"]
        return run_id

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Numbers after ``step`` steps."""
        self.outbox.add_metrics(values, step)

    def log_image(self, key: str, picture: np.ndarray, step: int) -> None:
        """A picture with a step slider."""
        self.outbox.add_image(key, picture, step)

    def log_checkpoint(self, path: Path, step: int) -> None:
        """The weights as a logged model of the run, with the step and its numbers."""
        self.outbox.add_checkpoint(path, step)

    def log_file(self, path: Path) -> None:
        """Any file as an artifact of the run."""
        self.outbox.add_file(path)

    def log_dataset(
        self, name: str, digest: str, size: int, source: str | None = None, context: str = "training"
    ) -> None:
        """A dataset input of the run."""
        if ("dataset", f"{name}:{digest}", 0) not in self.outbox.seen:
            self.outbox.append("dataset", name=name, digest=digest, size=size, source=source, context=context)

    def set_tags(self, tags: dict[str, str]) -> None:
        """Facts about the run."""
        self.outbox.append("tags", values=tags)

    def resume(self, step: int) -> None:
        """What comes again after ``step`` was reported before and is left out."""
        self.outbox.resume(step)
        if step:
            self.set_tags({"resumed_from_step": str(step)})


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
    """A run of one pipeline stage; below ``dvc repro`` a child of the run that stands for the whole pipeline.

    While the tracking server is away the block goes on, and what it reports waits on disk.

    Args:
        stage: Name of the stage and of the run.
        params: Nested parameters; keys are joined by dots.
        tags: Lineage and the like; the git commit and DVC's hashes are added.
        work_dir: Of a training: remembers the run there, continues it when called again with the same folder, and
            records system metrics.
        key: Names a run that several commands share: the one that has this key goes on, if there is one.
        parent: Key of the run that this one stands below, instead of the pipeline's.

    Raises:
        TrackingError: If MLflow answers, and says no; or a local database cannot be opened.
    """
    if int(os.environ.get("RANK", "0")) > 0:  # one process of several speaks for all
        yield Tracker()
        return
    uri = connect()
    outbox = _outbox(stage, work_dir)
    outbox.state["uri"] = without_password(uri)
    outbox.save_state()
    all_tags = {**resolve_tags(), "stage": stage, **git_tags(), **dvc_tags(), **tags}
    above = {"pipeline": None if parent or key else pipeline_id(), "parent": parent, "key": key}
    outbox.append("open", stage=stage, params=flatten(params), tags=all_tags, **above)
    sender = Sender(outbox, uri)
    is_open = sender.start(PATIENCE)
    if sender.refusal is not None:
        _abandon(outbox)
        raise TrackingError(f"MLflow at {without_password(uri)}: {first_line(sender.refusal)}") from sender.refusal
    _remember(outbox, work_dir)
    earlier = _deliver_earlier_runs(outbox) if is_open else None
    status, token = "FINISHED", _open.set((outbox, uri))
    try:
        with nullcontext() if work_dir is None else system_metrics(outbox):
            yield MLflowTracker(outbox)
    except BaseException as error:
        has_failed = isinstance(error, Exception) and not isinstance(error, StoppedEarlyError)
        status = "FAILED" if has_failed else "KILLED"
        raise
    finally:
        _open.reset(token)
        outbox.append("close", status=status)
        _finish(sender, PATIENCE.after_interrupt_s if status == "KILLED" else PATIENCE.at_end_s)
        if not sender.is_alive:
            _remember(outbox, work_dir)
            settle(outbox)
        if earlier is not None:
            earlier.join(_EARLIER_RUNS_S)


def _abandon(outbox: Outbox) -> None:
    if outbox.state["run_id"] is None:
        outbox.remove()
    else:
        outbox.close()


def _finish(sender: Sender, quiet_s: float) -> None:
    outbox = sender.outbox
    is_done = sender.finish(quiet_s, PATIENCE.in_all_s)
    if not is_done:
        logger.warning(
            "MLflow at %s has not got %s of this run (%s); they wait in %s and go with the next stage that reaches "
            "the server, or with `%s`",
            without_password(sender.uri),
            describe(outbox.waiting()),
            sender.reason,
            outbox.folder,
            COMMAND,
        )
    if outbox.lost or outbox.state["refused"]:
        logger.warning(
            "MLflow misses for good: %d events that could not be written to disk, %d that it refused",
            outbox.lost,
            outbox.state["refused"],
        )


def _outbox(stage: str, work_dir: Path | None) -> Outbox:
    """The outbox of the run that this training began in, or a new one."""
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
        write_json(work_dir / _RUN_FILE, {"outbox": outbox.folder.name, "run_id": outbox.state["run_id"]})


def _deliver_earlier_runs(outbox: Outbox) -> threading.Thread:
    def deliver() -> None:
        for delivery in deliver_pending(skip=outbox.folder):
            if not delivery.problem:
                logger.warning("delivered to MLflow what %s had left", delivery.name)

    thread = threading.Thread(target=deliver, name="mlflow-earlier-runs", daemon=True)
    thread.start()
    return thread


def open_run_id() -> str:
    """The run that is open here, for calls that need the server.

    Raises:
        TrackingError: If there is none, or MLflow is away.
    """
    current = _open.get()
    if current is None:
        raise TrackingError("no MLflow run is open here; this belongs into `with registry.run(...)`")
    outbox, uri = current
    if outbox.state["run_id"] is None:
        raise TrackingError(
            f"MLflow at {without_password(uri)} does not answer; start it or correct MLFLOW_TRACKING_URI"
        )
    return str(outbox.state["run_id"])


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one level with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
