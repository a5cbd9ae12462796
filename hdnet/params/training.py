"""Sections of params.yaml for the trainings and the search of their parameters."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hdnet.params.base import Positive, Section, Share, Weight
from hdnet.workspace import SHIPPED_SOURCE

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
# Rectangles that the augmentation draws for every sample, whether it uses them or not.
MAX_RECTANGLES = 8
# Fields whose default differs from stage to stage: type, limits and meaning.
Steps = Annotated[Positive, Field(description="Optimiser steps.")]
BatchSize = Annotated[Positive, Field(description="Labelled people a step.")]
LearningRate = Annotated[float, Field(gt=0, description="Peak learning rate.")]
AdamEps = Annotated[float, Field(gt=0, description="Epsilon of Adam.")]
DepthWeight = Annotated[Weight, Field(description="Squared error of depth.")]
ScaleInvariantWeight = Annotated[Weight, Field(description="Scale-invariant error of depth.")]
Rule = Annotated[
    Literal["exact", "original"],
    Field(description="Formulas of the losses: `exact`, or `original`, flaws included."),
]
FedNormals = Annotated[
    InputNormals,
    Field(description="Normals fed for labelled people: `predicted`, as in use, or `exact`, as the original."),
]


class ModelParams(Section):
    """Network: the original's two hourglasses, or one network for photographs.

    See :class:`hdnet.models.hourglass.HourglassConfig` and :class:`hdnet.models.lite.LiteConfig`.
    """

    network: Literal["hourglass", "lite"] = "hourglass"
    """`hourglass`, the original's two networks, or `lite`, one for photographs with their background."""
    encoder: Literal["lite0", "lite2"] = "lite0"
    """Encoder of `lite`: EfficientNet-Lite0, or the larger Lite2."""
    encoder_weights: Literal["imagenet", "random"] = "imagenet"
    """First weights of that encoder: `imagenet`, from a package of extra `photo`, or `random`."""
    width: Positive = 16
    """Channels of an hourglass's first block; 64 in the original."""
    input_scale: Literal["raw", "unit"] = "unit"
    """Range of colours and IUV: `unit`, -1..1, or `raw`, 0..255 as in the original."""
    initial_depth_m: float = 4.0
    """Depth that the untrained estimator predicts; 0 in the original."""
    norm: Literal["image", "batch"] = "image"
    """Statistics that normalise a picture in training: its own (`image`), or its `batch`'s as in the original."""


class OptimiserParams(Section):
    """Optimiser of one training."""

    steps: Steps = 600
    batch_size: BatchSize = 2
    learning_rate: LearningRate = 3e-3
    adam_eps: AdamEps = 1e-8
    tf_epsilon: bool = False
    """Add epsilon before Adam's bias correction, as TensorFlow (docs/parity.md, 6)."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Learning rate: `constant` as in the original, or `cosine` decay to a twentieth."""
    grad_clip: Annotated[float, Field(gt=0)] | None = 5.0
    """Largest norm of the gradient; null for no clipping, as in the original."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps of learning-rate warm-up; 0 in the original."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of the exponential moving average of the weights, such as 0.999; null for the last weights.

    The average spans about the last 1 / (1 - ema_decay) steps. The original keeps the last weights.
    """
    start_from: Annotated[str, Field(pattern=rf"^([^/\\]+\.safetensors|{SHIPPED_SOURCE})$")] | None = None
    """First weights: a file of pretrained/, or those of the package, `shipped`; null for random ones.

    A file of one network or of the complete model.
    """


class LabelledWeights(Section):
    """Weights of the losses on labelled people."""

    depth: DepthWeight = 10.0
    scale_invariant: ScaleInvariantWeight = 5.0
    normal: Weight = 1.0
    """Angle between the depth's normals and the true ones."""


class JointWeights(LabelledWeights):
    """Weights of the losses on labelled people and on pairs of unlabelled frames."""

    depth: DepthWeight = 20.0
    scale_invariant: ScaleInvariantWeight = 10.0
    unlabelled_normal: Weight = 0.5
    """Angle between the depth's normals and the predicted ones, of unlabelled frames."""
    warp: Weight = 5.0
    """Distance of matched points in metres, after the rigid motion of their body part."""
    warp_2d: Weight = 0.0
    """The same distance in pixels of the frame."""


class NormalStageParams(OptimiserParams):
    """Training of the normal estimator on labelled people."""


class DepthStageParams(OptimiserParams):
    """Training of the depth estimator on labelled people."""

    steps: Steps = 1400
    weights: LabelledWeights = LabelledWeights()
    """The original's are 2, 1, 1; short trainings need a larger depth weight."""
    rule: Rule = "exact"
    input_normals: FedNormals = "predicted"
    keep_moments: bool = False
    """Store Adam's moments in the model file, three times its size, for train_hdnet.warm_moments."""


class HDNetStageParams(OptimiserParams):
    """Joint training of the depth estimator on labelled people and pairs of unlabelled frames."""

    steps: Steps = 150
    learning_rate: LearningRate = 5e-4
    pairs_per_step: Positive = 1
    """Pairs of unlabelled frames a step; 1 in the original."""
    weights: JointWeights = JointWeights()
    """The original's are 2, 1, 1, 1, 5, 0."""
    rule: Rule = "exact"
    input_normals: FedNormals = "predicted"
    pair_weighting: Literal["equal", "gap", "turn"] = "equal"
    """Weight of a pair: `equal`, or falling with the frames (`gap`) or the rotation (`turn`) between.

    "equal" is the original's. See :mod:`hdnet.training.pair_weights`.
    """
    half_gap_frames: Annotated[float, Field(gt=0)] = 20.0
    """Frames between the two of a pair that halve its weight."""
    half_turn_deg: Annotated[float, Field(gt=0, le=180)] = 30.0
    """Turn of the body that halves the weight of a pair."""
    warp_loss: Literal["mean", "huber"] = "mean"
    """Distance of matched points: `mean` as in the original, or `huber`, squared below huber_m."""
    huber_m: Annotated[float, Field(gt=0, le=1)] = 0.02
    """Metres below which `huber` squares a distance."""
    warm_start: bool = True
    """Start from the depth estimator of train_depth; not together with start_from."""
    warm_moments: bool = False
    """Continue with its Adam moments and step count too, as the original (docs/parity.md, 48)."""

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.warm_start and self.start_from:
            raise ValueError("warm_start and start_from name two starts: set warm_start: false or start_from: null")
        if self.warm_moments and not self.warm_start:
            raise ValueError("warm_moments continues stage train_depth and needs warm_start: true")
        return self


class AugmentParams(Section):
    """Augmentation of the training samples, uniform between limits x; 0 is off, as in the original."""

    brightness: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Factor of the colours, 1 - x .. 1 + x."""
    contrast: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Factor of the distance from the person's mean brightness, 1 - x .. 1 + x."""
    saturation: Share = 0.0
    """Factor of the distance from grey, 1 - x .. 1 + x."""
    hue_deg: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Rotation of the colours about the grey axis, -x .. x."""
    white_balance: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Factors of red, green and blue, 1 - x .. 1 + x each."""
    gamma: Share = 0.0
    """Exponent of the colours, e^-x .. e^x."""
    blur_px: Annotated[float, Field(ge=0, le=1.5)] = 0.0
    """Standard deviation of a Gaussian blur, 0 .. x."""
    noise: Annotated[float, Field(ge=0, le=64)] = 0.0
    """Standard deviation of film noise in levels of 255, 0 .. x."""
    flip: Share = 0.0
    """Probability of a mirrored sample."""
    zoom: Share = 0.0
    """Scale of the person, 1 / (1 + x) .. 1 + x."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Shift of the person each way, -x .. x of the picture's size."""
    iuv_drop: Share = 0.0
    """Probability of a frame without any IUV."""
    iuv_part_drop: Share = 0.0
    """Probability of a body part without IUV."""
    iuv_patches: Annotated[int, Field(ge=0, le=MAX_RECTANGLES)] = 0
    """Rectangles without IUV, 0 .. x."""
    mask_shift_px: Annotated[int, Field(ge=0, le=8)] = 0
    """Shift of stretches of the outline, inwards or outwards."""
    mask_holes: Annotated[int, Field(ge=0, le=MAX_RECTANGLES)] = 0
    """Rectangular holes in the mask, 0 .. x."""

    @property
    def is_off(self) -> bool:
        """Return whether nothing is varied."""
        return not any(self.model_dump().values())


class BackgroundShares(Section):
    """Backgrounds of the training samples, relative frequencies."""

    own: Weight = 0.5
    """The picture's own."""
    pasted: Weight = 0.25
    """Parts of other pictures, whole other pictures with the person there, and made-up clutter."""
    soft: Weight = 0.15
    """Flat colours and blurred pictures."""
    white: Weight = 0.1
    """White, as that of the hourglasses."""

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("backgrounds are all 0: give one of own, pasted, soft and white a share")
        return self


class PhotoWeights(Section):
    """Weights of the losses of `lite`; see :mod:`hdnet.losses.person`."""

    normal_cosine: Weight = 2.0
    """1 - cosine of the angle between the normals."""
    normal_l1: Weight = 1.0
    """Absolute difference of the normals' components."""
    confidence: Weight = 0.1
    """Negative log-likelihood of the angle, which the confidence learns from."""
    relief: Weight = 1.0
    """Absolute difference of the relief from its median."""
    relief_gradient: Weight = 0.5
    """Saturating difference of the relief's gradients at strides 1, 2, 4 and 8."""
    scale: Weight = 0.1
    """Absolute difference of the logarithm of pixels per metre, where the true size is known."""
    parts: Weight = 0.4
    """Cross entropy of the body parts."""
    uv: Weight = 0.5
    """Absolute difference of U and V."""
    mask: Weight = 1.0
    """Binary cross entropy of the mask."""
    dice: Weight = 0.7
    """Dice loss of the mask."""


class PhotoParams(Section):
    """Training of `lite`: schedule, framing, backgrounds, hints, losses; the hourglasses use none of it."""

    sizes: Annotated[tuple[Annotated[int, Field(ge=64, le=512, multiple_of=32)], ...], Field(min_length=1)] = (256,)
    """Pixels of the square training pictures, for equal shares of the steps in turn; at last 256, as in use.

    The scale head reads the person's size in pixels as well: at 256, what was trained up to 224 tells the distance of
    somebody who stands 10 % too short, what was trained up to 192 by a fifth.
    """
    encoder_rate: Share = 0.4
    """Factor of the encoder's learning rate."""
    frozen_blocks: Annotated[int, Field(ge=0)] = 5
    """First blocks of the encoder that do not learn, with the stem; 0 for none, 99 for the whole encoder."""
    fill: tuple[Annotated[float, Field(gt=0.1, le=2)], Annotated[float, Field(gt=0.1, le=2)]] = (0.35, 1.25)
    """Range of the person's size in the picture, as shares of its side."""
    tight: Share = 0.45
    """Share of the pictures in which the person fits tightly, as a found person is cropped."""
    turn_deg: Annotated[float, Field(ge=0, le=45)] = 5.0
    """Standard deviation of the camera's roll."""
    backgrounds: BackgroundShares = BackgroundShares()
    people_behind: Share = 0.12
    """Share of the pasted backgrounds with another person."""
    empty: Share = 0.05
    """Share of the samples without a person: only the background, and an empty mask."""
    hint_exact: Share = 0.15
    """Share of the samples that come with their exact mask as a hint."""
    hint_imperfect: Share = 0.25
    """Share of those with a mask that has faults; the others have no hint."""
    jpeg: Share = 0.35
    """Probability of a JPEG compression, quality 25 to 90."""
    low_resolution: Share = 0.17
    """Probability of a picture that was smaller once."""
    weights: PhotoWeights = PhotoWeights()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fill[0] > self.fill[1]:
            raise ValueError(f"fill is {list(self.fill)}: write the smaller size first")
        if self.hint_exact + self.hint_imperfect > 1:
            raise ValueError("hint_exact and hint_imperfect are more than 1 together: they are shares of all samples")
        return self


class ValidationParams(Section):
    """Validation on held-out people during a training."""

    every: Positive | None = 200
    """Steps between two measurements; null for none.

    The last step is measured, too.
    """
    people: Positive = 8
    """Held-out people that are measured; all if there are fewer."""
    metric: HeldoutMetric = "normal_mean_deg"
    """Metric that decides which weights are best.

    The normal estimator has no depth; where that is asked for, normal_mean_deg decides.
    """
    use_best: bool = False
    """Keep the best weights instead of the last.

    The results of `evaluate`, on the same people, are then slightly optimistic.
    """

    @model_validator(mode="after")
    def _best_of_something(self) -> Self:
        if self.use_best and self.every is None:
            raise ValueError("validation.use_best needs validation.every: the steps between two measurements")
        return self


class Range(Section):
    """Numbers from ``low`` to ``high``, both included; with ``log``, uniform in the logarithm.

    Whole numbers if the parameter and both ends are whole.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}: write the smaller number as low")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}: with log: true it has to be above 0")
        return self


class Choices(Section):
    """One of a few values, also null or lists of numbers where the parameter takes them."""

    choices: Annotated[tuple[bool | int | float | str | tuple[int | float, ...] | None, ...], Field(min_length=2)]


_SPACE: dict[str, Range | Choices] = {
    "train_hdnet.weights.depth": Range(low=2.0, high=50.0, log=True),
    "train_hdnet.weights.scale_invariant": Range(low=1.0, high=30.0, log=True),
    "train_hdnet.weights.normal": Range(low=0.1, high=5.0, log=True),
    "train_hdnet.weights.unlabelled_normal": Range(low=0.05, high=5.0, log=True),
    "train_hdnet.weights.warp": Range(low=0.5, high=50.0, log=True),
    "train_hdnet.learning_rate": Range(low=1e-4, high=3e-3, log=True),
    "augment": Range(low=0.0, high=1.0),
}


class TuneParams(Section):
    """Search of `hdnet tune` over parameters of a training; no stage depends on it."""

    stage: Literal["train_depth", "train_hdnet"] = "train_hdnet"
    """Stage that is searched: `train_hdnet`, the joint one, or `train_depth`, on labelled people alone."""
    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "hdnet"
    """Name of the study in the storage."""
    trials: Positive = 24
    """Finished trials in the end, those of earlier commands included."""
    steps: Positive = 100
    """Optimiser steps of a trial, from the network that the stage starts from."""
    validate_every: Positive = 25
    """Steps between two measurements, after each of which a trial may be pruned."""
    select_people: Positive = 16
    """Held-out people that the search measures; the others are for the final report."""
    sampler: Literal["tpe", "nsga2", "random", "ablation"] = "tpe"
    """Search: `tpe` (Parzen estimators), `nsga2` (evolution), `random`, or an `ablation`: each choice alone."""
    startup_trials: Annotated[int, Field(ge=2)] = 8
    """Random trials before `tpe` learns from them; population of `nsga2`."""
    prune_after: Positive = 5
    """Complete trials before one may be pruned."""
    scalar_mm_per_deg: Annotated[float, Field(gt=0)] = 5.0
    """Millimetres of depth that one degree of normals is worth, where a single number is needed.

    Used by ``--scalar``, and to name the best trial of the Pareto front.
    """
    top_k: Annotated[int, Field(ge=0)] = 3
    """Best trials to train again with all steps of the stage; 0 for none."""
    top_seeds: Positive = 3
    """Seeds of each, `seed` and those after it."""
    stale_after_s: Annotated[int, Field(ge=2)] = 60
    """Seconds without a heartbeat after which a worker counts as dead and its trial is retried."""
    augment_full: AugmentParams = AugmentParams(
        brightness=0.2,
        contrast=0.15,
        saturation=0.25,
        hue_deg=6.0,
        white_balance=0.06,
        gamma=0.15,
        blur_px=0.7,
        noise=4.0,
        flip=0.5,
        zoom=0.15,
        shift=0.04,
        iuv_drop=0.05,
        iuv_part_drop=0.03,
        iuv_patches=2,
        mask_shift_px=2,
        mask_holes=1,
    )
    """Section augment at strength 1, for the key `augment` of space."""
    space: Annotated[dict[str, Range | Choices], Field(min_length=1)] | None = _SPACE
    """Parameters searched, keys of the stage: {low, high, log} or {choices: [...]}; null for the usual ones.

    Also ``augment``, one strength for that section; for `lite` keys of ``photo``; with `train_depth` keys of ``model``.
    The usual ones are in :mod:`hdnet.tuning.space`.
    """
