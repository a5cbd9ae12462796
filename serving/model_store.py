"""The model in service: loaded in the background, self-checked, and replaced when its alias moves."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module

import numpy as np

from hdnet.errors import HDNetError, InputError, ModelError
from hdnet.models.identity import ModelIdentity
from hdnet.pictures import faults
from hdnet.workspace import SHIPPED_SOURCE
from serving.metrics import Metrics
from serving.model_source import ModelSource, NoRegistryError, Origin, PredictorLike
from serving.problems import NO_MODEL

logger = logging.getLogger("hdnet.serving")

_LOADING_RETRY_S = 5.0
# Longest wait for the registry at the start before the last good model is taken. MLflow itself waits almost two
# minutes for a database.
_PATIENCE_S = 10.0


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that passed its self-check.

    Attributes:
        name: Registered name, that of the file or folder, or "shipped".
        predictor: The loaded model.
        identity: The version in the registry; None for a model from a file and for the shipped one.
        origin: Its origin; ``cache`` until the registry has confirmed it.
        since: When it was loaded.
    """

    name: str
    predictor: PredictorLike
    identity: ModelIdentity | None
    origin: Origin
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def id(self) -> str:
        """Name in a request's field ``model``: the version, or the name of a model without one."""
        return self.name if self.identity is None else self.identity.version

    def headers(self) -> dict[str, str]:
        """The identity as response headers; unknown values have none."""
        headers = {"X-Model-Name": self.name}
        if self.identity is not None:
            headers["X-Model-Version"] = self.identity.version
            headers["X-Model-Alias"] = self.identity.alias or ""
            headers["X-Run-Id"] = self.identity.run_id
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True)
class Refresh:
    """The outcome of one check of the source.

    Attributes:
        loaded: Whether a model was loaded.
        failure: One line with the reason why the wanted model is not in service; empty if it is.
    """

    loaded: bool
    failure: str = ""


class ModelStore:
    """Holds the model in service.

    Args:
        source: Source of models.
        interval_s: Seconds between two checks of the source, and between attempts to load.
        metrics: Metrics of the model and of attempts to load.
        patience_s: Longest wait for the registry at the start before the last good model is taken.
    """

    def __init__(
        self, source: ModelSource, interval_s: float, metrics: Metrics, patience_s: float = _PATIENCE_S
    ) -> None:
        self.source, self.interval_s, self.patience_s = source, interval_s, patience_s
        self._metrics = metrics
        self._current: ServedModel | None = None
        self._turn = threading.Lock()
        self._answered = self._attempted = False
        self._refused: ModelIdentity | None = None
        self._last_failure = ""
        self._shipped: PredictorLike | None = None
        self._shipped_turn = threading.Lock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="hdnet-loader")

    @property
    def current(self) -> ServedModel | None:
        """The model in service. A request takes it once, so that a replacement never mixes two models."""
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
        raise NO_MODEL.problem(state=state, retry_s=retry_s, headers={"Retry-After": str(retry_s)})

    async def watch(self) -> None:
        """Load the model, then check for a newer one at every interval, until cancelled."""
        loop = asyncio.get_running_loop()
        first = loop.run_in_executor(self._loader, self.refresh)
        await asyncio.wait({first}, timeout=self.patience_s)
        if not self._answered and not first.done():
            await asyncio.to_thread(self._take_other)
        await first
        # What writes meshes takes a second or more to import, which the first request for one would wait for.
        await loop.run_in_executor(self._loader, import_module, "trimesh")
        while True:
            await asyncio.sleep(self.interval_s)
            await loop.run_in_executor(self._loader, self.refresh)

    async def reload(self) -> Refresh:
        """Check at once; a version that failed its self-check is tried again, a file is read again."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._loader, partial(self.refresh, again=True))

    def close(self) -> None:
        """End the loader's thread after its present work."""
        self._loader.shutdown(wait=True, cancel_futures=True)

    def refresh(self, again: bool = False) -> Refresh:
        """Check the source once: load the wanted version unless it is in service.

        On any failure the model in service stays; if there is none, the last good one of the cache is taken, or else
        the shipped one. A version that fails its self-check is not tried again until another is wanted; a registry or
        download that fails is tried again at the next check.

        Args:
            again: Also try a refused version again, and read a file again.
        """
        try:
            outcome = Refresh(self._load_wanted(again))
            self._last_failure = ""
        except Exception as error:  # noqa: BLE001 - the watch continues after any failure of a registry or model
            outcome = Refresh(False, self._report(error))
            if self._current is None:
                self._take_other()
        finally:
            self._attempted = True
        return outcome

    def _load_wanted(self, again: bool) -> bool:
        """Load the wanted version unless it is in service; returns whether a model was loaded."""
        wanted, current = self.source.resolve(), self._current
        self._answered = True
        self._metrics.source_answered.set_to_current_time()
        if current is not None and current.identity == wanted:
            if current.origin == "cache":
                self._serve(replace(current, origin="registry"))
            if wanted is not None or not again:
                return False
        if wanted is not None and wanted == self._refused and not again:
            return False
        predictor, identity = self.source.load()
        try:
            self_check(predictor)
        except Exception:
            self._refused = identity
            raise
        self._refused = None
        name = identity.name if identity else self.source.name
        self._serve(ServedModel(name, predictor, identity, self.source.origin))
        self._metrics.model_loads.labels("loaded").inc()
        if identity is not None:
            self._keep(identity)
        return True

    def _serve(self, model: ServedModel, only_if_none: bool = False, only_after: PredictorLike | None = None) -> bool:
        """Put a model into service, if asked only where there is none, or after a certain one.

        Returns:
            Whether it is in service now.
        """
        with self._turn:
            if only_if_none and self._current is not None:
                return False
            if only_after is not None and (self._current is None or self._current.predictor is not only_after):
                return False
            self._current = model
            self._metrics.set_model(model.name, model.identity, model.origin)
        version = f" version {model.identity.version}" if model.identity else ""
        origin = "package" if model.origin == "shipped" else model.origin
        logger.info("model in service: %s%s from the %s", model.name, version, origin)
        return True

    def _keep(self, identity: ModelIdentity) -> None:
        try:
            self.source.keep(identity)
        except HDNetError as error:
            logger.warning("the model serves, but not after a restart while the registry is unreachable: %s", error)

    def shipped(self) -> PredictorLike:
        """The model for photographs that comes with the package, loaded at the first call, without measurements.

        May be called from any thread.

        Raises:
            ModelError: If it cannot be loaded.
        """
        with self._shipped_turn:
            if self._shipped is None:
                try:
                    predictor = self.source.load_shipped()
                    self_check(predictor)
                except ModelError as error:
                    logger.warning("the shipped model cannot be loaded: %s", error)
                    raise
                self._shipped = predictor
            return self._shipped

    def _take_other(self) -> None:
        """Serve the last good model, or the shipped one, unless a model has come into service."""
        self._take_last_good()
        if self._current is not None or not self.source.has_fallback:
            return
        try:
            predictor = self.shipped()
        except ModelError:  # logged
            return
        if self._serve(ServedModel(SHIPPED_SOURCE, predictor, None, "shipped"), only_if_none=True):
            self._metrics.model_loads.labels("shipped").inc()
            if self.source.measures:
                self._quicken(predictor)

    def _quicken(self, predictor: PredictorLike) -> None:
        """Replaces the shipped model that serves by the same in the fastest runtime; it serves meanwhile."""
        try:
            measured = self.source.load_shipped(measured=True)
            self_check(measured)
        except ModelError as error:
            logger.warning("the shipped model serves in PyTorch: %s", error)
            return
        with self._shipped_turn:
            self._shipped = measured
        self._serve(ServedModel(SHIPPED_SOURCE, measured, None, "shipped"), only_after=predictor)

    def _take_last_good(self) -> None:
        try:
            kept = self.source.load_last_good()
            if kept is None:
                return
            predictor, identity = kept
            self_check(predictor)
        except Exception:
            logger.exception("the last good model cannot be taken from the cache")
            return
        # The registry may have answered in the meantime.
        if self._serve(ServedModel(identity.name, predictor, identity, "cache"), only_if_none=True):
            self._metrics.model_loads.labels("cached").inc()

    def _report(self, error: Exception) -> str:
        """Count and log a failure; an unchanged one is logged once, not at every check."""
        if not isinstance(error, NoRegistryError):
            self._metrics.model_loads.labels("failed").inc()
        expected = isinstance(error, HDNetError)
        failure = str(error) if expected else f"unexpected {type(error).__name__}, see the service's log"
        if failure != self._last_failure:
            self._last_failure = failure
            if self._current:
                kept = "the model in service stays"
            elif self.source.has_fallback:
                kept = f"the last good one serves, or the shipped one; next attempt in {self.interval_s:g} s"
            else:
                kept = f"next attempt in {self.interval_s:g} s"
            trace = None if expected else error
            logger.warning("model %s not loaded (%s): %s", self.source.uri, kept, failure, exc_info=trace)
        return failure


_NOBODY_THERE = (faults.NO_PERSON.code, faults.MASK_CONTRADICTS_PICTURE.code)


def self_check(predictor: PredictorLike) -> None:
    """Run one small picture through the whole predictor, which also warms the model up.

    A model for photographs may see no person in the ellipse that it gets, after a look at its finite maps.

    Raises:
        ModelError: If depth or normals are missing or not finite.
    """
    height, width = 96, 64
    y, x = np.mgrid[:height, :width]
    mask = ((x - 31.5) / 20) ** 2 + ((y - 47.5) / 40) ** 2 < 1
    image = np.where(mask[..., None], np.stack([x * 3, y * 2, x + y], axis=-1), 255).astype(np.uint8)
    iuv = np.where(mask[..., None], np.stack([1 + y // 4 % 24, x * 4 % 256, y * 2 % 256], axis=-1), 0).astype(np.uint8)
    prepared = predictor.prepare(predictor.check(image, mask, iuv))
    try:
        prediction = predictor.finish(prepared, predictor.run([prepared])[0])
    except InputError as error:
        if error.code not in _NOBODY_THERE:
            raise
        return
    if not prediction.mask.any():
        raise ModelError("the model failed its self-check: it predicts nothing for the test picture")
    if not (np.isfinite(prediction.depth_m).all() and np.isfinite(prediction.normals).all()):
        raise ModelError("the model failed its self-check: depth or normals of the test picture are not finite")
