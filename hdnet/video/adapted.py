"""Result of an adaptation of the network to one video, as :mod:`hdnet.training.adaptation` makes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hdnet.video.clip import Options


@dataclass(frozen=True)
class Adapted:
    """Weights that were adapted to a video.

    Attributes:
        model: Model file; None where the weights stay as they were.
        report: What was measured, for ``clip.json``.
    """

    model: Path | None
    report: dict[str, Any]


class Adapter(Protocol):
    """Adapts the network to a video."""

    @property
    def steps(self) -> int:
        """Most steps of the training."""
        ...

    def __call__(self, video: Path, folder: Path, options: Options, progress: bool) -> Adapted:
        """Adapt the network.

        Args:
            video: The file.
            folder: For what an interrupted run has finished; survey and track are found or left there.
            options: What is wanted of the video.
            progress: Show progress bars on stderr.
        """
        ...
