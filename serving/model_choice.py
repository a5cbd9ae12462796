"""Models that a request may choose instead of the one in service: versions of the registry, and the shipped one."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hdnet.errors import HDNetError, ModelError
from hdnet.models.identity import ModelIdentity
from hdnet.workspace import SHIPPED_SOURCE
from serving import problems
from serving.metrics import Metrics
from serving.model_source import NoRegistryError
from serving.model_store import ModelStore, ServedModel, self_check

logger = logging.getLogger("hdnet.serving")


@dataclass(frozen=True)
class Offer:
    """A model that may be chosen.

    Attributes:
        id: What the field ``model`` names it by.
        name: Registered name, name of the file, or "shipped".
        identity: Its version in the registry, if it has one.
        in_service: Whether it answers where none is chosen.
    """

    id: str
    name: str
    identity: ModelIdentity | None
    in_service: bool = False


class ModelChoice:
    """Loads chosen models, one at a time, and keeps those that were used last.

    Args:
        store: The model in service, and the source of the others.
        kept: Models to keep; with 0 only the one in service can be chosen.
        metrics: Metrics of attempts to load.
    """

    def __init__(self, store: ModelStore, kept: int, metrics: Metrics) -> None:
        self._store, self._kept, self._metrics = store, kept, metrics
        self._loaded: OrderedDict[str, ServedModel] = OrderedDict()
        self._turn = threading.Lock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="hdnet-choice")

    async def offers(self) -> tuple[list[Offer], str]:
        """The models to choose from, newest version first, the shipped one last.

        Returns:
            The models, and the reason why some may be missing; empty if none are.
        """
        return await asyncio.get_running_loop().run_in_executor(self._loader, self._offers)

    async def take(self, model_id: str) -> ServedModel:
        """The model of that id, loaded if it is not.

        Raises:
            Problem: 422 if there is no such model.
            ModelError: If it cannot be fetched or read, or fails its self-check.
        """
        found = self._ready(model_id)
        if found is None:
            found = await asyncio.get_running_loop().run_in_executor(self._loader, self._load, model_id)
        return found

    def close(self) -> None:
        """Ends the loader's thread after its present work."""
        self._loader.shutdown(wait=True, cancel_futures=True)

    def _ready(self, model_id: str) -> ServedModel | None:
        current = self._store.current
        if current is not None and current.id == model_id:
            return current
        with self._turn:
            if model_id in self._loaded:
                self._loaded.move_to_end(model_id)
            return self._loaded.get(model_id)

    def _offers(self) -> tuple[list[Offer], str]:
        current = self._store.require()
        in_service = Offer(current.id, current.name, current.identity, in_service=True)
        if not self._kept:
            return [in_service], ""
        versions, reason = self._versions()
        offers = {version.version: Offer(version.version, version.name, version) for version in versions}
        offers[current.id] = in_service
        offers.setdefault(SHIPPED_SOURCE, Offer(SHIPPED_SOURCE, SHIPPED_SOURCE, None))
        return list(offers.values()), reason

    def _versions(self) -> tuple[list[ModelIdentity], str]:
        """The registry's versions; if it does not answer, those that are loaded, and why."""
        try:
            return self._store.source.list_versions(), ""
        except NoRegistryError:
            return [], ""
        except HDNetError as error:
            with self._turn:
                return [model.identity for model in self._loaded.values() if model.identity is not None], str(error)

    def _load(self, model_id: str) -> ServedModel:
        found = self._ready(model_id)  # another request may have asked for it meanwhile
        if found is not None:
            return found
        offers, reason = self._offers()
        chosen = next((offer for offer in offers if offer.id == model_id), None)
        if chosen is None:
            if reason:
                raise ModelError(reason)
            known = ", ".join(offer.id for offer in offers)
            raise problems.UNKNOWN_MODEL.problem(found=repr(model_id[:40])[1:-1], known=known)
        try:
            model = self._loaded_from(chosen)
        except ModelError:
            self._metrics.model_loads.labels("failed").inc()
            raise
        with self._turn:
            self._loaded[model_id] = model
            while len(self._loaded) > self._kept:
                self._loaded.popitem(last=False)
        self._metrics.model_loads.labels("chosen").inc()
        logger.info("model loaded for a request that chose it: %s %s", model.name, model_id)
        return model

    def _loaded_from(self, offer: Offer) -> ServedModel:
        if offer.identity is None:
            return ServedModel(SHIPPED_SOURCE, self._store.shipped(), None, "shipped")
        predictor = self._store.source.load_version(offer.identity)
        self_check(predictor)
        return ServedModel(offer.name, predictor, offer.identity, "registry")
