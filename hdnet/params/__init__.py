"""Parameters of the pipeline, params.yaml, as frozen, typed sections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hdnet.errors import ParamsError
from hdnet.params.base import Positive, Section, Share, parse_section
from hdnet.params.text import read_text, read_yaml
from hdnet.params.training import (
    AugmentParams,
    DepthStageParams,
    HDNetStageParams,
    HeldoutMetric,
    InputNormals,
    JointWeights,
    LabelledWeights,
    ModelParams,
    NormalStageParams,
    OptimiserParams,
    ValidationParams,
)
from hdnet.params.tuning import TuneParams

__all__ = [
    "AugmentParams",
    "CorrespondParams",
    "DataParams",
    "DepthStageParams",
    "HDNetStageParams",
    "InputNormals",
    "JointWeights",
    "LabelledWeights",
    "ModelParams",
    "NormalStageParams",
    "OptimiserParams",
    "Params",
    "PromoteParams",
    "RuntimeParams",
    "Section",
    "ValidationParams",
    "load_params",
    "parse_section",
    "with_runtime",
]

FocalPx = Annotated[float, Field(ge=100, le=10_000)]
# Letters, _ and -; digits are left to MLflow's own "v1".
Alias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z_-]*$")]


class DataParams(Section):
    """Synthetic people, or people from elsewhere."""

    source: Literal["synthetic", "folder", "archive"] = "synthetic"
    """Origin: `synthetic`, a `folder` in the raw layout, or the authors' `archive`, packed or unpacked.

    See :mod:`hdnet.data.importing.authors`.
    """
    folder: Path = Path("own_data")
    """That folder or archive, which has to exist; `dvc repro` sees every change in it."""
    take: Literal["both", "people", "dances"] = "both"
    """Parts taken from there: `both`, `people` (labelled and held-out) or `dances`; the rest is synthetic."""
    people: Positive = 280
    """Synthetic labelled pictures to train on."""
    heldout_people: Positive = 32
    """Synthetic labelled pictures of other people, for validation and `evaluate`."""
    sequences: Positive = 4
    """Synthetic unlabelled sequences, short dances."""
    frames_per_sequence: Annotated[int, Field(ge=2)] = 12
    """Frames of each sequence."""
    stride: Annotated[int, Field(ge=1, le=30)] = 4
    """Time from one frame of a sequence to the next, in thirtieths of a second."""
    focal_px: tuple[FocalPx, FocalPx] = (300.0, 330.0)
    """Range of the focal length in pixels of the 256 x 256 picture."""
    camera: Literal["centred", "reference"] = "centred"
    """Cameras: `centred` on the person, or `reference`, off axis as the original's."""
    masks: Literal["exact", "segmenter"] = "exact"
    """Masks: `exact`, or as a `segmenter` makes them, with soft edges, holes and spill."""
    iuv: Literal["exact", "densepose"] = "exact"
    """Body coordinates: `exact`, or as `densepose` makes them, with noise, missing parts, left for right."""
    truncated: Share = 0.1
    """Share of labelled pictures whose border cuts the person at the thighs or the waist."""
    occluded: Share = 0.05
    """Share of labelled pictures with furniture in front of the person."""

    @model_validator(mode="after")
    def _focal_range(self) -> Self:
        if self.focal_px[0] > self.focal_px[1]:
            raise ValueError(f"data.focal_px is {list(self.focal_px)}: write the smaller focal length first")
        return self


class CorrespondParams(Section):
    """Pairs of frames and their matches; the author's rule.

    Frames near in time are preferred, because the warp loss has a floor that grows with the turn of the body: DensePose
    names the skin below the clothes, and from another side another point of the clothes hides the same skin. With
    perfect depth and DensePose, the loss is 11 mm below 10 degrees of turn, 18 mm at 20 to 30 and 30 mm at 60 to 90 on
    synthetic dancers (``benchmarks/correspondences.py``), and 8, 15 and 34 mm at 10, 30 and 90 degrees on scans of
    dressed people: beyond about 30 degrees a pair is mostly noise.
    """

    source: Literal["match", "given"] = "match"
    """Origin of the matches: `match` finds them; `given` packs the text files in tiktok_data/correspondences.

    Of the other keys only ``text_files`` applies to those.
    """
    partners: Positive = 4
    """Partners of a frame: the nearest in time, of the same sequence."""
    max_gap_frames: Positive | None = None
    """Largest difference of the frame numbers of a pair; set it where a sequence has long gaps."""
    max_distance: Annotated[float, Field(gt=0)] = 7.0
    """Largest distance of a match in (U, V), 0..255 scale."""
    min_matches: Positive = 50
    """Fewest matches of a body part."""
    mutual: bool = False
    """Keep only matches nearest in both directions: the worst are 15 to 30 % better, 12 to 25 % are lost."""
    max_residual_px: Annotated[float, Field(gt=0)] | None = None
    """Largest distance from a part's motion; 4 drops 7 of 8 false matches, 0.2 to 3 % of good ones."""
    min_parts: Positive = 5
    """Fewest common body parts of a pair."""
    min_overlap: Share = 0.0
    """Smallest matched share of the body in a pair.

    The share of the body pixels of frame i depends little on the turn: 0.86 [0.82, 0.90] (median [5 %, 95 %]) below 10
    degrees, 0.80 [0.65, 0.85] at 20 to 30 and 0.72 [0.56, 0.80] at 30 to 45. It tells what is hidden or out of the
    picture.
    """
    max_turn_deg: Annotated[float, Field(gt=0, le=180)] | None = None
    """Largest turn of the body in a pair; beyond 30, the warp loss is mostly noise.

    Set it for dances with turns. Pairs whose turn is unknown are left out as well. See
    :func:`hdnet.data.correspondence.body_turn.torso_turn_deg`.
    """
    text_files: bool = False
    """Write the original's corr_mat.txt and corrs/ as well."""


def _switch(value: Any) -> Any:
    """YAML reads a bare on or off as true or false."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


class RuntimeParams(Section):
    """Machine and processes; a change here re-runs nothing.

    Device and precision do move the last digits of the results.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the networks; `auto` for a GPU if there is one."""
    devices: Positive | Literal["auto"] = 1
    """GPUs, or processes on a CPU, that share a training; `auto` for all GPUs that the batch suffices for.

    On each machine. Under ``torchrun``, its own number counts.
    """
    nodes: Positive = 1
    """Machines that share a training.

    Started on each, with ``MASTER_ADDR`` and ``NODE_RANK`` set, or by ``torchrun``, or by Slurm.
    """
    compile: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = "auto"
    """Use of torch.compile: `on`, `off`, or `auto` for on a GPU only."""
    precision: Annotated[Literal["auto", "32", "bf16", "64"], BeforeValidator(str)] = "auto"
    """Floating point: `32`, `bf16`, `64` (to compare numbers), or `auto`, the faster of the first two."""
    jobs: Annotated[int, Field(ge=0)] = 0
    """Processes that make and check data; 0 for one a core."""
    parallel_backend: Literal["loky", "threading", "dask", "ray"] = "loky"
    """Kind of these: local processes (`loky`), threads (`threading`), or a cluster, `dask` or `ray`.

    See :func:`hdnet.data.parallel.using_backend`.
    """
    loader_workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Processes that read for each data set of a training; `auto` for none on a CPU."""
    max_skipped: Annotated[int, Field(ge=0)] = 10
    """Steps in a row skipped because loss or gradient is not finite; one more ends the training.

    The batch of that step is kept in the stage's report.
    """
    log_every: Positive = 10
    """Steps between logged losses."""
    panel_every: Positive = 100
    """Steps between logged pictures."""
    checkpoint_every: Positive = 50
    """Steps between checkpoints on disk, from which an interrupted training resumes."""
    weights_every: Positive = 500
    """Steps between weights sent to MLflow; the last ones always are."""
    keep_checkpoints: Positive = 2
    """Newest checkpoints kept on disk."""


class EvaluateParams(Section):
    """Evaluation on held-out people and on the dances.

    See :mod:`hdnet.evaluation`.
    """

    sequence_pairs: Positive = 300
    """Pairs of frames of the dances, at most, spread evenly."""


class RegisterParams(Section):
    """Registration of the finished model."""

    name: Annotated[str, Field(pattern=r"^[^/:@]+$")] = "hdnet"
    """Registered name, without / : @."""
    alias: Alias = "challenger"
    """Alias of the newest version, which waits for stage `promote`."""
    data_licence: str | None = None
    """Licence of the data that is not synthetic, for the model card."""


class PromoteParams(Section):
    """Rule by which the newest version becomes the one that serves.

    See :func:`hdnet.registry.promotion.judge`.
    """

    alias: Alias = "champion"
    """Alias of the version that serves."""
    metric: HeldoutMetric = "depth_mae_mm"
    """Held-out metric in which the newest has to be better; both are measured anew."""
    level: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """Confidence of that, from a paired bootstrap over the people."""
    guards: tuple[HeldoutMetric, ...] = ("depth_abs_rel", "normal_mean_deg")
    """Held-out metrics in which it must not be worse."""
    guard_tolerance: Share = 0.02
    """Share of the champion's value by which it may be worse in those."""


class Params(Section):
    """The whole file. The defaults are the demo: a training of minutes on synthetic people, on any processor."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 2021
    """Seed of everything that is drawn at random."""
    data: DataParams = DataParams()
    correspond: CorrespondParams = CorrespondParams()
    model: ModelParams = ModelParams()
    train_normal: NormalStageParams = NormalStageParams()
    train_depth: DepthStageParams = DepthStageParams()
    train_hdnet: HDNetStageParams = HDNetStageParams()
    augment: AugmentParams = AugmentParams()
    validation: ValidationParams = ValidationParams()
    evaluate: EvaluateParams = EvaluateParams()
    tune: TuneParams = TuneParams()
    register_: Annotated[RegisterParams, Field(alias="register")] = RegisterParams()
    promote: PromoteParams = PromoteParams()
    runtime: RuntimeParams = RuntimeParams()

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
    """Read and check params.yaml.

    Raises:
        ParamsError: If the file is missing or not YAML, or a key is missing, unknown or out of range; names the key.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: no such file; run from the repository's root or pass --params")
    return parse_section(Params, read_yaml(read_text(path, str(path)), str(path)), str(path))


def with_runtime(params: Params, values: dict[str, Any]) -> Params:
    """Return the parameters with other values of section ``runtime``, such as command line options.

    Raises:
        ParamsError: If one is out of range; names the key.
    """
    runtime = parse_section(RuntimeParams, {**params.runtime.model_dump(), **values}, "runtime")
    return params.model_copy(update={"runtime": runtime})
