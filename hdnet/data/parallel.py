"""One function over many items, in this process or in several, with a progress bar."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int, progress: bool, label: str
) -> Iterator[Result]:
    """Results in the order of the items.

    Args:
        function: A module-level function (or partial of one) where ``jobs`` is above 1, since it is pickled.
        items: What to call it with.
        jobs: Processes; 1 works in this one.
        progress: Show a progress bar on stderr.
        label: Its text.
    """
    with tqdm(total=len(items), desc=label, disable=not progress) as bar:
        if jobs <= 1 or len(items) < 2:
            for item in items:
                yield function(item)
                bar.update()
            return
        # Forking a process in which torch has started threads can deadlock the child.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(items)), mp_context=context) as pool:
            for result in pool.map(function, items):
                yield result
                bar.update()
