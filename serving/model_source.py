"""Sources of the service's model: the registry, through a cache on disk, a file, or the package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal, Protocol

from hdnet.errors import ModelError
from hdnet.models.identity import REGISTRY_SCHEME, REGISTRY_SCHEMES, ModelIdentity, has_registry
from hdnet.predict.runtime_names import AUTO
from hdnet.tracking.model_cache import is_cached
from hdnet.workspace import SHIPPED_SOURCE
from serving.settings import Settings

if TYPE_CHECKING:
    import numpy as np

    from hdnet.geometry import Camera
    from hdnet.pictures.checks import Photo, Pictures
    from hdnet.predict.inference import PreparedPicture
    from hdnet.predict.prediction import Prediction
    from hdnet.predict.runtime_names import Outputs
    from hdnet.predict.runtimes import Runtime

# Nothing from a registry may run code here. MLflow 3.17 reads the first name, 3.18 the second.
_REFUSALS = ("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "MLFLOW_ALLOW_MODEL_CODE_EXECUTION")
# A registry that does not answer delays the loader, and with it the end of the process.
_TIMEOUT, _TIMEOUT_S = "MLFLOW_HTTP_REQUEST_TIMEOUT", "10"
# Versions of the registry that callers may choose of: the newest.
MOST_VERSIONS = 50

# Where a model in service came from: the registry, the cache of its last good one, a file, or the package.
Origin = Literal["registry", "cache", "file", "shipped"]


class NoRegistryError(ModelError):
    """No model registry is configured: no failure, as long as the shipped model serves."""


class PredictorLike(Protocol):
    """The part of :class:`hdnet.predict.inference.Predictor` that the service uses."""

    @property
    def runtime(self) -> Runtime:
        """The runtime of the networks."""

    @property
    def finds_people(self) -> bool:
        """Whether the model needs neither mask nor DensePose map."""

    def check(self, image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray | None) -> Pictures | Photo:
        """Checks a caller's pictures, as far as the model needs them."""

    def prepare(
        self,
        pictures: Pictures | Photo,
        camera: Camera | None = None,
        crop: bool = True,
        box: tuple[float, float, float, float] | None = None,
        height_m: float | None = None,
    ) -> PreparedPicture:
        """Cuts out the network's input."""

    def run(self, prepared: Sequence[PreparedPicture]) -> list[Outputs]:
        """The networks' outputs of one or more pictures."""

    def finish(self, prepared: PreparedPicture, outputs: Outputs) -> Prediction:
        """Depth and normals in the picture's own pixels."""


class ModelSource(Protocol):
    """Versions of a model, of which one is wanted at a time."""

    @property
    def uri(self) -> str:
        """The address of the model in the settings."""

    @property
    def name(self) -> str:
        """Name of the model where it has no registered one."""

    @property
    def origin(self) -> Origin:
        """Origin of the models that :meth:`load` gives."""

    @property
    def has_fallback(self) -> bool:
        """Whether the shipped model serves while there is no other."""

    def resolve(self) -> ModelIdentity | None:
        """The version that is wanted now; None of a file, which has none.

        Raises:
            ModelError: If there is none, or the registry is unreachable.
        """

    def load(self) -> tuple[PredictorLike, ModelIdentity | None]:
        """The model that is wanted now, and which version it is.

        Raises:
            ModelError: As :meth:`resolve`, or if it cannot be fetched or read.
        """

    def keep(self, identity: ModelIdentity) -> None:
        """Notes that a version serves well.

        Raises:
            ModelError: If that cannot be written.
        """

    def load_last_good(self) -> tuple[PredictorLike, ModelIdentity] | None:
        """The last version given to :meth:`keep`, without asking the registry; None if there is none.

        Raises:
            ModelError: If it cannot be read.
        """

    def list_versions(self) -> list[ModelIdentity]:
        """The registry's versions of the model, newest first; none of a file.

        Raises:
            ModelError: If the registry is unreachable, or there is none.
        """

    def load_version(self, identity: ModelIdentity) -> PredictorLike:
        """One of :meth:`list_versions`, without measurements.

        Raises:
            ModelError: If it cannot be fetched or read.
        """

    @property
    def measures(self) -> bool:
        """Whether the fastest runtime is measured, which takes seconds, on a busy machine minutes."""

    def load_shipped(self, measured: bool = False) -> PredictorLike:
        """The model for photographs that comes with the package.

        Args:
            measured: In the fastest runtime, if that is to be measured; otherwise in PyTorch, at once.

        Raises:
            ModelError: If it cannot be read.
        """


def model_source(settings: Settings) -> ModelSource:
    """The source that ``settings.model_uri`` names."""
    return _Registry(settings) if settings.model_uri.startswith(REGISTRY_SCHEMES) else _File(settings)


class _Source:
    """What all sources have."""

    def __init__(self, settings: Settings) -> None:
        self.uri = settings.model_uri
        self.measures = settings.runtime == AUTO
        self._settings = settings
        self._load = _Loader(settings)
        self._load_at_once = _Loader(settings.model_copy(update={"runtime": "torch"}) if self.measures else settings)

    def load_shipped(self, measured: bool = False) -> PredictorLike:
        return (_Loader(self._settings) if measured else self._load_at_once)(SHIPPED_SOURCE)


class _File(_Source):
    """A model file, a folder that holds one, or the shipped model."""

    has_fallback = False

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.name = PurePath(self.uri).name
        self.origin: Origin = "shipped" if self.uri == SHIPPED_SOURCE else "file"

    def resolve(self) -> None:
        return None

    def load(self) -> tuple[PredictorLike, None]:
        return self._load(self.uri), None

    def keep(self, identity: ModelIdentity) -> None:
        raise AssertionError(f"{identity}: a file has no versions")

    def load_last_good(self) -> None:
        return None

    def list_versions(self) -> list[ModelIdentity]:
        return []

    def load_version(self, identity: ModelIdentity) -> PredictorLike:
        raise AssertionError(f"{identity}: a file has no versions")


class _Registry(_Source):
    """A registered model; downloaded files are kept in the cache, and the last good one is loaded from there."""

    origin: Origin = "registry"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.name = settings.model_uri.removeprefix(REGISTRY_SCHEME)
        # Who names a version wants that one and no other.
        self.has_fallback = settings.shipped_fallback and "@" in self.name
        self._cache_dir = settings.cache_dir

    def resolve(self) -> ModelIdentity:
        _require_registry(self.uri)
        prepare_mlflow()
        from hdnet.tracking.versions import resolve  # imports MLflow, whose environment is set above

        return resolve(self.uri, self._cache_dir)

    def load(self) -> tuple[PredictorLike, ModelIdentity]:
        prepare_mlflow()
        from hdnet.tracking.versions import download

        folder, identity = download(self.uri, self._cache_dir)
        return self._load(folder), identity

    def keep(self, identity: ModelIdentity) -> None:
        from hdnet.tracking.versions import model_cache

        model_cache(self._cache_dir).remember(self.uri, identity)

    def load_last_good(self) -> tuple[PredictorLike, ModelIdentity] | None:
        if not is_cached(self._cache_dir):  # a start without a registry need not import MLflow, which takes seconds
            return None
        prepare_mlflow()
        from hdnet.tracking.versions import model_cache

        kept = model_cache(self._cache_dir).last_good(self.uri)
        return (self._load(kept.folder), kept.identity) if kept else None

    def list_versions(self) -> list[ModelIdentity]:
        _require_registry(self.uri)
        prepare_mlflow()
        from hdnet.tracking.versions import list_versions

        return list_versions(self.uri, MOST_VERSIONS)

    def load_version(self, identity: ModelIdentity) -> PredictorLike:
        prepare_mlflow()
        from hdnet.tracking.versions import download

        folder, _ = download(f"{REGISTRY_SCHEME}{identity.name}/{identity.version}", self._cache_dir)
        return self._load_at_once(folder)


def _require_registry(uri: str) -> None:
    """Looks for a registry before MLflow does, which would make an empty one in the working folder.

    Raises:
        NoRegistryError: If none is named, and none lies here.
    """
    if not has_registry():
        found = "MLFLOW_TRACKING_URI is not set, and the working folder has no mlflow.db"
        raise NoRegistryError(f"{uri}: no model registry ({found})")


class _Loader:
    """Loads predictors from model files; the fastest runtime is measured once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._fastest: str | None = None

    def __call__(self, path: str | Path) -> PredictorLike:
        from hdnet.predict.inference import Predictor  # torch is slow to import, and the service is live before

        def load(candidates: tuple[str, ...] | None) -> Predictor:
            settings = self._settings
            return Predictor.load(path, settings.device, settings.runtime, settings.threads, candidates)

        # Measuring all of them again at every replacement would delay running requests. The accuracy of the fastest one
        # depends on the weights and is checked again.
        predictor = load(None if self._fastest is None else (self._fastest,))
        if predictor.choice is not None and self._fastest in predictor.choice.refused:
            predictor = load(None)
        if predictor.choice is not None:
            self._fastest = predictor.choice.name
        return predictor


def prepare_mlflow() -> None:
    """Set MLflow's environment before its first import: no pickle, no code from models, a short timeout."""
    for name in _REFUSALS:
        os.environ[name] = "false"
    os.environ.setdefault(_TIMEOUT, _TIMEOUT_S)
