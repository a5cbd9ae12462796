"""The one OpenVINO of a process."""

from __future__ import annotations

from functools import cache

import openvino as ov  # type: ignore[import-untyped]


@cache
def core() -> ov.Core:
    """OpenVINO with its plugins, which stay loaded as long as the process lives.

    The processor's plugin gives the thread that loads it an alternate signal stack, and frees that stack when the last
    ``Core`` and model are gone. If another thread lets go of them, the first one is left with freed memory, and
    the next signal that Python handles there (a child that ends, SIGTERM) kills the process.
    """
    return ov.Core()
