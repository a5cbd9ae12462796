"""Ordered map over many items in this process, in several, or on a cluster, with a progress bar.

The work is joblib's. Its processes (loky) are the default; :func:`using_backend` chooses threads instead, or a Dask or
Ray cluster, whose machines must see the same folders under the same paths as this one.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache, partial
from typing import Any, TypeVar, get_args

import joblib
from tqdm import tqdm

from hdnet.errors import HDNetError, ParamsError
from hdnet.extras import install_command
from hdnet.params import ParallelBackend

Item = TypeVar("Item")
Result = TypeVar("Result")
Backend = ParallelBackend
BACKENDS: tuple[Backend, ...] = get_args(Backend)

# joblib hands out new work as results come in, whether or not they are taken: so many items a worker at a time bound
# what can pile up in memory, and are enough that waiting for the last of them costs next to nothing.
_WINDOW = 128

# Samples; for fewer, processes that each import torch cost more than they save.
_WORTH_A_POOL = 1000

# Seconds until a worker of a killed process ends; loky's own limit is minutes, with all their memory.
_WATCH_S = 0.5

_EXTRAS = {"dask": "cluster", "ray": "cluster-ray"}

_backend: ContextVar[Backend] = ContextVar("_backend", default="loky")


def cores() -> int:
    """Return the number of cores that this process may use; the limits of a container and of ``taskset`` count."""
    found: int = joblib.cpu_count()
    return found


def processes(jobs: int, samples: int = _WORTH_A_POOL) -> int:
    """Return the number of processes for so many samples: as set, or for 0 one a core; 1 where a pool would not pay."""
    return 1 if samples < _WORTH_A_POOL else jobs or cores()


@contextmanager
def using_backend(backend: Backend) -> Iterator[None]:
    """Make :func:`ordered_map` use another back end inside the block.

    Args:
        backend: "loky" (processes), "threading", "dask" or "ray". Dask connects to the scheduler of
            ``DASK_SCHEDULER_ADDRESS``, Ray to the cluster of ``RAY_ADDRESS``; without, each starts one on this machine.

    Raises:
        ParamsError: The back end is not installed, or unknown.
        HDNetError: The cluster does not answer.
    """
    if backend not in BACKENDS:
        raise ParamsError(f"parallel back end {backend!r} is unknown; expected one of {', '.join(BACKENDS)}")
    with ExitStack() as stack:
        try:
            if backend == "dask":
                stack.enter_context(_dask_client())
            elif backend == "ray":
                stack.enter_context(_ray_session())
        except ImportError as error:
            raise ParamsError(
                f"parallel back end {backend!r} is not installed ({error}); `{install_command(_EXTRAS[backend])}`"
            ) from error
        except (OSError, ConnectionError) as error:
            raise HDNetError(f"the {backend} cluster does not answer: {error}") from error
        stack.enter_context(joblib.parallel_config(backend=backend))
        token = _backend.set(backend)
        try:
            yield
        finally:
            _backend.reset(token)


def ordered_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int,
    progress: bool,
    label: str,
    inner_threads: int | None = None,
) -> Iterator[Result]:
    """Yield results in the order of the items.

    Memory stays flat however many items there are, as long as a result is small: hand large ones on as files.

    Args:
        function: A module-level function (or partial of one), since it is pickled where others work.
        items: Its arguments.
        jobs: Processes or threads; 1 works in this process. A cluster uses all it has, whatever this says.
        progress: Show a progress bar on stderr.
        label: Its text.
        inner_threads: Threads that number libraries may use in a process of this machine; None divides the cores.

    Raises:
        HDNetError: A worker process died. What ``function`` raises arrives as it is.
    """
    with tqdm(total=len(items), desc=label, disable=not progress) as bar:
        for result in _results(function, items, jobs, inner_threads):
            yield result
            bar.update()


@contextmanager
def workers_started(function: Callable[[int], None], jobs: int) -> Iterator[None]:
    """Start the processes of the next :func:`ordered_map` of one inner thread while the block runs.

    Args:
        function: Called once a process, with its number: what takes long the first time. Its errors are left to those
            who meet them again.
        jobs: Processes; for 1 there is nothing to start.
    """
    if jobs <= 1 or _backend.get() != "loky":
        yield
        return
    with ThreadPoolExecutor(1) as beside:
        beside.submit(lambda: list(ordered_map(function, range(jobs), jobs, False, "", 1)))
        yield


def _results(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int, inner_threads: int | None
) -> Iterator[Result]:
    backend = _backend.get()
    on_cluster = backend in ("dask", "ray")
    if not on_cluster and (jobs <= 1 or len(items) < 2):
        yield from map(function, items)
        return
    # max_nbytes: no detour of large arguments through files in /dev/shm, which containers keep small.
    settings: dict[str, Any] = {"n_jobs": -1 if on_cluster else min(jobs, len(items)), "max_nbytes": None}
    # joblib's Ray back end can only give the results of a window together.
    settings["return_as"] = "list" if backend == "ray" else "generator"
    work = partial(_call_while_wanted, os.getpid(), function) if backend == "loky" else function
    try:
        with _quiet_manager(), _threads(backend, inner_threads), joblib.Parallel(**settings) as parallel:
            window = _WINDOW * max(1, joblib.effective_n_jobs(settings["n_jobs"]))
            for first in range(0, len(items), window):
                calls = [joblib.delayed(work)(item) for item in items[first : first + window]]
                yield from _quietly_closed(parallel(calls))
    except BrokenProcessPool as error:
        raise HDNetError(
            "a worker process ended unexpectedly, most often because memory ran out; use fewer jobs and run again"
        ) from error


def _call_while_wanted(owner: int, function: Callable[[Item], Result], item: Item) -> Result:
    """Return the result; a worker process ends with the process that started it, however that ends."""
    if os.getpid() != owner:
        _end_with(owner)
    return function(item)


@cache
def _end_with(owner: int) -> None:
    """Watch the parent process; loky starts its workers itself."""

    def watch() -> None:
        while os.getppid() == owner:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _threads(backend: Backend, inner_threads: int | None) -> AbstractContextManager[Any]:
    if backend != "loky" or inner_threads is None:
        return nullcontext()
    config: AbstractContextManager[Any] = joblib.parallel_config(backend=backend, inner_max_num_threads=inner_threads)
    return config


def _quietly_closed(results: Iterable[Result]) -> Iterator[Result]:
    """Yield the results, without joblib's warning about pending calls if the caller stops early."""
    try:
        for result in results:  # noqa: UP028 - `yield from` would close the results itself, and not quietly
            yield result
    except GeneratorExit:
        if isinstance(results, Generator):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results.close()
        raise


@contextmanager
def _quiet_manager() -> Iterator[None]:
    """Keep loky's managing thread from printing a KeyError over the error that made it stop.

    It looks for a call that was withdrawn in the same moment (joblib 1.4 to 1.6); its workers are gone by then.
    """
    before = threading.excepthook

    def hook(problem: threading.ExceptHookArgs) -> None:
        name = problem.thread.name if problem.thread else ""
        if not (name == "ExecutorManagerThread" and issubclass(problem.exc_type, KeyError)):
            before(problem)

    threading.excepthook = hook
    try:
        yield
    finally:
        if threading.excepthook is hook:
            threading.excepthook = before


def _dask_client() -> Any:
    import dask  # optional, and takes a second
    from dask.distributed import Client

    logging.getLogger("distributed").setLevel(logging.WARNING)
    # A cluster that it starts itself would also serve a web page.
    own = {} if dask.config.get("scheduler-address", None) else {"dashboard_address": None}
    return Client(**own)


@contextmanager
def _ray_session() -> Iterator[None]:
    import ray  # optional, and takes seconds
    from ray.util.joblib import register_ray

    register_ray()
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        if started:
            ray.shutdown()
