"""From params.yaml to what the engine takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from hdnet.data.store.datasets import LabelledDataset, PairDataset, collate
from hdnet.data.store.packed import PackedLabelled
from hdnet.geometry import Camera
from hdnet.models import NormalEstimator
from hdnet.models.weights import load_estimator
from hdnet.params import HDNetStageParams, OptimiserParams, Params
from hdnet.training.augment import Augmenter
from hdnet.training.hooks import PairComparison
from hdnet.training.pair_extras import PairExtras, PairLoss, gap_frames, mean_weight
from hdnet.training.settings import Hooks, Runtime, Schedule, Validation
from hdnet.training.tasks import Stream, plain_warp
from hdnet.training.validation import METRICS_OF_STAGE, HeldOutValidator, higher_is_better

# What every stage's network is measured by.
_COMMON_METRIC = "normal_mean_deg"


def schedule_of(settings: OptimiserParams, seed: int) -> Schedule:
    """What a stage computes."""
    return Schedule(
        settings.steps,
        settings.learning_rate,
        settings.adam_eps,
        settings.tf_epsilon,
        settings.schedule,
        settings.grad_clip,
        seed,
        settings.warmup_steps,
        settings.ema_decay,
    )


def runtime_of(params: Params) -> Runtime:
    """How it runs."""
    runtime = params.runtime
    return Runtime(
        runtime.device,
        runtime.precision,
        runtime.log_every,
        runtime.panel_every,
        runtime.checkpoint_every,
        runtime.weights_every,
        None if runtime.loader_workers == "auto" else runtime.loader_workers,
        runtime.devices,
        runtime.nodes,
        runtime.compile,
        runtime.max_skipped,
    )


def hooks_of(
    params: Params, stage: str, heldout: Path | None, camera: Camera, normal_model: Path | None = None
) -> Hooks:
    """Augmentation and validation, as far as they are switched on.

    Args:
        params: The whole params.yaml.
        stage: Decides which metrics there are.
        heldout: Packed held-out people; None for no validation.
        camera: The one that the model will be said to have been trained in.
        normal_model: Gives the depth estimator its normals; None for the true ones.
    """
    augmentation = None if params.augment.is_off else Augmenter(params.augment)
    settings = params.validation
    if settings.every is None or heldout is None:
        return Hooks(augmentation)
    metric = settings.metric if settings.metric in METRICS_OF_STAGE[stage] else _COMMON_METRIC
    people = LabelledDataset(PackedLabelled(heldout))
    normals = None if normal_model is None else load_estimator(normal_model, NormalEstimator)
    validator = HeldOutValidator(people, settings.people, camera=camera, normal_estimator=normals)
    return Hooks(
        augmentation, Validation(validator, settings.every, metric, higher_is_better(metric), settings.use_best)
    )


def configuration_of(stage: str, settings: OptimiserParams, params: Params, data: dict[str, str]) -> dict[str, Any]:
    """All that decides the numbers of a run."""
    configuration = {"stage": stage, "seed": params.seed, "model": params.model.model_dump(), "data": data}
    configuration["augment"] = params.augment.model_dump()
    if params.validation.use_best:
        configuration["validation"] = params.validation.model_dump()
    return {**configuration, "settings": settings.model_dump()}


class DistantPairs(Dataset[dict[str, Any]]):
    """Pairs of frames that also say how far apart they are: "gap_frames" and "turn_deg", float32."""

    def __init__(self, pairs: PairDataset) -> None:
        self.pairs = pairs
        self.gap_frames = torch.from_numpy(gap_frames(pairs.matches))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, k: int) -> dict[str, Any]:
        turn_deg = torch.tensor(float(self.pairs.matches.turn_deg[k]))
        return {**self.pairs[k], "gap_frames": self.gap_frames[k], "turn_deg": turn_deg}


def pairs_of(pairs: PairDataset, settings: HDNetStageParams) -> tuple[Stream, PairComparison]:
    """The pairs of a step, and how they are compared."""
    robust_m = settings.huber_m if settings.warp_loss == "huber" else None
    extras = PairExtras(settings.pair_weighting, settings.half_gap_frames, settings.half_turn_deg, robust_m)
    if extras.is_off:
        return Stream(pairs, settings.pairs_per_step, collate), plain_warp
    if extras.weighting == "equal":
        return Stream(pairs, settings.pairs_per_step, collate), PairLoss(extras)
    loss = PairLoss(extras, mean_weight(pairs.matches, extras))
    return Stream(DistantPairs(pairs), settings.pairs_per_step, collate), loss
