"""A real registry of MLflow on SQLite, with versions whose answers differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from inference import made_up
from service_process import Service, hdnet_serve

from hdnet.models.weights import HDNET_FILE, save_hdnet

NAME, ALIAS, TOKEN = "hdnet", "champion", "only-for-this-benchmark"


class Registry:
    """Versions without runs: what ``hdnet register`` leaves, as far as the service reads it.

    Args:
        folder: Gets the database and the files.
        width: Of the made-up networks.
        versions: How many.

    Attributes:
        versions: Their numbers, as the registry calls them.
    """

    def __init__(self, folder: Path, width: int, versions: int) -> None:
        import mlflow  # the other benchmarks of the service do without

        self._folder = folder
        self._uri = f"sqlite:///{folder}/mlflow.db"
        self._client: Any = mlflow.MlflowClient(self._uri)
        self._client.create_registered_model(NAME)
        self.versions = [self._add(width, 4.0 + number) for number in range(versions)]
        self.point(self.versions[0])

    def point(self, version: str) -> None:
        """Moves the alias."""
        self._client.set_registered_model_alias(NAME, ALIAS, version)

    def service(self, folder: Path, **settings: object) -> Service:
        """A service that follows the alias."""
        service = hdnet_serve(f"models:/{NAME}@{ALIAS}", folder, admin_token=TOKEN, **settings)
        service.environment["MLFLOW_TRACKING_URI"] = self._uri
        return service

    def _add(self, width: int, depth_m: float) -> str:
        model = made_up(width)
        torch.nn.init.constant_(model.depth_estimator.head.bias, depth_m)
        source = self._folder / f"version-{depth_m:g}"
        save_hdnet(source / "extra_files" / HDNET_FILE, model, {})
        return str(self._client.create_model_version(NAME, source.as_uri(), run_id=None).version)
