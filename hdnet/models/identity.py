"""Identity of a registered model."""

from __future__ import annotations

from dataclasses import asdict, dataclass

# Start of the URIs of registered models, models:/NAME@ALIAS and models:/NAME/VERSION.
REGISTRY_SCHEME = "models:/"
# Name of the model that comes with the package, wherever a source is asked for.
SHIPPED_SOURCE = "shipped"


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
