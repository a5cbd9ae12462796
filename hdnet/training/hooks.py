"""What can be hung into the training loop: augmentation, validation, and how pairs of frames are compared.

Batches are those that :func:`hdnet.data.store.batches.prepare` makes, on the device. Chance follows from (seed, step,
place of the item in the step's whole batch) alone, so it is the same after a resume and for every number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from zlib import crc32

import numpy as np
from torch import Tensor, nn

Batch = dict[str, Any]


@dataclass(frozen=True)
class Draw:
    """Where one step's chance comes from.

    Attributes:
        seed: The run's.
        step: 0-based.
        first: By stream, the place of this process's first item in the step's whole batch: 0 with one process.
    """

    seed: int
    step: int
    first: Mapping[str, int]

    def of_item(self, stream: str, index: int) -> np.random.Generator:
        """Numbers for one item of this process's batch; the same ones whichever process it lies on."""
        return np.random.default_rng([self.seed, self.step, crc32(stream.encode()), self.first[stream] + index])


class Augmentation(Protocol):
    """Changes a step's batches before the loss sees them."""

    def __call__(self, batch: dict[str, Batch], draw: Draw) -> dict[str, Batch]:
        """New batches by stream: "labelled", and "pairs" with "i", "j" and "rows". Does not write into the old ones."""
        ...


class Validator(Protocol):
    """Judges the model during a training, on people it does not learn from."""

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Metrics by the names of :data:`hdnet.metrics.table.METRICS`, as far as the model has them.

        Args:
            model: The network itself (no wrapper), in evaluation mode, on its device, weights averaged if the run does
                that; called without gradients, by one process only.
        """
        ...


class WarpTerms(NamedTuple):
    """What :class:`PairComparison` finds.

    Attributes:
        warp_m: Scalar, metres: weighted mean over the pairs that have matches, to be minimised (robust if so set).
        warp_px: Scalar, pixels: the same after projection.
        weight: Scalar without gradient: sum of those pairs' weights, 0 if there are none. By it the means of several
            processes add up to the mean of all.
    """

    warp_m: Tensor
    warp_px: Tensor
    weight: Tensor


class PairComparison(Protocol):
    """Compares the depth of two frames; without one, :func:`hdnet.losses.warp` does, as in the original."""

    def __call__(self, depth_i_b1hw: Tensor, depth_j_b1hw: Tensor, pairs: Batch, allow_reflection: bool) -> WarpTerms:
        """Terms of a batch of pairs: "rows" (M, 6), cameras in ``pairs["i"]["camera"]`` and ``pairs["j"]["camera"]``.

        What a weighting needs to know of a pair beyond that, the data set puts beside "rows", one value a pair:
        "turn_deg" (B,) float32, nan where unknown, and "gap_frames" (B,) float32.
        """
        ...
