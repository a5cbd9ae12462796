"""params.yaml as frozen, typed models: one a section, unknown key = error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hdnet.errors import ParamsError

Positive = Annotated[int, Field(ge=1)]
InputNormals = Literal["exact", "predicted"]
Weight = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """Base of all sections: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataParams(Section):
    """What stage `acquire` makes, or where it takes data in the Tang and TikTok layout from."""

    source: Literal["synthetic", "folder"]
    folder: Path | None = None
    people: Positive
    heldout_people: Positive
    sequences: Positive
    frames_per_sequence: Annotated[int, Field(ge=2)]
    focal_px: tuple[float, float]
    camera: Literal["centred", "reference"]


class CorrespondParams(Section):
    """The author's rule (issue threads 18, 33): distance on the 0..255 scale of U and V."""

    partners: Positive
    max_distance: Annotated[float, Field(gt=0)]
    min_matches: Positive
    min_parts: Positive


class ModelParams(Section):
    """Shape of both networks; see :class:`hdnet.models.hourglass.HourglassConfig`."""

    width: Positive
    input_scale: Literal["raw", "unit"]
    initial_depth_m: float


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
    """

    steps: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    adam_eps: Annotated[float, Field(gt=0)]
    tf_epsilon: bool
    schedule: Literal["constant", "cosine"]
    grad_clip: Annotated[float, Field(gt=0)] | None


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
    """

    weights: LabelledWeights
    rule: Literal["exact", "original"]
    input_normals: InputNormals


class HDNetStageParams(OptimiserParams):
    """Stage `train_hdnet`.

    Attributes:
        pairs_per_step: Pairs of unlabelled frames a step (1 in the original).
        weights: Loss weights.
        rule: Corrected rules, or the original's with its flaws.
        input_normals: As in :class:`DepthStageParams`.
        warm_start: Start from the depth estimator of stage `train_depth`.
    """

    pairs_per_step: Positive
    weights: JointWeights
    rule: Literal["exact", "original"]
    input_normals: InputNormals
    warm_start: bool


class RuntimeParams(Section):
    """How the stages run; no stage is re-run for a change here, though device and precision move the last digits.

    Attributes:
        device: "auto", "cpu" or "cuda".
        precision: "32", "bf16", or "auto": the faster one, measured when a stage starts.
        jobs: Processes that make and check data; 0 for one a core.
        log_every: Steps between logged loss terms.
        panel_every: Steps between logged pictures.
        checkpoint_every: Steps between checkpoints on disk, from which an interrupted stage goes on.
        weights_every: Steps between copies of the weights in the experiment tracker; the last ones always go there.
        keep_checkpoints: Newest checkpoints kept on disk.
    """

    device: Literal["auto", "cpu", "cuda"]
    precision: Annotated[Literal["auto", "32", "bf16"], BeforeValidator(str)]
    jobs: Annotated[int, Field(ge=0)]
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
        raise ParamsError(f"{where}: {key}: {first['msg']}, found {first['input']!r}{more}") from error
