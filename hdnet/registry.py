"""MLflow: runs, registered models, aliases. The only module that imports mlflow.

Tracking goes to ``MLFLOW_TRACKING_URI``, or to ``sqlite:///mlflow.db`` in the working directory. A registered version
holds the complete model twice: as ``extra_files/hdnet.safetensors``, which our own code loads (no pickle, no code from
the registry), and as MLflow's ``pt2`` export, which ``mlflow.pytorch.load_model`` runs without this package.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Before mlflow is imported: it reads these once.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import mlflow.pytorch
import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from hdnet.errors import ModelError, TrackingError
from hdnet.lineage import dvc_tags, git_tags
from hdnet.models import HDNet, ModelIdentity
from hdnet.models.weights import HDNET_FILE, load_hdnet

logger = logging.getLogger(__name__)

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
EXPERIMENT = "hdnet"
_RUN_FILE = "mlflow_run_id.txt"
_SIZE = 256

# Schema creation reports every migration step; nobody who trains wants to read those.
logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)


def connect() -> str:
    """Points mlflow at ``MLFLOW_TRACKING_URI`` or the default, and returns that URI."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI
    mlflow.set_tracking_uri(uri)
    return uri


class MLflowTracker:
    """A training run in MLflow (the tracker interface of :mod:`hdnet.training.tracking`)."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Numbers after ``step`` steps, sent in the background."""
        mlflow.log_metrics(values, step=step, run_id=self.run_id, synchronous=False)

    def log_image(self, key: str, picture: np.ndarray, step: int) -> None:
        """A picture with a step slider."""
        mlflow.MlflowClient().log_image(self.run_id, picture, key=key, step=step)

    def log_checkpoint(self, path: Path, step: int) -> None:  # noqa: ARG002 - the step is in the file's name
        """The weights as an artifact of the run."""
        mlflow.log_artifact(str(path), "checkpoints", run_id=self.run_id)

    def log_file(self, path: Path) -> None:
        """Any file as an artifact of the run."""
        mlflow.log_artifact(str(path), run_id=self.run_id)

    def resume(self, step: int) -> None:
        """Marks the run as continued."""
        if step:
            mlflow.MlflowClient().set_tag(self.run_id, "resumed_from_step", str(step))


@contextmanager
def run(
    stage: str, params: dict[str, Any], tags: dict[str, str], work_dir: Path | None = None
) -> Iterator[MLflowTracker]:
    """A run of one pipeline stage.

    Args:
        stage: Name of the stage and of the run.
        params: Nested parameters; keys are joined by dots.
        tags: Lineage and the like; the git commit and DVC's hashes are added.
        work_dir: If given, remembers the run there, and continues it when called again with the same folder.
    """
    uri = connect()
    remembered = work_dir / _RUN_FILE if work_dir else None
    try:
        mlflow.set_experiment(EXPERIMENT)
        run_id = _resumable(remembered.read_text().strip()) if remembered and remembered.exists() else None
        active = mlflow.start_run(run_id=run_id, run_name=None if run_id else stage)
        mlflow.set_tags({"stage": stage, **git_tags(), **dvc_tags(), **tags})
        mlflow.log_params(flatten(params))
    except MlflowException as error:
        raise TrackingError(f"MLflow at {uri}: {_first_line(error)}") from error
    if remembered:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        remembered.write_text(active.info.run_id)
    with active:
        yield MLflowTracker(active.info.run_id)


def _resumable(run_id: str) -> str | None:
    try:
        usable = mlflow.get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException:
        usable = False
    if not usable:
        logger.warning("MLflow run %s, which this training began in, is gone; starting a new run", run_id)
        return None
    return run_id


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one level with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def register(model_file: Path, name: str, alias: str, metrics: dict[str, float], tags: dict[str, str]) -> ModelIdentity:
    """Logs the complete model to the active run, registers it and moves the alias to the new version.

    Args:
        model_file: ``hdnet.safetensors``.
        name: Registered name.
        alias: Alias that will point to the new version.
        metrics: Held-out metrics, linked to the logged model.
        tags: Lineage; stored on the version too.

    Raises:
        ModelError: If the exported model does not reproduce the one on file.
    """
    model = load_hdnet(model_file)
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype("float32"), (-1, 7, _SIZE, _SIZE), "rgb_iuv_mask")]),
        Schema([TensorSpec(np.dtype("float32"), (-1, 4, _SIZE, _SIZE), "depth_m_normal_xyz")]),
    )
    # A batch of two: one would freeze the batch dimension of the export.
    example = _example_inputs(2)
    info = mlflow.pytorch.log_model(
        model,
        name="model",
        signature=signature,
        input_example=example,
        pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "safetensors", "numpy"],
        extra_files=[str(model_file)],
        model_type="hdnet",
        serialization_format="pt2",
    )
    _check_export(model, info.model_uri, example)
    mlflow.log_metrics(metrics, model_id=info.model_id)
    client = mlflow.MlflowClient()
    version = mlflow.register_model(info.model_uri, name, tags={**tags, **git_tags()})
    client.set_registered_model_alias(name, alias, version.version)
    return ModelIdentity(name, str(version.version), alias, info.run_id or "")


def _example_inputs(batch: int) -> torch.Tensor:
    inputs = torch.rand(batch, 7, _SIZE, _SIZE, generator=torch.Generator().manual_seed(0)) * 255
    inputs[:, 3] = (inputs[:, 3] / 10).floor()
    inputs[:, 6] = 1.0
    return inputs


@torch.inference_mode()
def _check_export(model: HDNet, uri: str, example: torch.Tensor) -> None:
    exported = mlflow.pytorch.load_model(uri)
    difference = (exported(example) - model(example)).abs().mean().item()
    if not difference < 1e-2:
        raise ModelError(f"{uri}: the exported model differs from the trained one by {difference:.3g} on average")


def resolve(uri: str) -> ModelIdentity:
    """The version that ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` means now.

    Raises:
        ModelError: If the URI is malformed, there is no such model, alias or version, or the registry is away.
    """
    connect()
    client = mlflow.MlflowClient()
    path = uri.removeprefix("models:/")
    name, at, alias = path.partition("@")
    try:
        if at:
            version = client.get_model_version_by_alias(name, alias)
        elif path.count("/") == 1:
            name, number = path.split("/")
            version = client.get_model_version(name, number)
        else:
            raise ModelError(f"{uri}: not a registry URI; expected models:/NAME@ALIAS or models:/NAME/VERSION")
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{uri}: not in the registry {mlflow.get_tracking_uri()} ({_first_line(error)})") from error
    return ModelIdentity(name, str(version.version), alias or None, version.run_id or "")


def download(uri: str) -> tuple[Path, ModelIdentity]:
    """Fetches a registered version; nothing in it is executed.

    Returns:
        The local folder that holds ``hdnet.safetensors``, and which version that is.

    Raises:
        ModelError: As :func:`resolve`, or if the version does not hold our model file.
    """
    identity = resolve(uri)
    fixed = f"models:/{identity.name}/{identity.version}"
    try:
        folder = Path(mlflow.artifacts.download_artifacts(fixed)) / "extra_files"
    except Exception as error:
        raise ModelError(f"{fixed}: the files cannot be fetched ({_first_line(error)})") from error
    if not (folder / HDNET_FILE).is_file():
        raise ModelError(f"{fixed}: holds no extra_files/{HDNET_FILE}; it was not registered by `hdnet register`")
    return folder, identity


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
