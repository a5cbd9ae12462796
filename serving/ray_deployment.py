"""The service as Ray Serve replicas, each with its own model store, queue and metrics.

``serve run serving.ray_deployment:build``, with the settings of the service and those of :class:`RaySettings` in the
environment.
"""

from __future__ import annotations

import asyncio
import os
import time

from fastapi import FastAPI
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from ray import serve
from ray.serve import Application

from hdnet.errors import ModelError, ParamsError
from serving import logs
from serving.app import create_app
from serving.service import Service
from serving.settings import PREFIX, read_settings

# Beyond the deadline of a request, for sending the answer.
_SPARE_S = 5
_CHECK_S = 0.1
_SPARE_REQUESTS = 16  # probes, metrics, the page
# Prefixes of environment variables that replicas on other machines need.
_PASSED_ON = (PREFIX, "MLFLOW_", "AWS_", "OMP_")


class RaySettings(BaseSettings):
    """Settings of the replicas; each is read from ``HDNET_RAY_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}RAY_", frozen=True)

    replicas: int = Field(2, ge=1, description="Replicas of the service, on as many machines as Ray finds room on.")
    cpus: float = Field(1.0, ge=0, description="Processor cores that Ray reserves for a replica.")
    gpus: float = Field(0.0, ge=0, description="GPUs, or shares of one, that Ray reserves for a replica.")
    start_s: float = Field(300.0, gt=0, description="Seconds that a replica may take to its first model.")
    health_period_s: float = Field(10.0, gt=0, description="Seconds between two health checks of a replica.")


@serve.ingress()
class Replica:
    """One replica: the application is built in its own process, so that nothing is shared or pickled.

    Args:
        start_s: Longest time until its first model is loaded.
    """

    def __init__(self, start_s: float) -> None:
        settings = read_settings()
        logs.configure(settings.log_format)
        self._application = create_app(settings)
        self._give_up_at = time.monotonic() + start_s

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application that Ray serves."""
        return self._application

    async def check_health(self) -> None:
        """Ready as in ``/health/ready``. Ray sends requests after its first check, which waits for the model.

        Raises:
            ModelError: If there is no model in time; Ray then starts another replica.
        """
        service: Service = self._application.state.service
        while service.store.current is None:
            if time.monotonic() > self._give_up_at:
                raise ModelError("the replica has no model, see its log")
            await asyncio.sleep(_CHECK_S)


def build(arguments: dict[str, str] | None = None) -> Application:
    """The deployment with the environment's settings; ``serve run`` calls it.

    Args:
        arguments: Words ``NAME=VALUE`` after the name of this function, which ``serve run`` passes on; none are known.

    Raises:
        ParamsError: If a setting of the service is not valid, or there are arguments.
    """
    if arguments:
        raise ParamsError(f"{', '.join(arguments)}: unknown; settings are environment variables, such as HDNET_THREADS")
    settings, ray_settings = read_settings(), RaySettings()
    environment = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    deployment = serve.deployment(
        Replica,
        name="hdnet",
        num_replicas=ray_settings.replicas,
        # The replica's own queue refuses with 503 and Retry-After, so Ray must pass on more than it admits.
        max_ongoing_requests=settings.queue_size + settings.max_batch + _SPARE_REQUESTS,
        health_check_period_s=ray_settings.health_period_s,
        health_check_timeout_s=max(30.0, ray_settings.start_s),
        graceful_shutdown_timeout_s=settings.deadline_s + _SPARE_S,
        ray_actor_options={
            "num_cpus": ray_settings.cpus,
            "num_gpus": ray_settings.gpus,
            "runtime_env": {"env_vars": environment},
        },
    )
    application: Application = deployment.bind(ray_settings.start_s)
    return application
