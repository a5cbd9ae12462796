"""Clients of a service and the outcomes of their requests."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from ssl import SSLContext

import httpx2
import numpy as np

from hdnet.errors import HDNetError

OVERLOADED = 503
_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Upload:
    """A request with fixed bytes and id, so that one model always gives the same answer.

    Attributes:
        name: Also the request's id.
        body: The form.
        headers: Of the request.
        expected: Status of the answer, unless the service is overloaded.
    """

    name: str
    body: bytes
    headers: dict[str, str]
    expected: int = 200


@dataclass(frozen=True)
class Outcome:
    """Outcome of one request.

    Attributes:
        upload: Its name.
        due: Time at which it should begin, in seconds of :func:`time.perf_counter`.
        ended: Time of the answer.
        status: HTTP status; None without an answer.
        expected: Expected status.
        version: Of the model, from the headers; empty if unknown.
        digest: Of the answer's bytes.
        error: Reason for a missing answer.
    """

    upload: str
    due: float
    ended: float
    status: int | None
    expected: int = 200
    version: str = ""
    digest: str = ""
    error: str = ""

    @property
    def latency_s(self) -> float:
        """Seconds from the time at which it should begin."""
        return self.ended - self.due

    @property
    def as_expected(self) -> bool:
        """Return whether the status is the expected one."""
        return self.status == self.expected


class Clients:
    """Sends requests in turn.

    Args:
        url: Of the service.
        uploads: Taken in turns.
        patience_s: Longest wait after a 503, whatever ``Retry-After`` says.
        verify: Certificates to trust, of a service behind TLS; True for the system's.

    Attributes:
        outcomes: Of each request.
        end: Time of :func:`time.perf_counter` after which no client of a closed loop begins another request.
    """

    def __init__(
        self, url: str, uploads: Sequence[Upload], patience_s: float = 10.0, verify: SSLContext | bool = True
    ) -> None:
        self.outcomes: list[Outcome] = []
        self.end = math.inf
        self._url, self._uploads, self._patience_s = url, uploads, patience_s
        self._turn = count()
        self._http = httpx2.AsyncClient(
            verify=verify,
            timeout=_TIMEOUT_S,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        )

    async def __aenter__(self) -> Clients:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def closed_loop(self, clients: int, requests: float = math.inf) -> None:
        """Clients that each ask again after their answer, until :attr:`end` or that number of requests."""
        left = requests

        async def client() -> None:
            nonlocal left
            while left > 0 and time.perf_counter() < self.end:
                left -= 1
                wait_s = await self.ask(self._next(), time.perf_counter())
                await asyncio.sleep(max(0.0, min(wait_s, self.end - time.perf_counter())))

        await asyncio.gather(*(client() for _ in range(clients)))

    async def open_loop(self, rate_hz: float, seconds: float, seed: int = 0) -> None:
        """Requests at random times (Poisson), the first at once, independent of earlier answers."""
        chance, asked, due = random.Random(seed), [], time.perf_counter()
        end = due + seconds
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asked.append(asyncio.create_task(self.ask(self._next(), due)))
            due += chance.expovariate(rate_hz)
        await asyncio.gather(*asked)

    async def ask(self, upload: Upload, due: float) -> float:
        """One request.

        Returns:
            Seconds to wait before the next.
        """
        try:
            answer = await self._http.post(f"{self._url}/depth", content=upload.body, headers=upload.headers)
        except httpx2.TransportError as error:
            reason = type(error).__name__
            self.outcomes.append(Outcome(upload.name, due, time.perf_counter(), None, upload.expected, error=reason))
            return min(0.05, self._patience_s)
        digest = hashlib.sha256(answer.content).hexdigest()
        version = answer.headers.get("X-Model-Version", "")
        ended, status = time.perf_counter(), answer.status_code
        self.outcomes.append(Outcome(upload.name, due, ended, status, upload.expected, version, digest))
        return min(float(answer.headers.get("Retry-After", 0)), self._patience_s)

    def _next(self) -> Upload:
        return self._uploads[next(self._turn) % len(self._uploads)]


def ask_each(url: str, uploads: Sequence[Upload]) -> list[Outcome]:
    """Every request once, one after the other.

    Raises:
        HDNetError: If an answer is not the expected one.
    """

    async def one_by_one(clients: Clients) -> None:
        for upload in uploads:
            await clients.ask(upload, time.perf_counter())

    outcomes = ask(url, uploads, one_by_one)
    for one in outcomes:
        if not one.as_expected:
            found = one.status or one.error
            raise HDNetError(f"{one.upload}: answered with {found}, expected {one.expected}, without other load")
    return outcomes


def ask(
    url: str,
    uploads: Sequence[Upload],
    load: Callable[[Clients], Awaitable[None]],
    patience_s: float = 10.0,
    verify: SSLContext | bool = True,
) -> list[Outcome]:
    """Outcomes of the requests of a load, such as ``lambda clients: clients.closed_loop(...)``."""

    async def run() -> list[Outcome]:
        async with Clients(url, uploads, patience_s, verify) as clients:
            await load(clients)
            return clients.outcomes

    return asyncio.run(run())


def upload(name: str, image: bytes, mask: bytes, iuv: bytes, accept: str = "application/json") -> Upload:
    """A request of three pictures."""
    files = {"image": ("image.jpg", image), "mask": ("mask.png", mask), "densepose": ("densepose.png", iuv)}
    made = httpx2.Request("POST", "http://service/depth", files=files)
    headers = {"Content-Type": made.headers["Content-Type"], "Accept": accept, "X-Request-Id": name}
    return Upload(name, made.read(), headers)


def percentile_ms(outcomes: Sequence[Outcome], percent: float) -> float:
    """Percentile of the latency; NaN without answers."""
    if not outcomes:
        return float("nan")
    return 1e3 * float(np.percentile([one.latency_s for one in outcomes], percent))


def failures(outcomes: Sequence[Outcome]) -> Counter[str]:
    """Outcomes other than the expected status and 503, by kind."""
    bad = (one for one in outcomes if not one.as_expected and one.status != OVERLOADED)
    return Counter(f"status {one.status}" if one.status else one.error for one in bad)


def wrong_answers(outcomes: Sequence[Outcome], right: Sequence[Outcome]) -> int:
    """Number of answers that differ, if only by a bit, from the same model's answer to the same request alone."""
    known = {(one.upload, one.version): one.digest for one in right}
    return sum(one.as_expected and known[one.upload, one.version] != one.digest for one in outcomes)
