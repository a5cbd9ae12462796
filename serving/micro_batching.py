"""Micro-batching: one thread runs the networks, for several waiting requests at once where that is faster.

One forward pass already uses every core (or the whole GPU): a second one beside it would make both slower.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from serving.metrics import Metrics

if TYPE_CHECKING:
    from hdnet.predict.inference import PreparedPicture
    from hdnet.predict.runtime_names import Outputs


class Networks(Protocol):
    """The part of :class:`hdnet.predict.inference.Predictor` that runs here."""

    def run(self, prepared: Sequence[PreparedPicture]) -> list[Outputs]:
        """The networks' outputs of one or more pictures."""


@dataclass(frozen=True, eq=False)
class _Ticket:
    """One picture that waits for its forward pass."""

    networks: Networks
    prepared: PreparedPicture
    future: Future[Outputs] = field(default_factory=Future)
    submitted: float = field(default_factory=time.perf_counter)


class MicroBatcher:
    """Collects pictures that wait for the same networks into forward passes, in the order of their arrival.

    Args:
        max_batch: Most pictures in one pass; 1 runs each alone.
        max_wait_s: Longest wait of a pass's first picture for others, from its arrival. A pass that is full, or whose
            next picture is another model's, starts at once.
        metrics: Metrics of queue and passes.
        on_pass: Called in the thread after every pass, with its seconds and number of pictures.
    """

    def __init__(
        self, max_batch: int, max_wait_s: float, metrics: Metrics, on_pass: Callable[[float, int], None]
    ) -> None:
        self._max_batch, self._max_wait_s = max_batch, max_wait_s
        self._metrics, self._on_pass = metrics, on_pass
        self._waiting: deque[_Ticket] = deque()
        self._arrival = threading.Condition()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hdnet-networks")

    def submit(self, networks: Networks, prepared: PreparedPicture) -> Future[Outputs]:
        """Queues a picture; cancelling the future before its pass begins takes it out again.

        Raises:
            RuntimeError: After :meth:`close`.
        """
        ticket = _Ticket(networks, prepared)
        self._metrics.queued.inc()
        ticket.future.add_done_callback(lambda done: self._metrics.queued.dec() if done.cancelled() else None)
        with self._arrival:
            self._waiting.append(ticket)
            self._arrival.notify()
        self._thread.submit(self._pass)
        return ticket.future

    def close(self) -> None:
        """Ends the thread after its present pass; waiting pictures are cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        with self._arrival:
            for ticket in self._waiting:
                ticket.future.cancel()
            self._waiting.clear()
        self._thread.shutdown(wait=True)

    def _pass(self) -> None:
        """Runs one pass; does nothing if an earlier one has taken the picture."""
        batch = self._take()
        if batch:
            self._run(batch)

    def _take(self) -> list[_Ticket]:
        batch: list[_Ticket] = []
        with self._arrival:
            while len(batch) < self._max_batch:
                if self._waiting:
                    if batch and self._waiting[0].networks is not batch[0].networks:
                        break
                    ticket = self._waiting.popleft()
                    if ticket.future.set_running_or_notify_cancel():
                        self._note_start(ticket)
                        batch.append(ticket)
                    continue
                left_s = batch[0].submitted + self._max_wait_s - time.perf_counter() if batch else 0.0
                if left_s <= 0 or not self._arrival.wait(left_s):
                    break
        return batch

    def _note_start(self, ticket: _Ticket) -> None:
        self._metrics.queued.dec()
        self._metrics.stage_seconds.labels("wait").observe(time.perf_counter() - ticket.submitted)

    def _run(self, batch: list[_Ticket]) -> None:
        started = time.perf_counter()
        try:
            with self._metrics.stage("infer"):
                outputs = batch[0].networks.run([ticket.prepared for ticket in batch])
        except Exception as error:  # noqa: BLE001 - passed on to the request that waits for the future
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for ticket in batch:  # a picture that fails must not fail the others
                self._run([ticket])
            return
        self._metrics.batch_size.observe(len(batch))
        self._on_pass(time.perf_counter() - started, len(batch))
        for ticket, output in zip(batch, outputs, strict=True):
            ticket.future.set_result(output)
