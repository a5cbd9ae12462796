"""The inference lane: one worker thread behind a bounded queue.

The networks run here and nowhere else, never in the event loop: one forward pass already uses every core, so
a second one beside it would only make both slower. Decoding and encoding have threads of their own.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from serving.metrics import Metrics
from serving.problems import Problem

ResultT = TypeVar("ResultT")

PICTURE_THREADS = 2
_MEMORY = 0.8  # share of the old mean in the running mean of inference times


class Lane:
    """Admission, deadline and threads of ``POST /depth``.

    Args:
        queue_size: Requests that may be admitted beside the one that is worked on.
        deadline_s: Seconds from admission to the answer.
        metrics: Where stages and queue are counted.
    """

    def __init__(self, queue_size: int, deadline_s: float, metrics: Metrics) -> None:
        self.capacity = queue_size + 1
        self.deadline_s = deadline_s
        self._metrics = metrics
        self._admitted = 0
        self._mean_s = 1.0
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="hdnet-lane")
        self._pictures = ThreadPoolExecutor(PICTURE_THREADS, thread_name_prefix="hdnet-pictures")

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[Admission]:
        """A place in the queue, for as long as the request, or a thread that still works for it, lives.

        Raises:
            Problem: 503 if the queue is full, 504 if the block outlives the deadline.
        """
        if self._admitted >= self.capacity:
            retry_s = max(1, math.ceil(self._mean_s * self._admitted))
            detail = f"{self._admitted} requests are already waiting; try again in {retry_s} s"
            raise Problem(503, "queue_full", detail, {"Retry-After": str(retry_s)})
        self._count(1)
        admission = Admission(self, self._worker, self._pictures, self._metrics)
        try:
            with self._metrics.stage("total"):
                async with asyncio.timeout(self.deadline_s) as timeout:
                    yield admission
        except TimeoutError:
            if not timeout.expired():
                raise
            detail = f"the answer was not ready within {self.deadline_s:g} s; try again, or send a smaller picture"
            raise Problem(504, "too_slow", detail) from None
        finally:
            self._release(admission)

    def observe(self, seconds: float) -> None:
        """Takes the duration of an inference into the running mean behind Retry-After."""
        self._mean_s = _MEMORY * self._mean_s + (1 - _MEMORY) * seconds

    def close(self) -> None:
        """Lets the threads finish what they do and ends them; what waits is cancelled."""
        for executor in (self._worker, self._pictures):
            executor.shutdown(wait=True, cancel_futures=True)

    def _count(self, step: int) -> None:
        self._admitted += step
        self._metrics.admitted.set(self._admitted)

    def _release(self, admission: Admission) -> None:
        running = admission.running
        if running is None or running.done():
            self._count(-1)
            return
        # A thread cannot be stopped: its place is free only when it is through, or late ones would pile up.
        loop = asyncio.get_running_loop()
        running.add_done_callback(lambda _: _call_if_open(loop, lambda: self._count(-1)))


class Admission:
    """A request's right to use the threads, one call at a time."""

    def __init__(self, lane: Lane, worker: Executor, pictures: Executor, metrics: Metrics) -> None:
        self._lane, self._worker, self._pictures, self._metrics = lane, worker, pictures, metrics
        self.running: Future[object] | None = None

    async def picture_work(self, stage: str, call: Callable[[], ResultT]) -> ResultT:
        """Runs decoding or encoding off the event loop."""

        def timed() -> ResultT:
            with self._metrics.stage(stage):
                return call()

        return await self._wait(self._pictures.submit(timed))

    async def inference(self, call: Callable[[], ResultT]) -> ResultT:
        """Runs the networks in the lane, when it is this request's turn."""
        submitted = time.perf_counter()

        def timed() -> ResultT:
            started = time.perf_counter()
            self._metrics.queued.dec()
            self._metrics.stage_seconds.labels("wait").observe(started - submitted)
            with self._metrics.stage("infer"):
                result = call()
            self._lane.observe(time.perf_counter() - started)
            return result

        self._metrics.queued.inc()
        future = self._worker.submit(timed)
        future.add_done_callback(lambda done: self._metrics.queued.dec() if done.cancelled() else None)
        return await self._wait(future)

    async def _wait(self, future: Future[ResultT]) -> ResultT:
        self.running = future  # type: ignore[assignment]
        # Cancelling the wait (deadline) also cancels a future that has not started.
        return await asyncio.wrap_future(future)


def _call_if_open(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
