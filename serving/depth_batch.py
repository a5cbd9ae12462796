"""``POST /depth/batch``: several pictures, each with its own result or problem."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hdnet.predict.formats import npz
from serving.depth import DepthRequest
from serving.forms import Parts
from serving.problems import INTERNAL, problem_of
from serving.responses import JSON, ZIP, Answer, archive_of, depth_body, depth_figures, model_body
from serving.schemas import BatchBody, BatchFile, BatchFilesBody, BatchProblem, BatchResult, ProblemBody

logger = logging.getLogger("hdnet.serving")


@dataclass(frozen=True, eq=False)
class Item:
    """One picture's entry in the answer and, for a ZIP, its file."""

    entry: BatchResult | BatchFile | BatchProblem
    content: bytes = b""


async def predict_all(depth: DepthRequest, pictures: Sequence[Parts], media_type: str, path: str) -> list[Item]:
    """One item a picture, in their order; a picture that is not ready at the deadline is a 504 problem.

    Args:
        depth: The request, admitted once for all its pictures; pictures of other requests are run in between.
        pictures: The parts of the form.
        media_type: JSON or ZIP.
        path: Of the request.
    """
    admission = depth.service.admission
    # One is prepared while another is in the networks; more at a time would only take memory.
    places = asyncio.Semaphore(admission.max_batch + 1)

    async def one(index: int, parts: Parts) -> Item:
        encode = _ENCODERS[media_type]
        try:
            async with places:
                return await depth.predict(parts, lambda answer: encode(index, answer))
        except Exception as error:  # noqa: BLE001 - the answer of this picture alone
            return _failed(index, error, path, depth.request_id)

    tasks = [asyncio.create_task(one(index, parts)) for index, parts in enumerate(pictures)]
    try:
        await asyncio.wait(tasks, timeout=admission.deadline_s)
        return [
            task.result() if task.done() else _failed(index, admission.too_slow(), path, depth.request_id)
            for index, task in enumerate(tasks)
        ]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def encode_all(depth: DepthRequest, items: Sequence[Item], media_type: str) -> bytes:
    """The answer of all pictures."""
    entries = [item.entry for item in items]
    head: dict[str, Any] = {"request_id": depth.request_id, "model": model_body(depth.model)}
    if media_type == JSON:
        return BatchBody(**head, results=entries).model_dump_json().encode()
    body = BatchFilesBody(**head, results=entries)
    files = {item.entry.file: item.content for item in items if isinstance(item.entry, BatchFile)}
    return archive_of({"results.json": body.model_dump_json(indent=2).encode(), **files})


def _failed(index: int, error: Exception, path: str, request_id: str) -> Item:
    problem = problem_of(error)
    if problem is None:
        logger.error("request %s failed at picture %d", request_id, index, exc_info=error)
        problem = INTERNAL.problem(request_id=request_id)
    body = ProblemBody(**problem.body(path, request_id))
    return Item(BatchProblem(index=index, status=problem.status, problem=body))


def _json_item(index: int, answer: Answer) -> Item:
    return Item(BatchResult(index=index, result=depth_body(answer)))


def _zip_item(index: int, answer: Answer) -> Item:
    entry = BatchFile(index=index, file=f"{index:04d}.npz", result=depth_figures(answer))
    return Item(entry, npz(answer.prediction))


_ENCODERS: dict[str, Callable[[int, Answer], Item]] = {JSON: _json_item, ZIP: _zip_item}
