"""Working on a study, in this process or in several."""

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

from hdnet.errors import HDNetError, TrainingError, TuningError
from hdnet.tuning.settings import StudySettings
from hdnet.tuning.storage import storage_errors_explained
from hdnet.tuning.study import FAILED, is_done, load_study
from hdnet.tuning.trials import Bench, full_trial, search_trial

logger = logging.getLogger(__name__)

Kind = Literal["search", "full"]

_POLL_S = 0.5
_OBJECTIVES = {"search": search_trial, "full": full_trial}
_EXIT_ERROR, _EXIT_INTERRUPTED = 1, 130


def run_workers(settings: StudySettings, kind: Kind, wanted: int, workers: int) -> None:
    """Works on a study until it has so many trials; with several workers, they are processes of this machine.

    Raises:
        TuningError: If the storage is gone, or every worker died.
        KeyboardInterrupt: If somebody stopped it; what was being trained goes on with the next command.
    """
    if workers == 1:
        work(settings, kind, wanted)
        return
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_worker, args=(settings, kind, wanted, n, workers)) for n in range(workers)]
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
    """One worker: trials, one after the other, until the study has so many that are done or being trained.

    Raises:
        TuningError: If the storage is gone.
        HDNetError: If data or models cannot be read, or MLflow refuses.
        KeyboardInterrupt: If somebody stopped it.
    """
    with storage_errors_explained(settings.storage):
        study = load_study(settings, _study_name(settings, kind))
        bench = Bench.of(settings, study, _stop_without_parent)
        objective = _OBJECTIVES[kind]
        while not _is_finished(study, wanted):
            _stop_without_parent()
            if _is_claimed(study, wanted):
                time.sleep(_POLL_S)  # somebody's last trials: if they die, they are ours
                optuna.storages.fail_stale_trials(study)
                continue
            study.sampler = _sampler(settings, len(study.get_trials(deepcopy=False)), number)
            study.optimize(
                lambda trial: objective(bench, study, trial),
                n_trials=1,
                catch=(TrainingError,),
                callbacks=[lambda study, trial: _say(study, trial, wanted)],
            )


def _study_name(settings: StudySettings, kind: Kind) -> str:
    return settings.name if kind == "search" else settings.full_name


def _is_finished(study: optuna.Study, wanted: int) -> bool:
    return sum(is_done(trial) for trial in study.get_trials(deepcopy=False)) >= wanted


def _is_claimed(study: optuna.Study, wanted: int) -> bool:
    trials = study.get_trials(deepcopy=False)
    return sum(is_done(trial) or trial.state == TrialState.RUNNING for trial in trials) >= wanted


def _sampler(settings: StudySettings, trials: int, worker: int) -> optuna.samplers.BaseSampler:
    """Seeded anew for every trial, so that a study that was stopped draws what it would have drawn."""
    tune = settings.params.tune
    seed = int(np.random.SeedSequence([settings.params.seed, trials, worker]).generate_state(1)[0])
    if tune.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if tune.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=tune.startup_trials, seed=seed)
    return optuna.samplers.TPESampler(n_startup_trials=tune.startup_trials, multivariate=True, seed=seed)


def _say(study: optuna.Study, trial: FrozenTrial, wanted: int) -> None:
    done = sum(is_done(other) for other in study.get_trials(deepcopy=False))
    names = study.metric_names or []
    values = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, trial.values or [], strict=False))
    reason = values or trial.user_attrs.get(FAILED, "")
    logger.info("trial %d: %s %s (%d of %d)", trial.number, trial.state.name.lower(), reason, done, wanted)


def _stop_without_parent() -> None:
    """A worker whose command was killed does not go on by itself.

    Raises:
        KeyboardInterrupt: In such a worker.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise KeyboardInterrupt("the command that started this worker is gone")


def _worker(settings: StudySettings, kind: Kind, wanted: int, number: int, workers: int) -> None:
    os.setpgrp()  # Ctrl-C reaches the command, which passes it on: once
    logging.basicConfig(level=logging.INFO, format=f"worker {number + 1}: %(levelname)s %(message)s", force=True)
    for name in ("lightning", "lightning.fabric", "alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    try:
        work(settings, kind, wanted, number)
    except HDNetError as error:
        logger.error("%s", error)
        raise SystemExit(_EXIT_ERROR) from None
    except KeyboardInterrupt:
        raise SystemExit(_EXIT_INTERRUPTED) from None


def _wait(processes: list[SpawnProcess]) -> None:
    told = set[int]()
    while any(process.is_alive() for process in processes):
        for number, process in enumerate(processes):
            process.join(_POLL_S / len(processes))
            if process.exitcode and number not in told:
                told.add(number)
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
