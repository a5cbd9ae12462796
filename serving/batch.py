"""``POST /depth/batch``: several pictures, of which one that cannot be used spoils none of the others."""

from __future__ import annotations

import asyncio
import io
import logging
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from serving.decoding import Parts
from serving.depth import Work
from serving.problems import Problem, problem_of
from serving.responses import JSON, Answer, depth_body, depth_figures, model_body, npz
from serving.schemas import BatchBody, BatchFile, BatchFilesBody, BatchProblem, BatchResult, ProblemBody

logger = logging.getLogger("hdnet.serving")

ZIP = "application/zip"
MAX_PICTURES = 32


@dataclass(frozen=True, eq=False)
class Item:
    """What became of one picture, as the entry of the answer and, for a ZIP, its file."""

    entry: BatchResult | BatchFile | BatchProblem
    content: bytes = b""


async def predict_all(work: Work, pictures: Sequence[Parts], media_type: str, path: str) -> list[Item]:
    """One item a picture, in their order; what is not ready at the deadline is a 504 problem.

    Args:
        work: The request, admitted once for all its pictures: those of other requests get their turn in between.
        pictures: What was sent.
        media_type: JSON or ZIP.
        path: Of the request.
    """
    lane = work.service.lane
    # One is prepared while another is with the networks; more at a time would only take memory.
    places = asyncio.Semaphore(lane.max_batch + 1)

    async def one(index: int, parts: Parts) -> Item:
        encode = _ENCODERS[media_type]
        try:
            async with places:
                return await work.predict(parts, lambda answer: encode(index, answer))
        except Exception as error:  # noqa: BLE001 - it is the answer of this picture alone
            return _failed(index, error, path, work.request_id)

    tasks = [asyncio.create_task(one(index, parts)) for index, parts in enumerate(pictures)]
    try:
        await asyncio.wait(tasks, timeout=lane.deadline_s)
        return [
            task.result() if task.done() else _failed(index, lane.too_slow(), path, work.request_id)
            for index, task in enumerate(tasks)
        ]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def encode_all(work: Work, items: Sequence[Item], media_type: str) -> bytes:
    """The answer of all pictures."""
    entries = [item.entry for item in items]
    head: dict[str, Any] = {"request_id": work.request_id, "model": model_body(work.model)}
    if media_type == JSON:
        return BatchBody(**head, results=entries).model_dump_json().encode()
    body = BatchFilesBody(**head, results=entries)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # an NPZ is compressed already
        archive.writestr("results.json", body.model_dump_json(indent=2))
        for item in items:
            if isinstance(item.entry, BatchFile):
                archive.writestr(item.entry.file, item.content)
    return buffer.getvalue()


def _failed(index: int, error: Exception, path: str, request_id: str) -> Item:
    problem = problem_of(error)
    if problem is None:
        logger.error("request %s failed at picture %d", request_id, index, exc_info=error)
        detail = f"the service failed at this picture; its log has the reason under request id {request_id}"
        problem = Problem(500, "internal", detail)
    body = ProblemBody(**problem.body(path, request_id))
    return Item(BatchProblem(index=index, status=problem.status, problem=body))


def _json_item(index: int, answer: Answer) -> Item:
    return Item(BatchResult(index=index, result=depth_body(answer)))


def _zip_item(index: int, answer: Answer) -> Item:
    entry = BatchFile(index=index, file=f"{index:04d}.npz", result=depth_figures(answer))
    return Item(entry, npz(answer.prediction))


_ENCODERS: dict[str, Callable[[int, Answer], Item]] = {JSON: _json_item, ZIP: _zip_item}
