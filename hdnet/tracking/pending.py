"""What earlier runs could not deliver."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from hdnet.errors import TrackingError
from hdnet.tracking.connection import connect, without_password
from hdnet.tracking.outbox import PENDING_FOLDER, Outbox
from hdnet.tracking.sender import Sender

logger = logging.getLogger(__name__)

COMMAND = "hdnet deliver"
_NOUNS = {"metrics": "rows of numbers", "image": "pictures", "checkpoint": "checkpoints", "file": "files"}


@dataclass(frozen=True)
class Delivery:
    """What became of one outbox: ``problem`` is empty when all of it was delivered."""

    name: str
    run_id: str | None
    problem: str = ""


def describe(waiting: dict[str, int]) -> str:
    """What waits, in words."""
    counted = [f"{waiting[kind]} {noun}" for kind, noun in _NOUNS.items() if waiting.get(kind)]
    return ", ".join(counted) or "the run's end"


def settle(outbox: Outbox) -> None:
    """Deletes an outbox that nobody needs any more, and lets go of any other.

    A run that ended well or cannot be resumed is done with. One that may go on keeps its journal, which says what need
    not be reported again.
    """
    size = outbox.size()
    is_drained = outbox.state["numbers"] == size and outbox.state["files"] == size
    last = outbox.last
    has_ended = last is not None and last["kind"] == "close" and last["status"] == "FINISHED"
    work_dir = outbox.state.get("work_dir")
    may_go_on = not has_ended and work_dir is not None and Path(work_dir).is_dir()
    if is_drained and not may_go_on:
        outbox.remove()
    else:
        outbox.close()


def deliver_pending(folder: Path = PENDING_FOLDER, skip: Path | None = None) -> list[Delivery]:
    """Delivers what earlier runs left, as far as the server takes it now.

    Args:
        folder: Holds the outboxes.
        skip: One that is in use.

    Returns:
        One entry for each outbox that had something to deliver.
    """
    uri, results = connect(), []
    for path in sorted(folder.absolute().glob("*")) if folder.is_dir() else []:
        if path == skip or not (path / "journal.jsonl").is_file():
            continue
        try:
            outbox = Outbox(path, lock_wait_s=0.0)
        except TrackingError:  # its own process sees to it
            continue
        result = _deliver(outbox, uri)
        if result is not None:
            results.append(result)
        settle(outbox)
    return results


def _deliver(outbox: Outbox, uri: str) -> Delivery | None:
    name, belongs_to = outbox.folder.name, outbox.state.get("uri")
    if not outbox.waiting():
        return None
    if belongs_to not in {None, without_password(uri)}:
        return Delivery(name, outbox.state["run_id"], f"belongs to {belongs_to}; set MLFLOW_TRACKING_URI to that")
    sender = Sender(outbox, uri)
    is_done = sender.deliver_now()
    problem = "" if is_done else f"{describe(outbox.waiting())} still wait ({sender.refusal or sender.reason})"
    return Delivery(name, outbox.state["run_id"], problem)
