"""Parameters of the pipeline, params.yaml, as frozen, typed sections."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hdnet.errors import ParamsError
from hdnet.params.base import Positive, Section, Share, parse_section
from hdnet.params.data import CorrespondParams, DataParams, SyntheticParams
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
    PhotoParams,
    PhotoWeights,
    TuneParams,
    ValidationParams,
)

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
    "ParallelBackend",
    "Params",
    "PhotoParams",
    "PhotoWeights",
    "PromoteParams",
    "RuntimeParams",
    "Section",
    "SyntheticParams",
    "ValidationParams",
    "load_params",
    "parse_section",
    "with_runtime",
]

ParallelBackend = Literal["loky", "threading", "dask", "ray"]


def _not_reserved(alias: str) -> str:
    """Refuse the aliases that MLflow keeps for itself, ``latest`` and ``v1``, before anything is trained."""
    if alias.lower() == "latest" or re.fullmatch(r"v\d+", alias, re.IGNORECASE):
        raise ValueError(f"{alias!r} is reserved by MLflow; choose another alias, as challenger or staging")
    return alias


# Letters, _ and -; digits are left to MLflow's own "v1".
Alias = Annotated[
    str,
    BeforeValidator(lambda value: _not_reserved(value) if isinstance(value, str) else value),
    Field(pattern=r"^[A-Za-z][A-Za-z_-]*$"),
]


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
    parallel_backend: ParallelBackend = "loky"
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
    baseline: Literal["shipped"] | None = "shipped"
    """Model that an empty registry begins with, version 1 and champion: `shipped`, or null for our own."""
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
    """The whole file. The defaults are for code; params.yaml ships those with preset `demo` applied."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 2021
    """Seed of everything that is drawn at random."""
    data: DataParams = DataParams()
    correspond: CorrespondParams = CorrespondParams()
    model: ModelParams = ModelParams()
    train_normal: NormalStageParams = NormalStageParams()
    train_depth: DepthStageParams = DepthStageParams()
    train_hdnet: HDNetStageParams = HDNetStageParams()
    photo: PhotoParams = PhotoParams()
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
