"""params.yaml as frozen, typed models: one a section, unknown key = error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, model_validator

from hdnet.errors import ParamsError
from hdnet.params.base import Positive, Section, Share, parse_section
from hdnet.params.training import (
    AugmentParams,
    DepthStageParams,
    HDNetStageParams,
    HeldoutMetric,
    InputNormals,
    ModelParams,
    NormalStageParams,
    OptimiserParams,
    ValidationParams,
)
from hdnet.params.tuning import TuneParams

__all__ = [
    "DataParams",
    "HDNetStageParams",
    "InputNormals",
    "ModelParams",
    "OptimiserParams",
    "Params",
    "PromoteParams",
    "Section",
    "load_params",
    "parse_section",
    "with_runtime",
]

FocalPx = Annotated[float, Field(ge=100, le=10_000)]
# Letters, _ and -; digits are left to MLflow's own "v1".
Alias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z_-]*$")]


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
    """Which frames are matched, how, and which pairs are kept.

    See :class:`hdnet.data.correspondence.pair_rule.PairRule`.

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


def _switch(value: Any) -> Any:
    """YAML reads a bare on or off as true or false."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


class RuntimeParams(Section):
    """How the stages run; no stage is re-run for a change here, though device and precision move the last digits.

    Attributes:
        device: "auto", "cpu" or "cuda".
        devices: GPUs, or processes on a processor, that share a training on each machine; "auto" for all GPUs that the
            batch suffices for. What ``torchrun`` says counts where it started the training.
        nodes: Machines that share a training; started on each, with ``MASTER_ADDR`` and ``NODE_RANK`` set, or by
            ``torchrun``, or by Slurm.
        compile: "on" or "off": networks through ``torch.compile``; "auto" for on a GPU only.
        max_skipped: Steps whose loss or gradient is not finite change nothing; more than so many in a row end the
            training, and the batch is kept in the stage's report.
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
    devices: Positive | Literal["auto"]
    nodes: Positive
    compile: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)]
    precision: Annotated[Literal["auto", "32", "bf16", "64"], BeforeValidator(str)]
    max_skipped: Annotated[int, Field(ge=0)]
    jobs: Annotated[int, Field(ge=0)]
    parallel_backend: Literal["loky", "threading", "dask", "ray"]
    loader_workers: Annotated[int, Field(ge=0)] | Literal["auto"]
    log_every: Positive
    panel_every: Positive
    checkpoint_every: Positive
    weights_every: Positive
    keep_checkpoints: Positive


class EvaluateParams(Section):
    """What stage `evaluate` measures; see :mod:`hdnet.evaluation`.

    Attributes:
        sequence_pairs: About so many pairs of frames of the dances at most, spread evenly over them.
    """

    sequence_pairs: Positive


class RegisterParams(Section):
    """Where the finished model goes.

    Attributes:
        name: Registered name, without / : @.
        alias: Of the newest version, which waits for stage `promote`.
        data_licence: Licence of the data that is not synthetic, for the model card.
    """

    name: Annotated[str, Field(pattern=r"^[^/:@]+$")]
    alias: Alias
    data_licence: str | None


class PromoteParams(Section):
    """When the newest version replaces the one that serves; see :func:`hdnet.registry.promotion.judge`.

    Attributes:
        alias: Of the version that serves.
        metric: Held-out metric in which it has to be better.
        level: Confidence with which.
        guards: Held-out metrics in which it must not be worse.
        guard_tolerance: By more than this share of the champion's value.
    """

    alias: Alias
    metric: HeldoutMetric
    level: Annotated[float, Field(ge=0.5, lt=1)]
    guards: tuple[HeldoutMetric, ...]
    guard_tolerance: Share


class Params(Section):
    """The whole file."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    data: DataParams
    correspond: CorrespondParams
    model: ModelParams
    train_normal: NormalStageParams
    train_depth: DepthStageParams
    train_hdnet: HDNetStageParams
    augment: AugmentParams
    validation: ValidationParams
    evaluate: EvaluateParams
    tune: TuneParams
    register_: Annotated[RegisterParams, Field(alias="register")]
    promote: PromoteParams
    runtime: RuntimeParams

    @model_validator(mode="after")
    def _moments_exist(self) -> Self:
        if self.train_hdnet.warm_moments and not self.train_depth.keep_moments:
            raise ValueError("train_hdnet.warm_moments needs train_depth.keep_moments: true")
        return self

    @model_validator(mode="after")
    def _two_aliases(self) -> Self:
        if self.register_.alias == self.promote.alias:
            raise ValueError(
                f"register.alias and promote.alias are both {self.promote.alias!r}: a new version would serve without "
                "a comparison; set register.alias: challenger"
            )
        return self


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


def with_runtime(params: Params, values: dict[str, Any]) -> Params:
    """Other values of section ``runtime``, as flags of the command line give them.

    Raises:
        ParamsError: If one is out of range; names the key.
    """
    runtime = parse_section(RuntimeParams, {**params.runtime.model_dump(), **values}, "runtime")
    return params.model_copy(update={"runtime": runtime})
