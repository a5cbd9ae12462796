"""Time and disk space of a generation."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from hdnet.errors import DataError
from hdnet.synthetic.shot import SyntheticSpec

# Measured with benchmarks/synthesis.py on one core of a server, rounded up.
SECONDS_PER_PERSON = 0.45
SECONDS_PER_STILL = 0.3
SECONDS_PER_FRAME = 0.3
SECONDS_TO_START = 12.0
BYTES_PER_STILL = {"text": 1_250_000, "packed": 180_000}
BYTES_PER_FRAME = 160_000
# Space to keep free beside the result.
_SPARE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Cost:
    """Cost of a run.

    Attributes:
        seconds: Wall time, a rough estimate that depends on the processor.
        disk_bytes: Disk space of the result.
    """

    seconds: float
    disk_bytes: int

    def __str__(self) -> str:
        return f"about {_duration(self.seconds)} and {max(self.disk_bytes / 1e9, 0.01):,.2f} GB on disk"


def cost(stills: int, frames: int, jobs: int, spec: SyntheticSpec) -> Cost:
    """Estimate time and disk space for pictures of a spec, made by ``jobs`` processes on as many cores."""
    still_s = SECONDS_PER_PERSON / spec.pictures_per_person + SECONDS_PER_STILL
    seconds = (stills * still_s + frames * SECONDS_PER_FRAME) / max(jobs, 1) + SECONDS_TO_START
    return Cost(seconds, stills * BYTES_PER_STILL[spec.format] + frames * BYTES_PER_FRAME)


def check_room(folder: Path, disk_bytes: int) -> None:
    """Check that the disk has room.

    Args:
        folder: Folder to be written; need not exist yet.
        disk_bytes: Space needed.

    Raises:
        DataError: There is not enough.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free, needed = shutil.disk_usage(there).free, disk_bytes + _SPARE_BYTES
    if free < needed:
        raise DataError(
            f"{folder}: the disk has {free / 1e9:,.1f} GB free, {needed / 1e9:,.1f} GB are needed; "
            "choose another disk, a smaller size, or make room"
        )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(math.ceil(seconds / 10), 1) * 10} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
