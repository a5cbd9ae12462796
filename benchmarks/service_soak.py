"""`service.py soak`: thousands of requests of all kinds; the process must not grow."""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from inference import photograph, print_head, print_row
from service_clients import OVERLOADED, Upload, ask, ask_each, failures, upload, wrong_answers
from service_process import Burden, add_model, figures, hdnet_serve, model_file, model_name

from hdnet.cli.commands import add_verb
from hdnet.errors import HDNetError

_CLIENTS = 4
_SIZES = ((96, 64), (192, 128), (320, 240))
_KINDS = {
    "json": "application/json",
    "png": "image/png",
    "npz": "application/x-npz",
    "glb": "model/gltf-binary",
}
_SPARE = 8  # threads and files that may come and go, such as connections that are being closed


def add_soak(verbs: Any) -> argparse.ArgumentParser:
    """Declares the command."""
    verb = add_verb(verbs, "soak", "memory, threads and files over thousands of requests", soak)
    add_model(verb, 4)
    verb.add_argument("--requests", type=int, default=5000)
    verb.add_argument("--bound-mb", type=float, default=20.0, help="growth of memory after the first tenth")
    return verb


def soak(arguments: argparse.Namespace, folder: Path) -> None:
    """Measures and prints everything.

    Raises:
        HDNetError: If memory grows beyond the bound, or threads or files at all, after the first tenth of the requests.
    """
    requests = mixed()
    service = hdnet_serve(model_file(arguments, folder), folder, runtime=arguments.runtime, threads=arguments.threads)
    print(
        f"## {model_name(arguments)}, runtime {arguments.runtime}, {_CLIENTS} clients, "
        f"{len(requests)} kinds of requests"
    )
    print_head("requests", "memory, MB", "threads", "open files", "right answers", "503")
    with service:
        right = ask_each(service.url, requests)
        found = [service.burden()]
        print_line(0, found[0], 0, 0)
        for begin, end in pairwise((0, *marks(arguments.requests))):
            outcomes = ask(service.url, requests, lambda clients, n=end - begin: clients.closed_loop(_CLIENTS, n))
            if failures(outcomes) or wrong_answers(outcomes, right):
                wrong = wrong_answers(outcomes, right)
                raise HDNetError(f"after {end} requests: {dict(failures(outcomes))}, {wrong} wrong answers")
            found.append(service.burden())
            right_now = sum(one.as_expected for one in outcomes)
            print_line(end, found[-1], sum(one.status == OVERLOADED for one in outcomes), right_now)
    check_growth(found[1], found[-1], arguments.bound_mb)


def mixed() -> list[Upload]:
    """Requests for all media types in several sizes, and requests that are refused."""
    good = [
        replace(request, name=f"{request.name}-{size[0]}-{kind}", headers={**request.headers, "Accept": media_type})
        for size in _SIZES
        for kind, media_type in _KINDS.items()
        for request in figures(1, size)
    ]
    parts = photograph(*_SIZES[0])
    damaged = replace(upload("damaged", parts.image[:-400], parts.mask, parts.iuv), expected=422)
    empty = replace(upload("empty", parts.image, parts.mask, b""), expected=422)
    return [with_its_id(request) for request in (*good, damaged, empty)]


def with_its_id(request: Upload) -> Upload:
    """The request with its name as the request id."""
    return replace(request, headers={**request.headers, "X-Request-Id": request.name})


def marks(requests: int) -> list[int]:
    """Numbers of requests after which the process is measured: a tenth, then every fifth."""
    return [requests // 10, *(requests * fifth // 5 for fifth in range(1, 6))]


def print_line(requests: int, found: Burden, refused: int, right: int) -> None:
    """A line of the table."""
    print_row(f"{requests:,}", f"{found.memory_mb:.1f}", found.threads, found.files, right, refused)


def check_growth(warm: Burden, end: Burden, bound_mb: float) -> None:
    """Print how much the process grew.

    Raises:
        HDNetError: If that is more than allowed.
    """
    growth_mb = end.memory_mb - warm.memory_mb
    print(f"\nGrowth after the first tenth: {growth_mb:+.1f} MB (bound {bound_mb:g})")
    if growth_mb > bound_mb:
        raise HDNetError(f"the service grew by {growth_mb:.1f} MB after the first tenth, expected at most {bound_mb:g}")
    for kind, before, after in (("threads", warm.threads, end.threads), ("open files", warm.files, end.files)):
        if after > before + _SPARE:
            raise HDNetError(f"the service has {after} {kind} after {before}, expected at most {_SPARE} more")
