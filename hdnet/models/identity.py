"""Identity of a registered model."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

# Start of the URIs of registered models, models:/NAME@ALIAS, models:/NAME/VERSION and the like, and of models by run.
REGISTRY_SCHEME = "models:/"
RUN_SCHEME = "runs:/"
REGISTRY_SCHEMES = (REGISTRY_SCHEME, RUN_SCHEME)


def has_registry() -> bool:
    """Return whether the environment names a model registry, or the working folder holds one."""
    return "MLFLOW_TRACKING_URI" in os.environ or Path("mlflow.db").exists()


@dataclass(frozen=True)
class ModelIdentity:
    """A version in the model registry.

    Attributes:
        name: Registered name.
        version: Version of that name.
        alias: The alias that it was requested by, if any.
        run_id: MLflow run that made it.
    """

    name: str
    version: str
    alias: str | None
    run_id: str

    def to_dict(self) -> dict[str, str | None]:
        """Plain values for JSON."""
        return asdict(self)
