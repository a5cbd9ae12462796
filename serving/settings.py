"""What an operator may set, by environment variables ``HDNET_...``."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of the service; each is read from ``HDNET_<NAME>``, e.g. ``HDNET_MODEL_URI``.

    Where the model registry is, MLflow's own ``MLFLOW_TRACKING_URI`` says.
    """

    model_config = SettingsConfigDict(env_prefix="HDNET_", frozen=True)

    model_uri: str = Field(
        "models:/hdnet@champion",
        min_length=1,
        description="Model to serve: models:/NAME@ALIAS or models:/NAME/VERSION, a folder, or a file.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    max_body_mb: float = Field(64.0, gt=0, description="Largest request body in megabytes (10^6 bytes).")
    max_pixels: int = Field(25_000_000, ge=1, description="Largest picture in pixels, width times height.")
    threads: int | None = Field(None, ge=1, description="CPU threads of the networks; PyTorch's own choice if unset.")
    queue_size: int = Field(8, ge=0, description="Requests that may wait while one is worked on; more get 503.")
    deadline_s: float = Field(30.0, gt=0, description="Seconds a request may take, waiting included; then 504.")
    reload_interval_s: float = Field(30.0, gt=0, description="Seconds between two looks at the registry.")

    @property
    def max_body_bytes(self) -> int:
        """The body limit in bytes."""
        return int(self.max_body_mb * 1_000_000)
