"""Journal on disk of what a run reports, until MLflow has it.

An outbox is a folder of ``journal.jsonl`` (one event a line, append-only), ``state.json`` (how much of the journal has
been uploaded) and ``files/`` (pictures, weights and reports to upload). Appending takes microseconds and no network, so
a training never waits for the server. The journal is kept until the run has ended well: it also tells which steps a
resumed training need not report again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from hdnet.errors import TrackingError
from hdnet.files import locked, write_json
from hdnet.tracking.tracker import Tracker

logger = logging.getLogger(__name__)

# Below the working directory, as is the default database. Not below reports/STAGE/, which a finished stage replaces.
PENDING_FOLDER = Path("reports/mlflow_pending")
SYSTEM_PREFIX = "system/"
# The oldest waiting weights are dropped before they fill the disk.
MAX_WAITING_BYTES = 4 << 30

_NOUNS = {"metrics": "rows of numbers", "image": "pictures", "checkpoint": "checkpoints", "file": "files"}

Event = dict[str, Any]


class Outbox(Tracker):
    """Tracker that writes the journal of one run. Threads may share it; a lock keeps other processes out.

    Args:
        folder: Created if it does not exist.
        lock_wait_s: Time to wait for another process's lock: loaders of a killed training live on for seconds.

    Raises:
        TrackingError: If another process holds the lock, or the folder cannot be written.
    """

    def __init__(self, folder: Path, lock_wait_s: float = 15.0) -> None:
        self.folder = folder = folder.absolute()
        self._mutex = threading.Lock()
        self._open = ExitStack()

        def taken(process: str) -> TrackingError:
            return TrackingError(
                f"{folder}: another process ({process}) is training this stage or delivering its events; wait for it "
                "or stop it"
            )

        try:
            (folder / "files").mkdir(parents=True, exist_ok=True)
            self._open.enter_context(locked(folder / "lock", taken, lock_wait_s))
            self._drop_unfinished_line()
            self._journal = self._open.enter_context((folder / "journal.jsonl").open("ab"))
        except OSError as error:
            raise TrackingError(f"{folder}: cannot be written ({error}); MLflow's events wait there") from error
        self.state: dict[str, Any] = self._read_state()
        self.events: deque[Event] = deque()
        """Events to upload that have no file, oldest first."""
        self.files: deque[Event] = deque()
        """Events whose files have not been uploaded, oldest first."""
        self.reported: set[tuple[str, str, int]] = set()
        """(kind, name, step) of what earlier processes of this run reported."""
        self.lost = 0
        """Number of events that could not be written to disk."""
        self.has_ended = self.has_ended_well = False
        self._newest_ms = 0
        self._newest_metrics: list[Event] = []  # of one step; they belong to a checkpoint of that step, too
        for event in self._read():
            self.reported.update(_items(event))
            self._queue(event)
        for _ in range(min(self.state["uploaded"], len(self.events))):
            self.events.popleft()

    @classmethod
    def new(cls, stage: str) -> Outbox:
        """Return an empty one for a new run of a stage."""
        return cls(PENDING_FOLDER / f"{stage}-{uuid4().hex[:12]}")

    @property
    def run_id(self) -> str | None:
        """Id of the run in MLflow; None until the server has answered for the first time."""
        run_id: str | None = self.state["run_id"]
        return run_id

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Log metrics after ``step`` steps, less those that were reported before the run was resumed."""
        new = {key: float(value) for key, value in values.items() if ("metrics", key, step) not in self.reported}
        if new:
            event = self.append("metrics", values=new, step=step)
            self._newest_metrics = [e for e in self._newest_metrics if e["step"] == step] + [event]

    def log_image(self, key: str, picture: np.ndarray, step: int) -> None:
        """Log a picture; the page shows all of one key with a step slider. Encoding it is left to the uploader."""
        self._append_file("image", "picture.npy", lambda path: np.save(path, picture), key=key, step=step)

    def log_checkpoint(self, path: Path, step: int) -> None:
        """Log weights (a hard link where the disk allows it) and the metrics of that step, as a logged model."""
        metrics = [event for event in self._newest_metrics if event["step"] == step]
        self._append_file("checkpoint", path.name, partial(_link_or_copy, path), step=step, metrics=metrics)
        self._limit_waiting_weights()

    def log_file(self, path: Path) -> None:
        """Log a copy of a file of results."""
        self._append_file("file", path.name, partial(shutil.copyfile, path))

    def log_dataset(
        self, name: str, digest: str, size: int, source: str | None = None, context: str = "training"
    ) -> None:
        """Log a dataset input of the run."""
        if ("dataset", f"{name}:{digest}", 0) not in self.reported:
            self.append("dataset", name=name, digest=digest, size=size, source=source, context=context)

    def set_tags(self, tags: dict[str, str]) -> None:
        """Set tags of the run."""
        self.append("tags", values=tags)

    def resume(self, step: int) -> None:
        """Continue from ``step``: what was reported after it comes again and is left out."""
        self.reported = {item for item in self.reported if item[0] == "dataset" or item[2] > step}
        if step:
            self.set_tags({"resumed_from_step": str(step)})

    def append(self, kind: str, **content: Any) -> Event:
        """Append an event with the current time (ms). A full disk costs the event and a warning, never the training."""
        event = {"kind": kind, "time": int(time.time() * 1000), **content}
        line = json.dumps(event, default=str).encode() + b"\n"
        with self._mutex:
            try:
                self._journal.write(line)
                self._journal.flush()  # to the system: survives kill -9, and is much cheaper than a sync to the disk
            except (OSError, ValueError) as error:
                self._lose(error)
            else:
                self._queue(event)
        return event

    def next_events(self, limit: int) -> list[Event]:
        """Return the first events without a file: neighbouring metrics, at most ``limit``, or one other."""
        with self._mutex:
            upcoming = list(islice(self.events, limit))
        return list(takewhile(lambda event: event["kind"] == "metrics", upcoming)) or upcoming[:1]

    def mark_uploaded(self, events: Sequence[Event]) -> None:
        """Remove the first events of a queue, which have been uploaded."""
        for event in events:
            if "file" in event:
                self.files.popleft()
                self.drop_file(event)
            else:
                self.events.popleft()
                self.state["uploaded"] += 1
        self.save_state()

    def restart(self) -> None:
        """Queue all events again, for a new run."""
        with self._mutex:
            self.state.update(run_id=None, uploaded=0, refused=0)
            self.events.clear()
            self.files.clear()
            for event in self._read():
                self._queue(event)
        self.save_state()

    def drop_file(self, event: Event) -> None:
        """Delete the file of an event."""
        shutil.rmtree((self.folder / event["file"]).parent, ignore_errors=True)

    @property
    def is_delivered(self) -> bool:
        """Return whether everything so far has been uploaded."""
        return not self.events and not self.files

    def describe_waiting(self) -> str:
        """Describe in words what has not been uploaded."""
        with self._mutex:
            waiting = Counter(event["kind"] for event in (*self.events, *self.files))
        counted = [f"{waiting[kind]} {noun}" for kind, noun in _NOUNS.items() if waiting[kind]]
        return ", ".join(counted) or "the run's end"

    def save_state(self) -> None:
        """Write :attr:`state`, atomically."""
        write_json(self.folder / "state.json", self.state)

    def end_killed_run(self) -> None:
        """Let a run that no process continues end as killed, at the time of its last event."""
        if not self.has_ended and not self._can_resume:
            self.append("close", status="KILLED", time=self._newest_ms)

    @property
    def _can_resume(self) -> bool:
        work_dir = self.state.get("work_dir")
        return not self.has_ended_well and work_dir is not None and Path(work_dir).is_dir()

    def settle(self) -> None:
        """Close it, and delete it if it is delivered and its run has ended well or cannot be resumed."""
        if self.is_delivered and not self._can_resume:
            self.remove()
        else:
            self.close()

    def close(self) -> None:
        """Release it for other processes."""
        self._open.close()

    def remove(self) -> None:
        """Close and delete it."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _queue(self, event: Event) -> None:
        self.has_ended = event["kind"] == "close"
        self.has_ended_well = self.has_ended and event["status"] == "FINISHED"
        self._newest_ms = event["time"]
        if "file" not in event:
            self.events.append(event)
        elif (self.folder / event["file"]).exists():
            self.files.append(event)

    def _read(self) -> Iterator[Event]:
        with (self.folder / "journal.jsonl").open("rb") as file:
            for line in file:
                try:
                    yield json.loads(line)
                except ValueError:
                    logger.warning("%s: a damaged line of the journal is left out", self.folder)

    def _drop_unfinished_line(self) -> None:
        """Truncate the journal after its last whole line: a power cut may have left half of one."""
        path = self.folder / "journal.jsonl"
        if path.exists():
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)

    def _read_state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        except (OSError, ValueError):
            state = {}  # everything is uploaded again, and MLflow ignores what it has
        return {"run_id": None, "uploaded": 0, "refused": 0, **state}

    def _append_file(self, kind: str, name: str, write: Callable[[Path], object], **content: Any) -> None:
        if (kind, content.get("key", ""), content.get("step", 0)) in self.reported:
            return
        path = self.folder / "files" / uuid4().hex[:12] / name
        try:
            path.parent.mkdir()
            write(path)
        except OSError as error:
            self._lose(error)
            return
        self.append(kind, file=path.relative_to(self.folder).as_posix(), **content)

    def _lose(self, error: Exception) -> None:
        self.lost += 1
        if self.lost == 1:
            logger.warning("%s: cannot be written (%s); MLflow misses what is reported now", self.folder, error)

    def _limit_waiting_weights(self) -> None:
        with self._mutex:
            weights = [event for event in self.files if event["kind"] == "checkpoint"]
        sizes = [path.stat().st_size if (path := self.folder / event["file"]).exists() else 0 for event in weights]
        for event, size in zip(weights[:-1], sizes, strict=False):
            if sum(sizes) <= MAX_WAITING_BYTES:
                break
            sizes.remove(size)
            if size:
                name = Path(event["file"]).name
                logger.warning("%s: dropped, %d GiB of weights wait for MLflow", name, MAX_WAITING_BYTES >> 30)
                self.drop_file(event)


def _items(event: Event) -> Iterator[tuple[str, str, int]]:
    """Yield (kind, name, step) of everything in an event that a resumed training may report again."""
    kind = event["kind"]
    if kind == "metrics":
        yield from ((kind, key, event["step"]) for key in event["values"])
    elif kind in {"image", "checkpoint"}:
        yield kind, event.get("key", ""), event["step"]
    elif kind == "dataset":
        yield kind, f"{event['name']}:{event['digest']}", 0


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
