"""Admission of requests: a bounded queue, a deadline, threads for pictures and one for the networks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from fastapi import Request

from serving.batching import Batcher, Networks
from serving.metrics import Metrics
from serving.problems import Problem, client_gone

if TYPE_CHECKING:
    from hdnet.predict.inference import Prepared

ResultT = TypeVar("ResultT")

PICTURE_THREADS = 2
_MEMORY = 0.8  # share of the old mean in the running mean of inference times


class Lane:
    """Admission, deadline and threads of ``POST /depth``.

    Args:
        queue_size: Requests that may be admitted beside those of one pass of the networks.
        deadline_s: Seconds from admission to the answer.
        metrics: Where stages and queue are counted.
        max_batch: Pictures in one pass of the networks; above 1 on a GPU.
        max_wait_ms: How long a pass waits for more pictures.
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
        self._batcher = Batcher(max_batch, max_wait_ms / 1000, metrics, self._observe)
        self._pictures = ThreadPoolExecutor(PICTURE_THREADS, thread_name_prefix="hdnet-pictures")

    @asynccontextmanager
    async def admit(self, whole: bool = True) -> AsyncIterator[Admission]:
        """A place in the queue, for as long as the request, or a thread that still works for it, lives.

        Args:
            whole: The answer is worth nothing unless all of it is ready; False leaves the deadline to the block.

        Raises:
            Problem: 503 if the queue is full, 504 if the block outlives the deadline.
        """
        if self._admitted >= self.capacity:
            retry_s = max(1, math.ceil(self._mean_s * self._admitted))
            detail = f"{self._admitted} requests are already waiting; try again in {retry_s} s"
            raise Problem(503, "queue_full", detail, {"Retry-After": str(retry_s)})
        self._count(1)
        admission = Admission(self._batcher, self._pictures)
        try:
            with self._metrics.stage("total"):
                async with asyncio.timeout(self.deadline_s if whole else None) as timeout:
                    yield admission
        except TimeoutError:
            if not timeout.expired():
                raise
            raise self.too_slow() from None
        finally:
            self._release(admission)

    def too_slow(self) -> Problem:
        """The problem of an answer that misses the deadline."""
        detail = f"the answer was not ready within {self.deadline_s:g} s; try again, or send a smaller picture"
        return Problem(504, "too_slow", detail)

    def close(self) -> None:
        """Lets the threads finish what they do and ends them; what waits is cancelled."""
        self._batcher.close()
        self._pictures.shutdown(wait=True, cancel_futures=True)

    def _observe(self, seconds: float, pictures: int) -> None:
        """Takes the duration of a pass into the running mean behind Retry-After."""
        self._mean_s = _MEMORY * self._mean_s + (1 - _MEMORY) * seconds / pictures

    def _count(self, step: int) -> None:
        self._admitted += step
        self._metrics.admitted.set(self._admitted)

    def _release(self, admission: Admission) -> None:
        running = admission.running()
        if not running:
            self._count(-1)
            return
        # A thread cannot be stopped: the place is free only when it is through, or late ones would pile up.
        loop, left = asyncio.get_running_loop(), len(running)

        def one_is_through() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self._count(-1)

        for future in running:
            future.add_done_callback(lambda _: _call_if_open(loop, one_is_through))


class Admission:
    """A request's right to use the threads."""

    def __init__(self, batcher: Batcher, pictures: Executor) -> None:
        self._batcher, self._pictures = batcher, pictures
        self._submitted: list[Future[Any]] = []

    async def picture_work(self, call: Callable[[], ResultT]) -> ResultT:
        """Runs work on pictures (decoding, resizing, encoding) off the event loop."""
        return await self._wait(self._pictures.submit(call))

    async def inference(self, networks: Networks, prepared: Prepared) -> np.ndarray:
        """The networks' outputs of one picture, when it is its turn."""
        return await self._wait(self._batcher.submit(networks, prepared))

    def running(self) -> list[Future[Any]]:
        """What its threads have not finished."""
        return [future for future in self._submitted if not future.done()]

    async def _wait(self, future: Future[ResultT]) -> ResultT:
        self._submitted = [*self.running(), future]
        # Cancelling the wait (deadline, or the client left) also cancels a future that has not started.
        return await asyncio.wrap_future(future)


async def unless_gone(request: Request, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """The result of the work, which is cancelled when the client closes the connection.

    Args:
        request: Its body must have been read.
        work: Makes the answer.

    Raises:
        Problem: 499 if the client left; nobody receives it, but log and metrics say so.
    """
    working, leaving = asyncio.create_task(work), asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise client_gone()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _call_if_open(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
