"""Operator's settings, from environment variables ``HDNET_...``."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from hdnet.errors import ParamsError
from hdnet.predict.runtime_names import RuntimeChoice
from hdnet.tables import markdown_table

PREFIX = "HDNET_"
_SHORTEST_SECRET = 16
_SECRET = re.compile(rf"[!-~]{{{_SHORTEST_SECRET},}}")
_PREFIX_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
# With a prefix that begins so, an address with and without it could not be told apart.
_OWN_ADDRESSES = (
    "/admin/",
    "/depth/",
    "/docs/",
    "/health/",
    "/metrics/",
    "/models/",
    "/openapi.json/",
    "/page/",
    "/version/",
)
_ORIGIN = re.compile(r"https?://[^/\s*]+")


class Settings(BaseSettings):
    """Settings of the service; each is read from ``HDNET_<NAME>``, e.g. ``HDNET_MODEL_URI``.

    MLflow's own ``MLFLOW_TRACKING_URI`` is the address of the model registry.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, validate_default=True)

    model_uri: str = Field(
        "models:/hdnet@champion",
        min_length=1,
        description="Model to serve: a URI of the registry in any of MLflow's forms, a folder, a file, or shipped.",
    )
    shipped_fallback: bool = Field(
        True, description="Serve the shipped model while neither the registry nor the cache has one for the alias."
    )
    other_models: int = Field(
        2,
        ge=0,
        description="Models that are kept loaded beside the one in service when requests choose others (field model: a "
        "version of the registry, or shipped); 0 lets none be chosen.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    root_path: str = Field(
        "", description="Path under which a proxy publishes the service, such as /hdnet; it may keep it or cut it off."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Addresses or networks, separated by commas, of proxies whose X-Forwarded-For names the caller in "
        "the log; FORWARDED_ALLOW_IPS or 127.0.0.1 if unset.",
    )
    device: str = Field("cpu", min_length=1, description="Device of the networks: cpu, cuda or cuda:N.")
    runtime: RuntimeChoice = Field(
        "auto", description="Runtime of the networks; auto measures the candidates when a model is loaded."
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="CPU threads of the networks; the runtime's choice if unset, within the container's limit.",
    )
    queue_size: int = Field(8, ge=0, description="Requests that may wait while one is worked on; more get 503.")
    max_batch: int = Field(1, ge=1, description="Requests that may share one pass of the networks; above 1 on a GPU.")
    max_wait_ms: float = Field(5.0, ge=0, description="Milliseconds that a pass waits for more requests to share it.")
    deadline_s: float = Field(30.0, gt=0, description="Seconds a request may take, waiting included; then 504.")
    max_body_mb: float = Field(64.0, gt=0, description="Largest request body in megabytes (10^6 bytes).")
    max_pixels: int = Field(25_000_000, ge=1, description="Largest picture in pixels, width times height.")
    reload_interval_s: float = Field(30.0, gt=0, description="Seconds between two checks of the registry.")
    cache_dir: Path = Field(
        Path("~/.cache/hdnet/models"),
        description="Folder that keeps models of the registry; the last good one serves while that is away. "
        "Where the home cannot be written, each process keeps its own.",
    )
    admin_token: SecretStr | None = Field(None, description="Token of /admin/reload; without one it does not exist.")
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Keys, separated by commas, one of which a request must carry as X-API-Key; none: open to all."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Web origins, separated by commas, whose pages may call the service; * for all."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Log lines for people, or JSON objects for programs."
    )
    shutdown_delay_s: float = Field(
        0.0, ge=0, description="Seconds after SIGTERM in which it is not ready but still answers: balancers notice."
    )

    @field_validator("cache_dir")
    @classmethod
    def _expand(cls, folder: Path) -> Path:
        return folder.expanduser()

    @field_validator("root_path")
    @classmethod
    def _is_prefix(cls, path: str) -> str:
        prefix = path.rstrip("/")
        if prefix and not _PREFIX_PATH.fullmatch(prefix):
            raise ValueError(f"'{path}' is no path, expected one like /hdnet")
        if f"{prefix}/".startswith(_OWN_ADDRESSES):
            raise ValueError(f"'{path}' begins as an address of the service does, expected another one like /hdnet")
        return prefix

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"'{proxy}' is no address or network, expected one like 10.0.0.0/24") from error
        return proxies

    @field_validator("api_keys", "cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"'{origin}' is no web origin, expected one like https://shop.example or *")
        return origins

    @field_validator("admin_token", "api_keys")
    @classmethod
    def _are_long_enough(cls, value: SecretStr | tuple[SecretStr, ...] | None) -> Any:
        for secret in value if isinstance(value, tuple) else (value,):
            if secret is not None and not _SECRET.fullmatch(secret.get_secret_value()):
                raise ValueError(
                    f"a secret is too short or has signs that no header can carry, expected {_SHORTEST_SECRET} or more "
                    "printable ASCII characters without blanks; `openssl rand -hex 32` makes one"
                )
        return value

    @property
    def max_body_bytes(self) -> int:
        """The body limit in bytes."""
        return int(self.max_body_mb * 1_000_000)


def read_settings(**given: Any) -> Settings:
    """The settings of the environment, and those given.

    Raises:
        ParamsError: If one is not as it has to be; the line names it, and no value of a secret.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name, message = str(first["loc"][0]), str(first["msg"]).removeprefix("Value error, ")
        raise ParamsError(f"{PREFIX}{name.upper()}: {message[:1].lower()}{message[1:]}") from None


def settings_table(settings: type[BaseSettings] = Settings) -> str:
    """All settings as a Markdown table: variable, default, meaning."""
    prefix = settings.model_config["env_prefix"]
    rows = []
    for name, field in settings.model_fields.items():
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        rows.append([f"`{prefix}{name.upper()}`", default, field.description])
    return "\n".join(markdown_table(["variable", "default", "meaning"], rows)) + "\n"
