"""The one thread that talks to the tracking server while a stage runs."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from hdnet.tracking.connection import first_line, is_refusal, is_server, without_password
from hdnet.tracking.delivery import Courier, RunIsGoneError
from hdnet.tracking.outbox import FILE_KINDS, Event, Outbox

logger = logging.getLogger(__name__)

# Events of a second go in one call.
_INTERVAL_S = 1.0
_EVENTS_AT_ONCE = 500
_RETRY_S = (1.0, 30.0)
_RETRY_AT_END_S = 2.0
# A call in flight when patience ends; whatever comes of it, the next one asks first.
_LAST_CALL_S = 0.5


@dataclass(frozen=True)
class Patience:
    """How long a stage waits for the server, in seconds, when nothing moves: only at its start and at its end."""

    first_contact_s: float = 15.0
    at_end_s: float = 30.0
    after_interrupt_s: float = 5.0
    # However slowly it moves.
    in_all_s: float = 600.0


@dataclass
class _Lane:
    """Numbers and files are delivered apart: an artifact store that refuses does not hold up the curves."""

    name: str
    retry_at: float = 0.0
    delay_s: float = _RETRY_S[0]
    reason: str = ""
    # The next event may have arrived already: it was tried before, perhaps by a process that was killed.
    retried: bool = True


class Sender:
    """Delivers an outbox in the background.

    Args:
        outbox: What to deliver, while others add to it.
        uri: Tracking URI.
    """

    def __init__(self, outbox: Outbox, uri: str) -> None:
        self.outbox = outbox
        self.uri = uri
        self.courier = Courier(outbox, uri)
        self.refusal: Exception | None = None
        self._lanes = (_Lane("numbers"), _Lane("files"))
        self._contacted = threading.Event()
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow-sender", daemon=True)

    @property
    def is_drained(self) -> bool:
        """Whether everything so far has been delivered."""
        size = self.outbox.size()
        return all(self.outbox.state[lane.name] == size for lane in self._lanes)

    @property
    def is_alive(self) -> bool:
        """Whether the thread still works."""
        return self._thread.is_alive()

    @property
    def reason(self) -> str:
        """Why something waits, in one line."""
        return next((lane.reason for lane in self._lanes if lane.reason), "it takes too long")

    def start(self, patience: Patience) -> bool:
        """Starts the thread; returns whether the run is known to MLflow, once that is clear or patience ends."""
        self._thread.start()
        # A database of ours may have to make its schema first, and does not go away.
        self._contacted.wait(patience.first_contact_s if is_server(self.uri) else None)
        if not self._contacted.is_set():
            self._say_away("no answer yet")
            return False
        return self.refusal is None and not self._lanes[0].reason

    def finish(self, quiet_s: float, in_all_s: float) -> bool:
        """Waits until all is delivered, at most so long without progress; returns whether it is."""
        self._closing.set()
        for lane in self._lanes:
            lane.retry_at = 0.0
        begin = moved = time.monotonic()
        before = self._position()
        while self._thread.is_alive():
            self._thread.join(0.05)
            now, position = time.monotonic(), self._position()
            if position != before:
                before, moved = position, now
            if now - moved > quiet_s or now - begin > in_all_s:
                self._given_up.set()
                self._thread.join(_LAST_CALL_S)
                break
        return self.is_drained

    def deliver_now(self) -> bool:
        """Delivers what is there in the calling thread, without waiting for a server; returns whether all went."""
        while any(self._try(lane) for lane in self._lanes):
            pass
        return self.is_drained

    def _position(self) -> tuple[int, int]:
        return self.outbox.state["numbers"], self.outbox.state["files"]

    def _work(self) -> None:
        while self.refusal is None and not self._given_up.is_set():
            is_closing = self._closing.is_set()  # asked first: what was added before is delivered below
            has_moved = any(self._try(lane) for lane in self._lanes if time.monotonic() >= lane.retry_at)
            if has_moved:
                continue
            if is_closing and self.is_drained:
                return
            if is_closing:
                time.sleep(0.05)
            else:
                self._closing.wait(_INTERVAL_S)

    def _try(self, lane: _Lane) -> bool:
        """Delivers the lane's next events; returns whether it got on."""
        if lane.name == "files" and self.outbox.state["run_id"] is None:
            return False
        events, after = self._next(lane)
        if after == self.outbox.state[lane.name]:
            return False
        try:
            self._deliver(lane, events)
        except RunIsGoneError as error:
            logger.warning("MLflow run %s, which this training began in, is gone; starting a new run", error)
            self.outbox.state.update(run_id=None, numbers=0, files=0, refused=0)
            self.outbox.save_state()
            return True
        except Exception as error:  # noqa: BLE001 - a tracker's trouble, whatever it is, must not end the training
            self._postpone(lane, error)
            return False
        if events:
            if lane.reason:
                logger.warning("MLflow answers again")
            lane.retried, lane.reason, lane.retry_at, lane.delay_s = False, "", 0.0, _RETRY_S[0]
        self.outbox.state[lane.name] = after
        self.outbox.save_state()
        for event in events:
            if event["kind"] in FILE_KINDS:
                self.outbox.drop_file(event["file"])
            elif event["kind"] == "open":
                self._contacted.set()
        return True

    def _next(self, lane: _Lane) -> tuple[list[Event], int]:
        """Neighbouring numbers of the lane together, or one other event; and the offset behind them."""
        chosen: list[Event] = []
        offset: int = self.outbox.state[lane.name]
        for event, after in self.outbox.read(offset, _EVENTS_AT_ONCE):
            if (event["kind"] in FILE_KINDS) != (lane.name == "files"):
                offset = after
                continue
            if event["kind"] != "metrics":
                if not chosen:
                    return [event], after
                break
            chosen.append(event)
            offset = after
        return chosen, offset

    def _deliver(self, lane: _Lane, events: list[Event]) -> None:
        for event in events:
            event["retried"] = lane.retried
        try:
            self._send(events)
        except Exception as error:
            is_opening = bool(events) and events[0]["kind"] == "open"
            if not is_refusal(error, at_start=is_opening):
                raise
            if is_opening:
                self.refusal = error
                self._contacted.set()
                raise
            if len(events) == 1:
                self._skip(events[0], error)
                return
            for event in events:  # find the one that is refused
                self._deliver(lane, [event])

    def _send(self, events: list[Event]) -> None:
        if events and events[0]["kind"] == "metrics":
            self.courier.deliver_metrics(events)
        elif events:
            self.courier.deliver(events[0])

    def _skip(self, event: Event, error: Exception) -> None:
        self.outbox.state["refused"] += 1
        if self.outbox.state["refused"] == 1:
            logger.warning("MLflow refuses %s: %s", event["kind"], first_line(error))

    def _postpone(self, lane: _Lane, error: Exception) -> None:
        if not lane.reason and self.refusal is None:
            self._say_away(first_line(error))
        lane.retried, lane.reason = True, first_line(error)
        lane.retry_at = time.monotonic() + (_RETRY_AT_END_S if self._closing.is_set() else lane.delay_s)
        lane.delay_s = min(lane.delay_s * 2, _RETRY_S[1])
        if not is_server(self.uri) and lane.name == "numbers" and self.outbox.state["run_id"] is None:
            self.refusal = error  # a database of ours that cannot be opened will not heal
        if lane.name == "numbers":
            self._contacted.set()

    def _say_away(self, reason: str) -> None:
        logger.warning(
            "MLflow at %s does not take events (%s); the stage goes on, they wait in %s",
            without_password(self.uri),
            reason,
            self.outbox.folder,
        )
