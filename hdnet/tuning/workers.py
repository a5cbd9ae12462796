"""Workers of a study, in this process or in several."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from multiprocessing.context import SpawnProcess
from typing import Literal

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from hdnet.data.parallel import cores
from hdnet.errors import HDNetError, TrainingError, TuningError, log_to_stderr
from hdnet.tuning.storage import storage_errors_explained
from hdnet.tuning.study import FAILED, StudySettings, is_done, load_study
from hdnet.tuning.tracking import TrialTakenError
from hdnet.tuning.trials import Worker, check_not_taken, full_trial, search_trial

logger = logging.getLogger(__name__)

Kind = Literal["search", "full"]

_POLL_S = 0.5
_OBJECTIVES = {"search": search_trial, "full": full_trial}
_EXIT_ERROR, _EXIT_INTERRUPTED = 1, 130


def run_workers(settings: StudySettings, kind: Kind, wanted: int, workers: int) -> None:
    """Run workers until a study has ``wanted`` trials; several workers are processes of this machine.

    Raises:
        TuningError: The storage failed, or every worker died.
        KeyboardInterrupt: The command was stopped; the next command continues the running trials.
    """
    if workers == 1:
        work(settings, kind, wanted)
        return
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_run_worker, args=(settings, kind, wanted, n, workers)) for n in range(workers)]
    for process in processes:
        process.start()
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _wait(processes)
    except KeyboardInterrupt:
        for process in processes:
            if process.is_alive() and process.pid:
                os.kill(process.pid, signal.SIGINT)
        for process in processes:
            process.join()
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
    _check_ends(processes, _is_finished(load_study(settings, _study_name(settings, kind)), wanted))


def work(settings: StudySettings, kind: Kind, wanted: int, number: int = 0) -> None:
    """Run trials, one after the other, until the study has ``wanted`` that are done or running.

    Raises:
        TuningError: The storage failed.
        HDNetError: Data or models cannot be read, or MLflow refuses the run.
        KeyboardInterrupt: The command was stopped.
    """
    with storage_errors_explained(settings.storage):
        study = load_study(settings, _study_name(settings, kind))
        worker = Worker.of(settings, study, _check_parent)
        while not _is_finished(study, wanted):
            _check_parent()
            if _is_claimed(study, wanted):
                time.sleep(_POLL_S)  # other workers run the last trials; if they die, this one retries them
                optuna.storages.fail_stale_trials(study)
                continue
            study.sampler = _sampler(settings, len(study.get_trials(deepcopy=False)), number)
            _run_trial(worker, study, kind, wanted)


def _run_trial(worker: Worker, study: optuna.Study, kind: Kind, wanted: int) -> None:
    """Run one trial. If another worker took it meanwhile, its result is dropped: that worker has the same values."""
    taken: list[int] = []

    def objective(trial: optuna.Trial) -> tuple[float, ...]:
        try:
            return _OBJECTIVES[kind](worker, study, trial)
        finally:
            try:
                check_not_taken(study, trial)
            except TrialTakenError:
                taken.append(trial.number)

    try:
        study.optimize(
            objective,
            n_trials=1,
            catch=(TrainingError,),
            callbacks=[lambda study, trial: _log_trial(study, trial, wanted)],
        )
    except Exception as error:
        # Optuna refuses to record the end of a trial that another worker has failed.
        if not taken and not str(error).startswith("Cannot tell a"):
            raise
        logger.warning(
            "a trial was given to another worker, because this one had sent no heartbeat for %d s; going on",
            worker.settings.params.tune.stale_after_s,
        )


def _study_name(settings: StudySettings, kind: Kind) -> str:
    return settings.name if kind == "search" else settings.full_name


def _is_finished(study: optuna.Study, wanted: int) -> bool:
    return sum(is_done(trial) for trial in study.get_trials(deepcopy=False)) >= wanted


def _is_claimed(study: optuna.Study, wanted: int) -> bool:
    trials = study.get_trials(deepcopy=False)
    return sum(is_done(trial) or trial.state == TrialState.RUNNING for trial in trials) >= wanted


def _sampler(settings: StudySettings, trials: int, worker: int) -> optuna.samplers.BaseSampler:
    """Return a sampler that is seeded anew for every trial, so that an interrupted study draws the same values."""
    tune = settings.params.tune
    seed = int(np.random.SeedSequence([settings.params.seed, trials, worker]).generate_state(1)[0])
    if tune.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if tune.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=tune.startup_trials, seed=seed)
    return optuna.samplers.TPESampler(n_startup_trials=tune.startup_trials, multivariate=True, seed=seed)


def _log_trial(study: optuna.Study, trial: FrozenTrial, wanted: int) -> None:
    done = sum(is_done(other) for other in study.get_trials(deepcopy=False))
    names = study.metric_names or []
    values = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, trial.values or [], strict=False))
    reason = values or trial.user_attrs.get(FAILED, "")
    logger.info("trial %d: %s %s (%d of %d)", trial.number, trial.state.name.lower(), reason, done, wanted)


def _check_parent() -> None:
    """Stop a worker whose command was killed.

    Raises:
        KeyboardInterrupt: The parent process is gone.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise KeyboardInterrupt("the command that started this worker is gone")


def _run_worker(settings: StudySettings, kind: Kind, wanted: int, number: int, workers: int) -> None:
    os.setpgrp()  # Ctrl-C reaches the command alone, which passes it on
    log_to_stderr(f"worker {number + 1}: ")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cores() // workers))
    try:
        work(settings, kind, wanted, number)
    except HDNetError as error:
        logger.error("%s", error)
        raise SystemExit(_EXIT_ERROR) from None
    except KeyboardInterrupt:
        raise SystemExit(_EXIT_INTERRUPTED) from None


def _wait(processes: list[SpawnProcess]) -> None:
    reported = set[int]()
    while any(process.is_alive() for process in processes):
        for number, process in enumerate(processes):
            process.join(_POLL_S / len(processes))
            if process.exitcode and number not in reported:
                reported.add(number)
                logger.warning(
                    "worker %d ended with %d; what it trained is tried again by another, or by the next command",
                    number + 1,
                    process.exitcode,
                )
        if any(process.exitcode == _EXIT_INTERRUPTED for process in processes):
            raise KeyboardInterrupt


def _check_ends(processes: list[SpawnProcess], is_finished: bool) -> None:
    if not is_finished:
        codes = ", ".join(str(process.exitcode) for process in processes)
        raise TuningError(
            f"all {len(processes)} workers ended early (exit status {codes}); run the command again to go on"
        )
