"""Sections of params.yaml that say what the trainings compute."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hdnet.params.base import Positive, Section, Share, Weight

InputNormals = Literal["exact", "predicted"]
HeldoutMetric = Literal[
    "depth_mae_mm",
    "depth_rmse_mm",
    "depth_abs_rel",
    "normal_mean_deg",
    "normal_median_deg",
    "normal_below_11_25_pct",
    "normal_below_22_5_pct",
    "normal_below_30_pct",
]


class ModelParams(Section):
    """Shape of both networks; see :class:`hdnet.models.hourglass.HourglassConfig`.

    Attributes:
        width: Channels of the first block.
        input_scale: How colours and IUV are fed.
        initial_depth_m: What the untrained depth estimator says everywhere.
        norm: Whose statistics normalise a picture while training.
    """

    width: Positive
    input_scale: Literal["raw", "unit"]
    initial_depth_m: float
    norm: Literal["image", "batch"]


class OptimiserParams(Section):
    """One stage's training.

    Attributes:
        steps: Optimiser steps.
        batch_size: Labelled people a step.
        learning_rate: Adam's, at its highest.
        adam_eps: Adam's epsilon.
        tf_epsilon: Apply it the way TensorFlow does ("epsilon hat", quirk 6).
        schedule: "constant" as the original, or "cosine" down to a twentieth.
        grad_clip: Largest gradient norm; null for none, as the original.
        warmup_steps: Steps over which the learning rate grows to what the schedule says; 0 for none, as the original.
        ema_decay: The result is an average of the weights over the last 1 / (1 - ema_decay) steps or so; null for the
            last ones, as the original.
        start_from: Model file in the folder ``pretrained/`` whose weights the training starts with: one network, or
            the complete model. null starts with random weights.
    """

    steps: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    adam_eps: Annotated[float, Field(gt=0)]
    tf_epsilon: bool
    schedule: Literal["constant", "cosine"]
    grad_clip: Annotated[float, Field(gt=0)] | None
    warmup_steps: Annotated[int, Field(ge=0)]
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None
    start_from: Annotated[str, Field(pattern=r"^[^/\\]+\.safetensors$")] | None


class LabelledWeights(Section):
    """Weights of the loss on labelled people."""

    depth: Weight
    scale_invariant: Weight
    normal: Weight


class JointWeights(LabelledWeights):
    """Weights of the joint loss: labelled people, and pairs of unlabelled frames; ``warp_2d`` a pixel."""

    unlabelled_normal: Weight
    warp: Weight
    warp_2d: Weight


class NormalStageParams(OptimiserParams):
    """Stage `train_normal`."""


class DepthStageParams(OptimiserParams):
    """Stage `train_depth`.

    Attributes:
        weights: Loss weights.
        rule: Corrected rules, or the original's with its flaws.
        input_normals: Normals that the depth estimator sees of labelled people: the true ones, as in the original, or
            our normal estimator's, which is what it gets to see when it is used.
        keep_moments: Store Adam's moments in the model file (three times its size), for ``train_hdnet.warm_moments``.
    """

    weights: LabelledWeights
    rule: Literal["exact", "original"]
    input_normals: InputNormals
    keep_moments: bool


class HDNetStageParams(OptimiserParams):
    """Stage `train_hdnet`.

    Attributes:
        pairs_per_step: Pairs of unlabelled frames a step (1 in the original).
        weights: Loss weights.
        rule: Corrected rules, or the original's with its flaws.
        input_normals: As in :class:`DepthStageParams`.
        pair_weighting: Pairs of frames count alike, as in the original; or the less, the more frames lie between them
            ("gap") or the further the body has turned ("turn"); see :mod:`hdnet.training.pair_extras`.
        half_gap_frames: Frames between the two of a pair at which it counts half.
        half_turn_deg: Turn at which a pair counts half.
        warp_loss: "mean" distance, as in the original, or "huber": distances below ``huber_m`` count by their square.
        huber_m: For that, metres.
        warm_start: Start from the depth estimator of stage `train_depth`; not together with ``start_from``.
        warm_moments: Continue with that stage's Adam moments and step count too, as the original does (quirk 48).
    """

    pairs_per_step: Positive
    weights: JointWeights
    rule: Literal["exact", "original"]
    input_normals: InputNormals
    pair_weighting: Literal["equal", "gap", "turn"]
    half_gap_frames: Annotated[float, Field(gt=0)]
    half_turn_deg: Annotated[float, Field(gt=0, le=180)]
    warp_loss: Literal["mean", "huber"]
    huber_m: Annotated[float, Field(gt=0, le=1)]
    warm_start: bool
    warm_moments: bool

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.warm_start and self.start_from:
            raise ValueError("warm_start and start_from name two starts: set warm_start: false or start_from: null")
        if self.warm_moments and not self.warm_start:
            raise ValueError("warm_moments continues stage train_depth and needs warm_start: true")
        return self


class AugmentParams(Section):
    """How the three trainings vary their samples; with all at 0 they take them as they are, as the original.

    Meanings and limits are those of :class:`hdnet.training.augment.AugmentParams`.
    """

    brightness: Annotated[float, Field(ge=0, le=0.9)]
    contrast: Annotated[float, Field(ge=0, le=0.9)]
    saturation: Share
    hue_deg: Annotated[float, Field(ge=0, le=180)]
    white_balance: Annotated[float, Field(ge=0, le=0.9)]
    gamma: Share
    blur_px: Annotated[float, Field(ge=0, le=1.5)]
    noise: Annotated[float, Field(ge=0, le=64)]
    flip: Share
    zoom: Share
    shift: Annotated[float, Field(ge=0, le=0.5)]
    iuv_drop: Share
    iuv_part_drop: Share
    iuv_patches: Annotated[int, Field(ge=0, le=8)]
    mask_shift_px: Annotated[int, Field(ge=0, le=8)]
    mask_holes: Annotated[int, Field(ge=0, le=8)]


class ValidationParams(Section):
    """Judging the models on held-out people while they learn.

    Attributes:
        every: Steps between two measurements; null for none. The last step is measured, too.
        people: How many of the held-out people; all if there are fewer.
        metric: By which weights are the best so far; what the normal estimator has no value for is replaced by
            ``normal_mean_deg`` there.
        use_best: The result of a training are those weights instead of the last ones. `evaluate`, which measures on the
            same people, then flatters the model a little.
    """

    every: Positive | None
    people: Positive
    metric: HeldoutMetric
    use_best: bool

    @model_validator(mode="after")
    def _best_of_something(self) -> Self:
        if self.use_best and self.every is None:
            raise ValueError("validation.use_best needs validation.every: the steps between two measurements")
        return self
