"""The model in service: loaded in the background, checked, and exchanged when its alias moves."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hdnet.errors import HDNetError, ModelError
from hdnet.models.identity import ModelIdentity
from serving.metrics import Metrics
from serving.problems import Problem

if TYPE_CHECKING:
    from hdnet.inference import Prediction

logger = logging.getLogger("hdnet.serving")

REGISTRY_SCHEME = "models:/"
_LOADING_RETRY_S = 5.0
# Nothing from a registry may run code here. MLflow 3.17 reads the first name, 3.18 the second.
_REFUSALS = ("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "MLFLOW_ALLOW_MODEL_CODE_EXECUTION")
# A registry that is down must not hold the loader for the 15 minutes of MLflow's own retries.
_MLFLOW_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class PredictorLike(Protocol):
    """What the service needs of :class:`hdnet.inference.Predictor`."""

    @property
    def identity(self) -> ModelIdentity | None:
        """Which registered model this is; None for a file."""

    def infer(self, image: np.ndarray, mask: np.ndarray, iuv: np.ndarray) -> Prediction:
        """Depth and normals of one picture."""


LoadPredictor = Callable[[str], PredictorLike]
ResolveIdentity = Callable[[str], ModelIdentity]


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that passed its self-check."""

    name: str
    predictor: PredictorLike

    @property
    def identity(self) -> ModelIdentity | None:
        """The version in the registry; None for a model from a file."""
        return self.predictor.identity

    def headers(self) -> dict[str, str]:
        """The identity as response headers; what is unknown has none."""
        headers = {"X-Model-Name": self.name}
        if self.identity is not None:
            headers["X-Model-Version"] = self.identity.version
            headers["X-Model-Alias"] = self.identity.alias or ""
            headers["X-Run-Id"] = self.identity.run_id
        return {name: value for name, value in headers.items() if value}


class ModelStore:
    """Holds the model in service.

    Args:
        uri: Source that :meth:`hdnet.inference.Predictor.load` takes.
        interval_s: Seconds between two looks at the registry, and between attempts to load.
        metrics: Where the model and the attempts are counted.
        load: Makes a predictor of a source.
        resolve: Tells which version a registry URI names at the moment.
    """

    def __init__(
        self, uri: str, interval_s: float, metrics: Metrics, load: LoadPredictor, resolve: ResolveIdentity
    ) -> None:
        self.uri, self.interval_s = uri, interval_s
        self._metrics, self._load, self._resolve = metrics, load, resolve
        self._current: ServedModel | None = None
        self._attempted = False
        self._refused: tuple[str, str] | None = None
        self._last_failure = ""
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="hdnet-loader")

    @property
    def current(self) -> ServedModel | None:
        """The model in service. A request takes it once and keeps it, so an exchange never mixes two."""
        return self._current

    def require(self) -> ServedModel:
        """The model in service.

        Raises:
            Problem: 503 while there is none.
        """
        if self._current is not None:
            return self._current
        if not self._attempted:
            wait_s, state = min(_LOADING_RETRY_S, self.interval_s), "it is being loaded"
        else:
            wait_s, state = self.interval_s, "it could not be loaded so far, the service's log says why"
        retry_s = max(1, math.ceil(wait_s))
        detail = f"no model is in service yet: {state}; try again in {retry_s} s"
        raise Problem(503, "no_model", detail, {"Retry-After": str(retry_s)})

    async def watch(self) -> None:
        """Loads the model, then keeps looking for a newer one, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await loop.run_in_executor(self._loader, self.refresh)
            await asyncio.sleep(self.interval_s)

    def close(self) -> None:
        """Ends the loader's thread, after what it is at."""
        self._loader.shutdown(wait=True, cancel_futures=True)

    def refresh(self) -> None:
        """One look: loads and exchanges the model if there is none or its alias names another version.

        Whatever fails, the model in service stays. A version that fails its self-check is not tried again
        until the alias moves; a registry or download that fails is tried again at the next look.
        """
        try:
            self._refresh()
        except HDNetError as error:
            self._report(str(error))
        except Exception:
            logger.exception("looking for model %s failed", self.uri)
            self._metrics.model_loads.labels("failed").inc()
        finally:
            self._attempted = True

    def _refresh(self) -> None:
        wanted: tuple[str, str] | None = None
        if self.uri.startswith(REGISTRY_SCHEME):
            found = self._resolve(self.uri)
            wanted = (found.name, found.version)
            serving = self._current.identity if self._current else None
            if wanted == self._refused or (serving and wanted == (serving.name, serving.version)):
                return
        elif self._current is not None:
            return
        predictor = self._load(self.uri)
        identity = predictor.identity
        name = identity.name if identity else PurePath(self.uri).name
        try:
            self_check(predictor)
        except Exception:
            self._refused = (identity.name, identity.version) if identity else None
            raise
        self._current = ServedModel(name, predictor)
        self._refused, self._last_failure = None, ""
        self._metrics.set_model(name, identity)
        self._metrics.model_loads.labels("loaded").inc()
        logger.info("model in service: %s %s", name, identity or "")

    def _report(self, failure: str) -> None:
        self._metrics.model_loads.labels("failed").inc()
        if failure != self._last_failure:  # once, not at every look
            self._last_failure = failure
            kept = "the model in service stays" if self._current else f"next attempt in {self.interval_s:g} s"
            logger.warning("model %s not loaded (%s): %s", self.uri, kept, failure)


def self_check(predictor: PredictorLike) -> None:
    """One small forward pass; it also warms the model up.

    Raises:
        ModelError: If depth or normals are missing or not finite.
    """
    height, width = 96, 64
    y, x = np.mgrid[:height, :width]
    mask = ((x - 31.5) / 20) ** 2 + ((y - 47.5) / 40) ** 2 < 1
    image = np.where(mask[..., None], np.stack([x * 3, y * 2, x + y], axis=-1), 255).astype(np.uint8)
    iuv = np.where(mask[..., None], np.stack([1 + y // 4 % 24, x * 4 % 256, y * 2 % 256], axis=-1), 0).astype(np.uint8)
    prediction = predictor.infer(image, mask, iuv)
    if not prediction.mask.any():
        raise ModelError("the model failed its self-check: it predicts nothing for the test picture")
    if not (np.isfinite(prediction.depth_m).all() and np.isfinite(prediction.normals).all()):
        raise ModelError("the model failed its self-check: depth or normals of the test picture are not finite")


def load_predictor(uri: str) -> PredictorLike:
    """The default ``load``: :meth:`hdnet.inference.Predictor.load`, with code from the registry refused."""
    prepare_mlflow()
    from hdnet.inference import Predictor

    return Predictor.load(uri)


def resolve_identity(uri: str) -> ModelIdentity:
    """The default ``resolve``: :func:`hdnet.registry.resolve`."""
    prepare_mlflow()
    from hdnet.registry import resolve

    return resolve(uri)


def prepare_mlflow() -> None:
    """Sets MLflow's environment before its first import: no pickle, no code from models, short retries."""
    for name in _REFUSALS:
        os.environ[name] = "false"
    for name, value in _MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
