"""Which registered model a result came from."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class ModelIdentity:
    """A version in the model registry.

    Attributes:
        name: Registered name.
        version: Version of that name.
        alias: The alias it was asked for by, if any.
        run_id: MLflow run that made it.
    """

    name: str
    version: str
    alias: str | None
    run_id: str

    def to_dict(self) -> dict[str, str | None]:
        """Plain values for JSON."""
        return asdict(self)
