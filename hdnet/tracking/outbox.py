"""What a run reports, on disk before it is sent: a journal that survives kill -9 and a tracking server that is away.

An outbox is a folder of ``journal.jsonl`` (one event a line, only ever appended to), ``state.json`` (how far each lane
of the journal has been delivered) and ``files/`` (pictures, weights, reports that wait). Writing an event takes
microseconds and no network, so training never waits for the server; the journal is the queue, so memory stays bounded.
The journal is kept until the run has ended well: it also says which steps a resumed training need not report again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from hdnet.errors import TrackingError
from hdnet.files import write_json

logger = logging.getLogger(__name__)

# Below the working directory, as is the default database. Not below reports/STAGE/, which a finished stage replaces.
PENDING_FOLDER = Path("reports/mlflow_pending")
FILE_KINDS = frozenset({"image", "file", "checkpoint"})
SYSTEM_PREFIX = "system/"
# Weights that wait for a server are dropped, oldest first, before they fill the disk.
MAX_WAITING_BYTES = 4 << 30

Event = dict[str, Any]


class Outbox:
    """The journal of one run. Threads of one process may share it; a lock keeps other processes out.

    Args:
        folder: Made if need be.
        lock_wait_s: How long to wait for a process that holds it: loaders of a killed training live on for seconds.

    Raises:
        TrackingError: If another process holds it, or the folder cannot be written.
    """

    def __init__(self, folder: Path, lock_wait_s: float = 15.0) -> None:
        self.folder = folder = folder.absolute()
        self._mutex = threading.Lock()
        # The newest step's numbers, which belong to a checkpoint of that step, too.
        self._rows_step, self._rows = -1, list[Event]()
        # What was reported before this process: (kind, key, step).
        self.seen: set[tuple[str, str, int]] = set()
        self.next_system_step = 0
        self.lost = 0
        self.last: Event | None = None
        try:
            (folder / "files").mkdir(parents=True, exist_ok=True)
            self._lock = (folder / "lock").open("a+")
            self._acquire(lock_wait_s)
            self._repair()
            self._journal = (folder / "journal.jsonl").open("ab")
        except OSError as error:
            raise TrackingError(f"{folder}: cannot be written ({error}); MLflow's events wait there") from error
        self.state: dict[str, Any] = self._read_state()
        for event, _ in self.read(0):
            self._remember(event)

    @classmethod
    def new(cls, stage: str) -> Outbox:
        """An empty one for a new run of a stage."""
        return cls(PENDING_FOLDER / f"{stage}-{uuid4().hex[:12]}")

    def _acquire(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self._lock.close()
                    raise TrackingError(
                        f"{self.folder}: another process is training this stage or delivering its events; "
                        "wait for it or stop it"
                    ) from None
                time.sleep(0.1)

    def _repair(self) -> None:
        """Drops a last line that a power cut left unfinished."""
        path = self.folder / "journal.jsonl"
        if not path.exists():
            return
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)

    def _read_state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        except (OSError, ValueError):
            # Lost or half written: everything is offered again, and MLflow drops what it has.
            state = {}
        return {"run_id": None, "numbers": 0, "files": 0, "refused": 0, **state}

    def save_state(self) -> None:
        """Writes :attr:`state`, atomically."""
        write_json(self.folder / "state.json", self.state)

    def _remember(self, event: Event) -> None:
        self.last = event
        if event["kind"] == "metrics":
            self.seen.update(("metrics", key, event["step"]) for key in event["values"])
            if any(key.startswith(SYSTEM_PREFIX) for key in event["values"]):
                self.next_system_step = event["step"] + 1
        elif event["kind"] in {"image", "checkpoint"}:
            self.seen.add((event["kind"], event.get("key", ""), event["step"]))
        elif event["kind"] == "dataset":
            self.seen.add(("dataset", f"{event['name']}:{event['digest']}", 0))

    def resume(self, step: int) -> None:
        """Forgets what cannot come again: the run goes on from ``step``."""
        self.seen = {item for item in self.seen if item[0] == "dataset" or item[2] > step}

    def append(self, kind: str, **content: Any) -> int:
        """Adds an event and returns its time (ms). A full disk costs the event and a warning, never the training."""
        event = {"kind": kind, "time": int(time.time() * 1000), **content}
        line = json.dumps(event, default=str).encode() + b"\n"
        with self._mutex:
            try:
                self._journal.write(line)
                self._journal.flush()  # to the system: safe from kill -9, and much cheaper than to the platter
                self.last = event
            except (OSError, ValueError) as error:
                self._lose(error)
        return int(event["time"])

    def _lose(self, error: Exception) -> None:
        self.lost += 1
        if self.lost == 1:
            logger.warning("%s: cannot be written (%s); MLflow misses what is reported now", self.folder, error)

    def add_metrics(self, values: dict[str, float], step: int) -> None:
        """Numbers of a step, less those that were reported before the run was resumed."""
        new = {key: float(value) for key, value in values.items() if ("metrics", key, step) not in self.seen}
        if not new:
            return
        if self._rows_step != step:
            self._rows_step, self._rows = step, []
        self._rows.append({"values": new, "time": self.append("metrics", values=new, step=step)})

    def add_image(self, key: str, picture: np.ndarray, step: int) -> None:
        """A picture, stored as it is: encoding it is the sender's work."""
        if ("image", key, step) in self.seen:
            return
        try:
            path = self._new_file("picture.npy")
            np.save(path, picture)
        except OSError as error:
            self._lose(error)
            return
        self.append("image", key=key, step=step, file=self._relative(path))

    def add_checkpoint(self, path: Path, step: int) -> None:
        """Weights, as a second name of the same file where the disk allows that: their caller deletes them next."""
        if ("checkpoint", "", step) in self.seen:
            return
        try:
            target = self._new_file(path.name)
            try:
                os.link(path, target)
            except OSError:
                shutil.copyfile(path, target)
        except OSError as error:
            self._lose(error)
            return
        metrics = self._rows if self._rows_step == step else []
        self.append("checkpoint", step=step, file=self._relative(target), metrics=metrics)
        self._make_room()

    def add_file(self, path: Path) -> None:
        """A copy of a file of results."""
        try:
            target = self._new_file(path.name)
            shutil.copyfile(path, target)
        except OSError as error:
            self._lose(error)
            return
        self.append("file", file=self._relative(target))

    def _new_file(self, name: str) -> Path:
        folder = self.folder / "files" / uuid4().hex[:12]
        folder.mkdir()
        return folder / name

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _make_room(self) -> None:
        waiting = sorted((self.folder / "files").glob("*/*.safetensors"), key=lambda path: path.stat().st_mtime)
        sizes = [path.stat().st_size for path in waiting]
        while len(waiting) > 1 and sum(sizes) > MAX_WAITING_BYTES:
            oldest = waiting.pop(0)
            sizes.pop(0)
            logger.warning("%s: dropped, %d GiB of weights wait for MLflow", oldest.name, MAX_WAITING_BYTES >> 30)
            self.drop_file(self._relative(oldest))

    def drop_file(self, name: str) -> None:
        """Deletes a file that was delivered."""
        shutil.rmtree((self.folder / name).parent, ignore_errors=True)

    def read(self, offset: int, limit: int | None = None) -> Iterator[tuple[Event, int]]:
        """Events from a byte offset on, each with the offset behind it."""
        with (self.folder / "journal.jsonl").open("rb") as file:
            file.seek(offset)
            for count, line in enumerate(file):
                if (limit is not None and count >= limit) or not line.endswith(b"\n"):
                    return
                offset += len(line)
                try:
                    yield json.loads(line), offset
                except ValueError:
                    logger.warning("%s: a damaged line of the journal is left out", self.folder)

    def size(self) -> int:
        """Bytes of the journal: a lane that got here has delivered everything."""
        return (self.folder / "journal.jsonl").stat().st_size

    def waiting(self) -> dict[str, int]:
        """How many events of each kind have not been delivered."""
        counts: dict[str, int] = {}
        for lane in ("numbers", "files"):
            for event, _ in self.read(self.state[lane]):
                if (event["kind"] in FILE_KINDS) == (lane == "files"):
                    counts[event["kind"]] = counts.get(event["kind"], 0) + 1
        return counts

    def close(self) -> None:
        """Lets other processes have it."""
        self._journal.close()
        self._lock.close()

    def remove(self) -> None:
        """Closes and deletes it."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
