"""Admission control: a bounded queue, a deadline, threads for pictures and one for the networks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request

from serving import problems
from serving.metrics import Metrics
from serving.micro_batching import MicroBatcher, Networks
from serving.problems import Problem

if TYPE_CHECKING:
    from hdnet.predict.inference import PreparedPicture
    from hdnet.predict.runtime_names import Outputs

ResultT = TypeVar("ResultT")

PICTURE_THREADS = 2
_MEAN_DECAY = 0.8  # share of the old mean in the running mean of inference times


class AdmissionControl:
    """Admission, deadline and threads of ``POST /depth``.

    Args:
        queue_size: Requests that may wait beside those of one forward pass.
        deadline_s: Seconds from admission to the answer.
        metrics: Metrics of stages and queue.
        max_batch: Pictures in one forward pass; above 1 on a GPU.
        max_wait_ms: Longest wait of a forward pass for more pictures.
    """

    def __init__(
        self, queue_size: int, deadline_s: float, metrics: Metrics, max_batch: int = 1, max_wait_ms: float = 0.0
    ) -> None:
        self.capacity = queue_size + max_batch
        self.deadline_s = deadline_s
        self.max_batch = max_batch
        self._metrics = metrics
        self._admitted = 0
        self._mean_s = 1.0
        self._batcher = MicroBatcher(max_batch, max_wait_ms / 1000, metrics, self._observe)
        self._pictures = ThreadPoolExecutor(PICTURE_THREADS, thread_name_prefix="hdnet-pictures")

    @asynccontextmanager
    async def admit(self, has_deadline: bool = True) -> AsyncIterator[RequestThreads]:
        """A place in the queue until the request, and every thread that works for it, has ended.

        Args:
            has_deadline: Whether the block ends at the deadline; False leaves that to the block.

        Raises:
            Problem: 503 if the queue is full, 504 if the block outlives the deadline.
        """
        if self._admitted >= self.capacity:
            retry_s = max(1, math.ceil(self._mean_s * self._admitted))
            raise problems.QUEUE_FULL.problem(
                waiting=self._admitted, retry_s=retry_s, headers={"Retry-After": str(retry_s)}
            )
        self._count(1)
        threads = RequestThreads(self._batcher, self._pictures)
        try:
            with self._metrics.stage("total"):
                async with asyncio.timeout(self.deadline_s if has_deadline else None) as timeout:
                    yield threads
        except TimeoutError:
            if not timeout.expired():
                raise
            raise self.too_slow() from None
        finally:
            self._release(threads)

    def too_slow(self) -> Problem:
        """The problem of an answer that misses the deadline."""
        return problems.TOO_SLOW.problem(deadline_s=self.deadline_s)

    def close(self) -> None:
        """Ends the threads after their present work; waiting work is cancelled."""
        self._batcher.close()
        self._pictures.shutdown(wait=True, cancel_futures=True)

    def _observe(self, seconds: float, pictures: int) -> None:
        """Update the running mean behind Retry-After with the duration of a forward pass."""
        self._mean_s = _MEAN_DECAY * self._mean_s + (1 - _MEAN_DECAY) * seconds / pictures

    def _count(self, step: int) -> None:
        self._admitted += step
        self._metrics.admitted.set(self._admitted)

    def _release(self, threads: RequestThreads) -> None:
        running = threads.running()
        if not running:
            self._count(-1)
            return
        # A thread cannot be stopped: the place is free only when it has ended, or late threads would pile up.
        loop, left = asyncio.get_running_loop(), len(running)

        def on_end() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self._count(-1)

        for future in running:
            future.add_done_callback(lambda _: _call_if_open(loop, on_end))


class RequestThreads:
    """The threads that an admitted request may use."""

    def __init__(self, batcher: MicroBatcher, pictures: Executor) -> None:
        self._batcher, self._pictures = batcher, pictures
        self._submitted: list[Future[Any]] = []

    async def picture_work(self, call: Callable[[], ResultT]) -> ResultT:
        """Runs work on pictures (decoding, resizing, encoding) off the event loop."""
        return await self._wait(self._pictures.submit(call))

    async def inference(self, networks: Networks, prepared: PreparedPicture) -> Outputs:
        """The networks' outputs of one picture."""
        return await self._wait(self._batcher.submit(networks, prepared))

    def running(self) -> list[Future[Any]]:
        """The work that is not finished."""
        return [future for future in self._submitted if not future.done()]

    async def _wait(self, future: Future[ResultT]) -> ResultT:
        self._submitted = [*self.running(), future]
        # Cancelling the wait (deadline, or a closed connection) also cancels a future that has not started.
        return await asyncio.wrap_future(future)


async def cancel_when_gone(request: Request, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """The result of the work, which is cancelled when the client closes the connection.

    Args:
        request: Its body must have been read.
        work: Makes the answer.

    Raises:
        Problem: 499 if the client closed the connection; it appears in log and metrics only.
    """
    working, leaving = asyncio.create_task(work), asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise problems.CLIENT_GONE.problem()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _call_if_open(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
