"""params.yaml as frozen, typed models: one a section, unknown key = error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from hdnet.errors import ParamsError

Positive = Annotated[int, Field(ge=1)]
InputNormals = Literal["exact", "predicted"]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
FocalPx = Annotated[float, Field(ge=100, le=10_000)]


class Section(BaseModel):
    """Base of all sections: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataParams(Section):
    """What stage `acquire` makes, and what it takes from elsewhere.

    Attributes:
        source: Where data comes from: nowhere, everything is made; a folder in the Tang and TikTok layout; or the
            authors' archive in any of its variants, packed or unpacked (:mod:`hdnet.data.importing.authors`).
        folder: That folder, or the archive's file or folder. DVC watches it whether it is used or not, so it exists.
        take: What to take from there; the rest is synthetic. People are labelled and held-out ones.
        people: Synthetic labelled pictures.
        heldout_people: Synthetic labelled pictures for evaluation, of other people.
        sequences: Synthetic unlabelled sequences.
        frames_per_sequence: Frames of each.
        stride: Simulated frames, of 30 a second, from one frame of a sequence to the next.
        focal_px: Range of the synthetic cameras' focal lengths in pixels of the 256 x 256 picture.
        camera: Where the synthetic cameras look: straight at the person, or beside it as the original's.
        masks: The person's exact outline, or one as a segmenter finds it: soft edge, holes, spill.
        iuv: The body's exact coordinates, or some as DensePose finds them: noise, missing parts, left for right.
        truncated: Share of labelled pictures whose border cuts the person off, at the thighs or the waist.
        occluded: Share of labelled pictures with furniture in front of the person.
    """

    source: Literal["synthetic", "folder", "archive"]
    folder: Path
    take: Literal["both", "people", "dances"]
    people: Positive
    heldout_people: Positive
    sequences: Positive
    frames_per_sequence: Annotated[int, Field(ge=2)]
    stride: Annotated[int, Field(ge=1, le=30)]
    focal_px: tuple[FocalPx, FocalPx]
    camera: Literal["centred", "reference"]
    masks: Literal["exact", "segmenter"]
    iuv: Literal["exact", "densepose"]
    truncated: Share
    occluded: Share

    @model_validator(mode="after")
    def _focal_range(self) -> Self:
        if self.focal_px[0] > self.focal_px[1]:
            raise ValueError(f"data.focal_px is {list(self.focal_px)}: write the smaller focal length first")
        return self


class CorrespondParams(Section):
    """Which frames are matched, how, and which pairs are kept: see :class:`hdnet.data.pair_rule.PairRule`.

    Attributes:
        source: "match" finds the correspondences; "given" packs those that came with the frames as text
            (``tiktok_data/correspondences``), to which nothing else here applies.
        text_files: Write the original's text files beside the packed ones.
    """

    source: Literal["match", "given"]
    partners: Positive
    max_gap_frames: Positive | None
    max_distance: Annotated[float, Field(gt=0)]
    min_matches: Positive
    mutual: bool
    max_residual_px: Annotated[float, Field(gt=0)] | None
    min_parts: Positive
    min_overlap: Annotated[float, Field(ge=0, le=1)]
    max_turn_deg: Annotated[float, Field(gt=0, le=180)] | None
    text_files: bool


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
    start_from: Annotated[str, Field(pattern=r"^[^/\\]+\.safetensors$")] | None


class LabelledWeights(Section):
    """Weights of the loss on labelled people."""

    depth: Weight
    scale_invariant: Weight
    normal: Weight


class JointWeights(LabelledWeights):
    """Weights of the joint loss: labelled people, and pairs of unlabelled frames."""

    unlabelled_normal: Weight
    warp: Weight


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
        warm_start: Start from the depth estimator of stage `train_depth`; not together with ``start_from``.
        warm_moments: Continue with that stage's Adam moments and step count too, as the original does (quirk 48).
    """

    pairs_per_step: Positive
    weights: JointWeights
    rule: Literal["exact", "original"]
    input_normals: InputNormals
    warm_start: bool
    warm_moments: bool

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.warm_start and self.start_from:
            raise ValueError("warm_start and start_from name two starts: set warm_start: false or start_from: null")
        if self.warm_moments and not self.warm_start:
            raise ValueError("warm_moments continues stage train_depth and needs warm_start: true")
        return self


class RuntimeParams(Section):
    """How the stages run; no stage is re-run for a change here, though device and precision move the last digits.

    Attributes:
        device: "auto", "cpu" or "cuda".
        precision: "32", "bf16", "64" (for comparing numbers), or "auto": the faster of the first two, measured when a
            stage starts.
        jobs: Processes that make and check data; 0 for one a core.
        parallel_backend: Where these work: "loky" (processes of this machine), "threading", or a cluster, "dask" or
            "ray"; see :func:`hdnet.data.parallel.using_backend`.
        loader_workers: Processes that read for a training, for each of its data sets; "auto" for none on a processor.
        log_every: Steps between logged loss terms.
        panel_every: Steps between logged pictures.
        checkpoint_every: Steps between checkpoints on disk, from which an interrupted stage goes on.
        weights_every: Steps between copies of the weights in the experiment tracker; the last ones always go there.
        keep_checkpoints: Newest checkpoints kept on disk.
    """

    device: Literal["auto", "cpu", "cuda"]
    precision: Annotated[Literal["auto", "32", "bf16", "64"], BeforeValidator(str)]
    jobs: Annotated[int, Field(ge=0)]
    parallel_backend: Literal["loky", "threading", "dask", "ray"]
    loader_workers: Annotated[int, Field(ge=0)] | Literal["auto"]
    log_every: Positive
    panel_every: Positive
    checkpoint_every: Positive
    weights_every: Positive
    keep_checkpoints: Positive


class RegisterParams(Section):
    """Where the finished model goes.

    Attributes:
        name: Registered name, without / : @.
        alias: Letters, _ and -; digits are left to MLflow's own "v1".
    """

    name: Annotated[str, Field(pattern=r"^[^/:@]+$")]
    alias: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z_-]*$")]


class Params(Section):
    """The whole file."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    data: DataParams
    correspond: CorrespondParams
    model: ModelParams
    train_normal: NormalStageParams
    train_depth: DepthStageParams
    train_hdnet: HDNetStageParams
    register_: Annotated[RegisterParams, Field(alias="register")]
    runtime: RuntimeParams

    @model_validator(mode="after")
    def _moments_exist(self) -> Self:
        if self.train_hdnet.warm_moments and not self.train_depth.keep_moments:
            raise ValueError("train_hdnet.warm_moments needs train_depth.keep_moments: true")
        return self


SectionT = TypeVar("SectionT", bound=Section)


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Reads and checks params.yaml.

    Raises:
        ParamsError: If the file is missing or not YAML, or a key is missing, unknown or out of range; names the key.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: no such file; run from the repository's root or pass --params")
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    return parse_section(Params, values, str(path))


def parse_section(section: type[SectionT], values: Any, where: str) -> SectionT:
    """Builds one section, turning pydantic's report into one line."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(top level)"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        # Keys that contradict each other are named by the message; the whole section would not help.
        found = "" if first["type"] == "value_error" else f", found {first['input']!r}"
        raise ParamsError(f"{where}: {key}: {first['msg']}{found}{more}") from error
