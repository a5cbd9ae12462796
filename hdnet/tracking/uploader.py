"""Thread that uploads an outbox to MLflow while a stage runs."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from hdnet.tracking.connection import is_refusal, is_server, reason_of, without_password
from hdnet.tracking.outbox import Event, Outbox
from hdnet.tracking.remote_run import RemoteRun, RunDeletedError

logger = logging.getLogger(__name__)

# Events of one second go in one call.
_INTERVAL_S = 1.0
_EVENTS_AT_ONCE = 500
# First and longest pause before a retry; the pause while the stage waits for its end.
_RETRY_S = (1.0, 30.0)
_RETRY_AT_END_S = 2.0
# Time for a call in flight when the patience ends. Whether it succeeds or not, the next try asks first.
_LAST_CALL_S = 0.5


@dataclass(frozen=True)
class Patience:
    """Time that a stage waits for the server without any progress, in seconds: only at its start and at its end."""

    first_contact_s: float = 15.0
    at_end_s: float = 30.0
    after_interrupt_s: float = 5.0
    in_all_s: float = 600.0  # with progress


@dataclass
class _Retries:
    """Retries of one queue; ``reason`` is the error of the last try, empty after a success."""

    retry_at: float = 0.0
    delay_s: float = _RETRY_S[0]
    reason: str = ""
    # True at first, too: the process that tried last may have been killed.
    is_retry: bool = True


class Uploader:
    """Uploads an outbox in the background.

    Files and all other events are separate queues, so an artifact store that fails does not hold up the curves.

    Args:
        outbox: Outbox to upload, while others add to it.
        uri: Tracking URI.
    """

    def __init__(self, outbox: Outbox, uri: str) -> None:
        self.outbox = outbox
        self.uri = uri
        self.refusal: Exception | None = None
        """Error that made MLflow refuse the run itself."""
        self._run = RemoteRun(outbox, uri)
        self._events, self._files = _Retries(), _Retries()
        self._uploads = 0
        self._contacted = threading.Event()
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow-uploader", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Return whether the thread is running."""
        return self._thread.is_alive()

    @property
    def reason(self) -> str:
        """Reason for which events wait, in one line."""
        return self._events.reason or self._files.reason or "it takes too long"

    def start(self, patience: Patience) -> bool:
        """Start the thread, wait for the first answer, and return whether the run is open in MLflow."""
        self._thread.start()
        # A local database may have to create its tables first, and does not go away.
        if not self._contacted.wait(patience.first_contact_s if is_server(self.uri) else None):
            self._warn_unreachable("no answer yet")
            return False
        return self.refusal is None and not self._events.reason

    def finish(self, quiet_s: float, in_all_s: float) -> bool:
        """Wait for the upload of the rest, at most ``quiet_s`` without progress; return whether it is complete."""
        self._closing.set()
        self._events.retry_at = self._files.retry_at = 0.0
        begin = moved = time.monotonic()
        before = self._uploads
        while self._thread.is_alive():
            self._thread.join(0.05)
            now = time.monotonic()
            if self._uploads != before:
                before, moved = self._uploads, now
            if now - moved > quiet_s or now - begin > in_all_s:
                self._given_up.set()
                self._thread.join(_LAST_CALL_S)
                break
        return self.outbox.is_delivered

    def upload_now(self) -> bool:
        """Upload the outbox in the calling thread, without retries; return whether it is complete."""
        while self._upload(self._events) or self._upload(self._files):
            pass
        return self.outbox.is_delivered

    def _work(self) -> None:
        while self.refusal is None and not self._given_up.is_set():
            is_closing = self._closing.is_set()  # read first: what was added before is uploaded below
            now = time.monotonic()
            has_moved = [self._upload(queue) for queue in (self._events, self._files) if now >= queue.retry_at]
            if any(has_moved):
                continue
            if is_closing and self.outbox.is_delivered:
                return
            if is_closing:
                time.sleep(0.05)
            else:
                self._closing.wait(_INTERVAL_S)

    def _upload(self, queue: _Retries) -> bool:
        """Upload the next events of a queue; return whether there is progress."""
        outbox = self.outbox
        if queue is self._events:
            events = outbox.next_events(_EVENTS_AT_ONCE)
        else:
            events = [outbox.files[0]] if outbox.files and outbox.run_id is not None else []
        if not events:
            return False
        try:
            self._send(events, is_retry=queue.is_retry)
        except RunDeletedError as error:
            logger.warning("MLflow run %s, which this training began in, is gone; starting a new run", error)
            outbox.restart()
            return True
        except Exception as error:  # noqa: BLE001 - no error of the tracking may end the training
            self._postpone(queue, error)
            return False
        if queue.reason:
            logger.warning("MLflow answers again")
        queue.is_retry, queue.reason, queue.retry_at, queue.delay_s = False, "", 0.0, _RETRY_S[0]
        self._uploads += 1
        outbox.mark_uploaded(events)
        if events[0]["kind"] == "open":
            self._contacted.set()
        return True

    def _send(self, events: list[Event], *, is_retry: bool) -> None:
        """Send metrics together or one other event; an event that MLflow refuses is skipped."""
        is_opening = events[0]["kind"] == "open"
        try:
            if events[0]["kind"] == "metrics":
                self._run.log_metrics(events)
            else:
                self._run.log(events[0], is_retry=is_retry)
        except Exception as error:
            if not is_refusal(error, at_start=is_opening):
                raise
            if is_opening:
                self.refusal = error
                self._contacted.set()
                raise
            if len(events) == 1:
                self.outbox.state["refused"] += 1
                if self.outbox.state["refused"] == 1:
                    logger.warning("MLflow refuses %s: %s", events[0]["kind"], reason_of(error))
                return
            for event in events:  # find the one that is refused
                self._send([event], is_retry=is_retry)

    def _postpone(self, queue: _Retries, error: Exception) -> None:
        reason = reason_of(error)
        if not queue.reason and self.refusal is None:
            self._warn_unreachable(reason)
        queue.is_retry, queue.reason = True, reason
        queue.retry_at = time.monotonic() + (_RETRY_AT_END_S if self._closing.is_set() else queue.delay_s)
        queue.delay_s = min(queue.delay_s * 2, _RETRY_S[1])
        if queue is self._events:
            if not is_server(self.uri) and self.outbox.run_id is None:
                self.refusal = error  # retrying does not help where a local database cannot be opened
            self._contacted.set()

    def _warn_unreachable(self, reason: str) -> None:
        logger.warning(
            "MLflow at %s does not take events (%s); the stage goes on, they wait in %s",
            without_password(self.uri),
            reason,
            self.outbox.folder,
        )
