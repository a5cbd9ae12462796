"""Memory of the C library."""

from __future__ import annotations

import ctypes
import platform

# mallopt(3); the values are C integers.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST, _MAPPED_FROM = 2**31 - 1, 2**30


def keep_freed_memory() -> bool:
    """Has this process reuse the memory of a step for the next one instead of handing it back in between.

    A training frees and allocates the same tensors again and again. glibc returns large ones to the system, which then
    has to find and clear every page anew: a tenth of a step on a processor, and most of the time that it takes to
    prepare a batch. The largest amount of memory in use does not change.

    Returns:
        Whether the C library could be told so: glibc's can, others are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _MAPPED_FROM) and mallopt(_TRIM_THRESHOLD, _LARGEST))
