"""Memory of the C library."""

from __future__ import annotations

import ctypes
import platform

# mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Larger tensors are mapped anew each time, as ever: glibc itself goes no further.
_REUSED_BYTES = 32 << 20
_KEPT_BYTES = 512 << 20


def keep_freed_memory() -> bool:
    """Has this process reuse the memory of a step for the next one instead of handing it back in between.

    A training frees and allocates the same tensors again and again. glibc returns them to the system, which then has to
    find and clear every page anew: a tenth of a step of a small network on a processor, and more than half of the time
    that it takes to prepare a batch. At most 512 MB that nobody uses stay with the process.

    Returns:
        Whether the C library could be told so: glibc's can, others are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _REUSED_BYTES) and mallopt(_TRIM_THRESHOLD, _KEPT_BYTES))
