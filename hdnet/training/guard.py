"""Guard against losses and gradients that are not finite: such steps are skipped, too many in a row end the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdnet.training.distributed import average, processes

BAD_BATCH_FILE = "bad_batch.pt"


class NonFiniteGuard:
    """Skips bad steps on the device, without waiting for it.

    Adam itself takes the flag (``found_inf``, made for gradient scalers) and leaves weights and moments as they are.
    Skipped steps are counted on the device and fetched with the loss terms.

    Args:
        max_skipped: Largest number of bad steps in a row; one more ends the run.
        device: Device of the gradients.
        state: Counts to continue.
    """

    def __init__(self, max_skipped: int, device: torch.device, state: Mapping[str, int] | None) -> None:
        self.max_skipped = max_skipped
        counts = state or {"skipped": 0, "in_a_row": 0}
        self.skipped = torch.tensor(float(counts["skipped"]), device=device)
        self.in_a_row = torch.tensor(float(counts["in_a_row"]), device=device)

    def step(self, model: nn.Module, optimiser: Any, loss: Tensor, grad_clip: float | None) -> None:
        """Clip the gradients and take the optimiser's step, or skip it."""
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if grad_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(model.parameters(), grad_clip, norm)
        # 0 x loss is nan unless the loss is finite. Processes share their gradients, but not their losses.
        probe = norm + average(loss.detach().float() * 0)
        found = (~probe.isfinite()).float()
        optimiser.optimizer.found_inf = found
        optimiser.step()
        self.skipped += found
        self.in_a_row = (self.in_a_row + found) * found

    def counts(self) -> dict[str, int]:
        """Return the counts for a checkpoint; waits for the device."""
        return {"skipped": int(self.skipped), "in_a_row": int(self.in_a_row)}

    def ends_run(self, in_a_row: int, is_last: bool) -> bool:
        """Return whether the run ends with an error.

        Args:
            in_a_row: :attr:`in_a_row`, as fetched.
            is_last: After the last step two bad ones are enough: the result would be useless.
        """
        return in_a_row > (min(self.max_skipped, 1) if is_last else self.max_skipped)


def save_batch(folder: Path, batch: Mapping[str, Any], about: dict[str, Any]) -> Path:
    """Save a step's batch for ``torch.load(weights_only=True)``, one file per process."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / BAD_BATCH_FILE
    if processes() > 1:
        path = path.with_stem(f"{path.stem}_rank{torch.distributed.get_rank()}")
    torch.save({**about, "batch": _on_cpu(batch)}, path)
    return path


def _on_cpu(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _on_cpu(value) for key, value in values.items()}
    return values.cpu() if isinstance(values, Tensor) else values
