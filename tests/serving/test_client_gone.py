"""A client that closes the connection frees its place and costs no inference."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from fastapi import Request
from serving_fakes import URI, FakeRegistry, good_upload, running, wait_until

from serving.admission import cancel_when_gone
from serving.app import create_app
from serving.problems import Problem
from serving.settings import Settings


def request_of(messages: list[dict[str, object]]) -> Request:
    """A request that receives these messages, then nothing for ever."""

    async def receive() -> dict[str, object]:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    return Request({"type": "http"}, receive)


def test_work_is_cancelled_when_the_client_leaves() -> None:
    cancelled: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def run() -> None:
        await cancel_when_gone(request_of([{"type": "http.request"}, {"type": "http.disconnect"}]), work())

    with pytest.raises(Problem) as caught:
        asyncio.run(run())
    assert (caught.value.status, caught.value.code) == (499, "client_gone")
    assert cancelled == [True]


def test_results_and_errors_of_the_work_pass_through() -> None:
    async def give() -> int:
        return 3

    async def fail() -> None:
        raise Problem(422, "empty_mask", "empty")

    async def run() -> None:
        assert await cancel_when_gone(request_of([]), give()) == 3
        await cancel_when_gone(request_of([]), fail())

    with pytest.raises(Problem, match="empty"):
        asyncio.run(run())


def test_cancelling_the_request_cancels_the_work() -> None:
    ended = threading.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def run() -> None:
        task = asyncio.create_task(cancel_when_gone(request_of([]), work()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert ended.is_set()


@pytest.fixture
def address(registry: FakeRegistry) -> Iterator[str]:
    with running(create_app(Settings(model_uri=URI, queue_size=1), registry)) as url:
        yield url


def send_and_leave(address: str, leave: Callable[[], None]) -> None:
    """Sends a whole request over a socket and closes it without reading the answer."""
    request = httpx2.Request("POST", f"{address}/depth", files=good_upload())
    body = request.read()
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection((request.url.host, request.url.port)) as connection:
        connection.sendall(f"POST /depth HTTP/1.1\r\n{head}\r\n".encode() + body)
        leave()


def metrics(address: str) -> str:
    return httpx2.get(f"{address}/metrics").text


def test_who_leaves_while_waiting_frees_the_place_and_costs_no_inference(address: str, registry: FakeRegistry) -> None:
    predictor = registry.versions["1"]
    gate = predictor.gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx2.post, f"{address}/depth", files=good_upload(), timeout=20)
        wait_until(lambda: predictor.batches == [1])
        send_and_leave(address, lambda: wait_until(lambda: "hdnet_queue_length 1.0" in metrics(address)))
        wait_until(lambda: 'hdnet_rejected_total{reason="client_gone"} 1.0' in metrics(address))
        assert "hdnet_admitted 1.0" in metrics(address)
        assert "hdnet_queue_length 0.0" in metrics(address)
        gate.set()
        assert first.result(10).status_code == 200
    assert httpx2.post(f"{address}/depth", files=good_upload()).status_code == 200
    assert predictor.batches == [1, 1]


def test_who_leaves_during_inference_keeps_the_place_until_the_thread_is_through(
    address: str, registry: FakeRegistry
) -> None:
    predictor = registry.versions["1"]
    gate = predictor.gate = threading.Event()
    send_and_leave(address, lambda: wait_until(lambda: predictor.batches == [1]))
    wait_until(lambda: 'hdnet_rejected_total{reason="client_gone"} 1.0' in metrics(address))
    assert "hdnet_admitted 1.0" in metrics(address)
    gate.set()
    wait_until(lambda: "hdnet_admitted 0.0" in metrics(address))


def test_who_leaves_in_the_middle_of_the_upload_is_no_malformed_request(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /depth HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=cut\r\n"
            b"Content-Length: 1000\r\n\r\n--cut\r\n"
        )
        wait_until(lambda: "hdnet_requests_in_flight 2.0" in metrics(address))
    wait_until(lambda: 'hdnet_rejected_total{reason="client_gone"} 1.0' in metrics(address))
