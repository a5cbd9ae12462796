"""One training loop for all stages.

Read :meth:`Engine.run` and :meth:`Engine._train` from top to bottom: that is the loop. Processes, devices, precision
and data movement are Lightning Fabric's (:mod:`hdnet.training.devices`). Every step's samples and chance follow from
(seed, step) alone, so a run that was stopped and resumed goes through the same numbers as one that never stopped. On a
GPU no step waits for the device: loss terms, gradient norm and the verdict on them stay there until they are reported.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdnet.errors import TrainingError
from hdnet.models.batch_norm import BatchNorm
from hdnet.models.weights import save_estimator
from hdnet.params import OptimiserParams, RuntimeParams
from hdnet.tracking.tracker import Tracker
from hdnet.training.augment import Augmentation
from hdnet.training.best import BestWeights
from hdnet.training.checkpoint import CheckpointFolder
from hdnet.training.devices import (
    Precision,
    channels_last,
    choose_precision,
    ending_together,
    is_compiled,
    launch,
    memory_errors_explained,
    with_precision,
    without_compiler,
)
from hdnet.training.distributed import on_first
from hdnet.training.guard import NonFiniteGuard, save_batch
from hdnet.training.loading import StepBatches
from hdnet.training.optim import WeightAverage, make_adam, moments_of, set_moments, set_rates
from hdnet.training.reporting import Reporter
from hdnet.training.signals import SharedStop, stop_requested
from hdnet.training.tasks import Task
from hdnet.training.validation import Validation

logger = logging.getLogger(__name__)


@dataclass
class _Session:
    """State of a running training: devices, network, optimiser, data, and what was loaded from a checkpoint."""

    fabric: Any
    network: nn.Module
    optimiser: Any
    precision: Precision
    guard: NonFiniteGuard
    average: WeightAverage | None
    reporter: Reporter
    batches: StepBatches
    start: int
    last: dict[str, float]


class Engine:
    """Trains one task.

    Args:
        task: Model, data and loss.
        settings: The stage's section of the parameters: steps and optimiser.
        runtime: Section ``runtime``: devices, precision, reporting.
        checkpoints: Folder to save to and to resume from.
        tracker: Gets loss terms, pictures and checkpoints.
        seed: Of the order of samples and of the augmentation.
        moments: Adam's, to continue with instead of starting at 0; afterwards the attribute holds the last ones.
        augmentation: Varies the batches; None leaves them.
        validation: On held-out people; None for none.
        report: Folder for the batch at which a run ended; the checkpoints' if not given.
    """

    def __init__(
        self,
        task: Task,
        settings: OptimiserParams,
        runtime: RuntimeParams,
        checkpoints: CheckpointFolder,
        tracker: Tracker,
        *,
        seed: int,
        moments: Mapping[str, Tensor] | None = None,
        augmentation: Augmentation | None = None,
        validation: Validation | None = None,
        report: Path | None = None,
    ) -> None:
        self.task = task
        self.settings = settings
        self.runtime = runtime
        self.checkpoints = checkpoints
        self.tracker = tracker
        self.seed = seed
        self.moments = moments
        self.augmentation = augmentation
        self.validation = validation
        self.report = report or checkpoints.folder
        self.facts: dict[str, str] = {}
        """Device, precision and number of processes of the run."""
        # Adam's steps before this run: its bias correction goes on counting.
        self._earlier_steps = int(moments["steps"]) if moments else 0

    def run(self) -> dict[str, float]:
        """Trains from the newest checkpoint, or from the start, to the last step.

        Afterwards the task's model holds the result: the last weights, their average, or the best ones, as set. Of
        several processes only the first one saves and reports.

        Returns:
            The last logged loss terms.

        Raises:
            TrainingError: If loss or gradients stay not finite, devices are missing, memory does not suffice, or
                another process trains here.
            KeyboardInterrupt: After a checkpoint was written, if SIGINT or SIGTERM arrived.
        """
        sizes = {name: stream.batch_size for name, stream in self.task.streams.items()}
        fabric = launch(self.runtime, sizes)
        with ending_together(fabric), memory_errors_explained(self.task.name, sizes), ExitStack() as stack:
            state, precision = on_first(fabric, lambda: self._open(stack, fabric))
            stop = SharedStop(stack.enter_context(stop_requested()), fabric.world_size)
            session = self._set_up(with_precision(fabric, precision), precision, state)
            stack.callback(session.reporter.close)
            last = self._train(session, stop)
            self.moments = moments_of(session.optimiser, self.task.model)
            self._choose_result(session)
        return last

    def _train(self, session: _Session, stop: SharedStop) -> dict[str, float]:
        model, optimiser, reporter = session.network, session.optimiser, session.reporter
        for step, batch in session.batches.steps(session.start):
            set_rates(optimiser, self.settings, step, self._earlier_steps)
            loss, terms = self.task.loss(model, batch)
            session.fabric.backward(loss)
            session.guard.step(model, optimiser, loss, self.settings.grad_clip)
            optimiser.zero_grad(set_to_none=True)
            if session.average:
                session.average.update(step)

            done = step + 1
            is_last = done == self.settings.steps
            is_stopped = stop.is_set()  # asked once: a signal that comes later waits for the next step
            is_saved = is_last or is_stopped or self._is_due(done)
            is_reported = is_last or done % self.runtime.log_every == 0 or step == 0
            reporter.advance(is_reported)
            if is_saved or is_reported:
                values, bad_steps = reporter.fetch(loss, terms, session.guard)
                if session.guard.ends_run(bad_steps, is_last):
                    raise self._not_finite(session, batch, values, done, bad_steps)
                if is_reported:
                    session.last = reporter.log(values, done, bad_steps) or session.last
                is_saved &= is_last or not bad_steps  # never checkpoint weights that gave non-finite losses
            if session.fabric.is_global_zero:
                with reporter.untimed():
                    self._show_and_validate(session, batch, done)
                    if is_saved:
                        self._save(session, done)
            if is_stopped and not is_last:
                raise self._stopped(session, done, is_saved)
        stop.close()
        return session.last

    def _open(self, stack: ExitStack, fabric: Any) -> tuple[dict[str, Any] | None, Precision]:
        """Locks the folder and reads the newest checkpoint; it says how the run began to compute."""
        stack.enter_context(self.checkpoints.lock())
        state = self.checkpoints.load_latest()
        if state and self.runtime.precision == "auto":
            return state, state["precision"]
        return state, choose_precision(self.runtime, self.task, fabric.device)

    def _set_up(self, fabric: Any, precision: Precision, state: dict[str, Any] | None) -> _Session:
        model, settings, start = self.task.model, self.settings, state["step"] if state else 0
        self.facts = {
            "device": str(fabric.device.type),
            "precision": precision,
            "processes": str(fabric.world_size),
            "compiled": str(is_compiled(self.runtime, fabric.device)),
        }
        if fabric.is_global_zero:
            self.tracker.set_tags(self.facts)
        if fabric.world_size > 1 and model.mixes_pictures:
            raise TrainingError(
                "model.norm: batch takes its statistics from the whole batch, which cannot be spread over "
                f"{fabric.world_size} processes; set model.norm: image, or runtime.devices: 1"
            )
        fabric.to_device(model)
        optimiser = make_adam(self.task.parameter_groups(), settings.learning_rate, settings.adam_eps)
        if state:
            model.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimiser"])
            logger.info("%s: continuing from step %d", self.task.name, start)
        elif self.moments:
            set_moments(optimiser, model, self.moments)
        network = channels_last(model)
        if is_compiled(self.runtime, fabric.device):
            BatchNorm.prepare_for_compiler()
            network = torch.compile(network, dynamic=False)  # type: ignore[assignment]
        network, optimiser = fabric.setup(network, optimiser, _reapply_compile=False)
        network.train()
        averaged = None
        if settings.ema_decay is not None:
            averaged = WeightAverage(model, settings.ema_decay, state["average"] if state else None)
        guard = NonFiniteGuard(self.runtime.max_skipped, fabric.device, state["guard"] if state else None)
        workers = self.runtime.loader_workers
        batches = StepBatches(self.task, settings.steps, self.seed, workers, fabric, self.augmentation)
        reporter = Reporter(self.task.name, self.tracker if fabric.is_global_zero else None, batches, start)
        last = state["last"] if state else {}
        return _Session(fabric, network, optimiser, precision, guard, averaged, reporter, batches, start, last)

    def _show_and_validate(self, session: _Session, batch: dict[str, Any], step: int) -> None:
        """Pictures of the batch and metrics on held-out people, where they are due."""
        is_last, validation = step == self.settings.steps, self.validation
        if is_last or step % self.runtime.panel_every == 0:
            with without_compiler(is_compiled(self.runtime, session.fabric.device)):
                pictures = self.task.panels(session.network, batch)
            for key, picture in pictures.items():
                self.tracker.log_image(key, picture, step)
        if validation is not None and (is_last or step % validation.every == 0):
            self._validate(session, validation, step)

    def _validate(self, session: _Session, validation: Validation, step: int) -> None:
        model = self.task.model
        with session.average.applied() if session.average else nullcontext():
            model.eval()
            with torch.no_grad(), session.fabric.autocast():
                metrics = validation.validator(model)
            model.train()
            BestWeights(self.checkpoints.folder, self.task.name, validation).offer(model, metrics, step)
        self.tracker.log_metrics({f"validation/{name}": value for name, value in metrics.items()}, step)

    def _save(self, session: _Session, step: int) -> None:
        model = self.task.model
        if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
            raise TrainingError(
                f"{self.task.name}: weights are not finite at step {step}; lower learning_rate. The last checkpoint in "
                f"{self.checkpoints.folder} is intact"
            )
        state = {
            "model": model.state_dict(),
            "optimiser": session.optimiser.state_dict(),
            "precision": session.precision,
            "last": session.last,
            "guard": session.guard.counts(),
            "average": session.average.state_dict() if session.average else None,
        }
        self.checkpoints.save(step, state)
        if step % self.runtime.weights_every and step != self.settings.steps:
            return
        weights = self.checkpoints.folder / f"{self.task.name}_step_{step:09d}.safetensors"
        about = {"stage": self.task.name, "step": str(step), "precision": session.precision}
        with session.average.applied() if session.average else nullcontext():
            save_estimator(weights, model, about)
        self.tracker.log_checkpoint(weights, step)
        weights.unlink()

    def _not_finite(
        self, session: _Session, batch: dict[str, Any], values: dict[str, float], step: int, bad_steps: int
    ) -> BaseException:
        about = {"stage": self.task.name, "step": step, "terms": values}
        file = save_batch(self.report, batch, about)
        if not session.fabric.is_global_zero:
            return SystemExit(0)  # the first process's error is the one to be read
        found = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        return TrainingError(
            f"{self.task.name}: loss or gradient is not finite at step {step}, {bad_steps} in a row ({found}); the "
            f"batch is in {file}. Lower learning_rate, set grad_clip, or check the data with `hdnet data validate`; "
            f"the checkpoints in {self.checkpoints.folder} are intact"
        )

    def _stopped(self, session: _Session, step: int, is_saved: bool) -> BaseException:
        if not session.fabric.is_global_zero:
            return SystemExit(0)
        place = "there" if is_saved else "at its last checkpoint"
        return KeyboardInterrupt(f"{self.task.name}: stopped after step {step}, the next run goes on {place}")

    def _choose_result(self, session: _Session) -> None:
        """Load the result into the task's model: last, averaged or best weights."""
        validation = self.validation
        if session.average:
            session.average.into(self.task.model)
        if validation is not None and validation.use_best and session.fabric.is_global_zero:
            BestWeights(self.checkpoints.folder, self.task.name, validation).load_into(self.task.model)

    def _is_due(self, step: int) -> bool:
        return step % self.runtime.checkpoint_every == 0 or step % self.runtime.weights_every == 0
