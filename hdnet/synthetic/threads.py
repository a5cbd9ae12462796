"""One thread for number libraries: with more they would sum in another order, and the bytes would differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from hdnet.errors import DataError


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps BLAS, OpenMP and torch to one thread; a process a core is faster anyway.

    Raises:
        DataError: The package threadpoolctl is missing.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _libraries().limit(limits=1):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def _libraries() -> Any:
    """The thread pools of this process, found once."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError as error:
        raise DataError(
            "synthetic people need the package threadpoolctl, which is missing: pip install 'hdnet[synthetic]'"
        ) from error
    import scipy.linalg  # noqa: F401 - brings a BLAS of its own, which has to be there to be found

    return ThreadpoolController()
