"""One training loop for all stages.

Read :meth:`Engine.run` from top to bottom: that is the loop. Devices, precision and data movement are Lightning
Fabric's. Every step's samples follow from (seed, step) alone, so a run that was stopped and resumed goes through the
same numbers as one that never stopped.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from hdnet.data.datasets import StepSampler
from hdnet.errors import TrainingError
from hdnet.models import DepthEstimator, NormalEstimator
from hdnet.models.weights import save_estimator
from hdnet.training.checkpoint import CheckpointFolder
from hdnet.training.memory import keep_freed_memory
from hdnet.training.optim import learning_rate_factor, make_adam, moments_of, set_moments, tensorflow_epsilon
from hdnet.training.tasks import Task
from hdnet.training.tracking import Tracker

logger = logging.getLogger(__name__)

Precision = Literal["32", "bf16", "64"]
# One copies more samples than a GPU trains on, and two batches ahead fit the 64 MB that containers share by default.
_GPU_LOADER_WORKERS = 1
_FABRIC_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "64": "64-true"}


@dataclass(frozen=True)
class Schedule:
    """What a run computes: steps and optimiser; see :class:`hdnet.params.OptimiserParams`."""

    steps: int
    learning_rate: float
    adam_eps: float
    tf_epsilon: bool
    schedule: Literal["constant", "cosine"]
    grad_clip: float | None
    seed: int


@dataclass(frozen=True)
class Runtime:
    """How it runs; see :class:`hdnet.params.RuntimeParams`."""

    device: str = "auto"
    precision: Literal["auto", "32", "bf16", "64"] = "auto"
    log_every: int = 10
    panel_every: int = 100
    checkpoint_every: int = 100
    weights_every: int = 500
    loader_workers: int | None = None


class Engine:
    """Trains one task.

    Args:
        task: Model, data and loss.
        schedule: Steps, optimiser, seed.
        runtime: Device, precision, reporting.
        checkpoints: Where to save and to resume from.
        tracker: Gets loss terms, pictures and checkpoints.
        moments: Adam's, to continue with instead of starting at 0; afterwards the attribute holds the last ones.
    """

    def __init__(
        self,
        task: Task,
        schedule: Schedule,
        runtime: Runtime,
        checkpoints: CheckpointFolder,
        tracker: Tracker,
        moments: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self.task = task
        self.schedule = schedule
        self.runtime = runtime
        self.checkpoints = checkpoints
        self.tracker = tracker
        self.moments = moments
        # Adam's steps before this run: its bias correction goes on counting.
        self._earlier_steps = int(moments["steps"]) if moments else 0

    def run(self) -> dict[str, float]:
        """Trains from the newest checkpoint, or from the start, to the last step.

        Returns:
            The last logged loss terms.

        Raises:
            TrainingError: If the loss becomes not finite, the device is missing, or another process trains here.
            KeyboardInterrupt: After a checkpoint was written, if SIGINT or SIGTERM arrived.
        """
        with self.checkpoints.lock(), _stop_requested() as stop:
            state = self.checkpoints.load_latest()
            start = state["step"] if state else 0
            precision = self._choose_precision(state)
            fabric = _make_fabric(self.runtime.device, precision)
            if fabric.device.type == "cpu":
                keep_freed_memory()
            optimiser = make_adam(self.task.model.parameters(), self.schedule.learning_rate, self.schedule.adam_eps)
            if state:
                self.task.model.load_state_dict(state["model"])
                optimiser.load_state_dict(state["optimiser"])
                logger.info("%s: continuing from step %d", self.task.name, start)
            elif self.moments:
                set_moments(optimiser, self.task.model, self.moments)
            model, optimiser = fabric.setup(channels_last(self.task.model), optimiser)
            model.train()
            self.tracker.resume(start)

            last: dict[str, float] = state["last"] if state else {}
            with self._progress(start) as bar:
                for step, batch in self._batches(fabric, start):
                    self._set_rates(optimiser, step)
                    loss, terms = self.task.loss(model, batch)
                    fabric.backward(loss)
                    if self.schedule.grad_clip is not None:
                        # A gradient that is not finite is named below, with the loss terms, before anything is saved.
                        fabric.clip_gradients(
                            model, optimiser, max_norm=self.schedule.grad_clip, error_if_nonfinite=False
                        )
                    optimiser.step()
                    optimiser.zero_grad(set_to_none=True)

                    done = step + 1
                    is_last = done == self.schedule.steps
                    is_stopped = stop.is_set  # asked once: a signal that comes later waits for the next step
                    is_saved = is_last or is_stopped or self._is_due(done)
                    if is_saved or done % self.runtime.log_every == 0 or step == 0:
                        last = self._log(loss, terms, done, bar)
                    if is_last or done % self.runtime.panel_every == 0:
                        self._log_panels(model, batch, done)
                    bar.update()
                    if is_saved:
                        self._save(done, optimiser, precision, last)
                    if is_stopped and not is_last:
                        raise KeyboardInterrupt(
                            f"{self.task.name}: stopped after step {done}, the next run goes on there"
                        )
            self.moments = moments_of(optimiser, self.task.model)
            return last

    def _batches(self, fabric: Any, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
        loaders = {}
        on_gpu = _device_type(self.runtime.device) == "cuda"
        # On a processor they would only take cores from the training.
        automatic = _GPU_LOADER_WORKERS if on_gpu else 0
        workers = automatic if self.runtime.loader_workers is None else self.runtime.loader_workers
        for name, stream in self.task.streams.items():
            sampler = StepSampler(
                len(stream.dataset),  # type: ignore[arg-type]
                stream.batch_size,
                self.schedule.seed,
                start,
                self.schedule.steps,
            )
            loader = DataLoader(
                stream.dataset,
                batch_sampler=sampler,
                collate_fn=stream.collate,
                num_workers=workers,
                worker_init_fn=ignore_interrupt,
                pin_memory=on_gpu,
            )
            loaders[name] = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
        for step, batches in enumerate(zip(*loaders.values(), strict=True), start):
            yield step, dict(zip(loaders, batches, strict=True))

    def _set_rates(self, optimiser: Any, step: int) -> None:
        settings = self.schedule
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * learning_rate_factor(settings.schedule, step, settings.steps)
            if settings.tf_epsilon:
                group["eps"] = tensorflow_epsilon(settings.adam_eps, self._earlier_steps + step)

    def _log(self, loss: torch.Tensor, terms: dict[str, torch.Tensor], step: int, bar: Any) -> dict[str, float]:
        values = {"loss": loss.item(), **{name: term.item() for name, term in terms.items()}}
        if not all(math.isfinite(value) for value in values.values()):
            raise self._not_finite(step, values)
        self.tracker.log_metrics(values, step)
        bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()})
        return values

    def _not_finite(self, step: int, values: dict[str, float]) -> TrainingError:
        return TrainingError(
            f"{self.task.name}: loss or weights are not finite at step {step} ({values}); lower learning_rate or "
            f"check the data with `hdnet data validate`; the last checkpoint in {self.checkpoints.folder} is intact"
        )

    def _is_due(self, step: int) -> bool:
        return step % self.runtime.checkpoint_every == 0 or step % self.runtime.weights_every == 0

    def _log_panels(self, model: nn.Module, batch: dict[str, Any], step: int) -> None:
        for key, picture in self.task.panels(model, batch).items():
            self.tracker.log_image(key, picture, step)

    def _save(self, step: int, optimiser: Any, precision: Precision, last: dict[str, float]) -> None:
        if not all(bool(parameter.isfinite().all()) for parameter in self.task.model.parameters()):
            raise self._not_finite(step, last)
        state = {
            "model": self.task.model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "precision": precision,
            "last": last,
        }
        self.checkpoints.save(step, state)
        if step % self.runtime.weights_every and step != self.schedule.steps:
            return
        weights = self.checkpoints.folder / f"{self.task.name}_step_{step:09d}.safetensors"
        save_estimator(weights, self.task.model, {"stage": self.task.name, "step": str(step), "precision": precision})
        self.tracker.log_checkpoint(weights, step)
        weights.unlink()

    def _progress(self, start: int) -> Any:
        terminal = sys.stderr.isatty()
        return tqdm(
            total=self.schedule.steps,
            initial=start,
            desc=self.task.name,
            unit="step",
            mininterval=0.5 if terminal else 15.0,
            ascii=None if terminal else True,
            dynamic_ncols=terminal,
        )

    def _choose_precision(self, state: dict[str, Any] | None) -> Precision:
        if state and self.runtime.precision == "auto":
            began_in: Precision = state["precision"]
            return began_in
        if self.runtime.precision != "auto":
            return self.runtime.precision
        if _device_type(self.runtime.device) == "cuda":
            return "bf16"
        labelled = self.task.streams["labelled"]
        height, width = labelled.collate([labelled.dataset[0]])["mask"].shape[-2:]
        return faster_cpu_precision(self.task.model, height, width)


def ignore_interrupt(_: int) -> None:
    """For workers of a data loader: Ctrl-C reaches them too, but only the training may decide when they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def channels_last(model: nn.Module) -> nn.Module:
    """The same model with its weights laid out so that convolutions of channels_last pictures need no copies."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def faster_cpu_precision(model: NormalEstimator | DepthEstimator, height: int, width: int) -> Precision:
    """Times one training pass of one picture in float32 and in bfloat16 (channels_last) and names the faster.

    bfloat16 gains 2 to 6 times on processors with AMX or AVX512-BF16 and loses on others, so it is measured.
    """
    seconds: dict[Precision, float] = {}
    picture = torch.zeros(1, model.config.in_channels, height, width).to(memory_format=torch.channels_last)
    network = channels_last(model)
    precision: Precision
    for precision in ("32", "bf16"):
        for _ in range(3):  # the last one counts
            begin = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                output = network(picture)
            output.float().sum().backward()
            seconds[precision] = time.perf_counter() - begin
    model.zero_grad(set_to_none=True)
    return min(seconds, key=seconds.__getitem__)


class _StopFlag:
    """Whether the run shall end: a signal asked for it, or ``dvc repro``, which started it, is gone."""

    def __init__(self) -> None:
        self.requested = False
        # Only below DVC: a training that somebody left in the background must outlive the shell.
        self.parent = os.getppid() if "DVC_STAGE" in os.environ else None

    @property
    def is_set(self) -> bool:
        return self.requested or (self.parent is not None and os.getppid() != self.parent)


@contextmanager
def _stop_requested() -> Iterator[_StopFlag]:
    """Turns SIGINT and SIGTERM into a flag, so that the step in flight is finished and saved first."""
    flag = _StopFlag()

    def handle(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature signal() asks for
        flag.requested = True

    try:
        previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where signals cannot be caught
        yield flag
        return
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _device_type(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device 'cuda' was asked for but this machine has none; set runtime.device to auto or cpu")
    return device


def _make_fabric(device: str, precision: Precision) -> Any:
    from lightning.fabric import Fabric  # takes seconds, and only training needs it

    for name in ("lightning.fabric.utilities.rank_zero", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)  # it announces the precision, which is the user's own choice
    fabric = Fabric(accelerator=_device_type(device), devices=1, precision=_FABRIC_PRECISION[precision])
    fabric.launch()
    return fabric
